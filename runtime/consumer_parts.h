/* consumer_parts: what the parts of a consumer share: consumer.c (its life, taking, running), consumer_settle
 * (the outcomes of its jobs) and consumer_lease (holding what was taken). Only these include it. */
#ifndef RUNTIME_CONSUMER_PARTS_H
#define RUNTIME_CONSUMER_PARTS_H

#include <pthread.h>
#include <stdio.h>

#include "runtime/consumer.h"

enum { CONSUMER_MS_PER_S = 1000 };

#define NS_PER_MS UINT64_C(1000000)

/* Messages that were taken, from then until they are settled. */
typedef struct delivery {
    job job;
    consumer *consumer;
    struct delivery *next, *before; /* [consumer's lock] in one of its lists */
    mq_message *left;               /* that are not settled yet */
    errand_end end;
    mq_op op;
    atomic_int stage; /* of the operation: see consumer_settle_delivery */
    tick again;
    unsigned tries;
} delivery;

/* Stages of an operation that may be over inside mq_submit. */
enum { CONSUMER_BEGUN, CONSUMER_LEFT, CONSUMER_OVER };

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
    atomic_int take_stage;  /* of it: see consumer.c, begin_take */
    bool stopped, ending;   /* [lock] nothing is taken any more; nor tried again */
    bool paused;            /* [lock] nothing is taken until `again` calls */
    bool troubled;          /* [who ends a take] the last one has failed, and that was told */
    unsigned signals, seen; /* [lock] what the queue has said; and when the last take began */
    mq_op take;
    int64_t lease_ms; /* 0: no other process could take over, so there is none */
    atomic_uint_fast64_t done, retried, dead, given_back, stale;
};

static inline void consumer_tell(const consumer *c, int level, const char *what, const char *why)
{
    char text[512];
    snprintf(text, sizeof(text), "%s: %s: %s", c->title, what, why);
    c->config.tell(c->config.user, level, text);
}

static inline void consumer_add(atomic_uint_fast64_t *count, uint64_t n)
{
    atomic_fetch_add_explicit(count, n, memory_order_relaxed);
}

static inline void consumer_lock(consumer *c)
{
    pthread_mutex_lock(&c->lock);
}

static inline void consumer_unlock(consumer *c)
{
    pthread_mutex_unlock(&c->lock);
}

/* With the lock held. */
static inline void consumer_end_pending(consumer *c)
{
    if (--c->pending == 0)
        pthread_cond_broadcast(&c->changed);
}

/* With the lock held. */
static inline void consumer_link_to(delivery **list, delivery *d)
{
    d->before = NULL;
    d->next = *list;
    if (*list)
        (*list)->before = d;
    *list = d;
}

static inline void consumer_unlink_from(delivery **list, delivery *d)
{
    if (d->before)
        d->before->next = d->next;
    else
        *list = d->next;
    if (d->next)
        d->next->before = d->before;
}

/* --- consumer_settle --- */

/* Write down what became of a delivery whose job has ended, and free it. */
void consumer_settle_delivery(delivery *d);

/* For delivery.again. */
void consumer_settle_again(void *delivery);

/* What is known of why it failed. */
const char *consumer_note(const delivery *d);

/* --- consumer_lease --- */

/* Extend the leases of what is held, and have that called again in time: for consumer.beat. */
void consumer_beat(void *consumer);

/* Have it called for the first time. */
void consumer_set_beat(consumer *c);

#endif
