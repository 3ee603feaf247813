/* top_histogram: how long requests took, as a server counts it, and what of that lies between two looks.
 *
 * As in Prometheus's format, a bucket holds everything up to its bound, what is in the buckets before it
 * included. Threads: plain data. */
#ifndef PROGRAM_TOP_HISTOGRAM_H
#define PROGRAM_TOP_HISTOGRAM_H

#include <stdbool.h>
#include <stddef.h>

enum { TOP_BUCKETS = 48 }; /* bounds beyond it are left out, but for the last */

/* All zero is an empty one. */
typedef struct top_histogram {
    size_t n;
    double bounds[TOP_BUCKETS]; /* in seconds, rising; the last is INFINITY as a rule */
    double below[TOP_BUCKETS];  /* observations up to that bound */
} top_histogram;

/* A time in seconds; NAN when nothing was observed. */
typedef struct top_latency {
    double seconds;
    bool beyond; /* it is more than that: it lies behind the last finite bound */
} top_latency;

/* Count `more` observations up to `bound`, which is new or known. */
void top_histogram_add(top_histogram *h, double bound, double more);

/* Add one to another. */
void top_histogram_merge(top_histogram *into, const top_histogram *from);

/* What `now` has that `before` had not. A bucket that went backwards counts as empty. */
top_histogram top_histogram_between(const top_histogram *before, const top_histogram *now);

/* All observations. */
double top_histogram_count(const top_histogram *h);

/* The q-quantile, taken as evenly spread inside its bucket. */
top_latency top_histogram_quantile(const top_histogram *h, double q);

#endif
