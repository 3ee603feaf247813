#include <errno.h>
#include <stdlib.h>

#include "runtime/clock.h"
#include "runtime/consumer_parts.h"

enum { AGAIN_NS = 250000000, TRIES_MOST = 40 };

int64_t consumer_delay_ms(const consumer_config *config, unsigned attempt)
{
    double delay = config->delay_s;
    if (config->backoff == BACKOFF_LINEAR)
        delay *= attempt;
    for (unsigned i = 1; config->backoff == BACKOFF_EXPONENTIAL && i < attempt && delay < config->max_delay_s;
         i++)
        delay *= 2;
    return (int64_t)((delay < config->max_delay_s ? delay : config->max_delay_s) * CONSUMER_MS_PER_S);
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
    consumer_lock(c);
    consumer_end_pending(c);
    consumer_unlock(c);
}

static void count_settled(consumer *c, const mq_op *op)
{
    uint64_t n = 0;
    for (const mq_message *m = op->messages; m; m = m->next)
        n++;
    if (op->err == -ESTALE)
        consumer_add(&c->stale, 1);
    else
        consumer_add(op->verb == MQ_ACK     ? &c->done
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

const char *consumer_note(const delivery *d)
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
                    .note = consumer_note(d),
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

void consumer_settle_again(void *user)
{
    delivery *d = user;
    consumer *c = d->consumer;
    consumer_lock(c);
    consumer_unlink_from(&c->waiting, d);
    pthread_cond_broadcast(&c->changed);
    consumer_unlock(c);
    consumer_settle_delivery(d);
}

/* Have the operation tried again later. Returns: false if it is not to be. */
static bool postpone(delivery *d)
{
    consumer *c = d->consumer;
    bool later = false;
    consumer_lock(c);
    if (!c->ending && is_passing(d->op.err) && ++d->tries < TRIES_MOST &&
        ticker_set(c->ticker, &d->again, clock_now_ns() + AGAIN_NS) == 0) {
        consumer_link_to(&c->waiting, d);
        later = true;
    }
    consumer_unlock(c);
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
        consumer_tell(c, 1, "the outcome of a job cannot be written down, it will be delivered again",
                      d->op.error);
    else
        count_settled(c, &d->op);
    mq_message_free(d->op.messages);
    d->op.messages = NULL;
    if (d->op.err == -ESHUTDOWN)
        give_up_rest(d);
    return true;
}

/* The operation was done inside mq_submit, and the loop in consumer_settle_delivery goes on; or later, and
 * then it does here.
 */
static void on_settled(mq_op *op)
{
    delivery *d = op->user;
    if (atomic_exchange_explicit(&d->stage, CONSUMER_OVER, memory_order_acq_rel) == CONSUMER_LEFT &&
        finish(d))
        consumer_settle_delivery(d);
}

/* Go on with the operation that was begun, or with the next, until one takes longer. */
void consumer_settle_delivery(delivery *d)
{
    while (d->op.messages || d->left) {
        if (!d->op.messages)
            prepare(d);
        d->op.done = on_settled;
        d->op.user = d;
        atomic_store_explicit(&d->stage, CONSUMER_BEGUN, memory_order_relaxed);
        mq_submit(d->consumer->queues, &d->op);
        if (atomic_exchange_explicit(&d->stage, CONSUMER_LEFT, memory_order_acq_rel) != CONSUMER_OVER ||
            !finish(d))
            return;
    }
    conclude(d);
}
