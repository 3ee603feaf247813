/* dict_internal: what the files of dict share. Only they include it. */
#ifndef QUEUE_DICT_INTERNAL_H
#define QUEUE_DICT_INTERNAL_H

#include <pthread.h>
#include <stdalign.h>
#include <stdatomic.h>

#include "queue/dict.h"
#include "queue/dict_table.h"
#include "queue/epoch.h"
#include "queue/siphash.h"

enum { DICT_SHARDS = 64, DICT_SHARD_BITS = 6 };

typedef struct dict_shard {
    alignas(EPOCH_LINE_BYTES) pthread_mutex_t lock; /* of the writers; no one has two */
    dict_table table;                               /* for readers see there */
    uint64_t version;                               /* [lock] the last one given */
    size_t mortal;                                  /* [lock] entries with an end */
} dict_shard;

struct dict {
    dict_shard shards[DICT_SHARDS];
    epoch epoch;
    alignas(EPOCH_LINE_BYTES) atomic_size_t bytes; /* [any] stored, or about to be; relaxed */
    atomic_uint hand;                              /* [any] the shard that gives up an entry next; relaxed */
    _Atomic uint64_t evictions, expirations;       /* [any] relaxed */
    alignas(EPOCH_LINE_BYTES) atomic_size_t max_bytes; /* read by all, so apart from what changes */
    siphash_key hash_key;
    uint64_t (*now_ns)(void);
    bool keeps;
    atomic_bool is_watched; /* [watch_lock to write] */
    pthread_mutex_t watch_lock;
    pthread_cond_t watch_idle; /* a watcher is not busy any more */
    dict_watcher *watchers;    /* [watch_lock] */
    pthread_mutex_t port_lock;
    dict_port *ports;                /* [port_lock] */
    uint64_t past_hits, past_misses; /* [port_lock] of ports that are gone */
};

/* Hits and misses: the owner writes, any reads; relaxed. */
struct dict_port {
    epoch_member member;
    dict *dict;
    dict_port *next; /* [port_lock] */
    _Atomic uint64_t hits, misses;
};

static inline uint64_t dict_hash(const dict *d, str key)
{
    return siphash_1_3(&d->hash_key, key.p, key.n);
}

static inline dict_shard *dict_shard_of(dict *d, uint64_t hash)
{
    return &d->shards[hash >> (64 - DICT_SHARD_BITS)];
}

static inline bool dict_is_over(const dict *d, const dict_entry *e)
{
    uint64_t expires_ns = atomic_load_explicit(&e->expires_ns, memory_order_relaxed);
    return expires_ns && expires_ns <= d->now_ns();
}

static inline bool dict_is_mortal(const dict_entry *e)
{
    return atomic_load_explicit(&e->expires_ns, memory_order_relaxed) != 0;
}

static inline size_t dict_entry_cost(const dict_entry *e)
{
    return DICT_ENTRY_BYTES + (size_t)e->key_bytes + e->value_bytes;
}

/* It is out of its table: free it when nobody looks at it any more. Thread: the port's, no lock. */
void dict_drop(dict_port *p, dict_entry *e);

/* Take it out of the shard, and its bytes off the sum. Thread: the holder of its lock. */
void dict_take_out(dict *d, dict_shard *s, dict_entry *e);

static inline bool dict_is_number(uint8_t type)
{
    return type == DICT_INTEGER || type == DICT_FLOAT;
}

/* Field by field: a copy of the whole, just written in parts, would wait for them. */
static inline void dict_get_number(const dict_entry *e, dict_value *ret)
{
    uint64_t digits = atomic_load_explicit(&e->digits, memory_order_relaxed);
    ret->type = (dict_type)e->type;
    if (e->type == DICT_INTEGER)
        ret->integer = (int64_t)digits;
    else
        memcpy(&ret->number, &digits, sizeof(digits));
}

/* Thread: the holder of the lock, or the maker of the entry. */
static inline void dict_set_number(dict_entry *e, const dict_value *v)
{
    uint64_t digits = (uint64_t)v->integer;
    if (v->type != DICT_INTEGER)
        memcpy(&digits, &v->number, sizeof(digits));
    atomic_store_explicit(&e->digits, digits, memory_order_relaxed);
}

/* --- dict_room --- */

/* Have `more` bytes for an entry in place of one with `less`. Thread: the holder of a lock, who stores it
 * before giving that back. Returns: whether there is room. */
bool dict_room_take(dict *d, size_t more, size_t less);
void dict_room_give(dict *d, size_t bytes);

/* Drop something. Thread: the port's, no lock. */
void dict_room_make(dict_port *p);

/* Take out an entry that has ended, of the next few, or return NULL. Thread: the holder of the lock. */
dict_entry *dict_room_sweep(dict *d, dict_shard *s);

/* --- dict_watch --- */

void dict_tell_watchers(dict *d, dict_event event, str key, uint64_t version);

/* No lock is held. */
static inline void dict_tell(dict *d, dict_event event, str key, uint64_t version)
{
    if (atomic_load_explicit(&d->is_watched, memory_order_relaxed))
        dict_tell_watchers(d, event, key, version);
}

#endif
