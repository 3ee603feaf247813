/* histogram: latencies in logarithmic buckets.
 *
 * Values are exact below 128 and within 0.8 % above, up to the full range of 64 bits, in 58 KiB and without
 * an allocation, so that recording costs the same for the first sample and the billionth. Threads: plain
 * data; one owner. */
#ifndef LOAD_HISTOGRAM_H
#define LOAD_HISTOGRAM_H

#include <stddef.h>
#include <stdint.h>

#define HISTOGRAM_BITS    7 /* of precision: buckets for each power of two are 1 << BITS */
#define HISTOGRAM_HALF    ((size_t)1 << HISTOGRAM_BITS)
#define HISTOGRAM_BUCKETS ((64 - HISTOGRAM_BITS + 1) * HISTOGRAM_HALF)

typedef struct histogram {
    uint64_t count;
    uint64_t max;
    uint64_t buckets[HISTOGRAM_BUCKETS];
} histogram;

/* The power of two that a bucket of this value is wide. */
static inline unsigned histogram_shift(uint64_t value)
{
    return value < HISTOGRAM_HALF ? 0 : (unsigned)(63 - __builtin_clzll(value)) - HISTOGRAM_BITS;
}

static inline size_t histogram_index(uint64_t value)
{
    unsigned shift = histogram_shift(value);
    return shift * HISTOGRAM_HALF + (size_t)(value >> shift);
}

/* The largest value that falls into the bucket. */
static inline uint64_t histogram_top(size_t index)
{
    if (index < 2 * HISTOGRAM_HALF)
        return index;
    size_t shift = index / HISTOGRAM_HALF - 1;
    return (((uint64_t)(index - shift * HISTOGRAM_HALF) + 1) << shift) - 1;
}

static inline void histogram_record(histogram *h, uint64_t value)
{
    h->count++;
    h->buckets[histogram_index(value)]++;
    if (value > h->max)
        h->max = value;
}

/* The value that `percent` of the samples do not exceed; 0 when there are none. */
static inline uint64_t histogram_percentile(const histogram *h, double percent)
{
    uint64_t wanted = (uint64_t)((double)h->count * percent / 100.0 + 0.5);
    uint64_t passed = 0;
    if (h->count == 0)
        return 0;
    if (wanted == 0)
        wanted = 1;
    for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        passed += h->buckets[i];
        if (passed >= wanted)
            return histogram_top(i) < h->max ? histogram_top(i) : h->max;
    }
    return h->max;
}

#endif
