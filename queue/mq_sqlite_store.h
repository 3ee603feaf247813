/* mq_sqlite_store: the file of the engine: its connection, and its statements, prepared once.
 *
 * Results are SQLite's own, 0 being success, until store_failure makes one for callers. Thread: one at a
 * time. */
#ifndef QUEUE_MQ_SQLITE_STORE_H
#define QUEUE_MQ_SQLITE_STORE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "queue/str.h"

struct sqlite3;
struct sqlite3_stmt;

typedef enum store_statement {
#define STATEMENT(name, sql) STORE_##name,
#include "queue/mq_sqlite_statements.def"
#undef STATEMENT
    STORE_STATEMENTS
} store_statement;

typedef struct store {
    char *path;      /* as it was given; the caller's */
    int64_t busy_ms; /* how long other processes are waited for */
    struct sqlite3 *db;
    struct sqlite3_stmt *statements[STORE_STATEMENTS];
    int64_t busy_since_ms;
    bool is_hasty;        /* others are waited for a moment only */
    int log_pages;        /* in the log, as of the last commit */
    int checkpoint_pages; /* with how many it is brought into the file */
} store;

/* Open the file, made if need be, and prepare everything. Refuses what is no store of this version or older.
 * Returns: 0, or -errno with the reason in `error`, which does not name the file. */
int store_open(store *s, char *error, size_t size);

/* Fine when it is not open. */
void store_close(store *s);

/* Is the file still the one of that name? It is not when somebody has removed or replaced it. */
bool store_is_moved(store *s);

/* Bring the log into the file, when it has grown for it; what fails is done again after a later commit. */
int store_checkpoint(store *s);

/* What that result means. Returns: -errno, and a text that names the file. */
int store_failure(const store *s, int result, char *error, size_t size);

/* Is the connection to be made anew after that result? */
bool store_is_broken_by(int result);

/* --- statements ---
 * `types` has a letter for each parameter: i int64_t, d double, t const char *, s str, n nothing (no
 * argument; NULL). Texts stay the caller's, until the statement is used again. */

/* Run one that yields nothing. */
int store_do(store *s, store_statement which, const char *types, ...);

/* Run one that yields a number at most. Returns: 0, and *ret, untouched where there was no row. */
int store_number(store *s, store_statement which, int64_t *ret, const char *types, ...);

/* Begin one that yields rows; then call store_next until it returns false, or store_done earlier. */
struct sqlite3_stmt *store_ask(store *s, store_statement which, const char *types, ...);

/* Returns: is there another row? When there is none, the result is in *ret_result. */
bool store_next(struct sqlite3_stmt *rows, int *ret_result);
void store_done(struct sqlite3_stmt *rows);

/* How many rows the last statement has changed; the key of the row it has inserted. */
int64_t store_changes(const store *s);
int64_t store_key(const store *s);

#endif
