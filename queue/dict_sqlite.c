/* A dictionary kept in a file of SQLite's. Several may share a file. */
#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>

#include "queue/dict_store.h"

enum { BUSY_MS = 5000 };

enum { PUT, REMOVE, CLEAR, BEGIN, COMMIT, ROLLBACK, STATEMENTS };

static const char *const statements[STATEMENTS] = {
    [PUT] = "INSERT OR REPLACE INTO poolsrv_shared VALUES (?1, ?2, ?3, ?4, ?5)",
    [REMOVE] = "DELETE FROM poolsrv_shared WHERE dict = ?1 AND key = ?2",
    [CLEAR] = "DELETE FROM poolsrv_shared WHERE dict = ?1",
    [BEGIN] = "BEGIN IMMEDIATE",
    [COMMIT] = "COMMIT",
    [ROLLBACK] = "ROLLBACK",
};

/* With a write-ahead log, a commit waits for no disk; a loss of power takes the latest commits, never the
 * order. */
static const char set_up[] =
    "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;"
    "CREATE TABLE IF NOT EXISTS poolsrv_shared (dict TEXT NOT NULL, key BLOB NOT NULL, type INTEGER NOT NULL,"
    " value, expires_ms INTEGER NOT NULL, PRIMARY KEY (dict, key)) WITHOUT ROWID";

typedef struct file {
    sqlite3 *db;
    sqlite3_stmt *prepared[STATEMENTS];
    char *path, *dict_name;
} file;

static int fail(const file *f, char *error, size_t size)
{
    snprintf(error, size, "sqlite:%s: %s", f->path, f->db ? sqlite3_errmsg(f->db) : "out of memory");
    int code = f->db ? sqlite3_errcode(f->db) & 0xff : SQLITE_NOMEM;
    return code == SQLITE_NOMEM ? -ENOMEM : code == SQLITE_FULL ? -ENOSPC : -EIO;
}

static void close_file(void *self)
{
    file *f = self;
    for (int i = 0; i < STATEMENTS; i++)
        sqlite3_finalize(f->prepared[i]);
    sqlite3_close(f->db);
    free(f->path);
    free(f->dict_name);
    free(f);
}

static int prepare(file *f, char *error, size_t size)
{
    if (sqlite3_open_v2(f->path, &f->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX,
                        NULL) != SQLITE_OK)
        return fail(f, error, size);
    sqlite3_busy_timeout(f->db, BUSY_MS);
    if (sqlite3_exec(f->db, set_up, NULL, NULL, NULL) != SQLITE_OK)
        return fail(f, error, size);
    for (int i = 0; i < STATEMENTS; i++)
        if (sqlite3_prepare_v3(f->db, statements[i], -1, SQLITE_PREPARE_PERSISTENT, &f->prepared[i], NULL) !=
            SQLITE_OK)
            return fail(f, error, size);
    return 0;
}

static int open_file(const char *rest, const char *dict_name, void **ret_self, char *error, size_t size)
{
    file *f = calloc(1, sizeof(*f));
    if (f)
        *f = (file){.path = strdup(rest), .dict_name = strdup(dict_name)};
    if (!f || !f->path || !f->dict_name) {
        snprintf(error, size, "out of memory");
        if (f)
            close_file(f);
        return -ENOMEM;
    }
    int err = prepare(f, error, size);
    if (err)
        close_file(f);
    else
        *ret_self = f;
    return err;
}

/* Run one with its arguments bound. */
static int run(file *f, int which, char *error, size_t size)
{
    sqlite3_stmt *s = f->prepared[which];
    int err = sqlite3_step(s) == SQLITE_DONE ? 0 : fail(f, error, size);
    sqlite3_reset(s);
    sqlite3_clear_bindings(s);
    return err;
}

static void bind_key(const file *f, sqlite3_stmt *s, str key)
{
    sqlite3_bind_text(s, 1, f->dict_name, -1, SQLITE_STATIC);
    sqlite3_bind_blob64(s, 2, key.n ? key.p : "", key.n, SQLITE_STATIC);
}

static int put(void *self, const dict_record *r, char *error, size_t size)
{
    file *f = self;
    sqlite3_stmt *s = f->prepared[PUT];
    bind_key(f, s, r->key);
    sqlite3_bind_int(s, 3, (int)r->value.type);
    if (r->value.type == DICT_INTEGER)
        sqlite3_bind_int64(s, 4, r->value.integer);
    else if (r->value.type == DICT_FLOAT)
        sqlite3_bind_double(s, 4, r->value.number);
    else if (r->value.type == DICT_STRING || r->value.type == DICT_OTHER)
        sqlite3_bind_blob64(s, 4, r->value.bytes.n ? r->value.bytes.p : "", r->value.bytes.n, SQLITE_STATIC);
    sqlite3_bind_int64(s, 5, r->expires_ms);
    return run(f, PUT, error, size);
}

static int remove_key(void *self, str key, char *error, size_t size)
{
    file *f = self;
    bind_key(f, f->prepared[REMOVE], key);
    return run(f, REMOVE, error, size);
}

static int clear(void *self, char *error, size_t size)
{
    file *f = self;
    sqlite3_bind_text(f->prepared[CLEAR], 1, f->dict_name, -1, SQLITE_STATIC);
    return run(f, CLEAR, error, size);
}

static int begin(void *self, char *error, size_t size)
{
    return run(self, BEGIN, error, size);
}

static int commit(void *self, char *error, size_t size)
{
    return run(self, COMMIT, error, size);
}

static void rollback(void *self)
{
    char error[256];
    (void)run(self, ROLLBACK, error, sizeof(error)); /* SQLite may have done it already */
}

static str column_bytes(sqlite3_stmt *s, int i)
{
    const void *p = sqlite3_column_blob(s, i); /* before its size is asked for */
    return (str){p ? p : "", (size_t)sqlite3_column_bytes(s, i)};
}

/* Of a float that is no number, SQLite makes NULL. */
static void read_row(sqlite3_stmt *s, dict_record *r)
{
    *r = (dict_record){.key = column_bytes(s, 0), .expires_ms = sqlite3_column_int64(s, 3)};
    r->value.type = (dict_type)sqlite3_column_int(s, 1);
    if (r->value.type == DICT_INTEGER)
        r->value.integer = sqlite3_column_int64(s, 2);
    else if (r->value.type == DICT_FLOAT)
        r->value.number =
            sqlite3_column_type(s, 2) == SQLITE_NULL ? __builtin_nan("") : sqlite3_column_double(s, 2);
    else if (r->value.type == DICT_STRING || r->value.type == DICT_OTHER)
        r->value.bytes = column_bytes(s, 2);
}

static int load(void *self, void (*each)(void *user, const dict_record *r), void *user, char *error,
                size_t size)
{
    file *f = self;
    sqlite3_stmt *s = NULL;
    int step = sqlite3_prepare_v2(
        f->db, "SELECT key, type, value, expires_ms FROM poolsrv_shared WHERE dict = ?1", -1, &s, NULL);
    if (step == SQLITE_OK)
        step = sqlite3_bind_text(s, 1, f->dict_name, -1, SQLITE_STATIC);
    if (step == SQLITE_OK)
        while ((step = sqlite3_step(s)) == SQLITE_ROW) {
            dict_record r;
            read_row(s, &r);
            each(user, &r);
        }
    int err = step == SQLITE_DONE ? 0 : fail(f, error, size);
    sqlite3_finalize(s);
    return err;
}

const dict_store dict_sqlite = {"sqlite", open_file,  close_file, load,   begin,
                                put,      remove_key, clear,      commit, rollback};
