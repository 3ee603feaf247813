/* dict_store: where a dictionary is kept beyond the process, behind a table of functions.
 *
 * One thread uses a store: that of dict_persist. Each function may block, and returns 0 or -errno with
 * `error` filled. Ends are wall time, in milliseconds since 1970; 0: none. */
#ifndef QUEUE_DICT_STORE_H
#define QUEUE_DICT_STORE_H

#include "queue/dict.h"

typedef struct dict_record {
    str key;
    dict_value value;
    int64_t expires_ms;
} dict_record;

typedef struct dict_store {
    const char *scheme; /* "sqlite" */
    /* `rest` is the address behind "scheme:". */
    int (*open)(const char *rest, const char *dict_name, void **ret_self, char *error, size_t size);
    void (*close)(void *self);
    /* Call back for all there is. */
    int (*load)(void *self, void (*each)(void *user, const dict_record *r), void *user, char *error,
                size_t size);
    /* All from begin to commit is done, or nothing. After an error: rollback. */
    int (*begin)(void *self, char *error, size_t size);
    int (*put)(void *self, const dict_record *r, char *error, size_t size);
    int (*remove)(void *self, str key, char *error, size_t size);
    int (*clear)(void *self, char *error, size_t size);
    int (*commit)(void *self, char *error, size_t size);
    void (*rollback)(void *self);
} dict_store;

extern const dict_store dict_sqlite;

#endif
