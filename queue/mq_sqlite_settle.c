#include "queue/mq_sqlite_verbs.h"

#include <errno.h>
#include <sqlite3.h>

/* As much of a note as is kept, without half a character at its end. */
static str note_of(const mq_op *op)
{
    str note = str_from(op->note);
    if (note.n <= MQ_NOTE_MAX)
        return note;
    note.n = MQ_NOTE_MAX;
    while (note.n > 0 && ((unsigned char)note.p[note.n] & 0xc0) == 0x80)
        note.n--;
    return note;
}

/* One message of an operation; where it was held, it has changed one row. */
typedef int settle_one(group *g, const mq_op *op, int64_t handle, int64_t lease);

/* Settle each. Those that are held go to the state `to` of the queue `into`, or are gone where that is NULL.
 */
static int settle(group *g, mq_op *op, tally *t, settle_one *each, tally *into, tally_state to)
{
    int result = SQLITE_OK;
    unsigned n = 0, stale = 0;
    for (const mq_message *m = op->messages; m && !result; m = m->next, n++) {
        result = each(g, op, (int64_t)m->handle, (int64_t)m->lease);
        if (result || !store_changes(&g->store)) {
            stale++;
            continue;
        }
        tally_change(t, TALLY_TAKEN, -1);
        if (into)
            tally_change(into, to, 1);
        g->made_room = g->made_room || into != t;
    }
    if (!result && stale)
        verb_refuse(op, -ESTALE, "queue \"%s\": %u of %u messages are not held by this consumer any more",
                    op->queue, stale, n);
    return result;
}

static int ack_one(group *g, const mq_op *op, int64_t handle, int64_t lease_number)
{
    int64_t is_large = 0;
    int result = store_number(&g->store, STORE_IS_LARGE, &is_large, "iit", handle, lease_number, op->queue);
    if (!result && is_large)
        result = store_do(&g->store, STORE_ACK_LARGE, "i", handle);
    return result ? result : store_do(&g->store, STORE_ACK, "iit", handle, lease_number, op->queue);
}

static int retry_one(group *g, const mq_op *op, int64_t handle, int64_t lease_number)
{
    int64_t state = op->delay_ms > 0 ? TALLY_DELAYED : TALLY_READY;
    return store_do(&g->store, STORE_RETRY, "iitiis", handle, lease_number, op->queue, state,
                    verb_later(g->now_ms, op->delay_ms), note_of(op));
}

static int bury_one(group *g, const mq_op *op, int64_t handle, int64_t lease_number)
{
    return store_do(&g->store, STORE_BURY, "iitist", handle, lease_number, op->queue, g->now_ms, note_of(op),
                    op->to);
}

static int give_back_one(group *g, const mq_op *op, int64_t handle, int64_t lease_number)
{
    return store_do(&g->store, STORE_GIVE_BACK, "iit", handle, lease_number, op->queue);
}

static int extend_one(group *g, const mq_op *op, int64_t handle, int64_t lease_number)
{
    return store_do(&g->store, STORE_EXTEND, "iiti", handle, lease_number, op->queue,
                    verb_lease_end(g, op->lease_ms));
}

static int progress_one(group *g, const mq_op *op, int64_t handle, int64_t lease_number)
{
    return store_do(&g->store, STORE_PROGRESS, "iitd", handle, lease_number, op->queue, op->progress);
}

static int bury(group *g, mq_op *op, tally *t)
{
    if (!op->to || !op->to[0])
        return settle(g, op, t, ack_one, NULL, TALLY_READY);
    if (!mq_name_is_good(str_from(op->to)))
        return verb_refuse(op, -EINVAL, "\"%s\" is no name of a queue", op->to);
    tally *to = tally_of(&g->tallies, op->to);
    return to ? settle(g, op, t, bury_one, to, TALLY_READY) : SQLITE_NOMEM;
}

int verb_settle(group *g, mq_op *op, tally *t)
{
    switch (op->verb) {
    case MQ_ACK:
        return settle(g, op, t, ack_one, NULL, TALLY_READY);
    case MQ_RETRY:
        return settle(g, op, t, retry_one, t, op->delay_ms > 0 ? TALLY_DELAYED : TALLY_READY);
    case MQ_DEAD:
        return bury(g, op, t);
    case MQ_GIVE_BACK:
        return settle(g, op, t, give_back_one, t, TALLY_READY);
    case MQ_EXTEND:
        return settle(g, op, t, extend_one, t, TALLY_TAKEN);
    default:
        return settle(g, op, t, progress_one, t, TALLY_TAKEN);
    }
}
