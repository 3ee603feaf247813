/* A dictionary's life, its ports, and reading it. */
#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "queue/dict_internal.h"

#define NS_PER_S UINT64_C(1000000000)

enum { GARBAGE_PARTS = 64, GARBAGE_BYTES_LEAST = 16 * 1024 };

static uint64_t monotonic_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

static size_t garbage_bytes(size_t max_bytes)
{
    size_t part = max_bytes / GARBAGE_PARTS;
    return part > GARBAGE_BYTES_LEAST ? part : GARBAGE_BYTES_LEAST;
}

/* Returns: how many shards have been made. */
static size_t make_shards(dict *d, uint64_t first_version)
{
    for (size_t i = 0; i < DICT_SHARDS; i++) {
        dict_shard *s = &d->shards[i];
        if (dict_table_init(&s->table) < 0)
            return i;
        pthread_mutex_init(&s->lock, NULL);
        s->version = first_version;
    }
    return DICT_SHARDS;
}

static void free_shards(dict *d, size_t n)
{
    while (n-- > 0) {
        dict_table_fini(&d->shards[n].table);
        pthread_mutex_destroy(&d->shards[n].lock);
    }
}

dict *dict_new(const dict_config *config)
{
    dict *d = aligned_alloc(EPOCH_LINE_BYTES, sizeof(*d));
    if (!d)
        return NULL;
    memset(d, 0, sizeof(*d));
    size_t made = make_shards(d, config->first_version);
    if (made < DICT_SHARDS || siphash_key_make(&d->hash_key) < 0) {
        free_shards(d, made);
        free(d);
        return NULL;
    }
    epoch_init(&d->epoch, garbage_bytes(config->max_bytes));
    atomic_init(&d->max_bytes, config->max_bytes);
    d->keeps = config->keeps;
    d->now_ns = config->now_ns ? config->now_ns : monotonic_ns;
    pthread_mutex_init(&d->watch_lock, NULL);
    pthread_cond_init(&d->watch_idle, NULL);
    pthread_mutex_init(&d->port_lock, NULL);
    return d;
}

void dict_free(dict *d)
{
    if (!d)
        return;
    free_shards(d, DICT_SHARDS);
    epoch_fini(&d->epoch);
    pthread_mutex_destroy(&d->watch_lock);
    pthread_cond_destroy(&d->watch_idle);
    pthread_mutex_destroy(&d->port_lock);
    free(d);
}

void dict_set_max_bytes(dict *d, size_t max_bytes)
{
    atomic_store_explicit(&d->max_bytes, max_bytes, memory_order_relaxed);
    atomic_store_explicit(&d->epoch.most_bytes, garbage_bytes(max_bytes), memory_order_relaxed);
}

size_t dict_max_bytes(const dict *d)
{
    return atomic_load_explicit(&d->max_bytes, memory_order_relaxed);
}

/* --- ports --- */

dict_port *dict_port_new(dict *d)
{
    dict_port *p = aligned_alloc(EPOCH_LINE_BYTES, sizeof(*p));
    if (!p)
        return NULL;
    memset(p, 0, sizeof(*p));
    p->dict = d;
    epoch_join(&d->epoch, &p->member);
    pthread_mutex_lock(&d->port_lock);
    p->next = d->ports;
    d->ports = p;
    pthread_mutex_unlock(&d->port_lock);
    return p;
}

static void count(_Atomic uint64_t *n)
{
    uint64_t before = atomic_load_explicit(n, memory_order_relaxed);
    atomic_store_explicit(n, before + 1, memory_order_relaxed);
}

static uint64_t counted(const _Atomic uint64_t *n)
{
    return atomic_load_explicit(n, memory_order_relaxed);
}

static void unlink_port(dict *d, dict_port *p)
{
    pthread_mutex_lock(&d->port_lock);
    dict_port **at = &d->ports;
    while (*at != p)
        at = &(*at)->next;
    *at = p->next;
    d->past_hits += counted(&p->hits);
    d->past_misses += counted(&p->misses);
    pthread_mutex_unlock(&d->port_lock);
}

void dict_port_free(dict_port *p)
{
    if (!p)
        return;
    unlink_port(p->dict, p);
    epoch_part(&p->dict->epoch, &p->member);
    free(p);
}

void dict_drop(dict_port *p, dict_entry *e)
{
    epoch_drop(&p->dict->epoch, &p->member, &e->garbage, dict_entry_cost(e));
}

void dict_take_out(dict *d, dict_shard *s, dict_entry *e)
{
    s->mortal -= dict_is_mortal(e);
    dict_table_remove(&s->table, e);
    dict_room_give(d, dict_entry_cost(e));
}

/* --- reading --- */

/* A bit that is set already is left alone, so readers of one entry do not disturb each other. */
static void mark_used(dict_entry *e)
{
    if (!atomic_load_explicit(&e->used, memory_order_relaxed))
        atomic_store_explicit(&e->used, 1, memory_order_relaxed);
}

/* Fill in *ret but for the bytes, which are in *into. */
static int copy_out(const dict_entry *e, buf *into, dict_value *ret)
{
    into->n = 0;
    ret->type = (dict_type)e->type;
    if (dict_is_number(e->type))
        dict_get_number(e, ret);
    return e->value_bytes ? buf_add(into, dict_entry_value(e).p, e->value_bytes) : 0;
}

/* The entry of that key, unless it has ended. Thread: inside a section, or the holder of the lock. */
static dict_entry *find(dict *d, uint64_t hash, str key)
{
    dict_entry *e = dict_table_find(&dict_shard_of(d, hash)->table, hash, key);
    return e && !dict_is_over(d, e) ? e : NULL;
}

/* A number and its version are two words, which only a writer sees together. */
static int get_number(dict_port *p, uint64_t hash, str key, dict_value *ret, uint64_t *ret_version)
{
    dict_shard *s = dict_shard_of(p->dict, hash);
    int err = -EAGAIN;
    pthread_mutex_lock(&s->lock);
    const dict_entry *e = find(p->dict, hash, key);
    if (e && dict_is_number(e->type)) {
        dict_get_number(e, ret);
        if (ret_version)
            *ret_version = e->version;
        err = 0;
    }
    pthread_mutex_unlock(&s->lock);
    return err;
}

/* Returns: as dict_get; -EAGAIN when it is a number whose version is wanted. */
static int get(dict_port *p, uint64_t hash, str key, buf *into, dict_value *ret, uint64_t *ret_version)
{
    dict *d = p->dict;
    int err = -ENOENT;
    epoch_enter(&d->epoch, &p->member);
    dict_entry *e = find(d, hash, key);
    if (e) {
        mark_used(e);
        err = copy_out(e, into, ret);
        if (ret_version && dict_is_number(e->type))
            err = -EAGAIN;
        else if (ret_version)
            *ret_version = e->version;
    }
    epoch_leave(&p->member);
    ret->bytes.p = into->p;
    ret->bytes.n = into->n;
    return err;
}

int dict_get(dict_port *p, str key, buf *into, dict_value *ret, uint64_t *ret_version)
{
    uint64_t hash = dict_hash(p->dict, key);
    int err;
    if (ret_version)
        *ret_version = 0;
    do {
        err = get(p, hash, key, into, ret, ret_version);
        if (err == -EAGAIN)
            err = get_number(p, hash, key, ret, ret_version);
    } while (err == -EAGAIN);
    count(err == -ENOENT ? &p->misses : &p->hits);
    return err;
}

/* Of one that has not ended: at least 1. */
static uint64_t ttl_of(const dict *d, const dict_entry *e)
{
    uint64_t expires_ns = atomic_load_explicit(&e->expires_ns, memory_order_relaxed);
    uint64_t now_ns = expires_ns ? d->now_ns() : 0;
    if (!expires_ns)
        return UINT64_MAX;
    return expires_ns > now_ns ? expires_ns - now_ns : 1;
}

int dict_peek(dict_port *p, str key, buf *into, dict_value *ret, uint64_t *ret_ttl_ns)
{
    dict *d = p->dict;
    int err = -ENOENT;
    epoch_enter(&d->epoch, &p->member);
    const dict_entry *e = find(d, dict_hash(d, key), key);
    if (e) {
        err = copy_out(e, into, ret);
        *ret_ttl_ns = ttl_of(d, e);
    }
    epoch_leave(&p->member);
    ret->bytes = (str){into->p, into->n};
    return err;
}

uint64_t dict_ttl_ns(dict_port *p, str key)
{
    dict *d = p->dict;
    epoch_enter(&d->epoch, &p->member);
    const dict_entry *e = find(d, dict_hash(d, key), key);
    uint64_t left_ns = e ? ttl_of(d, e) : 0;
    epoch_leave(&p->member);
    return left_ns;
}

static int add_key(const dict_entry *e, buf *into)
{
    size_t n = e->key_bytes;
    int err = buf_add(into, &n, sizeof(n));
    return err ? err : buf_add(into, e->bytes, n);
}

/* A section for each shard, so that none is long. */
static int shard_keys(dict_port *p, dict_shard *s, size_t most, buf *into, size_t *count_so_far)
{
    int err = 0;
    epoch_enter(&p->dict->epoch, &p->member);
    dict_table_view v = dict_table_look(&s->table);
    for (size_t i = 0; i < v.end && *count_so_far < most && err == 0; i++) {
        const dict_entry *e = dict_table_at(v, i);
        if (!e || dict_is_over(p->dict, e))
            continue;
        err = add_key(e, into);
        ++*count_so_far;
    }
    epoch_leave(&p->member);
    return err;
}

int dict_keys(dict_port *p, size_t most, buf *into, size_t *ret_count)
{
    size_t n = 0;
    int err = 0;
    for (size_t i = 0; i < DICT_SHARDS && n < most && err == 0; i++)
        err = shard_keys(p, &p->dict->shards[i], most, into, &n);
    if (err == 0)
        *ret_count = n;
    return err;
}

dict_stats dict_stats_of(dict *d)
{
    dict_stats all = {.bytes = atomic_load_explicit(&d->bytes, memory_order_relaxed),
                      .evictions = counted(&d->evictions),
                      .expirations = counted(&d->expirations)};
    for (size_t i = 0; i < DICT_SHARDS; i++)
        all.entries += atomic_load_explicit(&d->shards[i].table.live, memory_order_relaxed);
    pthread_mutex_lock(&d->port_lock);
    all.hits = d->past_hits;
    all.misses = d->past_misses;
    for (const dict_port *p = d->ports; p; p = p->next) {
        all.hits += counted(&p->hits);
        all.misses += counted(&p->misses);
    }
    pthread_mutex_unlock(&d->port_lock);
    return all;
}
