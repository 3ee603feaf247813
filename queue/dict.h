/* dict: a dictionary that all threads of a server share, with a limit in bytes.
 *
 * Keys and values are bytes; a value has a type, which is the caller's business but for numbers. Each change
 * gives its key a new version, which is never used for that key again: so a change can be made on the
 * condition that nobody else has made one. A value may have an end (ttl). When there is no room for a new
 * one, those go that were not used lately: approximately, by the second-chance rule, so that reading only
 * sets a bit.
 *
 * Readers take no lock and wait for nobody. A writer locks the 64th part that its key is in, and waits for
 * readers only when too much of what was replaced could not be freed yet. What is stored never exceeds
 * max_bytes, each entry counted with DICT_ENTRY_BYTES beside its key and value. What was replaced is freed
 * a little later, and a port keeps a 64th of max_bytes of it at most, or 16 KiB.
 *
 * Other ways were measured beside it (load/dict.c: nine reads and a change in ten operations, 1000 keys).
 * With two threads an operation took 45 ns here, 53 with a mutex for each part, 62 with a reader-writer lock,
 * 68 with ck_hs and ck_epoch. With locks a reader also waits when their holder loses its core.
 *
 * Threads: a port is used by one thread at a time; each VM has its own. */
#ifndef QUEUE_DICT_H
#define QUEUE_DICT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "queue/buf.h"
#include "queue/str.h"

enum {
    DICT_KEY_BYTES_MAX = 64 * 1024,
    DICT_ENTRY_BYTES = 96,           /* that an entry costs beside its key and value */
    DICT_MAX_BYTES_LEAST = 64 * 1024 /* of max_bytes */
};

typedef struct dict dict;
typedef struct dict_port dict_port;

typedef enum dict_type {
    DICT_NULL,
    DICT_FALSE,
    DICT_TRUE,
    DICT_INTEGER,
    DICT_FLOAT,
    DICT_STRING,
    DICT_OTHER /* bytes of which the dictionary knows no more */
} dict_type;

typedef struct dict_value {
    dict_type type;
    int64_t integer;
    double number;
    str bytes; /* of DICT_STRING, DICT_OTHER */
} dict_value;

typedef struct dict_config {
    size_t max_bytes;
    bool keeps;               /* nothing is dropped to make room: -ENOSPC instead */
    uint64_t first_version;   /* versions are greater */
    uint64_t (*now_ns)(void); /* monotonic; NULL: the system's clock */
} dict_config;

/* Returns: NULL when there is no memory or no randomness. */
dict *dict_new(const dict_config *config);
/* Its ports and watchers must be gone. NULL is fine. */
void dict_free(dict *d);

/* Threads: any. What is too much is dropped as others write. */
void dict_set_max_bytes(dict *d, size_t max_bytes);
size_t dict_max_bytes(const dict *d);

/* Returns: NULL when there is no memory. */
dict_port *dict_port_new(dict *d);
/* NULL is fine. */
void dict_port_free(dict_port *p);

/* --- reading --- */

/* The value of a key; its bytes are copied into *into, whose contents they replace.
 * Returns: 0 with the value and, if wanted, its version; -ENOENT with version 0; -ENOMEM. */
int dict_get(dict_port *p, str key, buf *into, dict_value *ret, uint64_t *ret_version);

/* The same without its being a use; with the nanoseconds until it ends, UINT64_MAX if it has no end. */
int dict_peek(dict_port *p, str key, buf *into, dict_value *ret, uint64_t *ret_ttl_ns);

/* Returns: the nanoseconds until it ends, UINT64_MAX if it has no end, 0 if it is not there. */
uint64_t dict_ttl_ns(dict_port *p, str key);

/* Append the keys there are, `most` at most, each as a size_t and its bytes, in no order. What is stored or
 * removed meanwhile may be missing or not. Returns: 0 or -ENOMEM. */
int dict_keys(dict_port *p, size_t most, buf *into, size_t *ret_count);

typedef struct dict_stats {
    uint64_t bytes, entries; /* what is stored; of what has ended, part may be counted still */
    uint64_t hits, misses;   /* of dict_get */
    uint64_t evictions;      /* entries dropped to make room */
    uint64_t expirations;    /* entries removed after their end */
} dict_stats;

/* Threads: any. */
dict_stats dict_stats_of(dict *d);

/* --- changing --- */

typedef enum dict_when {
    DICT_ALWAYS,
    DICT_IF_ABSENT,  /* else -EEXIST */
    DICT_IF_PRESENT, /* else -ENOENT */
    DICT_IF_VERSION  /* of `version`, where 0 is absence; else -ESTALE */
} dict_when;

typedef struct dict_change {
    dict_when when;
    uint64_t version;
    uint64_t ttl_ns; /* 0: no end */
    bool keeps_end;  /* dict_put on a condition, without a ttl: it ends when what it replaces would have */
} dict_change;

/* Returns: 0, or what the condition says, or -EFBIG when it exceeds max_bytes alone, -ENOSPC, -ENOMEM,
 * -EINVAL for a key that is too long. */
int dict_put(dict_port *p, str key, const dict_value *value, const dict_change *how, uint64_t *ret_version);

/* Remove it. DICT_ALWAYS and DICT_IF_PRESENT are the same. Returns: 0, -ENOENT, or -ESTALE. */
int dict_delete(dict_port *p, str key, const dict_change *how);

/* Give it a new end, or none; its version stays. Returns: as dict_delete. */
int dict_touch(dict_port *p, str key, const dict_change *how);

/* Add to a number; absent, it is made of `init`, with the ttl: of one that is there the end stays. Two
 * integers give one. *value is `by` first, and the sum afterwards.
 * Returns: 0, -EDOM when there is no number, -ERANGE when the sum is beyond an integer, or as dict_put. */
int dict_add(dict_port *p, str key, dict_value *value, const dict_value *init, uint64_t ttl_ns,
             uint64_t *ret_version);

/* Remove all that was there when it began. Returns: 0, or -ENOMEM when not all could be. */
int dict_flush(dict_port *p);

/* --- watching --- */

typedef enum dict_event {
    DICT_STORED,  /* a value of that version */
    DICT_TOUCHED, /* the end is another */
    DICT_DELETED,
    DICT_EXPIRED, /* it was removed some time after its end */
    DICT_EVICTED,
    DICT_FLUSHED /* all of it; the key is empty */
} dict_event;

/* Told after a change, on the thread that made it, so by several at a time, and without a lock: it may use
 * ports of its own thread. Of two
 * changes at a time either may come first, so look at what is there. The caller's memory while it watches;
 * the last fields are the dictionary's. */
typedef struct dict_watcher {
    void (*changed)(void *user, dict_event event, str key, uint64_t version);
    void *user;
    struct dict_watcher *next;
    unsigned busy; /* calls under way */
    bool leaving;
} dict_watcher;

/* Threads: any. */
void dict_watch(dict *d, dict_watcher *w);
/* It is not called any more when this returns. Not from `changed`. */
void dict_unwatch(dict *d, dict_watcher *w);

#endif
