/* top_model: two looks at a server, and what happened in between: rates, quantiles, rows in an order.
 *
 * Time comes in with the looks, so that a test can make its own. A server that was started anew begins a new
 * count, which is never subtracted from the old one's. Threads: whoever owns it. */
#ifndef PROGRAM_TOP_MODEL_H
#define PROGRAM_TOP_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "api/program/top_shot.h"

/* What routes can be sorted by: X(name, key, word, what comes first). */
#define TOP_SORT_MAP(X)                                                                                      \
    X(TOP_BY_REQUESTS, "r", "requests", "the most requests a second")                                        \
    X(TOP_BY_P99, "p", "p99", "the slowest")                                                                 \
    X(TOP_BY_ERRORS, "e", "errors", "the most replies with 5xx, then with 4xx")                              \
    X(TOP_BY_LANE, "l", "lane", "the heavy lane, the latest change of lane first")                           \
    X(TOP_BY_NAME, "n", "name", "the path, by the alphabet")

typedef enum top_sort {
#define X(name, key, word, first) name,
    TOP_SORT_MAP(X)
#undef X
        TOP_SORTS
} top_sort;

/* Between the last two looks. NAN: not known (yet). */
typedef struct top_rates {
    double requests, refused, failed; /* a second; the latter two are those with 4xx and with 5xx */
    top_latency p50, p99;
} top_rates;

typedef struct top_row {
    const top_route *route;
    top_rates rates;
} top_row;

typedef struct top_worker_row {
    const top_worker *worker;
    double requests; /* a second */
} top_worker_row;

typedef enum top_state {
    TOP_RUNNING, /* it answers, and takes requests as far as it tells */
    TOP_DRAINING,
    TOP_UNREACHABLE
} top_state;

/* To be read only. */
typedef struct top_model {
    top_sort sort;
    bool reverse;
    uint64_t began_ns;
    uint64_t answered_ns; /* when the last answer came; 0: none has */
    uint64_t lost_ns;     /* since when it does not answer; 0: it does */
    char trouble[PS_ERROR_BYTES];
    top_shot *now;    /* the last one there was, or NULL */
    top_shot *before; /* NULL while there is nothing to compare with */
    top_rates total;  /* of all routes, and of requests that match none */
    top_row *rows;    /* sorted */
    size_t row_count;
    top_worker_row *workers;
    size_t worker_count;
} top_model;

void top_model_init(top_model *m, top_sort sort, uint64_t now_ns);
void top_model_fini(top_model *m);

/* The server has answered.
 * Owns:    the shot, also on failure.
 * Returns: 0, or PS_ENOMEM with the figures from before. */
int top_model_answer(top_model *m, top_shot *shot);

/* It has not; `why` is one line. The figures stay what they were. */
void top_model_lost(top_model *m, const char *why, uint64_t now_ns);

/* Choose the order. */
void top_model_sort(top_model *m, top_sort sort, bool reverse);

top_state top_model_state(const top_model *m);

#endif
