/* /metrics: what the workers counted, how full the rings are, where routes run, what the VMs hold. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "api/server.h"
#include "runtime/exposition.h"
#include "vm/ctx_fields.h"

static int add_counts(const app *newest, buf *out)
{
    size_t n = 0;
    for (const app *a = newest; a; a = a->older)
        n++;
    metrics_group *groups = calloc(n, sizeof(*groups));
    if (!groups)
        return -ENOMEM;
    n = 0;
    for (const app *a = newest; a; a = a->older)
        groups[n++] = (metrics_group){(const metrics *const *)a->counts, a->counts_n, a->routes};
    int err = metrics_render_groups(out, groups, n, ctx_field_names, CTX_FIELD_COUNT);
    free(groups);
    return err;
}

static int add_depth(buf *out, const char *name, unsigned index, size_t depth)
{
    char number[16];
    int n = snprintf(number, sizeof(number), "%u", index);
    exposition_label labels[] = {{"ring", str_from(name)}, {"worker", {number, (size_t)n}}};
    return exposition_count(out, "poolsrv_ring_depth", labels, 2, depth);
}

static int add_depths(const ps_server *srv, buf *out)
{
    int err = exposition_family(out, "poolsrv_ring_depth", "gauge", "Requests on a worker's rings.");
    unsigned connections = 0;
    for (unsigned i = 0; i < (unsigned)srv->opt.threads && err == 0; i++) {
        pool_depths d = pool_depths_of(srv->pool, i);
        connections += d.connections;
        if ((err = add_depth(out, "home", i, d.home)) == 0 &&
            (err = add_depth(out, "shared", i, d.shared)) == 0)
            err = add_depth(out, "done", i, d.done);
    }
    if (err == 0)
        err = metrics_gauge(out, "poolsrv_connections", "Open connections.", connections);
    if (err == 0)
        err = metrics_gauge(out, "poolsrv_heavy_waiting", "Requests on their way to a heavy thread.",
                            atomic_load_explicit(&srv->pool->waiting, memory_order_relaxed));
    return err;
}

static int add_lanes(const app *a, buf *out)
{
    int err =
        exposition_family(out, "poolsrv_lane", "gauge", "1 for the lane that a route's next request takes.");
    for (size_t i = 0; i < route_tree_count(a->routes) && err == 0; i++) {
        const route *r = route_tree_at(a->routes, i);
        exposition_label labels[] = {{"route", str_from(r->pattern)},
                                     {"method", str_from(method_name(r->method))},
                                     {"lane", str_from(lane_is_heavy(&a->lanes[i]) ? "heavy" : "light")}};
        err = exposition_count(out, "poolsrv_lane", labels, 3, 1);
    }
    return err;
}

int report_metrics(ps_server *srv, buf *out)
{
    const app *a = atomic_load_explicit(&srv->vms.current, memory_order_acquire);
    int err = add_counts(a, out);
    if (err == 0)
        err = add_depths(srv, out);
    if (err == 0)
        err = add_lanes(a, out);
    if (err == 0)
        err = metrics_gauge(out, "poolsrv_vm_bytes", "Memory of all Lua VMs, as of their last idle moment.",
                            (double)atomic_load_explicit(&srv->vms.bytes, memory_order_relaxed));
    return err;
}
