#include "queue/mem_settle.h"

#include <errno.h>

#include "queue/mem_push.h"

/* What came of the messages of one operation. */
typedef struct outcome {
    unsigned n, stale;
    int err;
} outcome;

static void finish_settling(mq_op *op, const outcome *o)
{
    if (o->err)
        mq_finish(op, o->err, NULL);
    else if (o->stale)
        mq_finish(op, -ESTALE, "queue \"%s\": %u of %u messages are not held by this consumer any more",
                  op->queue, o->stale, o->n);
    else
        mq_finish(op, 0, NULL);
}

typedef bool each_held(mem_engine *e, mem_queue *q, mem_item *it, const mq_op *op, outcome *o);

/* Let `each` settle those that are held, with q's lock. It says whether one has become ready. */
static void settle(mem_engine *e, mq_op *op, each_held *each)
{
    mem_queue *q = mem_engine_find(e, op->queue, false);
    mem_after a = {0};
    outcome o = {0};
    if (q)
        pthread_mutex_lock(&q->lock);
    for (const mq_message *m = op->messages; m; m = m->next, o.n++) {
        mem_item *it = q ? mem_queue_held(q, m) : NULL;
        o.stale += !it;
        if (it)
            a.ready |= each(e, q, it, op, &o);
    }
    if (q) {
        mem_push_admit(e, q, &a);
        mem_engine_arm(e, q);
        pthread_mutex_unlock(&q->lock);
        mem_engine_follow(e, q, &a);
    }
    finish_settling(op, &o);
}

static bool acknowledge(mem_engine *e, mem_queue *q, mem_item *it, const mq_op *op, outcome *o)
{
    (void)e, (void)op, (void)o;
    mem_queue_let_go(q, it);
    mem_item_unref(it);
    return false;
}

static bool extend(mem_engine *e, mem_queue *q, mem_item *it, const mq_op *op, outcome *o)
{
    (void)e;
    bool is_set = op->lease_ms > 0;
    int err = mem_queue_lease(q, it, is_set ? mem_from_now_ms(op->lease_ms) : 0,
                              is_set ? mem_now_ns() + mem_length_ns(op->lease_ms) : 0);
    if (err)
        o->err = err;
    return false;
}

static bool set_progress(mem_engine *e, mem_queue *q, mem_item *it, const mq_op *op, outcome *o)
{
    (void)e, (void)q, (void)o;
    it->progress = op->progress;
    return false;
}

/* --- giving back, retrying, burying: in the place of a message comes another or the same --- */

/* Those of the operation that are held, as a chain: nobody else may settle them now. What comes in the place
 * of one, its heir, is kept in its `previous`. */
static mem_item *pick(mem_queue *q, const mq_op *op, outcome *o)
{
    mem_item *first = NULL, **end_of = &first;
    if (q)
        pthread_mutex_lock(&q->lock);
    for (const mq_message *m = op->messages; m; m = m->next, o->n++) {
        mem_item *it = q ? mem_queue_held(q, m) : NULL;
        o->stale += !it;
        if (!it)
            continue;
        it->is_settled = true;
        it->previous = it->next = NULL;
        *end_of = it;
        end_of = &it->next;
    }
    if (q)
        pthread_mutex_unlock(&q->lock);
    return first;
}

/* Give each of the chain an heir with these texts, NULL: its own. Without a lock. Returns: 0 or -ENOMEM, then
 * some have none. */
static int find_heirs(mem_item *chain, const char *from, const char *note)
{
    for (mem_item *it = chain; it; it = it->next) {
        if (from || (note && *note))
            it->previous =
                mem_item_copy(it, from ? from : mem_item_from(it), note ? note : mem_item_note(it));
        else
            mq_message_ref(mem_item_message(it->previous = it));
        if (!it->previous)
            return -ENOMEM;
    }
    return 0;
}

/* Those with an heir are taken no more, the others as before. Returns: a chain of the heirs. With q's lock.
 */
static mem_item *replace(mem_queue *q, mem_item *chain)
{
    mem_item *heirs = NULL, **end_of = &heirs;
    while (chain) {
        mem_item *it = chain, *heir = it->previous;
        chain = it->next;
        it->is_settled = false;
        if (!heir)
            continue;
        mem_queue_let_go(q, it);
        mem_item_unref(it);
        heir->next = NULL;
        *end_of = heir;
        end_of = &heir->next;
    }
    return heirs;
}

/* The heirs are given up. With q's lock. */
static void forget_heirs(mem_item *chain)
{
    for (mem_item *it = chain; it; it = it->next) {
        mem_item_unref(it->previous);
        it->previous = NULL;
    }
}

/* Back into the queue after a delay. With q's lock. */
static int put_heirs(mem_queue *q, mem_item *chain, int64_t delay_ms, unsigned n)
{
    uint64_t delay_ns = mem_length_ns(delay_ms), due_ns = mem_now_ns() + delay_ns;
    int64_t ready_ms = mem_from_now_ms(delay_ms);
    int err = delay_ns ? timers_reserve(&q->delays, n) : 0;
    if (err)
        forget_heirs(chain);
    for (mem_item *it = replace(q, chain), *next; it; it = next) {
        next = it->next;
        it->ready_ms = ready_ms;
        if (delay_ns)
            mem_queue_delay(q, it, due_ns);
        else
            mem_queue_put(q, it);
    }
    return err;
}

static void retry(mem_engine *e, mq_op *op)
{
    outcome o = {.err = op->delay_ms > 0 ? mem_engine_start_thread(e) : 0};
    mem_after a = {0};
    mem_queue *q = mem_engine_find(e, op->queue, false);
    mem_item *chain = o.err ? NULL : pick(q, op, &o);
    if (chain) {
        o.err = find_heirs(chain, NULL, op->note);
        pthread_mutex_lock(&q->lock);
        int err = put_heirs(q, chain, op->delay_ms, o.n);
        o.err = err ? err : o.err;
        a.ready = op->delay_ms <= 0;
        mem_engine_arm(e, q);
        pthread_mutex_unlock(&q->lock);
        mem_engine_follow(e, q, &a);
    }
    finish_settling(op, &o);
}

/* The last of the chain first, so that they stand as they did. With q's lock. */
static void put_back(mem_queue *q, mem_item *chain)
{
    mem_item *backwards = NULL;
    for (mem_item *it = chain, *next; it; it = next) {
        next = it->next;
        it->next = backwards;
        backwards = it;
    }
    for (mem_item *it = backwards, *next; it; it = next) {
        next = it->next;
        it->attempt--;
        mem_queue_put_first(q, it);
    }
}

static void give_back(mem_engine *e, mq_op *op)
{
    outcome o = {0};
    mem_after a = {.ready = true};
    mem_queue *q = mem_engine_find(e, op->queue, false);
    mem_item *chain = pick(q, op, &o);
    if (chain) {
        find_heirs(chain, NULL, NULL); /* themselves */
        pthread_mutex_lock(&q->lock);
        put_back(q, replace(q, chain));
        pthread_mutex_unlock(&q->lock);
        mem_engine_follow(e, q, &a);
    }
    finish_settling(op, &o);
}

/* They come into `to` however full it is. Without a lock. */
static void bury(mem_engine *e, mem_queue *to, mem_item *chain)
{
    mem_after a = {.ready = true};
    int64_t ready_ms = mq_now_ms();
    pthread_mutex_lock(&to->lock);
    to->exists = true;
    for (mem_item *it = chain, *next; it; it = next) {
        next = it->next;
        it->ready_ms = ready_ms;
        mem_queue_put(to, it);
    }
    pthread_mutex_unlock(&to->lock);
    mem_engine_follow(e, to, &a);
}

static void move_dead(mem_engine *e, mq_op *op)
{
    outcome o = {0};
    mem_after a = {0};
    mem_queue *q = mem_engine_find(e, op->queue, false), *to = mem_engine_find(e, op->to, true);
    mem_item *chain = to ? pick(q, op, &o) : NULL;
    if (!to)
        o.err = -ENOMEM;
    if (chain) {
        o.err = find_heirs(chain, op->queue, op->note);
        pthread_mutex_lock(&q->lock);
        mem_item *dead = replace(q, chain);
        mem_push_admit(e, q, &a);
        mem_engine_arm(e, q);
        pthread_mutex_unlock(&q->lock);
        if (dead)
            bury(e, to, dead);
        mem_engine_follow(e, q, &a);
    }
    finish_settling(op, &o);
}

void mem_settle(mem_engine *e, mq_op *op)
{
    switch (op->verb) {
    case MQ_RETRY:
        retry(e, op);
        break;
    case MQ_DEAD:
        if (op->to && *op->to)
            move_dead(e, op);
        else
            settle(e, op, acknowledge);
        break;
    case MQ_GIVE_BACK:
        give_back(e, op);
        break;
    case MQ_EXTEND: /* it may be the first lease of all */
        if (op->lease_ms > 0 && mem_engine_start_thread(e) < 0)
            mq_finish(op, -ENOMEM, NULL);
        else
            settle(e, op, extend);
        break;
    default:
        settle(e, op, op->verb == MQ_ACK ? acknowledge : set_progress);
    }
}
