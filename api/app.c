#include "api/app.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/clock.h"

static int add_routes(app *a, vm *first, lane_policy policy, char *error, size_t size)
{
    size_t n = vm_route_count(first);
    uint64_t now = clock_now_ns();
    a->lanes = calloc(n ? n : 1, sizeof(lane));
    if (!a->lanes)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++) {
        vm_route_def def;
        route_segment segments[ROUTE_MAX_SEGMENTS];
        int err = vm_route_at(first, i, &def);
        if (err)
            return err;
        if (def.segment_count > ROUTE_MAX_SEGMENTS) {
            snprintf(error, size, "%s: a route has %d segments at most", def.where, ROUTE_MAX_SEGMENTS);
            return -EINVAL;
        }
        for (size_t s = 0; s < def.segment_count; s++) {
            const vm_segment *from = &def.segments[s];
            enum route_kind kind = from->kind == VM_SEGMENT_PARAM  ? ROUTE_PARAM
                                   : from->kind == VM_SEGMENT_REST ? ROUTE_REST
                                                                   : ROUTE_LITERAL;
            segments[s] = (route_segment){kind, from->name};
        }
        int method = method_from(def.method);
        err = route_add(a->routes, (enum http_method)method, segments, def.segment_count, str_from(def.where),
                        NULL, error, size);
        if (err)
            return err;
        lane_init(&a->lanes[i], policy, def.heavy, now);
    }
    return 0;
}

static int add_counts(app *a, unsigned workers)
{
    a->counts = calloc(workers, sizeof(metrics *));
    if (!a->counts)
        return -ENOMEM;
    for (; a->counts_n < workers; a->counts_n++)
        if (!(a->counts[a->counts_n] = metrics_new(route_tree_count(a->routes))))
            return -ENOMEM;
    return 0;
}

int app_new(vm *first, unsigned workers, lane_policy policy, app **ret_app, char *error, size_t size)
{
    snprintf(error, size, "out of memory");
    app *a = calloc(1, sizeof(*a));
    if (!a)
        return -ENOMEM;
    int err = -ENOMEM;
    a->routes = route_tree_new();
    a->signature = strdup(vm_signature(first));
    if (a->routes && a->signature)
        err = add_routes(a, first, policy, error, size);
    if (err == 0)
        err = add_counts(a, workers);
    if (err) {
        app_free_all(a);
        return err;
    }
    *ret_app = a;
    return 0;
}

void app_free_all(app *a)
{
    while (a) {
        app *older = a->older;
        for (unsigned i = 0; i < a->counts_n; i++)
            metrics_free(a->counts[i]);
        free(a->counts);
        free(a->lanes);
        free(a->signature);
        route_tree_free(a->routes);
        free(a);
        a = older;
    }
}
