#include "queue/mem_look.h"

#include <errno.h>
#include <stdlib.h>

#include "queue/mem_push.h"

static bool is_meant(mem_item *it, const char *id)
{
    return !id || !*id || strcmp(mem_item_message(it)->id, id) == 0;
}

/* In the order of their times, if all are meant. */
static mem_item *find_delayed(const mem_queue *q, const char *id)
{
    for (size_t i = 0; i < q->delays.n; i++)
        if (is_meant((mem_item *)q->delays.heap[i], id))
            return (mem_item *)q->delays.heap[i];
    return NULL;
}

/* Those that are delayed, or have an origin, are taken out, as a chain; the others are as they should be.
 * With q's lock. */
static mem_item *take_out(mem_queue *q, const char *id)
{
    mem_item *first = NULL, **end_of = &first;
    for (mem_item *it = mem_queue_after(q, NULL), *next; it; it = next) {
        next = mem_queue_after(q, it);
        if (!*mem_item_from(it) || !is_meant(it, id))
            continue;
        mem_queue_remove(q, it);
        *end_of = it;
        end_of = &it->next;
    }
    for (mem_item *it; (it = find_delayed(q, id)) != NULL;) {
        mem_queue_remove(q, it);
        *end_of = it;
        end_of = &it->next;
    }
    *end_of = NULL;
    return first;
}

/* Back to where it came from, which is there still, as all queues are; or where it is. */
static void revive(mem_engine *e, mem_queue *q, mem_item *it, int64_t now_ms)
{
    mem_after a = {.ready = true};
    bool is_dead = *mem_item_from(it) != '\0';
    mem_queue *to = is_dead ? mem_engine_find(e, mem_item_from(it), false) : q;
    pthread_mutex_lock(&to->lock);
    it->ready_ms = now_ms;
    if (is_dead) {
        it->attempt = 0;
        it->progress = -1;
        it->is_revived = true;
    }
    mem_queue_put(to, it);
    pthread_mutex_unlock(&to->lock);
    mem_engine_follow(e, to, &a);
}

void mem_look_revive(mem_engine *e, mq_op *op)
{
    mem_after a = {0};
    mem_queue *q = mem_engine_find(e, op->queue, false);
    op->count = 0;
    if (q) {
        int64_t now_ms = mq_now_ms();
        pthread_mutex_lock(&q->lock);
        mem_item *chain = take_out(q, op->id);
        pthread_mutex_unlock(&q->lock);
        for (mem_item *it = chain, *next; it; it = next) {
            next = it->next;
            revive(e, q, it, now_ms);
            op->count++;
        }
        pthread_mutex_lock(&q->lock);
        mem_push_admit(e, q, &a);
        mem_engine_arm(e, q);
        pthread_mutex_unlock(&q->lock);
        mem_engine_follow(e, q, &a);
    }
    mq_finish(op, 0, NULL);
}

void mem_look_purge(mem_engine *e, mq_op *op)
{
    mem_after a = {0};
    mem_queue *q = mem_engine_find(e, op->queue, false);
    op->count = 0;
    if (q) {
        pthread_mutex_lock(&q->lock);
        mem_item *chain = mem_queue_empty(q, &op->count);
        mem_push_admit(e, q, &a);
        mem_engine_arm(e, q);
        pthread_mutex_unlock(&q->lock);
        mem_chain_unref(chain);
        mem_engine_follow(e, q, &a);
    }
    mq_finish(op, 0, NULL);
}

void mem_look_peek(mem_engine *e, mq_op *op)
{
    mem_queue *q = mem_engine_find(e, op->queue, false);
    op->messages = NULL;
    int err = q ? mem_queue_peek(q, op->most < MQ_TAKE_MAX ? op->most : MQ_TAKE_MAX, &op->messages) : 0;
    mq_finish(op, err, NULL);
}

static void add_stats(mem_queue *q, mq_op *op)
{
    pthread_mutex_lock(&q->lock);
    if (q->exists)
        mem_queue_stats(q, &op->stats[op->count++]);
    pthread_mutex_unlock(&q->lock);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const mq_stats *)a)->name, ((const mq_stats *)b)->name);
}

static void add_all_stats(mem_engine *e, mq_op *op)
{
    pthread_mutex_lock(&e->table_lock);
    op->stats = calloc(e->queues_n + 1, sizeof(mq_stats));
    for (size_t i = 0; op->stats && i < e->shelves_n; i++)
        for (mem_queue *q = e->shelves[i]; q; q = q->next)
            add_stats(q, op);
    pthread_mutex_unlock(&e->table_lock);
    if (op->stats)
        qsort(op->stats, op->count, sizeof(mq_stats), by_name);
}

void mem_look_stats(mem_engine *e, mq_op *op)
{
    op->count = 0;
    op->stats = NULL;
    if (*op->queue) {
        mem_queue *q = mem_engine_find(e, op->queue, false);
        op->stats = calloc(1, sizeof(mq_stats));
        if (q && op->stats)
            add_stats(q, op);
    } else {
        add_all_stats(e, op);
    }
    mq_finish(op, op->stats ? 0 : -ENOMEM, NULL);
}

void mem_look_claim(mem_engine *e, mq_op *op)
{
    mem_queue *q = mem_engine_find(e, op->queue, true);
    if (q) {
        pthread_mutex_lock(&q->lock);
        op->duplicate = op->moment_ms <= q->claimed_ms;
        if (!op->duplicate)
            q->claimed_ms = op->moment_ms;
        pthread_mutex_unlock(&q->lock);
    }
    mq_finish(op, q ? 0 : -ENOMEM, NULL);
}

void mem_look_last(mem_engine *e, mq_op *op)
{
    mem_queue *q = mem_engine_find(e, op->queue, false);
    op->moment_ms = 0;
    if (q) {
        pthread_mutex_lock(&q->lock);
        op->moment_ms = q->claimed_ms;
        pthread_mutex_unlock(&q->lock);
    }
    mq_finish(op, 0, NULL);
}
