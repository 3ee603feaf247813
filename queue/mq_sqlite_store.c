#include "queue/mq_sqlite_store.h"

#include <errno.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>

#include "queue/mq_sqlite_schema.h"

static const char *const statements[STORE_STATEMENTS] = {
#define STATEMENT(name, sql) [STORE_##name] = sql,
#include "queue/mq_sqlite_statements.def"
#undef STATEMENT
};

enum {
    BUSY_SLEEP_NS = 300000,
    HASTE_MS = 100,
    CHECKPOINT_PAGES = 2000, /* 8 MB */
    NS_A_MS = 1000000
};

static int64_t monotonic_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / NS_A_MS;
}

/* SQLite's own handler sleeps ever longer, so that a process that writes all the time starves the others. */
static int on_busy(void *user, int count)
{
    store *s = user;
    if (count == 0)
        s->busy_since_ms = monotonic_ms();
    int64_t most_ms = s->is_hasty && s->busy_ms > HASTE_MS ? HASTE_MS : s->busy_ms;
    if (monotonic_ms() - s->busy_since_ms >= most_ms)
        return 0;
    struct timespec pause = {.tv_nsec = BUSY_SLEEP_NS};
    nanosleep(&pause, NULL);
    return 1;
}

/* Instead of SQLite's own checkpoints, which would hold up the commit that they fall into. */
static int on_commit(void *user, sqlite3 *db, const char *name, int pages)
{
    (void)db, (void)name;
    ((store *)user)->log_pages = pages;
    return SQLITE_OK;
}

static int prepare(store *s)
{
    int result = SQLITE_OK;
    for (int i = 0; i < STORE_STATEMENTS && !result; i++)
        result =
            sqlite3_prepare_v3(s->db, statements[i], -1, SQLITE_PREPARE_PERSISTENT, &s->statements[i], NULL);
    return result;
}

/* A name as SQLite takes for a file's, whatever it begins with. */
static int open_file(store *s)
{
    char *name = sqlite3_mprintf("%s%s", s->path[0] == '/' ? "" : "./", s->path);
    if (!name)
        return SQLITE_NOMEM;
    int result =
        sqlite3_open_v2(name, &s->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL);
    sqlite3_free(name);
    return result;
}

/* Returns: as schema_prepare. SQLite says at once that it is busy, without asking the handler, where two
 * connections make the same file. */
static int prepare_schema(store *s, int *ret_result, char *error, size_t size)
{
    int err, again = 0;
    do
        err = schema_prepare(s->db, ret_result, error, size);
    while (!err && (*ret_result & 0xff) == SQLITE_BUSY && on_busy(s, again++));
    return err;
}

int store_open(store *s, char *error, size_t size)
{
    int err = schema_look_at_path(s->path, error, size);
    if (err)
        return err;
    int result = open_file(s);
    if (!result) {
        sqlite3_extended_result_codes(s->db, 1);
        sqlite3_busy_handler(s->db, on_busy, s);
        err = prepare_schema(s, &result, error, size);
        sqlite3_wal_hook(s->db, on_commit, s);
    }
    if (!err && !result)
        result = prepare(s);
    if (!err && result)
        err = schema_failure(s->db, result, error, size);
    if (err)
        store_close(s);
    return err;
}

void store_close(store *s)
{
    for (int i = 0; i < STORE_STATEMENTS; i++) {
        sqlite3_finalize(s->statements[i]);
        s->statements[i] = NULL;
    }
    sqlite3_close(s->db);
    s->db = NULL;
    s->log_pages = 0;
}

bool store_is_moved(store *s)
{
    int moved = 0;
    return sqlite3_file_control(s->db, "main", SQLITE_FCNTL_HAS_MOVED, &moved) == SQLITE_OK && moved;
}

/* In FULL mode, which keeps other processes from writing meanwhile: before its version 3.51.3 SQLite could
 * lose pages when another connection began the log anew just as a checkpoint began (its "WAL-reset bug").
 * Readers that keep the log are not waited for long, and asked again only when it has grown as much once
 * more. */
int store_checkpoint(store *s)
{
    if (s->checkpoint_pages == 0 || s->log_pages < CHECKPOINT_PAGES)
        s->checkpoint_pages = CHECKPOINT_PAGES;
    if (s->log_pages < s->checkpoint_pages)
        return SQLITE_OK;
    s->is_hasty = true;
    int result = sqlite3_wal_checkpoint_v2(s->db, "main", SQLITE_CHECKPOINT_FULL, NULL, NULL);
    s->is_hasty = false;
    s->checkpoint_pages = s->log_pages + CHECKPOINT_PAGES;
    return (result & 0xff) == SQLITE_BUSY ? SQLITE_OK : result;
}

int store_failure(const store *s, int result, char *error, size_t size)
{
    char why[256];
    int err = schema_failure(s->db, result, why, sizeof(why));
    if ((result & 0xff) == SQLITE_BUSY)
        snprintf(error, size, "%s: another process held it for %lld ms (busy_ms)", s->path,
                 (long long)s->busy_ms);
    else
        snprintf(error, size, "%s: %s", s->path, why);
    return err;
}

bool store_is_broken_by(int result)
{
    int kind = result & 0xff;
    return kind != SQLITE_BUSY && kind != SQLITE_FULL && kind != SQLITE_NOMEM;
}

/* --- statements --- */

static int bind(sqlite3_stmt *statement, const char *types, va_list args)
{
    int result = SQLITE_OK;
    for (int i = 1; *types && !result; i++, types++) {
        str text;
        switch (*types) {
        case 'i':
            result = sqlite3_bind_int64(statement, i, va_arg(args, int64_t));
            break;
        case 'd':
            result = sqlite3_bind_double(statement, i, va_arg(args, double));
            break;
        case 't':
            text = str_from(va_arg(args, const char *));
            result = sqlite3_bind_text64(statement, i, text.p, text.n, SQLITE_STATIC, SQLITE_UTF8);
            break;
        case 's':
            text = va_arg(args, str);
            result =
                sqlite3_bind_text64(statement, i, text.n ? text.p : "", text.n, SQLITE_STATIC, SQLITE_UTF8);
            break;
        default:
            result = sqlite3_bind_null(statement, i);
        }
    }
    return result;
}

int store_do(store *s, store_statement which, const char *types, ...)
{
    sqlite3_stmt *statement = s->statements[which];
    va_list args;
    va_start(args, types);
    int result = bind(statement, types, args);
    va_end(args);
    if (!result)
        result = sqlite3_step(statement);
    sqlite3_reset(statement);
    return result == SQLITE_DONE || result == SQLITE_ROW ? SQLITE_OK : result;
}

int store_number(store *s, store_statement which, int64_t *ret, const char *types, ...)
{
    sqlite3_stmt *statement = s->statements[which];
    va_list args;
    va_start(args, types);
    int result = bind(statement, types, args);
    va_end(args);
    if (!result)
        result = sqlite3_step(statement);
    if (result == SQLITE_ROW)
        *ret = sqlite3_column_int64(statement, 0);
    sqlite3_reset(statement);
    return result == SQLITE_DONE || result == SQLITE_ROW ? SQLITE_OK : result;
}

/* A failed binding shows at the first step: nothing else can fail there but for memory, which the step needs
 * as well. */
sqlite3_stmt *store_ask(store *s, store_statement which, const char *types, ...)
{
    va_list args;
    va_start(args, types);
    (void)bind(s->statements[which], types, args);
    va_end(args);
    return s->statements[which];
}

bool store_next(sqlite3_stmt *rows, int *ret_result)
{
    int result = sqlite3_step(rows);
    if (result == SQLITE_ROW)
        return true;
    *ret_result = result == SQLITE_DONE ? SQLITE_OK : result;
    sqlite3_reset(rows);
    return false;
}

void store_done(sqlite3_stmt *rows)
{
    sqlite3_reset(rows);
}

int64_t store_changes(const store *s)
{
    return sqlite3_changes(s->db);
}

int64_t store_key(const store *s)
{
    return sqlite3_last_insert_rowid(s->db);
}
