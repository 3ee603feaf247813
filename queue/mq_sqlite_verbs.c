#include "queue/mq_sqlite_verbs.h"

#include <errno.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

int verb_refuse(mq_op *op, int err, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(op->error, sizeof(op->error), format, args);
    va_end(args);
    op->err = err;
    return SQLITE_OK;
}

int64_t verb_later(int64_t now_ms, int64_t by_ms)
{
    if (by_ms <= 0)
        return now_ms;
    return by_ms > INT64_MAX - now_ms ? INT64_MAX : now_ms + by_ms;
}

int64_t verb_lease_end(const group *g, int64_t lease_ms)
{
    return lease_ms > 0 ? verb_later(g->now_ms, lease_ms) : INT64_MAX;
}

/* --- clocks --- */

static int last(group *g, mq_op *op)
{
    op->moment_ms = 0;
    return store_number(&g->store, STORE_LAST, &op->moment_ms, "t", op->queue);
}

static int claim(group *g, mq_op *op)
{
    int64_t claimed_ms = INT64_MIN;
    int result = store_number(&g->store, STORE_LAST, &claimed_ms, "t", op->queue);
    op->duplicate = op->moment_ms <= claimed_ms;
    if (result || op->duplicate)
        return result;
    return store_do(&g->store, STORE_CLAIM, "ti", op->queue, op->moment_ms);
}

/* --- all --- */

static int run_on_queue(group *g, mq_op *op, tally *t, bool *ret_waits)
{
    switch (op->verb) {
    case MQ_PUSH:
        return verb_push(g, op, t, ret_waits);
    case MQ_TAKE:
        return verb_take(g, op, t);
    case MQ_PEEK:
        return verb_peek(g, op);
    case MQ_REVIVE:
        return verb_revive(g, op, t);
    case MQ_PURGE:
        return verb_purge(g, op, t);
    default:
        return verb_settle(g, op, t);
    }
}

int verb_run(group *g, mq_op *op, bool *ret_waits)
{
    *ret_waits = false;
    op->err = 0;
    switch (op->verb) {
    case MQ_STATS:
        return verb_stats(g, op);
    case MQ_CLAIM:
        return claim(g, op);
    case MQ_LAST:
        return last(g, op);
    default:
        break;
    }
    if (!mq_name_is_good(str_from(op->queue)))
        return verb_refuse(op, -EINVAL, "\"%s\" is no name of a queue", op->queue ? op->queue : "");
    tally *t = tally_of(&g->tallies, op->queue);
    return t ? run_on_queue(g, op, t, ret_waits) : SQLITE_NOMEM;
}

void verb_undo(mq_op *op)
{
    if (op->verb == MQ_TAKE || op->verb == MQ_PEEK) {
        mq_message_free(op->messages);
        op->messages = NULL;
    }
    if (op->verb == MQ_STATS) {
        free(op->stats);
        op->stats = NULL;
    }
    op->count = 0;
    op->duplicate = false;
}
