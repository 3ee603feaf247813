#include "runtime/metrics.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "runtime/histogram.h"

enum { CACHE_LINE = 64 };

/* A pair of method and status as one number that is never 0. PAIR_OTHER sorts behind all true ones. */
enum { PAIR_USED = 1 << 20, PAIR_METHOD_SHIFT = 12, PAIR_STATUS_MASK = 0xfff, PAIR_OTHER = 1 << 21 };

typedef struct pair_count {
    atomic_uint pair; /* [owner] writes once, from 0; release, pairs with the acquire in read_pairs */
    atomic_uint_fast64_t count;
} pair_count;

/* What is counted of one route. */
typedef struct route_counts {
    pair_count pairs[METRICS_PAIRS];
    atomic_uint_fast64_t other;
    histogram duration;
    atomic_uint_fast64_t limits[RUN_LIMIT_COUNT];
    atomic_uint_fast64_t fields[METRICS_FIELDS];
} route_counts;

struct metrics {
    size_t routes; /* const; the counts behind the last route's are those of no route */
    histogram wait;
    route_counts counts[];
};

/* --- counting --- */

metrics *metrics_new(size_t routes)
{
    size_t bytes = sizeof(metrics) + (routes + 1) * sizeof(route_counts);
    /* On cache lines of its own: two workers that share one would slow each other down. */
    bytes = (bytes + CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE;
    metrics *m = aligned_alloc(CACHE_LINE, bytes);
    if (!m)
        return NULL;
    memset(m, 0, bytes);
    m->routes = routes;
    return m;
}

void metrics_free(metrics *m)
{
    free(m);
}

static unsigned pair_of(const HttpTask *t)
{
    unsigned status = (unsigned)t->status & PAIR_STATUS_MASK;
    return PAIR_USED | (unsigned)(t->method_id + 1) << PAIR_METHOD_SHIFT | status;
}

static void count_pair(route_counts *c, unsigned pair)
{
    for (size_t i = 0; i < METRICS_PAIRS; i++) {
        pair_count *p = &c->pairs[i];
        unsigned there = atomic_load_explicit(&p->pair, memory_order_relaxed);
        if (there == pair) {
            histogram_bump(&p->count, 1);
            return;
        }
        if (there == 0) {
            histogram_bump(&p->count, 1);
            atomic_store_explicit(&p->pair, pair, memory_order_release);
            return;
        }
    }
    histogram_bump(&c->other, 1);
}

static void count_fields(route_counts *c, uint32_t fields)
{
    for (; fields; fields &= fields - 1)
        histogram_bump(&c->fields[__builtin_ctz(fields)], 1);
}

/* Clocks are read on different threads: better 0 than a request that took 584 years. */
static uint64_t between(uint64_t from_ns, uint64_t to_ns)
{
    return to_ns > from_ns ? to_ns - from_ns : 0;
}

void metrics_count(metrics *m, const HttpTask *t, uint64_t now_ns)
{
    size_t i = t->route && t->route->index < m->routes ? t->route->index : m->routes;
    route_counts *c = &m->counts[i];
    count_pair(c, pair_of(t));
    count_fields(c, t->fields_read);
    if (t->limit)
        histogram_bump(&c->limits[t->limit], 1);
    histogram_observe(&c->duration, between(t->received_ns, now_ns));
    if (t->started_ns && t->ready_ns)
        histogram_observe(&m->wait, between(t->ready_ns, t->started_ns));
}

/* --- reading ---
 *
 * Everything is first read into lists of (label, key, figure), the lists are sorted, and neighbours with the
 * same label and key are added up. That takes care of several workers, several generations of the app and
 * several routes of one pattern alike. */

typedef struct sample {
    str route;
    unsigned key; /* a pair, or a field's number */
    uint64_t count;
} sample;

typedef struct duration {
    str route, method; /* of the handler: GET's answers HEAD, too */
    histogram_totals totals;
} duration;

/* Growing arrays in the bytes of a buf. */
typedef struct reading {
    buf requests;  /* of sample */
    buf fields;    /* of sample */
    buf limits;    /* of sample */
    buf durations; /* of duration */
    histogram_totals wait;
} reading;

static int read_count(buf *list, str label, unsigned key, const atomic_uint_fast64_t *count)
{
    uint64_t n = atomic_load_explicit(count, memory_order_relaxed);
    return n ? buf_add(list, &(sample){label, key, n}, sizeof(sample)) : 0;
}

static int read_pairs(buf *list, str label, const route_counts *c)
{
    int err = read_count(list, label, PAIR_OTHER, &c->other);
    for (size_t i = 0; err == 0 && i < METRICS_PAIRS; i++) {
        unsigned pair = atomic_load_explicit(&c->pairs[i].pair, memory_order_acquire);
        if (!pair)
            break;
        err = read_count(list, label, pair, &c->pairs[i].count);
    }
    return err;
}

static int read_duration(buf *list, str label, const route *r, const route_counts *c)
{
    duration d = {.route = label, .method = r ? str_from(method_name(r->method)) : STR("none")};
    histogram_read(&c->duration, &d.totals);
    return histogram_count(&d.totals) ? buf_add(list, &d, sizeof(d)) : 0;
}

static int read_route(reading *r, const route *one, const route_counts *c)
{
    str label = one ? str_from(one->pattern) : STR("none");
    int err = read_pairs(&r->requests, label, c);
    if (err == 0)
        err = read_duration(&r->durations, label, one, c);
    for (unsigned i = 0; err == 0 && i < RUN_LIMIT_COUNT; i++)
        err = read_count(&r->limits, label, i, &c->limits[i]);
    for (unsigned i = 0; err == 0 && i < METRICS_FIELDS; i++)
        err = read_count(&r->fields, label, i, &c->fields[i]);
    return err;
}

static int read_block(reading *r, const metrics *m, const route_tree *routes)
{
    histogram_read(&m->wait, &r->wait);
    int err = 0;
    for (size_t i = 0; err == 0 && i <= m->routes; i++) {
        const route *one = i < m->routes ? route_tree_at(routes, i) : NULL;
        err = read_route(r, one, &m->counts[i]);
    }
    return err;
}

static int compare_str(str a, str b)
{
    int order = memcmp(a.p, b.p, a.n < b.n ? a.n : b.n);
    return order ? order : (a.n > b.n) - (a.n < b.n);
}

static int compare_samples(const void *a, const void *b)
{
    const sample *x = a, *y = b;
    int order = compare_str(x->route, y->route);
    return order ? order : (x->key > y->key) - (x->key < y->key);
}

static int compare_durations(const void *a, const void *b)
{
    const duration *x = a, *y = b;
    int order = compare_str(x->route, y->route);
    return order ? order : compare_str(x->method, y->method);
}

/* Sort and add up. Returns: how many are left, in front. */
static size_t merge_samples(buf *list)
{
    sample *all = (sample *)(void *)list->p;
    size_t n = list->n / sizeof(*all), kept = 0;
    if (n)
        qsort(all, n, sizeof(*all), compare_samples);
    for (size_t i = 0; i < n; i++) {
        if (kept && compare_samples(&all[kept - 1], &all[i]) == 0)
            all[kept - 1].count += all[i].count;
        else
            all[kept++] = all[i];
    }
    return kept;
}

static size_t merge_durations(buf *list)
{
    duration *all = (duration *)(void *)list->p;
    size_t n = list->n / sizeof(*all), kept = 0;
    if (n)
        qsort(all, n, sizeof(*all), compare_durations);
    for (size_t i = 0; i < n; i++) {
        if (kept && compare_durations(&all[kept - 1], &all[i]) == 0)
            histogram_merge(&all[kept - 1].totals, &all[i].totals);
        else
            all[kept++] = all[i];
    }
    return kept;
}

uint64_t metrics_requests(const metrics *m)
{
    uint64_t n = 0;
    for (size_t i = 0; i <= m->routes; i++) {
        const route_counts *c = &m->counts[i];
        n += atomic_load_explicit(&c->other, memory_order_relaxed);
        for (size_t k = 0; k < METRICS_PAIRS; k++)
            n += atomic_load_explicit(&c->pairs[k].count, memory_order_relaxed);
    }
    return n;
}

/* --- rendering --- */

static str method_label(unsigned pair)
{
    int method = (int)((pair & (PAIR_USED - 1)) >> PAIR_METHOD_SHIFT) - 1;
    return pair == PAIR_OTHER || method < 0 ? STR("other") : str_from(method_name((enum http_method)method));
}

static int render_requests(buf *out, buf *list)
{
    const char *name = "poolsrv_http_requests_total";
    int err = exposition_family(out, name, "counter", "Requests answered.");
    size_t n = merge_samples(list);
    const sample *all = (const sample *)(const void *)list->p;
    for (size_t i = 0; err == 0 && i < n; i++) {
        char status[8] = "other";
        if (all[i].key != PAIR_OTHER)
            snprintf(status, sizeof(status), "%u", all[i].key & PAIR_STATUS_MASK);
        exposition_label labels[] = {
            {"route", all[i].route}, {"method", method_label(all[i].key)}, {"status", str_from(status)}};
        err = exposition_count(out, name, labels, 3, all[i].count);
    }
    return err;
}

static int render_durations(buf *out, buf *list)
{
    const char *name = "poolsrv_http_request_duration_seconds";
    int err = exposition_family(out, name, "histogram", "Time from a request's head to its reply.");
    size_t n = merge_durations(list);
    const duration *all = (const duration *)(const void *)list->p;
    for (size_t i = 0; err == 0 && i < n; i++) {
        exposition_label labels[] = {{"route", all[i].route}, {"method", all[i].method}};
        err = exposition_histogram(out, name, labels, 2, &all[i].totals);
    }
    return err;
}

static int render_wait(buf *out, const histogram_totals *wait)
{
    const char *name = "poolsrv_queue_wait_seconds";
    int err = exposition_family(out, name, "histogram", "Time a complete request waited for its handler.");
    return err ? err : exposition_histogram(out, name, NULL, 0, wait);
}

static int render_fields(buf *out, buf *list, const char *const *field_names, size_t nfields)
{
    const char *name = "poolsrv_context_field_reads_total";
    int err = exposition_family(out, name, "counter", "Requests whose handler read a field of its context.");
    size_t n = merge_samples(list);
    const sample *all = (const sample *)(const void *)list->p;
    for (size_t i = 0; err == 0 && i < n; i++) {
        if (all[i].key >= nfields)
            continue;
        exposition_label labels[] = {{"route", all[i].route}, {"field", str_from(field_names[all[i].key])}};
        err = exposition_count(out, name, labels, 2, all[i].count);
    }
    return err;
}

static int render_limits(buf *out, buf *list)
{
    static const char *const names[] = {"none",
#define X(name, text) text,
                                        RUN_LIMITS(X)
#undef X
    };
    const char *name = "poolsrv_handler_limits_total";
    int err = exposition_family(out, name, "counter", "Requests whose handler met a limit.");
    size_t n = merge_samples(list);
    const sample *all = (const sample *)(const void *)list->p;
    for (size_t i = 0; err == 0 && i < n; i++) {
        exposition_label labels[] = {{"route", all[i].route}, {"limit", str_from(names[all[i].key])}};
        err = exposition_count(out, name, labels, 2, all[i].count);
    }
    return err;
}

static int render(buf *out, reading *r, const char *const *field_names, size_t nfields)
{
    int err = render_requests(out, &r->requests);
    if (err == 0)
        err = render_durations(out, &r->durations);
    if (err == 0)
        err = render_wait(out, &r->wait);
    if (err == 0)
        err = render_limits(out, &r->limits);
    return err ? err : render_fields(out, &r->fields, field_names, nfields);
}

int metrics_render(buf *out, const metrics_group *groups, size_t n, const char *const *field_names,
                   size_t nfields)
{
    reading r = {0};
    size_t before = out->n;
    int err = 0;
    for (size_t g = 0; g < n; g++)
        for (size_t i = 0; err == 0 && i < groups[g].nblocks; i++)
            if (groups[g].blocks[i])
                err = read_block(&r, groups[g].blocks[i], groups[g].routes);
    if (err == 0)
        err = render(out, &r, field_names, nfields);
    if (err)
        out->n = before;
    buf_fini(&r.requests);
    buf_fini(&r.fields);
    buf_fini(&r.limits);
    buf_fini(&r.durations);
    return err;
}

int metrics_gauge(buf *out, const char *name, const char *help, double value)
{
    int err = exposition_family(out, name, "gauge", help);
    return err ? err : exposition_value(out, name, NULL, 0, value);
}
