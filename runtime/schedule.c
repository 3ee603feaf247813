#include "runtime/schedule.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/clock.h"

enum {
    MS_PER_S = 1000,
    LOOK_MS = 5000,       /* how soon a clock that was put forward is noticed */
    CLAIM_AGAIN_MS = 1000 /* after a claim that has failed */
};

#define NS_PER_MS UINT64_C(1000000)

struct schedule {
    schedule_config config;
    char *name, *title;
    cron cron;
    zone *zone;
    errand_kind kind;
    mq *queues;
    pool *pool;
    ticker *ticker;
    tick tick;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int64_t due_ms;   /* [lock] the moment that comes next */
    unsigned running; /* [lock] */
    bool asking;      /* [lock] `op` is under way */
    bool stopped;     /* [lock] */
    bool troubled;    /* [lock] the last claim has failed, and that was told */
    mq_op op;
    atomic_uint_fast64_t runs, failed, skipped, elsewhere;
};

static void tell(const schedule *s, int level, const char *what, const char *why)
{
    char text[512];
    snprintf(text, sizeof(text), "%s: %s%s%s", s->title, what, why ? ": " : "", why ? why : "");
    s->config.tell(s->config.user, level, text);
}

static void add_one(atomic_uint_fast64_t *count)
{
    atomic_fetch_add_explicit(count, 1, memory_order_relaxed);
}

bool schedule_next_ms(int64_t every_ms, const cron *c, const zone *z, int64_t after_ms, int64_t *ret_ms)
{
    int64_t next_s;
    if (every_ms) {
        *ret_ms = (after_ms / every_ms + 1) * every_ms;
        return true;
    }
    if (!cron_next(c, z, after_ms / MS_PER_S, &next_s))
        return false;
    *ret_ms = next_s * MS_PER_S;
    return true;
}

static bool next_after(const schedule *s, int64_t after_ms, int64_t *ret_ms)
{
    return schedule_next_ms(s->config.every_ms, &s->cron, s->zone, after_ms, ret_ms);
}

/* With the lock held. */
static void look_in(schedule *s, int64_t ms)
{
    if (s->stopped)
        return;
    if (ms > LOOK_MS)
        ms = LOOK_MS;
    if (ms < 0)
        ms = 0;
    (void)ticker_set(s->ticker, &s->tick, clock_now_ns() + (uint64_t)ms * NS_PER_MS);
}

/* --- runs --- */

typedef struct run {
    job job;
    schedule *schedule;
} run;

static void end_run(run *r)
{
    schedule *s = r->schedule;
    buf_fini(&r->job.result);
    free(r);
    pthread_mutex_lock(&s->lock);
    s->running--;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
}

static void on_run_done(HttpTask *t)
{
    run *r = t->user;
    schedule *s = r->schedule;
    errand_end end = errand_ended(t);
    errand_free(t);
    if (end != ERRAND_OK)
        add_one(&s->failed);
    if (end == ERRAND_LATE)
        tell(s, 0, "it took longer than its timeout", NULL);
    else if (end == ERRAND_NOT_RUN)
        tell(s, 1, "a run was given up, as the server stops", NULL);
    end_run(r);
}

static void begin_run(schedule *s, int64_t moment_ms)
{
    run *r = calloc(1, sizeof(*r));
    HttpTask *t = NULL;
    if (r) {
        r->schedule = s;
        r->job = (job){
            .kind = JOB_CLOCK, .name = s->name, .title = s->title, .due_s = (double)moment_ms / MS_PER_S};
        t = errand_new(&r->job, &s->kind, on_run_done, r);
    }
    pthread_mutex_lock(&s->lock);
    s->running++;
    pthread_mutex_unlock(&s->lock);
    add_one(&s->runs);
    if (t && errand_run(s->pool, t) == 0)
        return;
    if (t)
        errand_free(t);
    add_one(&s->failed);
    tell(s, 0, "a run was left out", t ? "too many jobs wait" : "out of memory");
    if (r) {
        end_run(r);
    } else {
        pthread_mutex_lock(&s->lock);
        s->running--;
        pthread_mutex_unlock(&s->lock);
    }
}

/* --- claims --- */

/* With the lock held: `due_ms` was seen to. */
static void go_on(schedule *s)
{
    int64_t now_ms = mq_now_ms(), next_ms;
    int64_t after_ms = s->due_ms > now_ms ? s->due_ms : now_ms;
    if (next_after(s, after_ms, &next_ms)) {
        s->due_ms = next_ms;
        look_in(s, next_ms - now_ms);
    }
}

/* Is there a later moment that is due too? Then this one is past caring. With the lock held. */
static bool is_over(const schedule *s)
{
    int64_t next_ms;
    return next_after(s, s->due_ms, &next_ms) && next_ms <= mq_now_ms();
}

static void on_claimed(mq_op *op)
{
    schedule *s = op->user;
    int err = op->err;
    bool mine = !err && !op->duplicate, told = s->troubled;
    int64_t moment_ms = op->moment_ms;
    if (err && err != -ESHUTDOWN && !told)
        tell(s, 1, "a run cannot be claimed", op->error);
    if (!err && op->duplicate)
        add_one(&s->elsewhere);
    pthread_mutex_lock(&s->lock);
    s->troubled = err != 0;
    s->asking = false;
    if (err && !is_over(s))
        look_in(s, CLAIM_AGAIN_MS);
    else
        go_on(s);
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
    if (mine) /* also when a stop has begun meanwhile: nobody else will run it */
        begin_run(s, moment_ms);
}

/* The latest moment that is due. With the lock held. */
static void skip_to_latest(schedule *s, int64_t now_ms)
{
    int64_t next_ms;
    while (s->config.every_ms == 0 && next_after(s, s->due_ms, &next_ms) && next_ms <= now_ms)
        s->due_ms = next_ms;
    if (s->config.every_ms)
        s->due_ms = now_ms / s->config.every_ms * s->config.every_ms;
}

/* With the lock held. Returns: whether the claim is to be asked for. */
static bool is_to_claim(schedule *s)
{
    int64_t now_ms = mq_now_ms();
    if (s->stopped || s->asking)
        return false;
    if (now_ms < s->due_ms) {
        look_in(s, s->due_ms - now_ms);
        return false;
    }
    skip_to_latest(s, now_ms);
    if (s->running && !s->config.overlap) {
        add_one(&s->skipped);
        go_on(s);
        return false;
    }
    return true;
}

static void on_tick(void *user)
{
    schedule *s = user;
    pthread_mutex_lock(&s->lock);
    bool claim = is_to_claim(s);
    if (claim) {
        s->asking = true;
        s->op = (mq_op){
            .verb = MQ_CLAIM, .queue = s->name, .moment_ms = s->due_ms, .done = on_claimed, .user = s};
    }
    pthread_mutex_unlock(&s->lock);
    if (claim)
        mq_submit(s->queues, &s->op);
}

/* The last moment that anyone has claimed is known: was one missed since? */
static void on_last(mq_op *op)
{
    schedule *s = op->user;
    int64_t now_ms = mq_now_ms(), next_ms;
    pthread_mutex_lock(&s->lock);
    s->asking = false;
    if (!op->err && op->moment_ms && next_after(s, op->moment_ms, &next_ms) && next_ms <= now_ms) {
        s->due_ms = next_ms;
        look_in(s, 0);
    } else {
        look_in(s, s->due_ms - now_ms);
    }
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
}

/* --- life --- */

static int read_times(schedule *s, char *error, size_t size)
{
    if (s->config.every_ms)
        return 0;
    int err = zone_load(str_from(s->config.zone), &s->zone, error, size);
    return err ? err : cron_parse(str_from(s->config.cron), &s->cron, error, size);
}

int schedule_new(const schedule_config *config, mq *queues, ticker *k, schedule **ret_schedule, char *error,
                 size_t size)
{
    snprintf(error, size, "out of memory");
    schedule *s = calloc(1, sizeof(*s));
    if (!s)
        return -ENOMEM;
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->changed, NULL);
    s->config = *config;
    s->queues = queues;
    s->ticker = k;
    s->name = strdup(config->name);
    s->title = strdup(config->title);
    int err = s->name && s->title ? read_times(s, error, size) : -ENOMEM;
    if (err) {
        schedule_free(s);
        return err;
    }
    s->tick = (tick){.call = on_tick, .user = s};
    run_limits limits = config->limits;
    limits.route = s->title;
    errand_kind_init(&s->kind, &limits);
    *ret_schedule = s;
    return 0;
}

void schedule_start(schedule *s, pool *p)
{
    int64_t now_ms = mq_now_ms();
    s->pool = p;
    if (!next_after(s, now_ms, &s->due_ms))
        return;
    if (!s->config.make_up) {
        pthread_mutex_lock(&s->lock);
        look_in(s, s->due_ms - now_ms);
        pthread_mutex_unlock(&s->lock);
        return;
    }
    s->asking = true;
    s->op = (mq_op){.verb = MQ_LAST, .queue = s->name, .done = on_last, .user = s};
    mq_submit(s->queues, &s->op);
}

void schedule_stop(schedule *s)
{
    pthread_mutex_lock(&s->lock);
    s->stopped = true;
    pthread_mutex_unlock(&s->lock);
    ticker_clear(s->ticker, &s->tick);
}

void schedule_free(schedule *s)
{
    if (!s)
        return;
    zone_free(s->zone);
    pthread_cond_destroy(&s->changed);
    pthread_mutex_destroy(&s->lock);
    free(s->name);
    free(s->title);
    free(s);
}

schedule_counts schedule_count(const schedule *s)
{
    return (schedule_counts){atomic_load_explicit(&s->runs, memory_order_relaxed),
                             atomic_load_explicit(&s->failed, memory_order_relaxed),
                             atomic_load_explicit(&s->skipped, memory_order_relaxed),
                             atomic_load_explicit(&s->elsewhere, memory_order_relaxed)};
}

const char *schedule_name(const schedule *s)
{
    return s->name;
}
