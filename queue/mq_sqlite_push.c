#include "queue/mq_sqlite_verbs.h"

#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>

enum {
    INLINE_MAX = 2000,   /* bytes of a body that lie in the message's own row */
    BODY_MAX = 900000000 /* SQLite's own limit is a little more */
};

static int is_full(group *g, tally *t, bool *ret)
{
    int result = SQLITE_OK;
    if (g->max > 0 && t->total < 0) {
        int64_t total = 0;
        result = store_number(&g->store, STORE_TALLY_TOTAL, &total, "t", t->queue);
        t->total = total;
    }
    *ret = g->max > 0 && t->total + tally_changes(t) >= g->max;
    return result;
}

static bool is_good_push(mq_op *op)
{
    bool has_id = op->id && op->id[0];
    if (has_id && !mq_id_is_good(str_from(op->id)))
        verb_refuse(op, -EINVAL,
                    "%s: the message's id is not of 1 to %d printable ASCII characters without space",
                    op->queue, MQ_ID_BYTES - 1);
    else if (op->body.n > BODY_MAX)
        verb_refuse(op, -EINVAL, "%s: a message of %zu bytes is too long: %d at most", op->queue, op->body.n,
                    BODY_MAX);
    else if (has_id)
        snprintf(op->id_text, sizeof(op->id_text), "%s", op->id);
    else
        mq_make_id(op->id_text);
    return !op->err;
}

static int priority_of(const mq_op *op)
{
    if (op->priority < 0)
        return 0;
    return op->priority < MQ_PRIORITIES ? op->priority : MQ_PRIORITIES - 1;
}

/* Was its id pushed within its window, and not forgotten? */
static int look_for_id(group *g, mq_op *op)
{
    int64_t is_there = 0;
    int result = store_number(&g->store, STORE_SEEN, &is_there, "ttii", op->queue, op->id_text, g->now_ms,
                              g->now_ms - op->window_ms);
    op->duplicate = is_there != 0;
    return result;
}

static int remember_id(group *g, const mq_op *op)
{
    g->windows++;
    return store_do(&g->store, STORE_SEE, "ttii", op->queue, op->id_text, g->now_ms,
                    verb_later(g->now_ms, op->window_ms));
}

static int insert(group *g, mq_op *op, tally *t)
{
    bool is_delayed = op->delay_ms > 0, is_large = op->body.n > INLINE_MAX;
    int64_t state = is_delayed ? TALLY_DELAYED : TALLY_READY;
    int result = is_large
                     ? store_do(&g->store, STORE_PUSH, "tiiiitn", op->queue, state, (int64_t)priority_of(op),
                                verb_later(g->now_ms, op->delay_ms), g->now_ms, op->id_text)
                     : store_do(&g->store, STORE_PUSH, "tiiiits", op->queue, state, (int64_t)priority_of(op),
                                verb_later(g->now_ms, op->delay_ms), g->now_ms, op->id_text, op->body);
    if (!result && is_large)
        result = store_do(&g->store, STORE_PUSH_LARGE, "is", store_key(&g->store), op->body);
    tally_change(t, is_delayed ? TALLY_DELAYED : TALLY_READY, 1);
    return result;
}

int verb_push(group *g, mq_op *op, tally *t, bool *ret_waits)
{
    if (!is_good_push(op))
        return SQLITE_OK;
    bool full = false, is_windowed = op->window_ms > 0 && op->id && op->id[0];
    op->duplicate = false;
    int result = is_windowed ? look_for_id(g, op) : SQLITE_OK;
    if (result || op->duplicate)
        return result;
    result = is_full(g, t, &full);
    *ret_waits = !result && full && op->until_ms > group_clock_ms();
    if (result || *ret_waits)
        return result;
    if (full)
        return verb_refuse(op, -EAGAIN, "queue \"%s\" is full: it holds %lld messages", op->queue,
                           (long long)g->max);
    if (is_windowed)
        result = remember_id(g, op);
    return result ? result : insert(g, op, t);
}
