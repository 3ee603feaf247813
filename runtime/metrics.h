/* metrics: what one worker has counted of one generation of the app.
 *
 * Each block has one thread that counts into it, without locks and without read-modify-writes; any thread may
 * read it meanwhile and add several up, which is what rendering does. What has the same labels is added, too:
 * GET and POST of one path have their own counts and durations, and the same count of fields read.
 *
 * A request's method and status are kept as a pair. A route sees few of them; those beyond METRICS_PAIRS are
 * counted under "other", so a route that answers with made-up statuses cannot grow the block. */
#ifndef RUNTIME_METRICS_H
#define RUNTIME_METRICS_H

#include <stddef.h>
#include <stdint.h>

#include "queue/buf.h"
#include "runtime/exposition.h"
#include "runtime/route.h"
#include "runtime/task.h"

typedef struct metrics metrics;

enum {
    METRICS_PAIRS = 16, /* pairs of method and status that a route's counts tell apart */
    METRICS_FIELDS = 32 /* bits of HttpTask.fields_read */
};

/* Blocks that were counted with one tree of routes: all the workers' of one generation of the app. */
typedef struct metrics_group {
    const metrics *const *blocks; /* an entry may be NULL */
    size_t nblocks;
    const route_tree *routes;
} metrics_group;

/* `routes` is how many routes the app has; requests that match none are counted beside them.
 * Returns: the block, all zero, or NULL when memory is short. */
metrics *metrics_new(size_t routes);

/* Thread: any, when no other uses it. NULL is fine. */
void metrics_free(metrics *m);

/* Count a request that was answered. Thread: the block's own. */
void metrics_count(metrics *m, const HttpTask *t, uint64_t now_ns);

/* Append the sums of all blocks of some generations. After a reload there are several; what an old one has
 * counted is to stay in the sums, or they would go backwards.
 *     poolsrv_http_requests_total{route,method,status}
 *     poolsrv_http_request_duration_seconds{route,method}  from the request's head to its reply
 *     poolsrv_queue_wait_seconds                           from the whole request to its handler's start
 *     poolsrv_handler_limits_total{route,limit}            handlers that met a limit: cpu, wall or memory
 *     poolsrv_context_field_reads_total{route,field}
 * `field_names[i]` names bit i of fields_read. A route that was not asked for has no samples. `route` is the
 * pattern, or "none". `method` is the request's, but of a duration it is the handler's, or "none": GET's
 * handler answers HEAD, too.
 * Thread:  any; the trees and blocks must stay while it reads.
 * Returns: 0, or -ENOMEM with *out untouched. */
int metrics_render(buf *out, const metrics_group *groups, size_t n, const char *const *field_names,
                   size_t nfields);

/* How many requests one block has counted. Thread: any. */
uint64_t metrics_requests(const metrics *m);

/* Append a metric with one sample and no labels. Returns: 0 or -ENOMEM. */
int metrics_gauge(buf *out, const char *name, const char *help, double value);

#endif
