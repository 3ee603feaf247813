/* mq_sqlite_schema: what the engine's file has to be: its tables, its version, and what is refused.
 *
 * Thread: that of the connection. */
#ifndef QUEUE_MQ_SQLITE_SCHEMA_H
#define QUEUE_MQ_SQLITE_SCHEMA_H

#include <stddef.h>

struct sqlite3;

enum { SCHEMA_VERSION = 1 };

/* Can a file of that name be there? Returns: 0, or -errno with the reason in `error`. */
int schema_look_at_path(const char *path, char *error, size_t size);

/* Make the tables, or see that they are there, and set the connection up.
 * Returns: 0, with SQLite's result in *ret_result where one failed; or -errno with the reason in `error`. */
int schema_prepare(struct sqlite3 *db, int *ret_result, char *error, size_t size);

/* What a result of SQLite means. Returns: -errno and a text without the file's name. `db` may be NULL. */
int schema_failure(struct sqlite3 *db, int result, char *error, size_t size);

#endif
