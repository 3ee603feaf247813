#include "runtime/consumer.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "runtime/clock.h"

enum {
    MS_PER_S = 1000,
    BEATS_PER_LEASE = 3,       /* how often a lease is extended */
    TAKE_AGAIN_NS = 500000000, /* after a take that has failed */
    SETTLE_AGAIN_NS = 250000000,
    SETTLE_TRIES = 40
};

#define NS_PER_MS UINT64_C(1000000)

/* Messages that were taken, from then until they are settled. */
typedef struct delivery {
    job job;
    consumer *consumer;
    struct delivery *next, *before; /* [consumer's lock] in one of its lists */
    mq_message *left;               /* that are not settled yet */
    errand_end end;
    mq_op op;
    atomic_int stage; /* of the operation: see settle */
    tick again;
    unsigned tries;
} delivery;

enum { BEGUN, LEFT, OVER };

struct consumer {
    consumer_config config;
    char *title, *queue, *dead_letter;
    errand_kind kind;
    mq *queues;
    pool *pool;
    ticker *ticker;
    mq_watcher watcher;
    tick beat, again;
    pthread_mutex_t lock;
    pthread_cond_t changed; /* `pending` is 0 */
    delivery *running;      /* [lock] jobs under way */
    delivery *waiting;      /* [lock] that are to be settled again */
    unsigned busy;          /* [lock] how many */
    unsigned pending;       /* [lock] operations under way, and deliveries that are not settled */
    bool taking;            /* [lock] `take` is under way */
    atomic_int take_stage;  /* of it: see begin_take */
    bool stopped, ending;   /* [lock] nothing is taken any more; nor tried again */
    bool paused;            /* [lock] nothing is taken until `again` calls */
    bool troubled;          /* [who ends a take] the last one has failed, and that was told */
    unsigned signals, seen; /* [lock] what the queue has said; and when the last take began */
    mq_op take;
    int64_t lease_ms; /* 0: no other process could take over, so there is none */
    atomic_uint_fast64_t done, retried, dead, given_back, stale;
};

static void begin_take(consumer *c);

static void tell(const consumer *c, int level, const char *what, const char *why)
{
    char text[512];
    snprintf(text, sizeof(text), "%s: %s: %s", c->title, what, why);
    c->config.tell(c->config.user, level, text);
}

static void add(atomic_uint_fast64_t *count, uint64_t n)
{
    atomic_fetch_add_explicit(count, n, memory_order_relaxed);
}

static void lock(consumer *c)
{
    pthread_mutex_lock(&c->lock);
}

static void unlock(consumer *c)
{
    pthread_mutex_unlock(&c->lock);
}

/* With the lock held. */
static void end_pending(consumer *c)
{
    if (--c->pending == 0)
        pthread_cond_broadcast(&c->changed);
}

/* With the lock held. */
static void link_to(delivery **list, delivery *d)
{
    d->before = NULL;
    d->next = *list;
    if (*list)
        (*list)->before = d;
    *list = d;
}

static void unlink_from(delivery **list, delivery *d)
{
    if (d->before)
        d->before->next = d->next;
    else
        *list = d->next;
    if (d->next)
        d->next->before = d->before;
}

/* --- settling --- */

int64_t consumer_delay_ms(const consumer_config *config, unsigned attempt)
{
    double delay = config->delay_s;
    if (config->backoff == BACKOFF_LINEAR)
        delay *= attempt;
    for (unsigned i = 1; config->backoff == BACKOFF_EXPONENTIAL && i < attempt && delay < config->max_delay_s;
         i++)
        delay *= 2;
    return (int64_t)((delay < config->max_delay_s ? delay : config->max_delay_s) * MS_PER_S);
}

static void free_delivery(delivery *d)
{
    mq_message_free(d->job.messages);
    mq_message_free(d->op.messages);
    mq_message_free(d->left);
    buf_fini(&d->job.result);
    free(d);
}

/* Nothing is left of it. */
static void conclude(delivery *d)
{
    consumer *c = d->consumer;
    free_delivery(d);
    lock(c);
    end_pending(c);
    unlock(c);
}

static void count_settled(consumer *c, const mq_op *op)
{
    uint64_t n = 0;
    for (const mq_message *m = op->messages; m; m = m->next)
        n++;
    if (op->err == -ESTALE)
        add(&c->stale, 1);
    else
        add(op->verb == MQ_ACK     ? &c->done
            : op->verb == MQ_DEAD  ? &c->dead
            : op->verb == MQ_RETRY ? &c->retried
                                   : &c->given_back,
            n);
}

static bool is_passing(int err)
{
    return err == -ETIMEDOUT || err == -ENOTCONN || err == -EAGAIN || err == -EIO || err == -ENOSPC;
}

static bool is_last_try(const consumer *c, const mq_message *m)
{
    return m->attempt > c->config.retries;
}

static const char *note_of(const delivery *d)
{
    static const char late[] = "it took longer than the consumer's timeout", lost[] = "it failed";
    if (d->job.result.n)
        return d->job.result.p;
    return d->end == ERRAND_LATE ? late : lost;
}

/* One of a job that has failed. */
static void fail_one(delivery *d, mq_message *m)
{
    const consumer *c = d->consumer;
    bool last = is_last_try(c, m);
    d->op = (mq_op){.verb = last ? MQ_DEAD : MQ_RETRY,
                    .queue = c->queue,
                    .messages = m,
                    .note = note_of(d),
                    .to = c->dead_letter,
                    .delay_ms = last ? 0 : consumer_delay_ms(&c->config, m->attempt)};
}

/* Make the next operation: for all that is left at once, but for a job that has failed one by one, as each
 * has had tries of its own. */
static void prepare(delivery *d)
{
    consumer *c = d->consumer;
    mq_message *m = d->left;
    if (d->end == ERRAND_OK || d->end == ERRAND_NOT_RUN) {
        d->left = NULL;
        d->op =
            (mq_op){.verb = d->end == ERRAND_OK ? MQ_ACK : MQ_GIVE_BACK, .queue = c->queue, .messages = m};
    } else {
        d->left = m->next;
        m->next = NULL;
        fail_one(d, m);
    }
    d->tries = 0;
}

static void settle(delivery *d);

static void on_again(void *user)
{
    delivery *d = user;
    consumer *c = d->consumer;
    lock(c);
    unlink_from(&c->waiting, d);
    pthread_cond_broadcast(&c->changed);
    unlock(c);
    settle(d);
}

/* Have the operation tried again later. Returns: false if it is not to be. */
static bool postpone(delivery *d)
{
    consumer *c = d->consumer;
    bool later = false;
    lock(c);
    if (!c->ending && is_passing(d->op.err) && ++d->tries < SETTLE_TRIES &&
        ticker_set(c->ticker, &d->again, clock_now_ns() + SETTLE_AGAIN_NS) == 0) {
        link_to(&c->waiting, d);
        later = true;
    }
    unlock(c);
    return later;
}

/* The queues are closed: nothing more can be asked of them. */
static void give_up_rest(delivery *d)
{
    mq_message_free(d->left);
    d->left = NULL;
}

/* An operation is done. Returns: false when it is to be tried again. */
static bool finish(delivery *d)
{
    consumer *c = d->consumer;
    if (postpone(d))
        return false;
    if (d->op.err && d->op.err != -ESTALE)
        tell(c, 1, "the outcome of a job cannot be written down, it will be delivered again", d->op.error);
    else
        count_settled(c, &d->op);
    mq_message_free(d->op.messages);
    d->op.messages = NULL;
    if (d->op.err == -ESHUTDOWN)
        give_up_rest(d);
    return true;
}

/* The operation was done inside mq_submit, and the loop in `settle` goes on; or later, and then it does here.
 */
static void on_settled(mq_op *op)
{
    delivery *d = op->user;
    if (atomic_exchange_explicit(&d->stage, OVER, memory_order_acq_rel) == LEFT && finish(d))
        settle(d);
}

/* Go on with the operation that was begun, or with the next, until one takes longer. */
static void settle(delivery *d)
{
    while (d->op.messages || d->left) {
        if (!d->op.messages)
            prepare(d);
        d->op.done = on_settled;
        d->op.user = d;
        atomic_store_explicit(&d->stage, BEGUN, memory_order_relaxed);
        mq_submit(d->consumer->queues, &d->op);
        if (atomic_exchange_explicit(&d->stage, LEFT, memory_order_acq_rel) != OVER || !finish(d))
            return;
    }
    conclude(d);
}

/* --- jobs --- */

/* Or what cannot be run would be given back and taken again at once. */
static void pause_taking(consumer *c)
{
    lock(c);
    if (!c->stopped)
        c->paused = ticker_set(c->ticker, &c->again, clock_now_ns() + TAKE_AGAIN_NS) == 0;
    unlock(c);
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
    lock(c);
    d->left = d->job.messages;
    d->job.messages = NULL;
    unlink_from(&c->running, d);
    c->busy--;
    c->pending++;
    unlock(c);
    settle(d);
    begin_take(c);
    lock(c);
    end_pending(c);
    unlock(c);
}

/* What was ended while it waited has said nothing. */
static void tell_late(const delivery *d)
{
    if (!d->job.result.n)
        tell(d->consumer, 1, "a job was ended", note_of(d));
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
    d->again = (tick){.call = on_again, .user = d};
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
        tell(c, 1, "messages are held until their lease ends", "out of memory");
        mq_message_free(messages);
        return NULL;
    }
    d->job.messages = messages;
    lock(c);
    link_to(&c->running, d);
    c->busy++;
    c->pending++;
    unlock(c);
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
    lock(c);
    c->signals++;
    unlock(c);
    begin_take(c);
}

static void on_take_again(void *user)
{
    consumer *c = user;
    lock(c);
    c->paused = false;
    unlock(c);
    on_ready(c);
}

static void note_take(consumer *c, const mq_op *op)
{
    if (op->err && op->err != -ESHUTDOWN) {
        pause_taking(c);
        if (!c->troubled)
            tell(c, 1, "no messages can be taken", op->error);
    } else if (c->troubled) {
        tell(c, 1, "messages can be taken again", mq_address(c->queues));
    }
    c->troubled = op->err != 0;
}

static void end_take(consumer *c)
{
    mq_message *list = c->take.messages;
    c->take.messages = NULL;
    note_take(c, &c->take);
    bool any = list != NULL;
    lock(c);
    bool stopped = c->stopped;
    unlock(c);
    deliver(c, list, stopped);
    lock(c);
    c->taking = false;
    if (any)
        c->signals++; /* there may be more */
    unlock(c);
}

/* Told by the engine: inside mq_submit, and the loop in begin_take goes on; or later, and then it does here.
 */
static void on_taken(mq_op *op)
{
    consumer *c = op->user;
    if (atomic_exchange_explicit(&c->take_stage, OVER, memory_order_acq_rel) != LEFT)
        return;
    end_take(c);
    begin_take(c);
    lock(c);
    end_pending(c);
    unlock(c);
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
    lock(c);
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
        atomic_store_explicit(&c->take_stage, BEGUN, memory_order_relaxed);
    }
    unlock(c);
    return go;
}

/* Take messages, as long as there may be some and there is room for them. An engine that answers at once
 * answers here, in a loop: what is settled at once may be much. The caller sees to it that the consumer stays
 * meanwhile. */
static void begin_take(consumer *c)
{
    while (claim_take(c)) {
        mq_submit(c->queues, &c->take);
        if (atomic_exchange_explicit(&c->take_stage, LEFT, memory_order_acq_rel) != OVER)
            return;
        end_take(c);
        lock(c);
        end_pending(c);
        unlock(c);
    }
}

/* --- leases --- */

typedef struct beat_op {
    mq_op op;
    consumer *consumer;
} beat_op;

static void on_beaten(mq_op *op)
{
    beat_op *b = op->user;
    consumer *c = b->consumer;
    mq_message_free(op->messages);
    free(b);
    lock(c);
    end_pending(c);
    unlock(c);
}

/* With the lock held: a copy of what is needed to name each message that is held. */
static mq_message *copy_held(consumer *c)
{
    mq_message *list = NULL;
    for (const delivery *d = c->running; d; d = d->next) {
        for (const mq_message *m = d->job.messages; m; m = m->next) {
            mq_message *copy = mq_message_new(STR(""), m->id, NULL, NULL, m->token);
            if (!copy)
                return list;
            copy->handle = m->handle;
            copy->lease = m->lease;
            copy->next = list;
            list = copy;
        }
    }
    return list;
}

static void extend(consumer *c, mq_message *list)
{
    while (list) {
        mq_message *next = list->next;
        beat_op *b = malloc(sizeof(*b));
        list->next = NULL;
        if (b) {
            lock(c);
            c->pending++;
            unlock(c);
            *b = (beat_op){.consumer = c,
                           .op = {.verb = MQ_EXTEND,
                                  .queue = c->queue,
                                  .messages = list,
                                  .lease_ms = c->lease_ms,
                                  .done = on_beaten}};
            b->op.user = b;
            mq_submit(c->queues, &b->op);
        } else {
            mq_message_free(list);
        }
        list = next;
    }
}

static void set_beat(consumer *c)
{
    uint64_t every_ns = (uint64_t)c->lease_ms * NS_PER_MS / BEATS_PER_LEASE;
    (void)ticker_set(c->ticker, &c->beat, clock_now_ns() + every_ns);
}

static void on_beat(void *user)
{
    consumer *c = user;
    lock(c);
    mq_message *held = copy_held(c);
    unlock(c);
    extend(c, held);
    set_beat(c);
}

/* --- life --- */

int consumer_new(const consumer_config *config, mq *queues, ticker *k, consumer **ret_consumer)
{
    consumer *c = calloc(1, sizeof(*c));
    if (!c)
        return -ENOMEM;
    c->config = *config;
    c->queues = queues;
    c->lease_ms = mq_survives(queues) ? (int64_t)(config->lease_s * MS_PER_S) : 0;
    c->ticker = k;
    c->queue = strdup(config->queue);
    c->dead_letter = strdup(config->dead_letter);
    if (asprintf(&c->title, "queue %s", config->queue) < 0)
        c->title = NULL;
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->changed, NULL);
    if (!c->queue || !c->dead_letter || !c->title) {
        consumer_free(c);
        return -ENOMEM;
    }
    run_limits limits = config->limits;
    limits.route = c->title;
    errand_kind_init(&c->kind, &limits);
    c->watcher = (mq_watcher){.queue = c->queue, .ready = on_ready, .user = c};
    c->beat = (tick){.call = on_beat, .user = c};
    c->again = (tick){.call = on_take_again, .user = c};
    *ret_consumer = c;
    return 0;
}

void consumer_start(consumer *c, pool *p)
{
    c->pool = p;
    if (c->lease_ms)
        set_beat(c);
    mq_watch(c->queues, &c->watcher);
}

void consumer_stop(consumer *c)
{
    lock(c);
    bool before = c->stopped || !c->pool;
    c->stopped = true;
    unlock(c);
    if (before)
        return;
    mq_unwatch(c->queues, &c->watcher);
    ticker_clear(c->ticker, &c->again);
}

bool consumer_settle(consumer *c, unsigned timeout_ms)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += timeout_ms / MS_PER_S;
    until.tv_nsec += (long)(timeout_ms % MS_PER_S) * (long)NS_PER_MS;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    ticker_clear(c->ticker, &c->beat);
    lock(c);
    while (c->pending && pthread_cond_timedwait(&c->changed, &c->lock, &until) != ETIMEDOUT)
        ;
    c->ending = true;
    while (c->waiting) /* they are called soon, and then not put off any more */
        pthread_cond_wait(&c->changed, &c->lock);
    bool settled = c->pending == 0;
    unlock(c);
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
    lock(own);
    unsigned running = c->busy;
    unlock(own);
    return (consumer_counts){load(&c->done),       load(&c->retried), load(&c->dead),
                             load(&c->given_back), load(&c->stale),   running};
}

const char *consumer_queue(const consumer *c)
{
    return c->queue;
}
