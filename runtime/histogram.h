/* histogram: how often something took how long, in buckets that Prometheus can add up.
 *
 * One thread counts, any thread may read meanwhile. The counts are atomics without order: a reader may see
 * one observation in the bucket and not yet in the sum, which the next reading puts right. There is no
 * read-modify-write in it: with one writer a load and a store do, and cost what plain ones do. */
#ifndef RUNTIME_HISTOGRAM_H
#define RUNTIME_HISTOGRAM_H

#include <stdatomic.h>
#include <stdint.h>

/* The upper bounds, the bound itself included: nanoseconds, and the same in seconds as Prometheus reads it.
 */
#define HISTOGRAM_BOUNDS(X)                                                                                  \
    X(100000, "0.0001")                                                                                      \
    X(250000, "0.00025")                                                                                     \
    X(500000, "0.0005")                                                                                      \
    X(1000000, "0.001")                                                                                      \
    X(2500000, "0.0025")                                                                                     \
    X(5000000, "0.005")                                                                                      \
    X(10000000, "0.01")                                                                                      \
    X(25000000, "0.025")                                                                                     \
    X(50000000, "0.05")                                                                                      \
    X(100000000, "0.1")                                                                                      \
    X(250000000, "0.25")                                                                                     \
    X(500000000, "0.5")                                                                                      \
    X(1000000000, "1")                                                                                       \
    X(2500000000, "2.5")                                                                                     \
    X(5000000000, "5")                                                                                       \
    X(10000000000, "10")

enum {
#define X(ns, text) +1
    HISTOGRAM_BUCKETS = 1 HISTOGRAM_BOUNDS(X) /* the last one has no bound */
#undef X
};

/* All zero is an empty one. */
typedef struct histogram {
    atomic_uint_fast64_t counts[HISTOGRAM_BUCKETS]; /* [owner] writes, [any] reads */
    atomic_uint_fast64_t sum_ns;                    /* likewise */
} histogram;

/* The sum of some histograms, for one reader. */
typedef struct histogram_totals {
    uint64_t counts[HISTOGRAM_BUCKETS];
    uint64_t sum_ns;
} histogram_totals;

/* Add to a count that one thread alone writes. */
static inline void histogram_bump(atomic_uint_fast64_t *count, uint64_t more)
{
    uint64_t now = atomic_load_explicit(count, memory_order_relaxed);
    atomic_store_explicit(count, now + more, memory_order_relaxed);
}

/* Count one observation. Thread: the owner. */
void histogram_observe(histogram *h, uint64_t ns);

/* Add what is in h. Thread: any. */
void histogram_read(const histogram *h, histogram_totals *into);

/* Add one sum to another. */
void histogram_merge(histogram_totals *into, const histogram_totals *from);

/* How many observations there are. */
uint64_t histogram_count(const histogram_totals *t);

#endif
