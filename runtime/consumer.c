#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "runtime/clock.h"
#include "runtime/consumer_parts.h"

enum { TAKE_AGAIN_NS = 500000000 }; /* after a take that has failed */

static void begin_take(consumer *c);

/* --- jobs --- */

/* Or what cannot be run would be given back and taken again at once. */
static void pause_taking(consumer *c)
{
    consumer_lock(c);
    if (!c->stopped)
        c->paused = ticker_set(c->ticker, &c->again, clock_now_ns() + TAKE_AGAIN_NS) == 0;
    consumer_unlock(c);
}

/* Once the last operation is over, the consumer may be freed: this call counts as one. */
static void end_job(delivery *d, errand_end end)
{
    consumer *c = d->consumer;
    d->end = end;
    if (d->job.result.n && buf_add(&d->job.result, "", 1) < 0)
        d->job.result.n = 0; /* a text that has no end */
    if (end == ERRAND_NOT_RUN)
        pause_taking(c);
    consumer_lock(c);
    d->left = d->job.messages;
    d->job.messages = NULL;
    consumer_unlink_from(&c->running, d);
    c->busy--;
    c->pending++;
    consumer_unlock(c);
    consumer_settle_delivery(d);
    begin_take(c);
    consumer_lock(c);
    consumer_end_pending(c);
    consumer_unlock(c);
}

/* What was ended while it waited has said nothing. */
static void tell_late(const delivery *d)
{
    if (!d->job.result.n)
        consumer_tell(d->consumer, 1, "a job was ended", consumer_note(d));
}

static void on_job_done(HttpTask *t)
{
    delivery *d = t->user;
    errand_end end = errand_ended(t);
    errand_free(t);
    d->end = end;
    if (end == ERRAND_LATE)
        tell_late(d);
    end_job(d, end);
}

/* A message whose tries all ended with the process is not tried again. */
static bool is_spent(const consumer *c, const mq_message *m)
{
    return m->attempt > c->config.retries + 1;
}

static void run(delivery *d)
{
    consumer *c = d->consumer;
    HttpTask *t = errand_new(&d->job, &c->kind, on_job_done, d);
    if (!t || errand_run(c->pool, t) < 0) {
        if (t)
            errand_free(t);
        end_job(d, ERRAND_NOT_RUN);
    }
}

static delivery *new_delivery(consumer *c)
{
    delivery *d = calloc(1, sizeof(*d));
    if (!d)
        return NULL;
    d->consumer = c;
    d->again = (tick){.call = consumer_settle_again, .user = d};
    d->job = (job){.kind = JOB_CONSUME, .name = c->queue, .title = c->title, .batch = c->config.batch > 0};
    return d;
}

/* Cut off the first of a list that run together. */
static mq_message *cut(const consumer *c, mq_message **list)
{
    mq_message *first = *list, *last = first;
    for (unsigned n = 1; n < c->config.batch && last->next; n++)
        last = last->next;
    *list = last->next;
    last->next = NULL;
    return first;
}

/* Cut out the first that is spent, or return NULL. */
static mq_message *cut_spent(const consumer *c, mq_message **list)
{
    while (*list && !is_spent(c, *list))
        list = &(*list)->next;
    mq_message *m = *list;
    if (m) {
        *list = m->next;
        m->next = NULL;
    }
    return m;
}

/* Begin to have messages on hand. Returns: NULL when memory is short, and then they are freed. */
static delivery *begin(consumer *c, mq_message *messages)
{
    delivery *d = new_delivery(c);
    if (!d) {
        consumer_tell(c, 1, "messages are held until their lease ends", "out of memory");
        mq_message_free(messages);
        return NULL;
    }
    d->job.messages = messages;
    consumer_lock(c);
    consumer_link_to(&c->running, d);
    c->busy++;
    c->pending++;
    consumer_unlock(c);
    return d;
}

static void bury(consumer *c, mq_message *spent)
{
    static const char why[] = "the process ended in each of its tries";
    delivery *d = begin(c, spent);
    if (!d)
        return;
    (void)buf_add(&d->job.result, why, sizeof(why) - 1);
    end_job(d, ERRAND_FAILED);
}

/* Have what was taken run, or settled if it is not to be. Those that are spent come first: each is settled by
 * itself, and would part a batch into more jobs than there are places for. */
static void deliver(consumer *c, mq_message *list, bool stopped)
{
    mq_message *spent;
    while (!stopped && (spent = cut_spent(c, &list)))
        bury(c, spent);
    while (list) {
        delivery *d = begin(c, cut(c, &list));
        if (d && stopped)
            end_job(d, ERRAND_NOT_RUN);
        else if (d)
            run(d);
    }
}

/* --- taking --- */

static void on_ready(void *user)
{
    consumer *c = user;
    consumer_lock(c);
    c->signals++;
    consumer_unlock(c);
    begin_take(c);
}

static void on_take_again(void *user)
{
    consumer *c = user;
    consumer_lock(c);
    c->paused = false;
    consumer_unlock(c);
    on_ready(c);
}

static void note_take(consumer *c, const mq_op *op)
{
    if (op->err && op->err != -ESHUTDOWN) {
        pause_taking(c);
        if (!c->troubled)
            consumer_tell(c, 1, "no messages can be taken", op->error);
    } else if (c->troubled) {
        consumer_tell(c, 1, "messages can be taken again", mq_address(c->queues));
    }
    c->troubled = op->err != 0;
}

static void end_take(consumer *c)
{
    mq_message *list = c->take.messages;
    c->take.messages = NULL;
    note_take(c, &c->take);
    bool any = list != NULL;
    consumer_lock(c);
    bool stopped = c->stopped;
    consumer_unlock(c);
    deliver(c, list, stopped);
    consumer_lock(c);
    c->taking = false;
    if (any)
        c->signals++; /* there may be more */
    consumer_unlock(c);
}

/* Told by the engine: inside mq_submit, and the loop in begin_take goes on; or later, and then it does here.
 */
static void on_taken(mq_op *op)
{
    consumer *c = op->user;
    if (atomic_exchange_explicit(&c->take_stage, CONSUMER_OVER, memory_order_acq_rel) != CONSUMER_LEFT)
        return;
    end_take(c);
    begin_take(c);
    consumer_lock(c);
    consumer_end_pending(c);
    consumer_unlock(c);
}

/* As many as there are places for. With the lock held. */
static unsigned room(const consumer *c)
{
    unsigned each = c->config.batch ? c->config.batch : 1;
    unsigned n = c->busy < c->config.concurrency ? (c->config.concurrency - c->busy) * each : 0;
    return n < MQ_TAKE_MAX ? n : MQ_TAKE_MAX;
}

/* Returns: whether the caller is to take. */
static bool claim_take(consumer *c)
{
    consumer_lock(c);
    unsigned most = room(c);
    bool go = !c->stopped && !c->paused && !c->taking && most && c->seen != c->signals;
    if (go) {
        c->taking = true;
        c->seen = c->signals;
        c->pending++;
        c->take = (mq_op){.verb = MQ_TAKE,
                          .queue = c->queue,
                          .most = most,
                          .lease_ms = c->lease_ms,
                          .done = on_taken,
                          .user = c};
        atomic_store_explicit(&c->take_stage, CONSUMER_BEGUN, memory_order_relaxed);
    }
    consumer_unlock(c);
    return go;
}

/* Take messages, as long as there may be some and there is room for them. An engine that answers at once
 * answers here, in a loop: what is settled at once may be much. The caller sees to it that the consumer stays
 * meanwhile. */
static void begin_take(consumer *c)
{
    while (claim_take(c)) {
        mq_submit(c->queues, &c->take);
        if (atomic_exchange_explicit(&c->take_stage, CONSUMER_LEFT, memory_order_acq_rel) != CONSUMER_OVER)
            return;
        end_take(c);
        consumer_lock(c);
        consumer_end_pending(c);
        consumer_unlock(c);
    }
}

/* --- life --- */

int consumer_new(const consumer_config *config, mq *queues, ticker *k, consumer **ret_consumer)
{
    consumer *c = calloc(1, sizeof(*c));
    if (!c)
        return -ENOMEM;
    c->config = *config;
    c->queues = queues;
    c->lease_ms = mq_survives(queues) ? (int64_t)(config->lease_s * CONSUMER_MS_PER_S) : 0;
    c->ticker = k;
    c->queue = strdup(config->queue);
    c->dead_letter = strdup(config->dead_letter);
    if (asprintf(&c->title, "queue %s", config->queue) < 0)
        c->title = NULL;
    pthread_mutex_init(&c->lock, NULL);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&c->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    if (!c->queue || !c->dead_letter || !c->title) {
        consumer_free(c);
        return -ENOMEM;
    }
    run_limits limits = config->limits;
    limits.route = c->title;
    errand_kind_init(&c->kind, &limits);
    c->watcher = (mq_watcher){.queue = c->queue, .ready = on_ready, .user = c};
    c->beat = (tick){.call = consumer_beat, .user = c};
    c->again = (tick){.call = on_take_again, .user = c};
    *ret_consumer = c;
    return 0;
}

void consumer_start(consumer *c, pool *p)
{
    c->pool = p;
    if (c->lease_ms)
        consumer_set_beat(c);
    mq_watch(c->queues, &c->watcher);
}

void consumer_stop(consumer *c)
{
    consumer_lock(c);
    bool before = c->stopped || !c->pool;
    c->stopped = true;
    consumer_unlock(c);
    if (before)
        return;
    mq_unwatch(c->queues, &c->watcher);
    ticker_clear(c->ticker, &c->again);
}

bool consumer_settle(consumer *c, unsigned timeout_ms)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += timeout_ms / CONSUMER_MS_PER_S;
    until.tv_nsec += (long)(timeout_ms % CONSUMER_MS_PER_S) * (long)NS_PER_MS;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    ticker_clear(c->ticker, &c->beat);
    consumer_lock(c);
    while (c->pending && pthread_cond_timedwait(&c->changed, &c->lock, &until) != ETIMEDOUT)
        ;
    c->ending = true;
    while (c->waiting) /* they are called soon, and then not put off any more */
        pthread_cond_wait(&c->changed, &c->lock);
    bool settled = c->pending == 0;
    consumer_unlock(c);
    return settled;
}

void consumer_free(consumer *c)
{
    if (!c)
        return;
    assert(c->pending == 0);
    pthread_cond_destroy(&c->changed);
    pthread_mutex_destroy(&c->lock);
    free(c->title);
    free(c->queue);
    free(c->dead_letter);
    free(c);
}

/* --- for others --- */

static uint64_t load(const atomic_uint_fast64_t *count)
{
    return atomic_load_explicit(count, memory_order_relaxed);
}

consumer_counts consumer_count(const consumer *c)
{
    consumer *own = (consumer *)(uintptr_t)c;
    consumer_lock(own);
    unsigned running = c->busy;
    consumer_unlock(own);
    return (consumer_counts){load(&c->done),       load(&c->retried), load(&c->dead),
                             load(&c->given_back), load(&c->stale),   running};
}

const char *consumer_queue(const consumer *c)
{
    return c->queue;
}
