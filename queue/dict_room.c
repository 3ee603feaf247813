/* A dictionary's bytes: having room for an entry, and what goes for it.
 *
 * Bytes are taken before an entry is stored and given back when it is out, both at once with what was there,
 * so their sum never exceeds max_bytes, nor does what is stored. Somebody who finds no room takes an entry
 * out of the next shard, one lock at a time. Who has been given room stores or gives back without waiting
 * for any of those who wait, so they come to something that they can take out. */
#include <errno.h>
#include <sched.h>

#include "queue/dict_internal.h"

enum {
    LOOKS = 64, /* entries that the hand passes at most, since all may have been used lately */
    SWEEPS = 4  /* slots that a writer looks at for entries that have ended */
};

static void count(_Atomic uint64_t *n)
{
    atomic_fetch_add_explicit(n, 1, memory_order_relaxed);
}

void dict_room_give(dict *d, size_t bytes)
{
    atomic_fetch_sub_explicit(&d->bytes, bytes, memory_order_relaxed);
}

static bool try_take(dict *d, size_t bytes, size_t max_bytes)
{
    size_t now = atomic_load_explicit(&d->bytes, memory_order_relaxed);
    while (now + bytes <= max_bytes)
        if (atomic_compare_exchange_weak_explicit(&d->bytes, &now, now + bytes, memory_order_relaxed,
                                                  memory_order_relaxed))
            return true;
    return false;
}

/* The second chance: an entry that was used since the hand came by stays, but not for ever. */
static dict_entry *choose(dict *d, dict_shard *s)
{
    dict_table_view v = dict_table_look(&s->table);
    dict_entry *last = NULL;
    for (unsigned looks = 0; looks < LOOKS;) {
        dict_entry *e = dict_table_at(v, s->table.hand++ % v.end);
        if (!e)
            continue;
        if (dict_is_over(d, e) || !atomic_load_explicit(&e->used, memory_order_relaxed))
            return e;
        atomic_store_explicit(&e->used, 0, memory_order_relaxed);
        last = e;
        looks++;
    }
    return last;
}

static dict_entry *evict_from(dict *d, dict_shard *s)
{
    dict_entry *e = NULL;
    pthread_mutex_lock(&s->lock);
    if (atomic_load_explicit(&s->table.live, memory_order_relaxed) > 0) {
        e = choose(d, s);
        dict_take_out(s, e);
    }
    pthread_mutex_unlock(&s->lock);
    return e;
}

/* Returns: whether there was anything to evict. */
static bool evict_one(dict_port *p)
{
    dict *d = p->dict;
    dict_entry *e = NULL;
    for (unsigned i = 0; i < DICT_SHARDS && !e; i++)
        e = evict_from(
            d, &d->shards[atomic_fetch_add_explicit(&d->hand, 1, memory_order_relaxed) % DICT_SHARDS]);
    if (!e)
        return false;
    bool over = dict_is_over(d, e);
    count(over ? &d->expirations : &d->evictions);
    dict_tell(d, over ? DICT_EXPIRED : DICT_EVICTED, dict_entry_key(e), e->version);
    dict_drop(p, e);
    return true;
}

int dict_room_take(dict_port *p, size_t bytes)
{
    dict *d = p->dict;
    for (;;) {
        size_t max_bytes = dict_max_bytes(d);
        if (bytes > max_bytes)
            return -EFBIG;
        if (try_take(d, bytes, max_bytes))
            return 0;
        if (d->keeps)
            return -ENOSPC;
        if (!evict_one(p))
            sched_yield(); /* others have room and are about to store */
    }
}

dict_entry *dict_room_sweep(dict *d, dict_shard *s)
{
    if (s->mortal == 0)
        return NULL;
    dict_table_view v = dict_table_look(&s->table);
    for (unsigned i = 0; i < SWEEPS; i++) {
        dict_entry *e = dict_table_at(v, s->table.sweep++ % v.end);
        if (!e || !dict_is_over(d, e))
            continue;
        dict_take_out(s, e);
        count(&d->expirations);
        return e;
    }
    return NULL;
}
