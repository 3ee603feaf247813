/* app: one generation of the application: its routes, and what is known about each.
 *
 * With --dev a changed file makes a new generation. Requests keep the one they were routed by, so a
 * generation lives until the server is freed; it holds no VM. Threads: made by one; then read by all. Lanes
 * and counters are atomics. */
#ifndef API_APP_H
#define API_APP_H

#include <stddef.h>

#include "runtime/lane.h"
#include "runtime/limits.h"
#include "runtime/metrics.h"
#include "runtime/route.h"
#include "vm/vm.h"

typedef struct app {
    struct app *older;
    route_tree *routes;
    lane *lanes;             /* one a route */
    run_limits *limits;      /* one a route */
    uint64_t least_limit_ns; /* of processor or wall time that any of them has; 0: none has any */
    metrics **counts;        /* one a worker */
    unsigned counts_n;
    char *signature; /* every VM of this generation has the same routes: vm_signature */
} app;

/* Build the routes that a VM's app has defined. `limits` are those of routes without any of their own.
 * Returns: 0, or -errno with `error` filled. */
int app_new(vm *first, unsigned workers, lane_policy policy, const run_limits *limits, app **ret_app,
            char *error, size_t size);

/* Call back for each route that app_new would refuse, with why. Returns: 0, or -ENOMEM with `error` filled.
 */
int app_check(vm *first, void (*each)(void *user, const char *problem), void *user, char *error, size_t size);

/* Free it and all older ones. NULL is fine. */
void app_free_all(app *a);

#endif
