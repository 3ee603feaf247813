#include <stdlib.h>

#include "runtime/clock.h"
#include "runtime/consumer_parts.h"

enum { BEATS_PER_LEASE = 3 }; /* how often it is extended while it lasts */

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
    consumer_lock(c);
    consumer_end_pending(c);
    consumer_unlock(c);
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
            consumer_lock(c);
            c->pending++;
            consumer_unlock(c);
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

void consumer_set_beat(consumer *c)
{
    uint64_t every_ns = (uint64_t)c->lease_ms * NS_PER_MS / BEATS_PER_LEASE;
    (void)ticker_set(c->ticker, &c->beat, clock_now_ns() + every_ns);
}

void consumer_beat(void *user)
{
    consumer *c = user;
    consumer_lock(c);
    mq_message *held = copy_held(c);
    consumer_unlock(c);
    extend(c, held);
    consumer_set_beat(c);
}
