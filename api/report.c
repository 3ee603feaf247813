/* /metrics: what the workers counted, how full the rings are, where routes run, what the VMs hold. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "api/server.h"
#include "runtime/clock.h"
#include "runtime/exposition.h"
#include "vm/ctx_fields.h"

static int add_counts(const app *newest, buf *out)
{
    size_t n = 0;
    for (const app *a = newest; a; a = a->older)
        n++;
    metrics_group *groups = calloc(n ? n : 1, sizeof(*groups));
    if (!groups)
        return -ENOMEM;
    n = 0;
    for (const app *a = newest; a; a = a->older)
        groups[n++] = (metrics_group){(const metrics *const *)a->counts, a->counts_n, a->routes};
    int err = metrics_render(out, groups, n, ctx_field_names, CTX_FIELD_COUNT);
    free(groups);
    return err;
}

/* When it started also tells one run of a server from the next. */
static int add_state(ps_server *srv, buf *out)
{
    int err = metrics_gauge(out, "poolsrv_ready", "1 while it takes requests, 0 while it starts or drains.",
                            server_is_ready(srv));
    return err ? err
               : metrics_gauge(out, "poolsrv_start_time_seconds", "When it started, in seconds since 1970.",
                               srv->started_s);
}

/* --- threads --- */

/* A worker's number as a label, written into `digits`. */
static exposition_label worker_label(unsigned index, char digits[16])
{
    int n = snprintf(digits, 16, "%u", index);
    return (exposition_label){"worker", {digits, (size_t)n}};
}

static int add_depth(buf *out, const char *name, unsigned index, size_t depth)
{
    char digits[16];
    exposition_label labels[] = {{"ring", str_from(name)}, worker_label(index, digits)};
    return exposition_count(out, "poolsrv_ring_depth", labels, 2, depth);
}

static int add_depths(const ps_server *srv, buf *out)
{
    int err = exposition_family(out, "poolsrv_ring_depth", "gauge", "Requests on a worker's rings.");
    for (unsigned i = 0; i < (unsigned)srv->opt.threads && err == 0; i++) {
        pool_depths d = pool_depths_of(srv->pool, i);
        if ((err = add_depth(out, "home", i, d.home)) == 0 &&
            (err = add_depth(out, "shared", i, d.shared)) == 0)
            err = add_depth(out, "done", i, d.done);
    }
    return err;
}

static int add_connections(const ps_server *srv, buf *out)
{
    const char *name = "poolsrv_worker_connections";
    uint64_t all = 0;
    int err = exposition_family(out, name, "gauge", "Open connections of a worker.");
    for (unsigned i = 0; i < (unsigned)srv->opt.threads && err == 0; i++) {
        char digits[16];
        exposition_label label = worker_label(i, digits);
        unsigned open = pool_depths_of(srv->pool, i).connections;
        all += open;
        err = exposition_count(out, name, &label, 1, open);
    }
    return err ? err : metrics_gauge(out, "poolsrv_connections", "Open connections.", (double)all);
}

static int add_ended(const ps_server *srv, buf *out)
{
    const char *name = "poolsrv_connections_ended_total";
    int err = exposition_family(out, name, "counter", "Connections that the server ended, by what was over.");
    for (peer_late why = 0; why < PEER_LATES && err == 0; why++) {
        exposition_label label = {"reason", str_from(peer_late_names[why])};
        err = exposition_count(out, name, &label, 1, pool_ended(srv->pool, why));
    }
    return err;
}

static int add_requests(const ps_server *srv, const app *newest, buf *out)
{
    const char *name = "poolsrv_worker_requests_total";
    int err = exposition_family(out, name, "counter", "Requests answered on a worker's connections.");
    for (unsigned i = 0; i < (unsigned)srv->opt.threads && err == 0; i++) {
        char digits[16];
        exposition_label label = worker_label(i, digits);
        uint64_t n = 0;
        for (const app *a = newest; a; a = a->older)
            n += metrics_requests(a->counts[i]);
        err = exposition_count(out, name, &label, 1, n);
    }
    return err;
}

static int add_memory(const ps_server *srv, buf *out)
{
    const char *name = "poolsrv_worker_vm_bytes";
    int err =
        exposition_family(out, name, "gauge", "Memory of a worker's Lua VM, as of its last idle moment.");
    for (unsigned i = 0; i < (unsigned)srv->opt.threads && err == 0; i++) {
        char digits[16];
        exposition_label label = worker_label(i, digits);
        err = exposition_count(out, name, &label, 1, pool_depths_of(srv->pool, i).vm_bytes);
    }
    return err ? err
               : metrics_gauge(out, "poolsrv_vm_bytes",
                               "Memory of all Lua VMs, as of their last idle moment.",
                               (double)atomic_load_explicit(&srv->vms.bytes, memory_order_relaxed));
}

static int add_heavies(const ps_server *srv, buf *out)
{
    const char *name = "poolsrv_heavy_threads";
    pool_heavies n = pool_heavies_of(srv->pool);
    int err =
        exposition_family(out, name, "gauge", "Threads for long handlers: those there are, and may be.");
    if (err == 0)
        err = exposition_count(out, name, &(exposition_label){"state", STR("running")}, 1, n.running);
    if (err == 0)
        err = exposition_count(out, name, &(exposition_label){"state", STR("max")}, 1, n.max);
    if (err == 0)
        err = metrics_gauge(out, "poolsrv_heavy_busy", "Heavy threads that run a handler.", n.busy);
    if (err == 0)
        err = metrics_gauge(out, "poolsrv_heavy_waiting", "Requests on their way to a heavy thread.",
                            atomic_load_explicit(&srv->pool->waiting, memory_order_relaxed));
    return err ? err
               : metrics_gauge(out, "poolsrv_heavy_expected_wait_seconds",
                               "How long a request is expected to wait for a heavy thread, if all are busy.",
                               (double)atomic_load_explicit(&srv->pool->due_ns, memory_order_relaxed) / 1e9);
}

static int add_lost(const ps_server *srv, buf *out)
{
    lost_threads *l = &srv->pool->lost;
    const char *name = "poolsrv_threads_retired_total";
    int err =
        metrics_gauge(out, "poolsrv_threads_lost",
                      "Threads in a handler that did not end when it was told to; others have their places.",
                      atomic_load_explicit(&l->now, memory_order_relaxed));
    if (err == 0)
        err = exposition_family(out, name, "counter", "Lost threads that came back, and ended.");
    return err ? err
               : exposition_count(out, name, NULL, 0,
                                  atomic_load_explicit(&l->retired, memory_order_relaxed));
}

/* --- lanes --- */

/* One metric with a sample a route: its labels are route and method, and those that `sample` adds. */
typedef int (*lane_sample)(buf *out, const char *name, exposition_label labels[4], const lane *l);

static str lane_name(const lane *l)
{
    return lane_is_heavy(l) ? STR("heavy") : STR("light");
}

static int sample_lane(buf *out, const char *name, exposition_label labels[4], const lane *l)
{
    labels[2] = (exposition_label){"lane", lane_name(l)};
    return exposition_count(out, name, labels, 3, 1);
}

static int sample_reason(buf *out, const char *name, exposition_label labels[4], const lane *l)
{
    labels[2] = (exposition_label){"lane", lane_name(l)};
    labels[3] = (exposition_label){"reason", str_from(lane_reason_name(lane_why(l)))};
    return exposition_count(out, name, labels, 4, 1);
}

static int sample_since(buf *out, const char *name, exposition_label labels[4], const lane *l)
{
    uint64_t since = atomic_load_explicit(&l->since_ns, memory_order_relaxed), now = clock_now_ns();
    return exposition_value(out, name, labels, 2, now > since ? (double)(now - since) / 1e9 : 0);
}

static int sample_demotions(buf *out, const char *name, exposition_label labels[4], const lane *l)
{
    return exposition_count(out, name, labels, 2, atomic_load_explicit(&l->demotions, memory_order_relaxed));
}

static int add_lane_metric(const app *a, buf *out, const char *name, const char *type, const char *help,
                           lane_sample sample)
{
    int err = exposition_family(out, name, type, help);
    for (size_t i = 0; i < route_tree_count(a->routes) && err == 0; i++) {
        const route *r = route_tree_at(a->routes, i);
        exposition_label labels[4] = {{"route", str_from(r->pattern)},
                                      {"method", str_from(method_name(r->method))}};
        err = sample(out, name, labels, &a->lanes[i]);
    }
    return err;
}

static int add_lanes(const app *a, buf *out)
{
    int err = add_lane_metric(a, out, "poolsrv_lane", "gauge",
                              "1 for the lane that a route's next request takes.", sample_lane);
    if (err == 0)
        err = add_lane_metric(a, out, "poolsrv_lane_reason", "gauge",
                              "1 for the lane of a route and why it is there.", sample_reason);
    if (err == 0)
        err = add_lane_metric(a, out, "poolsrv_lane_since_seconds", "gauge",
                              "How long ago a route came to its lane.", sample_since);
    return err ? err
               : add_lane_metric(a, out, "poolsrv_lane_demotions_total", "counter",
                                 "How often a route went from light to heavy.", sample_demotions);
}

/* --- shared dictionaries --- */

/* One metric with a sample a dictionary. */
typedef struct shared_metric {
    buf *out;
    const char *name;
    uint64_t (*value)(const dict_stats *n);
} shared_metric;

static int add_shared_sample(void *user, const char *name, dict *d)
{
    const shared_metric *m = user;
    exposition_label label = {"dict", str_from(name)};
    dict_stats n = dict_stats_of(d);
    return exposition_count(m->out, m->name, &label, 1, m->value(&n));
}

static int add_shared_metric(const ps_server *srv, buf *out, const char *name, const char *type,
                             const char *help, uint64_t (*value)(const dict_stats *n))
{
    shared_metric m = {out, name, value};
    int err = exposition_family(out, name, type, help);
    return err ? err : dicts_each(srv->dicts, add_shared_sample, &m);
}

static uint64_t shared_bytes(const dict_stats *n)
{
    return n->bytes;
}

static uint64_t shared_entries(const dict_stats *n)
{
    return n->entries;
}

static uint64_t shared_hits(const dict_stats *n)
{
    return n->hits;
}

static uint64_t shared_misses(const dict_stats *n)
{
    return n->misses;
}

static uint64_t shared_evictions(const dict_stats *n)
{
    return n->evictions;
}

static uint64_t shared_expirations(const dict_stats *n)
{
    return n->expirations;
}

static int add_shared(const ps_server *srv, buf *out)
{
    int err = add_shared_metric(srv, out, "poolsrv_shared_bytes", "gauge",
                                "What a shared dictionary holds, counted as its max_bytes is.", shared_bytes);
    if (err == 0)
        err = add_shared_metric(srv, out, "poolsrv_shared_entries", "gauge", "Keys in a shared dictionary.",
                                shared_entries);
    if (err == 0)
        err = add_shared_metric(srv, out, "poolsrv_shared_hits_total", "counter",
                                "Reads of a shared dictionary that found a value.", shared_hits);
    if (err == 0)
        err = add_shared_metric(srv, out, "poolsrv_shared_misses_total", "counter",
                                "Reads of a shared dictionary that found none.", shared_misses);
    if (err == 0)
        err = add_shared_metric(srv, out, "poolsrv_shared_evictions_total", "counter",
                                "Values dropped to make room for others.", shared_evictions);
    return err ? err
               : add_shared_metric(srv, out, "poolsrv_shared_expirations_total", "counter",
                                   "Values removed after their ttl.", shared_expirations);
}

int report_metrics(ps_server *srv, buf *out)
{
    const app *a = atomic_load_explicit(&srv->vms.current, memory_order_acquire);
    int err = add_counts(a, out);
    if (err == 0)
        err = add_depths(srv, out);
    if (err == 0)
        err = add_connections(srv, out);
    if (err == 0)
        err = add_ended(srv, out);
    if (err == 0)
        err = add_requests(srv, a, out);
    if (err == 0)
        err = add_heavies(srv, out);
    if (err == 0)
        err = add_lost(srv, out);
    if (err == 0)
        err = add_lanes(a, out);
    if (err == 0)
        err = add_memory(srv, out);
    if (err == 0)
        err = add_shared(srv, out);
    if (err == 0)
        err = report_jobs(srv, out);
    return err ? err : add_state(srv, out);
}
