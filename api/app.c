#include "api/app.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/clock.h"

static enum route_kind kind_of(vm_segment_kind kind)
{
    return kind == VM_SEGMENT_PARAM ? ROUTE_PARAM : kind == VM_SEGMENT_REST ? ROUTE_REST : ROUTE_LITERAL;
}

/* Add the VM's i-th route. Returns: 0, or -errno with `error` filled. */
static int add_route(route_tree *routes, vm *first, size_t i, bool *ret_heavy, char *error, size_t size)
{
    vm_route_def def;
    route_segment segments[ROUTE_MAX_SEGMENTS];
    int err = vm_route_at(first, i, &def);
    if (err) {
        snprintf(error, size, "out of memory");
        return err;
    }
    if (def.segment_count > ROUTE_MAX_SEGMENTS) {
        snprintf(error, size, "%s: a route has %d segments at most", def.where, ROUTE_MAX_SEGMENTS);
        return -EINVAL;
    }
    for (size_t s = 0; s < def.segment_count; s++)
        segments[s] = (route_segment){kind_of(def.segments[s].kind), def.segments[s].name};
    *ret_heavy = def.heavy;
    return route_add(routes, (enum http_method)method_from(def.method), segments, def.segment_count,
                     str_from(def.where), NULL, error, size);
}

static int add_routes(app *a, vm *first, lane_policy policy, char *error, size_t size)
{
    size_t n = vm_route_count(first);
    uint64_t now = clock_now_ns();
    a->lanes = calloc(n ? n : 1, sizeof(lane));
    if (!a->lanes)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++) {
        bool heavy = false;
        int err = add_route(a->routes, first, i, &heavy, error, size);
        if (err)
            return err;
        lane_init(&a->lanes[i], policy, heavy, now);
    }
    return 0;
}

int app_check(vm *first, void (*each)(void *user, const char *problem), void *user, char *error, size_t size)
{
    route_tree *routes = route_tree_new();
    int err = routes ? 0 : -ENOMEM;
    snprintf(error, size, "out of memory");
    for (size_t i = 0; i < vm_route_count(first) && err != -ENOMEM; i++) {
        bool heavy;
        err = add_route(routes, first, i, &heavy, error, size);
        if (err && err != -ENOMEM)
            each(user, error);
    }
    route_tree_free(routes);
    return err == -ENOMEM ? err : 0;
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
