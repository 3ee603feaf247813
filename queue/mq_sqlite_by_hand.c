#include "queue/mq_sqlite_verbs.h"

#include <sqlite3.h>

int verb_revive(group *g, mq_op *op, tally *t)
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

int verb_purge(group *g, mq_op *op, tally *t)
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
