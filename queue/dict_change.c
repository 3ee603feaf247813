/* Changing a dictionary. An entry is made before the lock is taken and dropped after it is given back, so a
 * writer holds it for a search and a store. */
#include <errno.h>
#include <stdlib.h>

#include "queue/dict_internal.h"

static bool has_bytes(const dict_value *v)
{
    return v->type == DICT_STRING || v->type == DICT_OTHER;
}

static uint64_t end_of(const dict *d, uint64_t ttl_ns)
{
    if (ttl_ns == 0)
        return 0;
    uint64_t now_ns = d->now_ns();
    return ttl_ns < UINT64_MAX - now_ns ? now_ns + ttl_ns : UINT64_MAX;
}

static void set_value(dict_entry *e, const dict_value *v)
{
    e->type = (uint8_t)v->type;
    if (v->type == DICT_INTEGER)
        e->integer = v->integer;
    else if (v->type == DICT_FLOAT)
        e->number = v->number;
}

/* Make an entry, and take the bytes that it costs. */
static int make_entry(dict_port *p, uint64_t hash, str key, const dict_value *v, uint64_t ttl_ns,
                      dict_entry **ret_e)
{
    str bytes = has_bytes(v) ? v->bytes : (str){0};
    if (key.n > DICT_KEY_BYTES_MAX)
        return -EINVAL;
    if (bytes.n > UINT32_MAX)
        return -EFBIG;
    int err = dict_room_take(p, DICT_ENTRY_BYTES + key.n + bytes.n);
    if (err)
        return err;
    dict_entry *e = malloc(sizeof(*e) + key.n + bytes.n);
    if (!e) {
        dict_room_give(p->dict, DICT_ENTRY_BYTES + key.n + bytes.n);
        return -ENOMEM;
    }
    e->hash = hash;
    e->key_bytes = (uint32_t)key.n;
    e->value_bytes = (uint32_t)bytes.n;
    set_value(e, v);
    atomic_init(&e->expires_ns, end_of(p->dict, ttl_ns));
    atomic_init(&e->used, 1);
    memcpy(e->bytes, key.p, key.n);
    if (bytes.n)
        memcpy(e->bytes + key.n, bytes.p, bytes.n);
    *ret_e = e;
    return 0;
}

/* It was never in the table. */
static void unmake_entry(dict *d, dict_entry *e)
{
    dict_room_give(d, dict_entry_cost(e));
    free(e);
}

static int judge(const dict_change *how, const dict_entry *now)
{
    switch (how->when) {
    case DICT_IF_ABSENT:
        return now ? -EEXIST : 0;
    case DICT_IF_PRESENT:
        return now ? 0 : -ENOENT;
    case DICT_IF_VERSION:
        return (now ? now->version : 0) == how->version ? 0 : -ESTALE;
    default:
        return 0;
    }
}

/* The entry that is there, in its time. Thread: the holder of the lock, or a reader. */
static dict_entry *present(dict *d, dict_shard *s, uint64_t hash, str key)
{
    dict_entry *e = dict_table_find(&s->table, hash, key);
    return e && !dict_is_over(d, e) ? e : NULL;
}

/* What a change has taken out of the table, to be dropped when the lock is given back. */
typedef struct leavings {
    dict_entry *old; /* replaced */
    dict_entry *expired;
    epoch_garbage *row;
    size_t row_bytes;
} leavings;

static void drop_leavings(dict_port *p, leavings *l)
{
    if (l->old)
        dict_drop(p, l->old);
    if (l->row)
        epoch_drop(&p->dict->epoch, &p->member, l->row, l->row_bytes);
    if (!l->expired)
        return;
    dict_tell(p->dict, DICT_EXPIRED, dict_entry_key(l->expired), l->expired->version);
    dict_drop(p, l->expired);
}

static void copy_end(dict_entry *to, const dict_entry *from)
{
    uint64_t expires_ns = atomic_load_explicit(&from->expires_ns, memory_order_relaxed);
    atomic_store_explicit(&to->expires_ns, expires_ns, memory_order_relaxed);
}

/* Put an entry in. Thread: the holder of the lock. */
static int store(dict *d, dict_shard *s, dict_entry *e, leavings *l)
{
    int err = dict_table_grow(&s->table, &l->row, &l->row_bytes);
    if (err)
        return err;
    e->version = ++s->version;
    l->old = dict_table_put(&s->table, e);
    s->mortal += dict_is_mortal(e);
    s->mortal -= l->old && dict_is_mortal(l->old);
    l->expired = dict_room_sweep(d, s);
    return 0;
}

/* Before anything is dropped to make room: is there any sense in it? */
static int judge_early(dict_port *p, dict_shard *s, uint64_t hash, str key, const dict_change *how)
{
    if (how->when == DICT_ALWAYS)
        return 0;
    epoch_enter(&p->dict->epoch, &p->member);
    int err = judge(how, present(p->dict, s, hash, key));
    epoch_leave(&p->member);
    return err;
}

/* Thread: the holder of the lock. */
static int put(dict *d, dict_shard *s, dict_entry *e, const dict_change *how, leavings *l)
{
    if (how->when == DICT_ALWAYS)
        return store(d, s, e, l);
    dict_entry *now = present(d, s, e->hash, dict_entry_key(e));
    int err = judge(how, now);
    if (err)
        return err;
    if (now && how->keeps_end && how->ttl_ns == 0)
        copy_end(e, now);
    return store(d, s, e, l);
}

int dict_put(dict_port *p, str key, const dict_value *value, const dict_change *how, uint64_t *ret_version)
{
    dict *d = p->dict;
    uint64_t hash = dict_hash(d, key), version;
    dict_shard *s = dict_shard_of(d, hash);
    dict_entry *e;
    leavings l = {0};
    int err = judge_early(p, s, hash, key, how);
    if (err == 0)
        err = make_entry(p, hash, key, value, how->ttl_ns, &e);
    if (err)
        return err;
    pthread_mutex_lock(&s->lock);
    err = put(d, s, e, how, &l);
    version = s->version;
    pthread_mutex_unlock(&s->lock);
    if (err) {
        unmake_entry(d, e);
        return err;
    }
    drop_leavings(p, &l);
    dict_tell(d, DICT_STORED, key, version);
    if (ret_version)
        *ret_version = version;
    return 0;
}

/* --- numbers --- */

/* Add to *sum. */
static int add_number(dict_value *sum, const dict_value *to)
{
    if (sum->type == DICT_INTEGER && to->type == DICT_INTEGER)
        return __builtin_add_overflow(to->integer, sum->integer, &sum->integer) ? -ERANGE : 0;
    if (to->type != DICT_INTEGER && to->type != DICT_FLOAT)
        return -EDOM;
    double a = to->type == DICT_INTEGER ? (double)to->integer : to->number;
    double b = sum->type == DICT_INTEGER ? (double)sum->integer : sum->number;
    *sum = (dict_value){.type = DICT_FLOAT, .number = a + b};
    return 0;
}

/* Thread: the holder of the lock. */
static int add_to(dict *d, dict_shard *s, dict_entry *e, dict_value *value, const dict_value *init,
                  leavings *l)
{
    dict_value was = *init, sum = *value;
    dict_entry *now = present(d, s, e->hash, dict_entry_key(e));
    if (now) {
        was = (dict_value){.type = (dict_type)now->type};
        if (was.type == DICT_INTEGER)
            was.integer = now->integer;
        else if (was.type == DICT_FLOAT)
            was.number = now->number;
        copy_end(e, now);
    }
    int err = add_number(&sum, &was);
    if (err)
        return err;
    set_value(e, &sum);
    err = store(d, s, e, l);
    if (err == 0)
        *value = sum;
    return err;
}

int dict_add(dict_port *p, str key, dict_value *value, const dict_value *init, uint64_t ttl_ns,
             uint64_t *ret_version)
{
    dict *d = p->dict;
    uint64_t hash = dict_hash(d, key);
    dict_shard *s = dict_shard_of(d, hash);
    dict_entry *e;
    leavings l = {0};
    int err = make_entry(p, hash, key, value, ttl_ns, &e);
    if (err)
        return err;
    pthread_mutex_lock(&s->lock);
    err = add_to(d, s, e, value, init, &l);
    uint64_t version = s->version;
    pthread_mutex_unlock(&s->lock);
    if (err) {
        unmake_entry(d, e);
        return err;
    }
    drop_leavings(p, &l);
    dict_tell(d, DICT_STORED, key, version);
    if (ret_version)
        *ret_version = version;
    return 0;
}

/* --- the others --- */

/* The condition of a delete or a touch; without one, it has to be there. */
static int judge_present(const dict_change *how, const dict_entry *now)
{
    if (how->when == DICT_IF_VERSION && judge(how, now) < 0)
        return -ESTALE;
    return now ? 0 : -ENOENT;
}

int dict_delete(dict_port *p, str key, const dict_change *how)
{
    dict *d = p->dict;
    uint64_t hash = dict_hash(d, key);
    dict_shard *s = dict_shard_of(d, hash);
    pthread_mutex_lock(&s->lock);
    dict_entry *e = dict_table_find(&s->table, hash, key);
    int err = judge_present(how, e && !dict_is_over(d, e) ? e : NULL);
    if (err == 0)
        dict_take_out(s, e);
    pthread_mutex_unlock(&s->lock);
    if (err)
        return err;
    dict_tell(d, DICT_DELETED, key, e->version);
    dict_drop(p, e);
    return 0;
}

int dict_touch(dict_port *p, str key, const dict_change *how)
{
    dict *d = p->dict;
    uint64_t hash = dict_hash(d, key), version = 0;
    dict_shard *s = dict_shard_of(d, hash);
    pthread_mutex_lock(&s->lock);
    dict_entry *e = present(d, s, hash, key);
    int err = judge_present(how, e);
    if (err == 0) {
        s->mortal -= dict_is_mortal(e);
        atomic_store_explicit(&e->expires_ns, end_of(d, how->ttl_ns), memory_order_relaxed);
        s->mortal += dict_is_mortal(e);
        version = e->version;
    }
    pthread_mutex_unlock(&s->lock);
    if (err == 0)
        dict_tell(d, DICT_TOUCHED, key, version);
    return err;
}

static void drop_row(dict_port *p, dict_row *r)
{
    dict_table_view v = {r, dict_row_slots(r)};
    for (size_t i = 0; i < v.end; i++)
        if (dict_table_at(v, i))
            dict_drop(p, dict_table_at(v, i));
    epoch_drop(&p->dict->epoch, &p->member, dict_row_garbage(r), dict_row_bytes(r));
}

int dict_flush(dict_port *p)
{
    dict *d = p->dict;
    int err = 0;
    for (size_t i = 0; i < DICT_SHARDS && err == 0; i++) {
        dict_shard *s = &d->shards[i];
        pthread_mutex_lock(&s->lock);
        dict_row *r = dict_table_clear(&s->table);
        s->mortal = r ? 0 : s->mortal;
        pthread_mutex_unlock(&s->lock);
        if (r)
            drop_row(p, r);
        else
            err = -ENOMEM;
    }
    dict_tell(d, DICT_FLUSHED, (str){"", 0}, 0);
    return err;
}
