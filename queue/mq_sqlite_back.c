#include "queue/mq_sqlite_back.h"

#include <sqlite3.h>
#include <stdio.h>

enum { SWEEP_ROWS = 1000, SWEEP_ROUNDS = 16, OF_ANY_LEASE = 0 };

/* Count the rows of a statement that has made messages ready, by the queues that it returns. */
static int count_ready(group *g, sqlite3_stmt *rows, tally_state from)
{
    int result = SQLITE_OK;
    while (store_next(rows, &result)) {
        tally *t = tally_of(&g->tallies, (const char *)sqlite3_column_text(rows, 0));
        if (!t) {
            store_done(rows);
            return SQLITE_NOMEM;
        }
        tally_change(t, from, -1);
        tally_change(t, TALLY_READY, 1);
    }
    return result;
}

/* --- what has come due --- */

static int sweep(group *g, tally_state state)
{
    int result = SQLITE_OK;
    for (int i = 0; i < SWEEP_ROUNDS && !result; i++) {
        int64_t due = INT64_MAX;
        result = store_number(&g->store, STORE_NEXT_DUE, &due, "i", (int64_t)state);
        if (result || due > g->now_ms)
            break;
        result = count_ready(
            g, store_ask(&g->store, STORE_SWEEP, "iii", (int64_t)state, g->now_ms, (int64_t)SWEEP_ROWS),
            state);
    }
    return result;
}

int back_sweep(group *g)
{
    int result = sweep(g, TALLY_DELAYED);
    return result ? result : sweep(g, TALLY_TAKEN);
}

/* --- holders --- */

/* What it holds whose lease ends at `due_ms` or later is ready now. */
static int release(group *g, int64_t row, int64_t due_ms)
{
    int result =
        count_ready(g, store_ask(&g->store, STORE_RELEASE, "iii", row, g->now_ms, due_ms), TALLY_TAKEN);
    return result ? result : store_do(&g->store, STORE_HOLDER_REMOVE, "i", row);
}

/* The holder that comes behind *id; its number goes there. Returns: as the others; *ret_found. */
static int next_holder(group *g, int64_t *id, holder *ret, bool *ret_found)
{
    int result = SQLITE_OK;
    sqlite3_stmt *rows = store_ask(&g->store, STORE_HOLDERS, "i", *id);
    *ret_found = store_next(rows, &result);
    if (!*ret_found)
        return result;
    *id = sqlite3_column_int64(rows, 0);
    *ret = (holder){.pid = sqlite3_column_int64(rows, 2), .start = sqlite3_column_int64(rows, 3)};
    snprintf(ret->place, sizeof(ret->place), "%s", (const char *)sqlite3_column_text(rows, 1));
    store_done(rows);
    return SQLITE_OK;
}

int back_look(group *g)
{
    holder who;
    bool found = true;
    int64_t id = 0;
    g->has_looked = true;
    g->looked_ms = group_clock_ms();
    int result = next_holder(g, &id, &who, &found);
    while (!result && found) {
        holder_state state = holder_look(&who, &g->self);
        if (state == HOLDER_GONE)
            result = release(g, id, OF_ANY_LEASE);
        else if (state == HOLDER_ELSEWHERE) /* without an end they would never come back */
            result = release(g, id, INT64_MAX);
        if (!result)
            result = next_holder(g, &id, &who, &found);
    }
    return result;
}

int back_release_lost(group *g)
{
    if (!g->lost)
        return SQLITE_OK;
    return count_ready(g, store_ask(&g->store, STORE_RELEASE_LOST, "ii", (int64_t)g->lost, (int64_t)g->lease),
                       TALLY_TAKEN);
}

int back_enter(group *g)
{
    const holder *self = &g->self;
    if (g->holder_row)
        return SQLITE_OK;
    int result = store_number(&g->store, STORE_HOLDER_FIND, &g->holder_row, "tii", self->place, self->pid,
                              self->start);
    if (result || g->holder_row)
        return result;
    result = store_do(&g->store, STORE_HOLDER_ADD, "tii", self->place, self->pid, self->start);
    if (!result)
        g->holder_row = store_key(&g->store);
    return result;
}

uint64_t back_lease(group *g)
{
    return ++g->lease;
}
