/* mq_memory: queues in the process's memory. They are lost with it.
 *
 * Everything is answered in mq_submit, but a push that waits for room: that one is answered by whoever makes
 * room, or by the thread for times, which is started when the first delay, lease or wait comes. */
#include "queue/mq.h"

#include <errno.h>
#include <stdio.h>

#include "queue/mem_engine.h"
#include "queue/mem_look.h"
#include "queue/mem_push.h"
#include "queue/mem_settle.h"

enum { MAX_PRESET = 100000 };

static int on_open(const mq *front, const char *rest_of, void **ret_self, char *error, size_t size)
{
    int64_t max;
    int err = mq_parameter(front, "max", 1, INT32_MAX, MAX_PRESET, &max, error, size);
    if (!err && *rest_of) {
        snprintf(error, size, "nothing but parameters may follow: memory:?max=%d", MAX_PRESET);
        err = -EINVAL;
    }
    if (err)
        return err;
    mem_engine *e = mem_engine_new(front, (uint64_t)max);
    if (!e)
        return -ENOMEM;
    *ret_self = e;
    return 0;
}

static void take(mem_engine *e, mq_op *op)
{
    int err = op->lease_ms > 0 ? mem_engine_start_thread(e) : 0;
    mem_queue *q = err ? NULL : mem_engine_find(e, op->queue, false);
    unsigned most = op->most < MQ_TAKE_MAX ? op->most : MQ_TAKE_MAX;
    int64_t lease_ms = op->lease_ms > 0 ? mem_from_now_ms(op->lease_ms) : 0;
    uint64_t lease_ns = op->lease_ms > 0 ? mem_now_ns() + mem_length_ns(op->lease_ms) : 0;
    op->messages = NULL;
    if (q) {
        pthread_mutex_lock(&q->lock);
        op->messages = mem_queue_take(q, most, lease_ms, lease_ns, &err);
        if (lease_ms && op->messages)
            mem_engine_arm(e, q);
        pthread_mutex_unlock(&q->lock);
    }
    mq_finish(op, err, NULL);
}

/* Returns: how many messages are lost. */
static uint64_t refuse_waiting(mem_engine *e)
{
    uint64_t lost = 0;
    for (size_t i = 0; i < e->shelves_n; i++)
        for (mem_queue *q = e->shelves[i]; q; q = q->next) {
            mem_after a = {0};
            pthread_mutex_lock(&q->lock);
            mem_push_end_waits(q, UINT64_MAX, -ESHUTDOWN, &a);
            lost += mem_queue_count(q);
            pthread_mutex_unlock(&q->lock);
            mem_engine_follow(e, q, &a);
        }
    return lost;
}

static void on_close(void *self)
{
    mem_engine *e = self;
    const mq_config *config = mq_config_of(e->front);
    char text[MQ_ERROR_BYTES];
    atomic_store_explicit(&e->is_closed, true, memory_order_relaxed);
    mem_engine_stop_thread(e);
    uint64_t lost = refuse_waiting(e);
    if (lost && config->tell) {
        snprintf(text, sizeof(text), "%llu messages that were in the queues are lost: they were in memory",
                 (unsigned long long)lost);
        config->tell(config->user, 1, text);
    }
    mem_engine_free(e);
}

static void on_submit(void *self, mq_op *op)
{
    mem_engine *e = self;
    static void (*const verbs[])(mem_engine * e,
                                 mq_op * op) = {[MQ_PUSH] = mem_push,          [MQ_TAKE] = take,
                                                [MQ_STATS] = mem_look_stats,   [MQ_PEEK] = mem_look_peek,
                                                [MQ_REVIVE] = mem_look_revive, [MQ_PURGE] = mem_look_purge,
                                                [MQ_CLAIM] = mem_look_claim,   [MQ_LAST] = mem_look_last};
    if (atomic_load_explicit(&e->is_closed, memory_order_relaxed))
        mq_finish(op, -ESHUTDOWN, NULL);
    else if (verbs[op->verb])
        verbs[op->verb](e, op);
    else
        mem_settle(e, op);
}

static void on_watch(void *self, mq_watcher *w)
{
    watchers_add(((mem_engine *)self)->watchers, w);
}

static void on_unwatch(void *self, mq_watcher *w)
{
    watchers_remove(((mem_engine *)self)->watchers, w);
}

const mq_engine mq_memory = {.scheme = "memory",
                             .open = on_open,
                             .close = on_close,
                             .submit = on_submit,
                             .watch = on_watch,
                             .unwatch = on_unwatch};
