/* A dictionary's bytes: having room for an entry, and what goes for it.
 *
 * The sum is what is stored: bytes are added under the lock under which the entry is stored, and only if the
 * sum stays within max_bytes. Who finds no room gives the lock back, takes an entry out of the next shard
 * under that one's lock, and tries again. */
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

bool dict_room_take(dict *d, size_t more, size_t less)
{
    if (more == less)
        return true;
    size_t max_bytes = dict_max_bytes(d), now = atomic_load_explicit(&d->bytes, memory_order_relaxed);
    do
        if (more > less && now + more - less > max_bytes)
            return false;
    while (!atomic_compare_exchange_weak_explicit(&d->bytes, &now, now + more - less, memory_order_relaxed,
                                                  memory_order_relaxed));
    return true;
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
        dict_take_out(d, s, e);
    }
    pthread_mutex_unlock(&s->lock);
    return e;
}

void dict_room_make(dict_port *p)
{
    dict *d = p->dict;
    dict_entry *e = NULL;
    for (unsigned i = 0; i < DICT_SHARDS && !e; i++)
        e = evict_from(
            d, &d->shards[atomic_fetch_add_explicit(&d->hand, 1, memory_order_relaxed) % DICT_SHARDS]);
    if (!e)
        return;
    bool over = dict_is_over(d, e);
    count(over ? &d->expirations : &d->evictions);
    dict_tell(d, over ? DICT_EXPIRED : DICT_EVICTED, dict_entry_key(e), e->version);
    dict_drop(p, e);
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
        dict_take_out(d, s, e);
        count(&d->expirations);
        return e;
    }
    return NULL;
}
