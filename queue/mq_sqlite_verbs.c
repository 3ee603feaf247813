#include "queue/mq_sqlite_verbs.h"

#include <errno.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "queue/mq_sqlite_hold.h"

enum {
    INLINE_MAX = 2000,   /* bytes of a body that lie in the message's own row */
    BODY_MAX = 900000000 /* SQLite's own limit is a little more */
};

/* --- helpers --- */

/* That operation has failed, and it alone. */
__attribute__((format(printf, 3, 4))) static int refuse(mq_op *op, int err, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(op->error, sizeof(op->error), format, args);
    va_end(args);
    op->err = err;
    return SQLITE_OK;
}

static int64_t later(int64_t now_ms, int64_t by_ms)
{
    if (by_ms <= 0)
        return now_ms;
    return by_ms > INT64_MAX - now_ms ? INT64_MAX : now_ms + by_ms;
}

static int64_t lease_end(const group *g, int64_t lease_ms)
{
    return lease_ms > 0 ? later(g->now_ms, lease_ms) : INT64_MAX;
}

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

static int64_t most_of(const mq_op *op)
{
    return op->most < MQ_TAKE_MAX ? op->most : MQ_TAKE_MAX;
}

/* --- figures --- */

static int flush_one(group *g, tally *t)
{
    const int64_t *change = t->change;
    int result = store_do(&g->store, STORE_TALLY_ADD, "tiii", t->queue, change[TALLY_READY],
                          change[TALLY_DELAYED], change[TALLY_TAKEN]);
    if (t->total >= 0)
        t->total += tally_changes(t);
    for (int i = 0; i < TALLY_STATES; i++)
        t->change[i] = 0;
    return result;
}

int verb_flush(group *g)
{
    int result = SQLITE_OK;
    for (tally *t = g->tallies.first; t && !result; t = t->next)
        if (t->change[TALLY_READY] || t->change[TALLY_DELAYED] || t->change[TALLY_TAKEN])
            result = flush_one(g, t);
    return result;
}

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

/* --- pushing --- */

static bool is_good_push(mq_op *op)
{
    bool has_id = op->id && op->id[0];
    if (has_id && !mq_id_is_good(str_from(op->id)))
        refuse(op, -EINVAL, "%s: the message's id is not of 1 to %d printable ASCII characters without space",
               op->queue, MQ_ID_BYTES - 1);
    else if (op->body.n > BODY_MAX)
        refuse(op, -EINVAL, "%s: a message of %zu bytes is too long: %d at most", op->queue, op->body.n,
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
                    later(g->now_ms, op->window_ms));
}

static int insert(group *g, mq_op *op, tally *t)
{
    bool is_delayed = op->delay_ms > 0, is_large = op->body.n > INLINE_MAX;
    int64_t state = is_delayed ? TALLY_DELAYED : TALLY_READY;
    int result = is_large
                     ? store_do(&g->store, STORE_PUSH, "tiiiitn", op->queue, state, (int64_t)priority_of(op),
                                later(g->now_ms, op->delay_ms), g->now_ms, op->id_text)
                     : store_do(&g->store, STORE_PUSH, "tiiiits", op->queue, state, (int64_t)priority_of(op),
                                later(g->now_ms, op->delay_ms), g->now_ms, op->id_text, op->body);
    if (!result && is_large)
        result = store_do(&g->store, STORE_PUSH_LARGE, "is", store_key(&g->store), op->body);
    tally_change(t, is_delayed ? TALLY_DELAYED : TALLY_READY, 1);
    return result;
}

static int push(group *g, mq_op *op, tally *t, bool *ret_waits)
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
        return refuse(op, -EAGAIN, "queue \"%s\" is full: it holds %lld messages", op->queue,
                      (long long)g->max);
    if (is_windowed)
        result = remember_id(g, op);
    return result ? result : insert(g, op, t);
}

/* --- taking --- */

/* A lease without an end is 0 outside, and the last of all moments in the file. */
static int64_t lease_of(int64_t due_ms)
{
    return due_ms == INT64_MAX ? 0 : due_ms;
}

/* Returns: NULL when memory is short. The columns are MESSAGE_COLUMNS. */
static mq_message *message_of(sqlite3_stmt *row)
{
    const char *body = (const char *)sqlite3_column_text(row, 11);
    mq_message *m = mq_message_new(
        (str){body, (size_t)sqlite3_column_bytes(row, 11)}, (const char *)sqlite3_column_text(row, 8),
        (const char *)sqlite3_column_text(row, 9), (const char *)sqlite3_column_text(row, 10), NULL);
    if (!m)
        return NULL;
    m->handle = (uint64_t)sqlite3_column_int64(row, 0);
    m->taken = sqlite3_column_int(row, 1) == TALLY_TAKEN;
    m->priority = sqlite3_column_int(row, 2);
    m->due_ms = lease_of(sqlite3_column_int64(row, 3));
    m->attempt = (unsigned)sqlite3_column_int(row, 4);
    m->lease = (uint64_t)sqlite3_column_int64(row, 5);
    m->progress = sqlite3_column_double(row, 6);
    m->pushed_ms = sqlite3_column_int64(row, 7);
    return m;
}

/* Read messages into op->messages. */
static int read_messages(group *g, mq_op *op, store_statement which)
{
    int result = SQLITE_OK;
    mq_message **end = &op->messages;
    sqlite3_stmt *rows = store_ask(&g->store, which, "ti", op->queue, most_of(op));
    *end = NULL;
    while (store_next(rows, &result)) {
        *end = message_of(rows);
        if (!*end) {
            store_done(rows);
            return SQLITE_NOMEM;
        }
        end = &(*end)->next;
    }
    return result;
}

static int lease(group *g, const mq_op *op, mq_message *m, tally *t)
{
    int64_t end_ms = lease_end(g, op->lease_ms);
    m->due_ms = lease_of(end_ms);
    m->lease = hold_lease(g);
    m->attempt++;
    m->progress = -1;
    m->taken = true;
    tally_change(t, TALLY_READY, -1);
    tally_change(t, TALLY_TAKEN, 1);
    return store_do(&g->store, STORE_LEASE, "iiii", (int64_t)m->handle, end_ms, (int64_t)m->lease, g->holder);
}

static int take(group *g, mq_op *op, tally *t)
{
    int result = read_messages(g, op, STORE_TAKE);
    if (!result && !op->messages && !g->has_looked) {
        result = holder_look(g);
        if (!result)
            result = read_messages(g, op, STORE_TAKE);
    }
    if (!result && op->messages)
        result = holder_enter(g);
    for (mq_message *m = op->messages; m && !result; m = m->next)
        result = lease(g, op, m, t);
    return result;
}

/* --- settling --- */

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
        refuse(op, -ESTALE, "queue \"%s\": %u of %u messages are not held by this consumer any more",
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
                    later(g->now_ms, op->delay_ms), note_of(op));
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
                    lease_end(g, op->lease_ms));
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
        return refuse(op, -EINVAL, "\"%s\" is no name of a queue", op->to);
    tally *to = tally_of(&g->tallies, op->to);
    return to ? settle(g, op, t, bury_one, to, TALLY_READY) : SQLITE_NOMEM;
}

/* --- what people do by hand --- */

static int revive(group *g, mq_op *op, tally *t)
{
    const char *id = op->id ? op->id : "";
    int result = SQLITE_OK;
    sqlite3_stmt *rows = store_ask(&g->store, STORE_REVIVE_COUNT, "tt", op->queue, id);
    op->count = 0;
    while (store_next(rows, &result)) {
        const char *source = (const char *)sqlite3_column_text(rows, 0);
        int64_t n = sqlite3_column_int64(rows, 2);
        tally *to = *source ? tally_of(&g->tallies, source) : t;
        if (!to) {
            store_done(rows);
            return SQLITE_NOMEM;
        }
        tally_change(t, sqlite3_column_int(rows, 1) == TALLY_READY ? TALLY_READY : TALLY_DELAYED, -n);
        tally_change(to, TALLY_READY, n);
        g->made_room = g->made_room || to != t;
        op->count += (uint64_t)n;
    }
    if (result || !op->count)
        return result;
    return store_do(&g->store, STORE_REVIVE, "tti", op->queue, id, g->now_ms);
}

static int purge(group *g, mq_op *op, tally *t)
{
    int result = SQLITE_OK;
    op->count = 0;
    for (tally_state state = TALLY_READY; state <= TALLY_DELAYED && !result; state++) {
        result = store_do(&g->store, STORE_PURGE_LARGE, "ti", op->queue, (int64_t)state);
        if (!result)
            result = store_do(&g->store, STORE_PURGE, "ti", op->queue, (int64_t)state);
        if (!result) {
            tally_change(t, state, -store_changes(&g->store));
            op->count += (uint64_t)store_changes(&g->store);
        }
    }
    g->made_room = g->made_room || op->count > 0;
    return result;
}

static int add_oldest(group *g, mq_stats *one)
{
    int result = SQLITE_OK;
    for (int64_t priority = 0; priority < MQ_PRIORITIES && one->ready && !result; priority++) {
        int64_t due_ms = 0;
        result = store_number(&g->store, STORE_OLDEST, &due_ms, "ti", one->name, priority);
        if (due_ms && (!one->oldest_ms || due_ms < one->oldest_ms))
            one->oldest_ms = due_ms;
    }
    return result;
}

static int add_stats(group *g, mq_op *op, sqlite3_stmt *row)
{
    mq_stats *more = realloc(op->stats, (op->count + 1) * sizeof(*more));
    if (!more)
        return SQLITE_NOMEM;
    op->stats = more;
    mq_stats *one = &more[op->count++];
    *one = (mq_stats){.ready = (uint64_t)sqlite3_column_int64(row, 1),
                      .delayed = (uint64_t)sqlite3_column_int64(row, 2),
                      .taken = (uint64_t)sqlite3_column_int64(row, 3)};
    snprintf(one->name, sizeof(one->name), "%s", (const char *)sqlite3_column_text(row, 0));
    return add_oldest(g, one);
}

static int stats(group *g, mq_op *op)
{
    bool is_one = op->queue && op->queue[0];
    int result = verb_flush(g);
    op->stats = NULL;
    op->count = 0;
    if (result)
        return result;
    sqlite3_stmt *rows = is_one ? store_ask(&g->store, STORE_STATS, "t", op->queue)
                                : store_ask(&g->store, STORE_STATS_ALL, "");
    while (store_next(rows, &result)) {
        result = add_stats(g, op, rows);
        if (result) {
            store_done(rows);
            return result;
        }
    }
    return result;
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
        return push(g, op, t, ret_waits);
    case MQ_TAKE:
        return take(g, op, t);
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
    case MQ_PROGRESS:
        return settle(g, op, t, progress_one, t, TALLY_TAKEN);
    case MQ_PEEK:
        return read_messages(g, op, STORE_PEEK);
    case MQ_REVIVE:
        return revive(g, op, t);
    default:
        return purge(g, op, t);
    }
}

int verb_run(group *g, mq_op *op, bool *ret_waits)
{
    *ret_waits = false;
    op->err = 0;
    switch (op->verb) {
    case MQ_STATS:
        return stats(g, op);
    case MQ_CLAIM:
        return claim(g, op);
    case MQ_LAST:
        return last(g, op);
    default:
        break;
    }
    if (!mq_name_is_good(str_from(op->queue)))
        return refuse(op, -EINVAL, "\"%s\" is no name of a queue", op->queue ? op->queue : "");
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
