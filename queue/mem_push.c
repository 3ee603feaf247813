#include "queue/mem_push.h"

#include <errno.h>
#include <stdio.h>

static bool is_checked(const mq_op *op)
{
    return op->id && *op->id && op->window_ms > 0;
}

/* Too many ids within their windows: once for each queue. */
static void tell_of_ids(const mem_engine *e, mem_queue *q)
{
    const mq_config *config = mq_config_of(e->front);
    char text[MQ_ERROR_BYTES];
    if (!config->tell || q->told_of_ids)
        return;
    q->told_of_ids = true;
    snprintf(text, sizeof(text),
             "queue \"%s\": more than %llu ids within their windows; the oldest are forgotten early", q->name,
             (unsigned long long)e->max);
    config->tell(config->user, 1, text);
}

static int remember(mem_engine *e, mem_queue *q, const mq_op *op)
{
    int r = seen_add(&q->ids, &e->key, op->id, mem_now_ns(), mem_length_ns(op->window_ms), e->max);
    if (r > 0)
        tell_of_ids(e, q);
    return r < 0 ? r : 0;
}

/* With q's lock. Returns: 0, it is in the queue or a duplicate; -EAGAIN or -ENOMEM, it is still the caller's.
 */
static int place(mem_engine *e, mem_queue *q, mq_op *op, int64_t now_ms, mem_item **it, bool *ready)
{
    uint64_t delay_ns = mem_length_ns(op->delay_ms);
    op->duplicate =
        is_checked(op) && seen_has(&q->ids, &e->key, op->id, mem_now_ns(), mem_length_ns(op->window_ms));
    if (op->duplicate)
        return 0;
    if (mem_queue_count(q) >= e->max)
        return -EAGAIN;
    if ((delay_ns && timers_reserve(&q->delays, 1) < 0) || (is_checked(op) && remember(e, q, op) < 0))
        return -ENOMEM;
    q->exists = true;
    mem_item_message(*it)->pushed_ms = now_ms;
    (*it)->ready_ms = now_ms + (int64_t)delay_ns / MEM_NS_PER_MS;
    if (delay_ns)
        mem_queue_delay(q, *it, mem_now_ns() + delay_ns);
    else
        mem_queue_put(q, *it);
    *ready |= delay_ns == 0;
    *it = NULL;
    return 0;
}

/* op->messages keeps its message until there is room. With q's lock. */
static void wait_for_room(mem_queue *q, mq_op *op, mem_item **it)
{
    uint64_t until_ns = mem_now_ns() + mem_length_ns(op->wait_ms);
    op->messages = mem_item_message(*it);
    op->until_ms = (int64_t)until_ns / MEM_NS_PER_MS;
    op->next = NULL;
    *q->waiting_end = op;
    q->waiting_end = &op->next;
    if (until_ns < q->waiting_first_ns)
        q->waiting_first_ns = until_ns;
    *it = NULL;
}

/* Take *at out of those that wait, and have it ended. Returns: its message, the caller's. */
static mem_item *end_wait(mem_queue *q, mq_op **at, int err, mem_after *a)
{
    mq_op *op = *at;
    mem_item *it = (mem_item *)(void *)(op->messages + 1);
    *at = op->next;
    if (!op->next)
        q->waiting_end = at;
    op->messages = NULL;
    op->err = err;
    op->next = NULL;
    *(a->last ? &a->last->next : &a->ended) = op;
    a->last = op;
    return it;
}

void mem_push_admit(mem_engine *e, mem_queue *q, mem_after *a)
{
    int64_t now_ms = q->waiting ? mq_now_ms() : 0;
    while (q->waiting) {
        mq_op *op = q->waiting;
        mem_item *it = (mem_item *)(void *)(op->messages + 1);
        int err = place(e, q, op, now_ms, &it, &a->ready);
        if (err == -EAGAIN)
            return;
        end_wait(q, &q->waiting, err, a);
        mem_item_unref(it);
    }
    q->waiting_first_ns = UINT64_MAX;
}

static mem_item *item_of(mq_op *op, int64_t now_ms)
{
    if (op->id && *op->id)
        snprintf(op->id_text, sizeof(op->id_text), "%s", op->id);
    else
        mq_make_id_at(op->id_text, now_ms);
    mem_item *it = mem_item_new(op->body, op->id_text, NULL, NULL);
    int most = MQ_PRIORITIES - 1, priority = op->priority < most ? op->priority : most;
    if (it)
        mem_item_message(it)->priority = priority > 0 ? priority : 0;
    return it;
}

void mem_push(mem_engine *e, mq_op *op)
{
    mem_after a = {0};
    bool waits = false;
    int64_t now_ms = mq_now_ms();
    int err = op->delay_ms > 0 || op->wait_ms > 0 ? mem_engine_start_thread(e) : 0;
    mem_queue *q = err ? NULL : mem_engine_find(e, op->queue, true);
    mem_item *it = q ? item_of(op, now_ms) : NULL;
    if (!it) {
        mq_finish(op, err ? err : -ENOMEM, NULL);
        return;
    }
    pthread_mutex_lock(&q->lock);
    op->err = place(e, q, op, now_ms, &it, &a.ready);
    waits = op->err == -EAGAIN && op->wait_ms > 0;
    if (waits)
        wait_for_room(q, op, &it);
    if (op->delay_ms > 0 || waits)
        mem_engine_arm(e, q);
    pthread_mutex_unlock(&q->lock);
    mem_item_unref(it);
    mem_engine_follow(e, q, &a);
    if (!waits)
        mem_engine_end(e, op);
}

void mem_push_end_waits(mem_queue *q, uint64_t until_ns, int err, mem_after *a)
{
    mem_item *chain = NULL;
    q->waiting_first_ns = UINT64_MAX;
    for (mq_op **at = &q->waiting; *at;) {
        uint64_t op_ns = (uint64_t)((*at)->until_ms * MEM_NS_PER_MS);
        if (op_ns <= until_ns) {
            mem_item *it = end_wait(q, at, err, a);
            it->next = chain;
            chain = it;
        } else {
            if (op_ns < q->waiting_first_ns)
                q->waiting_first_ns = op_ns;
            at = &(*at)->next;
        }
    }
    mem_chain_unref(chain);
}
