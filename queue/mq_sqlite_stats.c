#include "queue/mq_sqlite_verbs.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>

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

int verb_stats(group *g, mq_op *op)
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
