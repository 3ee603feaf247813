#include "queue/mq_sqlite_group.h"

#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>

#include "queue/mq_sqlite_back.h"
#include "queue/mq_sqlite_verbs.h"

enum {
    LOOK_EVERY_MS = 1000, /* for holders that have ended, where nobody asks for more */
    FORGET_A_WINDOW = 2,  /* ids forgotten for each one remembered, so their number follows the load */
    FORGET_LEAST = 16,
    LEASE_DRAWN_BITS = 31,
    LEASE_COUNT_BITS = 32
};

int64_t group_clock_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void tell(const group *g, int level, const char *text)
{
    if (g->config->tell)
        g->config->tell(g->config->user, level, text);
}

/* --- life --- */

/* A number that other processes will not have drawn, and a count behind it. */
static int draw_lease(uint64_t *ret)
{
    uint32_t drawn;
    if (getrandom(&drawn, sizeof(drawn), 0) != sizeof(drawn))
        return -errno;
    *ret = (uint64_t)(drawn & ((UINT32_C(1) << LEASE_DRAWN_BITS) - 1)) << LEASE_COUNT_BITS;
    return 0;
}

int group_init(group *g, char *path, const mq_config *config, char *error, size_t size)
{
    g->config = config;
    g->store.path = path;
    g->looked_ms = INT64_MIN / 2;
    holder_self(&g->self);
    int err = draw_lease(&g->lease);
    return err ? err : store_open(&g->store, error, size);
}

void group_fini(group *g)
{
    tallies_clear(&g->tallies);
    store_close(&g->store);
}

/* --- the file --- */

/* Returns: 0, or -errno and the text of it. */
static int make_ready(group *g, char *error, size_t size)
{
    char why[MQ_ERROR_BYTES / 2] = "";
    if (g->store.db && store_is_moved(&g->store)) {
        snprintf(why, sizeof(why),
                 "%s: the file was removed or replaced while it was in use; what was in it is gone",
                 g->store.path);
        tell(g, 0, why);
        store_close(&g->store);
    }
    if (g->store.db)
        return 0;
    g->holder_row = 0; /* its row is looked for again: it may be another file */
    int err = store_open(&g->store, why, sizeof(why));
    if (!err)
        return 0;
    snprintf(error, size, "%s: %s", g->store.path, why);
    return err == -ENOSPC || err == -ENOMEM || err == -ETIMEDOUT ? err : -EIO;
}

/* --- a transaction --- */

static int forget_ids(group *g)
{
    if (!g->windows)
        return SQLITE_OK;
    int64_t most = (int64_t)g->windows * FORGET_A_WINDOW + FORGET_LEAST;
    return store_do(&g->store, STORE_FORGET_SEEN, "ii", g->now_ms, most);
}

static int run_all(group *g, mq_op **ops, mq_op ***waiting_end)
{
    int result = SQLITE_OK;
    for (mq_op **at = ops; *at && !result;) {
        mq_op *op = *at;
        bool waits;
        result = verb_run(g, op, &waits);
        if (waits) {
            *at = op->next;
            op->next = NULL;
            **waiting_end = op;
            *waiting_end = &op->next;
        } else {
            at = &op->next;
        }
    }
    return result;
}

/* *ops keeps those that are settled. */
static int transact(group *g, mq_op **ops, mq_op ***waiting_end)
{
    int result = store_do(&g->store, STORE_BEGIN, "");
    g->now_ms = mq_now_ms();
    if (!result)
        result = back_release_lost(g);
    if (!result)
        result = back_sweep(g);
    if (!result && group_clock_ms() - g->looked_ms >= LOOK_EVERY_MS)
        result = back_look(g);
    if (!result)
        result = run_all(g, ops, waiting_end);
    if (!result)
        result = forget_ids(g);
    if (!result)
        result = verb_flush(g);
    return result ? result : store_do(&g->store, STORE_COMMIT, "");
}

static void forget_transaction(group *g)
{
    tallies_clear(&g->tallies);
    g->windows = 0;
    g->has_looked = g->made_room = false;
}

/* Take everything back. Whatever the file is like: what cannot be undone there is undone when it is opened.
 */
static void roll_back(group *g, int result)
{
    if (!sqlite3_get_autocommit(g->store.db))
        store_do(&g->store, STORE_ROLLBACK, "");
    g->holder_row = 0;
    forget_transaction(g);
    if (store_is_broken_by(result))
        store_close(&g->store);
}

/* --- its end --- */

static void fail_all(mq_op *ops, int err, const char *error)
{
    for (mq_op *op = ops, *next; op; op = next) {
        next = op->next;
        verb_undo(op);
        mq_finish(op, err, "%s", error);
    }
}

static void settle_all(mq_op *ops)
{
    for (mq_op *op = ops, *next; op; op = next) {
        next = op->next;
        op->done(op);
    }
}

/* Told once, however many fail. */
static void note(group *g, int err, const char *error)
{
    char text[MQ_ERROR_BYTES + 64];
    if (err && !g->fails)
        tell(g, 0, error);
    snprintf(text, sizeof(text), "%s: can be written again", g->store.path);
    if (!err && g->fails)
        tell(g, 2, text);
    g->fails = err != 0;
}

static void checkpoint(group *g)
{
    char error[MQ_ERROR_BYTES];
    int result = store_checkpoint(&g->store);
    if (!result)
        return;
    note(g, store_failure(&g->store, result, error, sizeof(error)), error);
    if (store_is_broken_by(result))
        store_close(&g->store);
}

bool group_run(group *g, mq_op *ops, mq_op **waiting)
{
    char error[MQ_ERROR_BYTES] = "";
    mq_op *waits = NULL, **waits_end = &waits;
    forget_transaction(g);
    uint64_t lease = g->lease;
    int err = make_ready(g, error, sizeof(error));
    if (!err) {
        int result = transact(g, &ops, &waits_end);
        g->lost = !result ? 0 : g->lost ? g->lost : lease;
        if (result) {
            err = store_failure(&g->store, result, error, sizeof(error));
            roll_back(g, result);
        }
    }
    note(g, err, error);
    if (err) {
        fail_all(ops, err, error);
        fail_all(waits, err, error);
        return false;
    }
    while (*waiting)
        waiting = &(*waiting)->next;
    *waiting = waits;
    settle_all(ops);
    checkpoint(g);
    return true;
}

/* --- questions --- */

bool group_is_changed(group *g, int64_t *version)
{
    int64_t now = *version;
    if (!g->store.db || store_number(&g->store, STORE_DATA_VERSION, &now, "") || now == *version)
        return false;
    *version = now;
    return true;
}

int64_t group_next_due(group *g)
{
    int64_t delayed_ms = INT64_MAX, taken_ms = INT64_MAX;
    if (!g->store.db || store_number(&g->store, STORE_NEXT_DUE, &delayed_ms, "i", (int64_t)TALLY_DELAYED) ||
        store_number(&g->store, STORE_NEXT_DUE, &taken_ms, "i", (int64_t)TALLY_TAKEN))
        return INT64_MAX;
    return delayed_ms < taken_ms ? delayed_ms : taken_ms;
}

void group_each_ready(group *g, void (*each)(void *user, const char *queue), void *user)
{
    int result;
    if (!g->store.db)
        return;
    sqlite3_stmt *rows = store_ask(&g->store, STORE_READY_QUEUES, "");
    while (store_next(rows, &result))
        each(user, (const char *)sqlite3_column_text(rows, 0));
}
