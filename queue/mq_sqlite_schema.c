#include "queue/mq_sqlite_schema.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define APPLICATION_ID "1886548849" /* "psmq"; in a file it tells ours from others' */

/* A message's columns in the order of how often they change, its body last: what comes before a long one is
 * found without reading it. `due` is when it is or was ready, and of a taken one when its lease ends; `ready`
 * remembers the former. */
static const char tables[] =
    "CREATE TABLE message(seq INTEGER PRIMARY KEY, queue TEXT NOT NULL, state INTEGER NOT NULL,"
    " priority INTEGER NOT NULL, due INTEGER NOT NULL, ready INTEGER NOT NULL, attempt INTEGER NOT NULL, "
    "lease INTEGER NOT NULL,"
    " holder INTEGER NOT NULL, progress REAL NOT NULL, pushed INTEGER NOT NULL, id TEXT NOT NULL,"
    " source TEXT NOT NULL, note TEXT NOT NULL, body TEXT);"
    "CREATE INDEX message_order ON message(queue, state, priority DESC, due);"
    "CREATE INDEX message_due ON message(state, due) WHERE state > 0;"
    "CREATE TABLE large(seq INTEGER PRIMARY KEY, body TEXT NOT NULL);"
    "CREATE TABLE seen(queue TEXT NOT NULL, id TEXT NOT NULL, since INTEGER NOT NULL, until INTEGER NOT NULL,"
    " PRIMARY KEY(queue, id)) WITHOUT ROWID;"
    "CREATE INDEX seen_until ON seen(until);"
    "CREATE TABLE tally(queue TEXT NOT NULL PRIMARY KEY, ready INTEGER NOT NULL, delayed INTEGER NOT NULL,"
    " taken INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE holder(id INTEGER PRIMARY KEY AUTOINCREMENT, place TEXT NOT NULL, pid INTEGER NOT NULL,"
    " start INTEGER NOT NULL);"
    "CREATE TABLE claim(entry TEXT NOT NULL PRIMARY KEY, moment INTEGER NOT NULL) WITHOUT ROWID;"
    "PRAGMA application_id = " APPLICATION_ID ";"
    "PRAGMA user_version = 1;";

static const char settings[] =
    "PRAGMA synchronous = FULL;"
    "PRAGMA secure_delete = FAST;"
    "PRAGMA temp_store = MEMORY;"
    "PRAGMA cache_size = -16000;"
    "PRAGMA journal_size_limit = 67108864;"; /* what a burst leaves is given back */

/* As the user that files are opened as. */
static bool may(const char *path, int mode)
{
    return faccessat(AT_FDCWD, path, mode, AT_EACCESS) == 0;
}

int schema_look_at_path(const char *path, char *error, size_t size)
{
    struct stat is;
    const char *slash = strrchr(path, '/');
    int folder = slash ? (int)(slash - path) + (slash == path) : 0;
    char text[4096];
    if (!path[0]) {
        snprintf(error, size, "it names no file: sqlite:PATH does");
        return -EINVAL;
    }
    snprintf(text, sizeof(text), "%.*s", folder, path);
    if (folder && (stat(text, &is) || !S_ISDIR(is.st_mode))) {
        snprintf(error, size, "there is no folder %s", text);
        return -ENOENT;
    }
    bool there = stat(path, &is) == 0;
    if (there && !S_ISREG(is.st_mode)) {
        snprintf(error, size, "it is no file%s", S_ISDIR(is.st_mode) ? ", but a folder" : "");
        return -EISDIR;
    }
    if (there && !may(path, R_OK | W_OK)) {
        snprintf(error, size, "this user may not write the file");
        return -EACCES;
    }
    if (!may(folder ? text : ".", W_OK | X_OK)) {
        snprintf(error, size,
                 "this user may not write to the folder %s, and SQLite has files of its own there",
                 folder ? text : ".");
        return -EACCES;
    }
    return 0;
}

/* --- versions --- */

static int number(sqlite3 *db, const char *sql, int64_t *ret)
{
    sqlite3_stmt *statement = NULL;
    int result = sqlite3_prepare_v2(db, sql, -1, &statement, NULL);
    if (!result)
        result = sqlite3_step(statement);
    if (result == SQLITE_ROW)
        *ret = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    return result == SQLITE_ROW || result == SQLITE_DONE ? SQLITE_OK : result;
}

/* In a transaction: another process may be making the tables just now.
 * Returns: as schema_prepare; *ret_empty when there is nothing in the file yet. */
static int look(sqlite3 *db, bool *ret_empty, int *ret_result, char *error, size_t size)
{
    int64_t application = 0, version = 0, objects = 0;
    *ret_result = number(db, "PRAGMA application_id", &application);
    if (!*ret_result)
        *ret_result = number(db, "PRAGMA user_version", &version);
    if (!*ret_result)
        *ret_result = number(db, "SELECT count(*) FROM sqlite_schema", &objects);
    *ret_empty = !application && !version && !objects;
    if (*ret_result || *ret_empty)
        return 0;
    if (application != strtoll(APPLICATION_ID, NULL, 10)) {
        snprintf(error, size, "it is a database of another program; queues want a file of their own");
        return -EINVAL;
    }
    if (version != SCHEMA_VERSION) {
        snprintf(error, size,
                 "it has version %lld of the tables, and this program knows %d: a newer one is needed",
                 (long long)version, SCHEMA_VERSION);
        return -EINVAL;
    }
    return 0;
}

static int look_first(sqlite3 *db, bool *ret_empty, int *ret_result, char *error, size_t size)
{
    *ret_result = sqlite3_exec(db, "BEGIN", NULL, NULL, NULL);
    int err = *ret_result ? 0 : look(db, ret_empty, ret_result, error, size);
    sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
    return err;
}

/* Another process may be making them too: whoever comes second sees them. */
static int make(sqlite3 *db, int *ret_result, char *error, size_t size)
{
    bool empty = false;
    *ret_result = sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL);
    if (*ret_result)
        return 0;
    int err = look(db, &empty, ret_result, error, size);
    if (!err && !*ret_result && empty)
        *ret_result = sqlite3_exec(db, tables, NULL, NULL, NULL);
    if (!err && !*ret_result)
        *ret_result = sqlite3_exec(db, "COMMIT", NULL, NULL, NULL);
    if (!sqlite3_get_autocommit(db))
        sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
    return err;
}

static int write_ahead(sqlite3 *db, int *ret_result, char *error, size_t size)
{
    sqlite3_stmt *statement = NULL;
    *ret_result = sqlite3_prepare_v2(db, "PRAGMA journal_mode = WAL", -1, &statement, NULL);
    int step = *ret_result ? SQLITE_DONE : sqlite3_step(statement);
    bool is_set = step == SQLITE_ROW && strcmp((const char *)sqlite3_column_text(statement, 0), "wal") == 0;
    sqlite3_finalize(statement);
    if (*ret_result || is_set)
        return 0;
    if (step != SQLITE_ROW && step != SQLITE_DONE) {
        *ret_result = step;
        return 0;
    }
    snprintf(error, size, "SQLite cannot keep a write-ahead log there; a folder of a local disk is wanted");
    return -EINVAL;
}

int schema_prepare(sqlite3 *db, int *ret_result, char *error, size_t size)
{
    bool empty = false;
    int err = look_first(db, &empty, ret_result, error, size);
    if (!err && !*ret_result)
        err = write_ahead(db, ret_result, error, size);
    if (!err && !*ret_result)
        *ret_result = sqlite3_exec(db, settings, NULL, NULL, NULL);
    if (!err && !*ret_result && empty)
        err = make(db, ret_result, error, size);
    return err;
}

/* --- failures --- */

int schema_failure(sqlite3 *db, int result, char *error, size_t size)
{
    int system = db ? sqlite3_system_errno(db) : 0;
    bool is_last = db && sqlite3_extended_errcode(db) == result; /* else a later call has its text there */
    const char *text = is_last ? sqlite3_errmsg(db) : sqlite3_errstr(result);
    switch (result & 0xff) {
    case SQLITE_FULL:
        snprintf(error, size, "the disk is full");
        return -ENOSPC;
    case SQLITE_BUSY:
        snprintf(error, size, "another process holds it");
        return -ETIMEDOUT;
    case SQLITE_NOMEM:
        snprintf(error, size, "out of memory");
        return -ENOMEM;
    case SQLITE_NOTADB:
        snprintf(error, size, "it is no database of SQLite");
        return -EINVAL;
    case SQLITE_CORRUPT:
        snprintf(error, size, "it is damaged: %s", text);
        return -EIO;
    case SQLITE_READONLY:
        snprintf(error, size, "it cannot be written: %s", text);
        return -EIO;
    case SQLITE_IOERR:
        if (system == ENOSPC || system == EDQUOT) {
            snprintf(error, size, "the disk is full");
            return -ENOSPC;
        }
        snprintf(error, size, "the disk fails: %s (SQLite's code %d%s%s)", text, result, system ? "; " : "",
                 system ? strerror(system) : "");
        return -EIO;
    default:
        snprintf(error, size, "%s (SQLite's code %d)", text, result);
        return -EIO;
    }
}
