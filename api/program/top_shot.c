#include "api/program/top_shot.h"

#include <math.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>

/* What is being put in order. The samples of a route mostly come one behind the other, so the last is kept.
 */
typedef struct sorter {
    top_shot *out;
    top_route *last;
} sorter;

static int compare_routes(const void *a, const void *b)
{
    const top_route *x = a, *y = b;
    int order = strcmp(x->pattern, y->pattern);
    return order ? order : strcmp(x->method, y->method);
}

/* --- places for what is told --- */

static int add_route(top_shot *s, const top_route *key, top_route **ret)
{
    /* NOLINTNEXTLINE(bugprone-sizeof-expression): a list of pointers */
    top_route **more = realloc(s->routes, (s->route_count + 1) * sizeof(*more));
    if (more)
        s->routes = more;
    top_route *r = malloc(sizeof(*r));
    if (r)
        *r = *key;
    if (!more || !r || !tsearch(r, &s->index, compare_routes)) {
        free(r);
        return PS_ENOMEM;
    }
    s->routes[s->route_count++] = *ret = r;
    return 0;
}

/* The route that a sample is about, made when it is new. */
static int route_of(sorter *to, const scrape_sample *sample, top_route **ret)
{
    top_route key = {.pattern = scrape_label_value(sample, "route"),
                     .method = scrape_label_value(sample, "method"),
                     .since_s = NAN};
    if (strcmp(key.pattern, "none") == 0)
        key.method = "";
    if (!to->last || compare_routes(to->last, &key) != 0) {
        void *found = tfind(&key, &to->out->index, compare_routes);
        if (found)
            to->last = *(top_route **)found;
        else if (add_route(to->out, &key, &to->last) < 0)
            return PS_ENOMEM;
    }
    *ret = to->last;
    return 0;
}

static int worker_of(top_shot *s, const scrape_sample *sample, top_worker **ret)
{
    const char *name = scrape_label_value(sample, "worker");
    for (size_t i = 0; i < s->worker_count; i++) {
        if (strcmp(s->workers[i].name, name) == 0) {
            *ret = &s->workers[i];
            return 0;
        }
    }
    top_worker *more = realloc(s->workers, (s->worker_count + 1) * sizeof(*more));
    if (!more)
        return PS_ENOMEM;
    s->workers = more;
    *ret = &more[s->worker_count++];
    **ret = (top_worker){name, NAN, NAN, NAN, NAN, NAN, NAN};
    return 0;
}

/* --- what the metrics mean --- */

typedef int read_sample(sorter *to, const scrape_sample *sample);

static int read_requests(sorter *to, const scrape_sample *sample)
{
    top_route *r;
    int err = route_of(to, sample, &r);
    if (err || isnan(sample->value))
        return err;
    char status = scrape_label_value(sample, "status")[0];
    r->requests += sample->value;
    r->refused += status == '4' ? sample->value : 0;
    r->failed += status == '5' ? sample->value : 0;
    return 0;
}

static int read_duration(sorter *to, const scrape_sample *sample)
{
    top_route *r;
    int err = route_of(to, sample, &r);
    const char *bound = scrape_label_value(sample, "le");
    char *end;
    double seconds = strtod(bound, &end);
    if (err == 0 && end != bound && *end == '\0')
        top_histogram_add(&r->durations, seconds, sample->value);
    return err;
}

static int read_lane(sorter *to, const scrape_sample *sample)
{
    top_route *r;
    int err = route_of(to, sample, &r);
    if (err == 0 && sample->value != 0)
        r->lane = scrape_label_value(sample, "lane");
    return err;
}

static int read_reason(sorter *to, const scrape_sample *sample)
{
    top_route *r;
    int err = route_of(to, sample, &r);
    if (err == 0 && sample->value != 0)
        r->why = scrape_label_value(sample, "reason");
    return err;
}

static int read_since(sorter *to, const scrape_sample *sample)
{
    top_route *r;
    int err = route_of(to, sample, &r);
    if (err == 0)
        r->since_s = sample->value;
    return err;
}

static int read_depth(sorter *to, const scrape_sample *sample)
{
    top_worker *w;
    int err = worker_of(to->out, sample, &w);
    const char *ring = scrape_label_value(sample, "ring");
    if (err)
        return err;
    if (strcmp(ring, "home") == 0)
        w->home = sample->value;
    else if (strcmp(ring, "shared") == 0)
        w->shared = sample->value;
    else if (strcmp(ring, "done") == 0)
        w->done = sample->value;
    return 0;
}

#define WORKER_READER(field)                                                                                 \
    static int read_worker_##field(sorter *to, const scrape_sample *sample)                                  \
    {                                                                                                        \
        top_worker *w;                                                                                       \
        int err = worker_of(to->out, sample, &w);                                                            \
        if (err == 0)                                                                                        \
            w->field = sample->value;                                                                        \
        return err;                                                                                          \
    }
WORKER_READER(connections)
WORKER_READER(requests)
WORKER_READER(vm_bytes)

static int read_heavy_threads(sorter *to, const scrape_sample *sample)
{
    const char *state = scrape_label_value(sample, "state");
    if (strcmp(state, "running") == 0)
        to->out->heavy_running = sample->value;
    else if (strcmp(state, "max") == 0)
        to->out->heavy_max = sample->value;
    return 0;
}

#define X(field, metric)                                                                                     \
    static int read_##field(sorter *to, const scrape_sample *sample)                                         \
    {                                                                                                        \
        to->out->field = sample->value;                                                                      \
        return 0;                                                                                            \
    }
TOP_SERVER_MAP(X)
#undef X

static const struct {
    const char *metric;
    read_sample *read;
} readers[] = {{"poolsrv_http_requests_total", read_requests},
               {"poolsrv_http_request_duration_seconds_bucket", read_duration},
               {"poolsrv_lane", read_lane},
               {"poolsrv_lane_reason", read_reason},
               {"poolsrv_lane_since_seconds", read_since},
               {"poolsrv_ring_depth", read_depth},
               {"poolsrv_worker_connections", read_worker_connections},
               {"poolsrv_worker_requests_total", read_worker_requests},
               {"poolsrv_worker_vm_bytes", read_worker_vm_bytes},
               {"poolsrv_heavy_threads", read_heavy_threads},
#define X(field, metric) {metric, read_##field},
               TOP_SERVER_MAP(X)
#undef X
};

static int read_all(sorter *to)
{
    int err = 0;
    for (size_t i = 0; err == 0 && i < scrape_count(to->out->samples); i++) {
        const scrape_sample *sample = scrape_at(to->out->samples, i);
        for (size_t j = 0; err == 0 && j < sizeof readers / sizeof *readers; j++) {
            if (scrape_is(sample, readers[j].metric))
                err = readers[j].read(to, sample);
        }
    }
    return err;
}

/* GET's handler answers HEAD where there is no other, so its row is to have these requests. */
static void give_head_to_get(top_shot *s)
{
    size_t kept = 0;
    for (size_t i = 0; i < s->route_count; i++) {
        top_route *r = s->routes[i];
        top_route key = {.method = "GET", .pattern = r->pattern};
        void *found =
            strcmp(r->method, "HEAD") == 0 && !r->lane ? tfind(&key, &s->index, compare_routes) : NULL;
        if (!found) {
            s->routes[kept++] = r;
            continue;
        }
        top_route *get = *(top_route **)found;
        get->requests += r->requests;
        get->refused += r->refused;
        get->failed += r->failed;
        top_histogram_merge(&get->durations, &r->durations);
        tdelete(r, &s->index, compare_routes);
        free(r);
    }
    s->route_count = kept;
}

/* --- the shot --- */

top_shot *top_shot_new(scrape *samples, uint64_t taken_ns)
{
    top_shot *s = calloc(1, sizeof(*s));
    if (!s) {
        scrape_free(samples);
        return NULL;
    }
    *s = (top_shot){.samples = samples,
                    .taken_ns = taken_ns,
#define X(field, metric) .field = NAN,
                    TOP_SERVER_MAP(X)
#undef X
                        .heavy_running = NAN,
                    .heavy_max = NAN};
    if (read_all(&(sorter){.out = s}) < 0) {
        top_shot_free(s);
        return NULL;
    }
    give_head_to_get(s);
    return s;
}

static void leave_alone(void *route)
{
    (void)route;
}

void top_shot_free(top_shot *s)
{
    if (!s)
        return;
    tdestroy(s->index, leave_alone);
    for (size_t i = 0; i < s->route_count; i++)
        free(s->routes[i]);
    free(s->routes);
    free(s->workers);
    scrape_free(s->samples);
    free(s);
}

const top_route *top_shot_route(const top_shot *s, const char *method, const char *pattern)
{
    top_route key = {.method = method, .pattern = pattern};
    void *found = tfind(&key, &s->index, compare_routes);
    return found ? *(top_route **)found : NULL;
}

const top_worker *top_shot_worker(const top_shot *s, const char *name)
{
    for (size_t i = 0; i < s->worker_count; i++)
        if (strcmp(s->workers[i].name, name) == 0)
            return &s->workers[i];
    return NULL;
}

bool top_shot_restarted(const top_shot *before, const top_shot *now)
{
    if (!isnan(before->started_s) && !isnan(now->started_s))
        return before->started_s != now->started_s;
    for (size_t i = 0; i < before->route_count; i++) {
        const top_route *was = before->routes[i];
        const top_route *is = top_shot_route(now, was->method, was->pattern);
        if (is ? is->requests < was->requests : was->requests > 0)
            return true;
    }
    return false;
}
