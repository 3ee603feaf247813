/* top_shot: what one look at a server's metrics says, put in order by route and by worker.
 *
 * Whatever a server does not tell is NAN or NULL. Names point into the samples, which a shot owns. Threads:
 * whoever owns it. */
#ifndef PROGRAM_TOP_SHOT_H
#define PROGRAM_TOP_SHOT_H

#include <stddef.h>
#include <stdint.h>

#include "api/program/scrape.h"
#include "api/program/top_histogram.h"

/* A handler: the requests to it since the server started, and its lane. */
typedef struct top_route {
    const char *method, *pattern; /* of the requests that no route answered: "" and "none" */
    double requests;
    double refused, failed;  /* of these, those answered with 4xx and with 5xx */
    top_histogram durations; /* from the request's head to its reply */
    const char *lane, *why;
    double since_s; /* for how long it has been in its lane */
} top_route;

typedef struct top_worker {
    const char *name;
    double requests; /* since the server started */
    double connections, home, shared, done, vm_bytes;
} top_worker;

/* The figures of the server as a whole: X(field, metric). */
#define TOP_SERVER_MAP(X)                                                                                    \
    X(ready, "poolsrv_ready")                                                                                \
    X(started_s, "poolsrv_start_time_seconds")                                                               \
    X(connections, "poolsrv_connections")                                                                    \
    X(heavy_waiting, "poolsrv_heavy_waiting")                                                                \
    X(heavy_wait_s, "poolsrv_heavy_expected_wait_seconds")                                                   \
    X(heavy_busy, "poolsrv_heavy_busy")                                                                      \
    X(vm_bytes, "poolsrv_vm_bytes")

typedef struct top_shot {
    scrape *samples;
    uint64_t taken_ns;
#define X(field, metric) double field;
    TOP_SERVER_MAP(X)
#undef X
    double heavy_running, heavy_max;
    top_route **routes; /* in the order in which they came */
    size_t route_count;
    top_worker *workers;
    size_t worker_count;
    void *index; /* of the routes, for tfind(3) */
} top_shot;

/* Put the samples of one look in order.
 * Owns:    the samples, also on failure.
 * Returns: the shot, or NULL when memory is short. */
top_shot *top_shot_new(scrape *samples, uint64_t taken_ns);

/* NULL is fine. */
void top_shot_free(top_shot *s);

/* The route of that method and pattern, or NULL. */
const top_route *top_shot_route(const top_shot *s, const char *method, const char *pattern);

/* The worker of that name, or NULL. */
const top_worker *top_shot_worker(const top_shot *s, const char *name);

/* Whether another server, or the same one started anew, has told `now`: its figures do not go on from those
 * before. */
bool top_shot_restarted(const top_shot *before, const top_shot *now);

#endif
