#include "api/program/top_histogram.h"

#include <math.h>
#include <string.h>

/* Where a bucket of that bound is, or belongs. */
static size_t place_of(const top_histogram *h, double bound)
{
    size_t i = 0;
    while (i < h->n && h->bounds[i] < bound)
        i++;
    return i;
}

/* A bound that finds no room any more is left out: the buckets that stay are coarser, and still right. The
 * last one must not be lost, since it alone holds everything. */
static void make_place(top_histogram *h, size_t i)
{
    if (h->n == TOP_BUCKETS)
        h->n--;
    memmove(&h->bounds[i + 1], &h->bounds[i], (h->n - i) * sizeof h->bounds[0]);
    memmove(&h->below[i + 1], &h->below[i], (h->n - i) * sizeof h->below[0]);
    h->n++;
}

void top_histogram_add(top_histogram *h, double bound, double more)
{
    if (isnan(bound) || isnan(more))
        return;
    size_t i = place_of(h, bound);
    bool known = i < h->n && h->bounds[i] == bound;
    if (!known) {
        if (h->n == TOP_BUCKETS) {
            if (i < h->n)
                return;
            i = h->n - 1;
        }
        make_place(h, i);
        h->bounds[i] = bound;
        h->below[i] = 0;
    }
    h->below[i] += more;
}

void top_histogram_merge(top_histogram *into, const top_histogram *from)
{
    for (size_t i = 0; i < from->n; i++)
        top_histogram_add(into, from->bounds[i], from->below[i]);
}

top_histogram top_histogram_between(const top_histogram *before, const top_histogram *now)
{
    top_histogram d = *now;
    for (size_t i = 0; i < d.n; i++) {
        size_t j = place_of(before, d.bounds[i]);
        if (j < before->n && before->bounds[j] == d.bounds[i])
            d.below[i] = fmax(d.below[i] - before->below[j], 0);
    }
    return d;
}

double top_histogram_count(const top_histogram *h)
{
    return h->n ? h->below[h->n - 1] : 0;
}

top_latency top_histogram_quantile(const top_histogram *h, double q)
{
    double rank = q * top_histogram_count(h);
    if (!(rank > 0))
        return (top_latency){.seconds = NAN};
    size_t i = 0;
    while (h->below[i] < rank)
        i++;
    double from = i ? h->bounds[i - 1] : 0, before = i ? h->below[i - 1] : 0;
    if (isinf(h->bounds[i]))
        return (top_latency){.seconds = from, .beyond = true};
    double part = (rank - before) / (h->below[i] - before);
    return (top_latency){.seconds = from + (h->bounds[i] - from) * part};
}
