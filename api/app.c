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

/* What of its own a route has, and the rest from the others. */
static run_limits limits_of(const vm_route_def *def, const route *r, const run_limits *others)
{
    run_limits own = *others;
    own.route = r->pattern;
    if (def->cpu_s >= 0)
        own.cpu_ns = (uint64_t)(def->cpu_s * 1e9);
    if (def->wall_s >= 0)
        own.wall_ns = (uint64_t)(def->wall_s * 1e9);
    if (def->memory_bytes >= 0)
        own.memory_bytes = (size_t)def->memory_bytes;
    return own;
}

static uint64_t least_of(uint64_t a, uint64_t b)
{
    return a && (!b || a < b) ? a : b;
}

/* Add the VM's i-th route. Returns: 0, or -errno with `error` filled. */
static int add_route(route_tree *routes, vm *first, size_t i, vm_route_def *ret_def, const route **ret_route,
                     char *error, size_t size)
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
    *ret_def = def;
    return route_add(routes, (enum http_method)method_from(def.method), segments, def.segment_count,
                     str_from(def.where), ret_route, error, size);
}

static int add_routes(app *a, vm *first, lane_policy policy, const run_limits *limits, char *error,
                      size_t size)
{
    size_t n = vm_route_count(first);
    uint64_t now = clock_now_ns();
    a->lanes = calloc(n ? n : 1, sizeof(lane));
    a->limits = calloc(n ? n : 1, sizeof(run_limits));
    if (!a->lanes || !a->limits)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++) {
        vm_route_def def;
        const route *r;
        int err = add_route(a->routes, first, i, &def, &r, error, size);
        if (err)
            return err;
        lane_init(&a->lanes[i], policy, def.heavy, now);
        a->limits[i] = limits_of(&def, r, limits);
        a->least_limit_ns = least_of(a->least_limit_ns, a->limits[i].cpu_ns);
        a->least_limit_ns = least_of(a->least_limit_ns, a->limits[i].wall_ns);
    }
    return 0;
}

int app_check(vm *first, void (*each)(void *user, const char *problem), void *user, char *error, size_t size)
{
    route_tree *routes = route_tree_new();
    int err = routes ? 0 : -ENOMEM;
    snprintf(error, size, "out of memory");
    for (size_t i = 0; i < vm_route_count(first) && err != -ENOMEM; i++) {
        vm_route_def def;
        err = add_route(routes, first, i, &def, NULL, error, size);
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

int app_new(vm *first, unsigned workers, lane_policy policy, const run_limits *limits, app **ret_app,
            char *error, size_t size)
{
    snprintf(error, size, "out of memory");
    app *a = calloc(1, sizeof(*a));
    if (!a)
        return -ENOMEM;
    int err = -ENOMEM;
    a->routes = route_tree_new();
    a->signature = strdup(vm_signature(first));
    if (a->routes && a->signature)
        err = add_routes(a, first, policy, limits, error, size);
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
        free(a->limits);
        free(a->signature);
        route_tree_free(a->routes);
        free(a);
        a = older;
    }
}
