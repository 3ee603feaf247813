#include "api/program/top_model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void top_model_init(top_model *m, top_sort sort, uint64_t now_ns)
{
    *m = (top_model){.sort = sort, .began_ns = now_ns};
}

void top_model_fini(top_model *m)
{
    top_shot_free(m->now);
    top_shot_free(m->before);
    free(m->rows);
    free(m->workers);
    *m = (top_model){0};
}

/* --- rates --- */

/* Seconds between the two looks; NAN when there is one only. */
static double seconds_between(const top_model *m)
{
    if (!m->before || m->now->taken_ns <= m->before->taken_ns)
        return NAN;
    return (double)(m->now->taken_ns - m->before->taken_ns) / 1e9;
}

static double rate(double before, double now, double seconds)
{
    return (now < before ? 0 : now - before) / seconds;
}

static void set_latency(top_rates *rates, const top_histogram *durations)
{
    rates->p50 = top_histogram_quantile(durations, 0.50);
    rates->p99 = top_histogram_quantile(durations, 0.99);
}

static top_rates no_rates(void)
{
    return (top_rates){NAN, NAN, NAN, {NAN, false}, {NAN, false}};
}

/* `ret_durations` is what was observed in between. */
static top_rates rates_of(const top_model *m, const top_route *now, double seconds,
                          top_histogram *ret_durations)
{
    static const top_route never;
    top_rates rates = no_rates();
    *ret_durations = (top_histogram){0};
    if (isnan(seconds))
        return rates;
    const top_route *before = top_shot_route(m->before, now->method, now->pattern);
    if (!before)
        before = &never;
    rates.requests = rate(before->requests, now->requests, seconds);
    rates.refused = rate(before->refused, now->refused, seconds);
    rates.failed = rate(before->failed, now->failed, seconds);
    *ret_durations = top_histogram_between(&before->durations, &now->durations);
    set_latency(&rates, ret_durations);
    return rates;
}

static void count_routes(top_model *m, double seconds)
{
    top_histogram all = {0}, one;
    m->total = no_rates();
    if (!isnan(seconds))
        m->total.requests = m->total.refused = m->total.failed = 0;
    for (size_t i = 0; i < m->row_count; i++) {
        const top_route *route = m->now->routes[i];
        m->rows[i] = (top_row){route, rates_of(m, route, seconds, &one)};
        m->total.requests += m->rows[i].rates.requests;
        m->total.refused += m->rows[i].rates.refused;
        m->total.failed += m->rows[i].rates.failed;
        top_histogram_merge(&all, &one);
    }
    set_latency(&m->total, &all);
}

static void count_workers(top_model *m, double seconds)
{
    for (size_t i = 0; i < m->worker_count; i++) {
        const top_worker *now = &m->now->workers[i];
        const top_worker *before = m->before ? top_shot_worker(m->before, now->name) : NULL;
        m->workers[i] = (top_worker_row){now, before ? rate(before->requests, now->requests, seconds) : NAN};
    }
}

/* --- order --- */

/* The greater first; what is not known comes last. */
static int by_figure(double a, double b)
{
    if (isnan(a) || isnan(b))
        return isnan(a) - isnan(b);
    return (a < b) - (a > b);
}

static int by_name(const top_route *a, const top_route *b)
{
    int order = strcmp(a->pattern, b->pattern);
    return order ? order : strcmp(a->method, b->method);
}

static int by_errors(const top_rates *a, const top_rates *b)
{
    int order = by_figure(a->failed, b->failed);
    return order ? order : by_figure(a->refused, b->refused);
}

/* Heavy, light, then those without a lane; the shortest time in it first. */
static int by_lane(const top_route *a, const top_route *b)
{
    int order = strcmp(a->lane ? a->lane : "~", b->lane ? b->lane : "~");
    return order ? order : by_figure(-a->since_s, -b->since_s);
}

static int compare_rows(const void *x, const void *y, void *user)
{
    const top_row *a = x, *b = y;
    const top_model *m = user;
    int order = 0;
    switch (m->sort) {
    case TOP_BY_P99:
        order = by_figure(a->rates.p99.seconds, b->rates.p99.seconds);
        break;
    case TOP_BY_ERRORS:
        order = by_errors(&a->rates, &b->rates);
        break;
    case TOP_BY_LANE:
        order = by_lane(a->route, b->route);
        break;
    case TOP_BY_NAME:
        order = by_name(a->route, b->route);
        break;
    case TOP_BY_REQUESTS:
    case TOP_SORTS:
        break;
    }
    /* Rows that are alike keep an order, or they would dance: the busiest first, then by name. */
    if (order == 0)
        order = by_figure(a->rates.requests, b->rates.requests);
    if (order == 0)
        order = by_name(a->route, b->route);
    return m->reverse ? -order : order;
}

void top_model_sort(top_model *m, top_sort sort, bool reverse)
{
    m->sort = sort;
    m->reverse = reverse;
    if (m->row_count)
        qsort_r(m->rows, m->row_count, sizeof(*m->rows), compare_rows, m);
}

/* --- looks --- */

static void keep(top_model *m, top_shot *shot)
{
    top_shot_free(m->before);
    m->before = m->now;
    m->now = shot;
    if (m->before && top_shot_restarted(m->before, shot)) {
        top_shot_free(m->before);
        m->before = NULL;
    }
    m->answered_ns = shot->taken_ns;
    m->lost_ns = 0;
    m->trouble[0] = '\0';
}

int top_model_answer(top_model *m, top_shot *shot)
{
    top_row *rows = calloc(shot->route_count + 1, sizeof(*rows));
    top_worker_row *workers = calloc(shot->worker_count + 1, sizeof(*workers));
    if (!rows || !workers) {
        free(rows);
        free(workers);
        top_shot_free(shot);
        return PS_ENOMEM;
    }
    keep(m, shot);
    free(m->rows);
    free(m->workers);
    m->rows = rows;
    m->row_count = shot->route_count;
    m->workers = workers;
    m->worker_count = shot->worker_count;
    double seconds = seconds_between(m);
    count_routes(m, seconds);
    count_workers(m, seconds);
    top_model_sort(m, m->sort, m->reverse);
    return 0;
}

void top_model_lost(top_model *m, const char *why, uint64_t now_ns)
{
    if (!m->lost_ns)
        m->lost_ns = now_ns;
    snprintf(m->trouble, sizeof m->trouble, "%s", why);
}

top_state top_model_state(const top_model *m)
{
    if (m->lost_ns)
        return TOP_UNREACHABLE;
    return m->now && m->now->ready == 0 ? TOP_DRAINING : TOP_RUNNING;
}
