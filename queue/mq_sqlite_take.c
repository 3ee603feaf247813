#include "queue/mq_sqlite_verbs.h"

#include <sqlite3.h>

#include "queue/mq_sqlite_back.h"

static int64_t most_of(const mq_op *op)
{
    return op->most < MQ_TAKE_MAX ? op->most : MQ_TAKE_MAX;
}

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

/* Copies: nothing can be settled by them. */
int verb_peek(group *g, mq_op *op)
{
    int result = read_messages(g, op, STORE_PEEK);
    for (mq_message *m = op->messages; m; m = m->next)
        m->handle = m->lease = 0;
    return result;
}

static int lease(group *g, const mq_op *op, mq_message *m, tally *t)
{
    int64_t end_ms = verb_lease_end(g, op->lease_ms);
    m->due_ms = lease_of(end_ms);
    m->lease = back_lease(g);
    m->attempt++;
    m->progress = -1;
    m->taken = true;
    tally_change(t, TALLY_READY, -1);
    tally_change(t, TALLY_TAKEN, 1);
    return store_do(&g->store, STORE_LEASE, "iiii", (int64_t)m->handle, end_ms, (int64_t)m->lease,
                    g->holder_row);
}

int verb_take(group *g, mq_op *op, tally *t)
{
    int result = read_messages(g, op, STORE_TAKE);
    if (!result && !op->messages && !g->has_looked) {
        result = back_look(g);
        if (!result)
            result = read_messages(g, op, STORE_TAKE);
    }
    if (!result && op->messages)
        result = back_enter(g);
    for (mq_message *m = op->messages; m && !result; m = m->next)
        result = lease(g, op, m, t);
    return result;
}
