#include "runtime/histogram.h"

#include <stddef.h>

static const uint64_t bounds_ns[HISTOGRAM_BUCKETS] = {
#define X(ns, text) ns##u,
    HISTOGRAM_BOUNDS(X)
#undef X
        UINT64_MAX,
};

/* From the front: nearly all requests end in the first few buckets. */
void histogram_observe(histogram *h, uint64_t ns)
{
    size_t i = 0;
    while (ns > bounds_ns[i])
        i++;
    histogram_bump(&h->counts[i], 1);
    histogram_bump(&h->sum_ns, ns);
}

void histogram_read(const histogram *h, histogram_totals *into)
{
    for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++)
        into->counts[i] += atomic_load_explicit(&h->counts[i], memory_order_relaxed);
    into->sum_ns += atomic_load_explicit(&h->sum_ns, memory_order_relaxed);
}

void histogram_merge(histogram_totals *into, const histogram_totals *from)
{
    for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++)
        into->counts[i] += from->counts[i];
    into->sum_ns += from->sum_ns;
}

uint64_t histogram_count(const histogram_totals *t)
{
    uint64_t n = 0;
    for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++)
        n += t->counts[i];
    return n;
}
