/* Changing a dictionary. An entry is made before the lock is taken, and what it replaces is dropped after it
 * is given back, so a writer holds it for a search and a store. A number is changed where it is. */
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

/* --- entries --- */

static int make_entry(const dict *d, uint64_t hash, str key, const dict_value *v, dict_entry **ret_e)
{
    str bytes = has_bytes(v) ? v->bytes : (str){0};
    if (key.n > DICT_KEY_BYTES_MAX)
        return -EINVAL;
    if (bytes.n > UINT32_MAX || DICT_ENTRY_BYTES + key.n + bytes.n > dict_max_bytes(d))
        return -EFBIG;
    dict_entry *e = malloc(sizeof(*e) + key.n + bytes.n);
    if (!e)
        return -ENOMEM;
    e->hash = hash;
    e->key_bytes = (uint32_t)key.n;
    e->value_bytes = (uint32_t)bytes.n;
    e->type = (uint8_t)v->type;
    dict_set_number(e, v);
    atomic_init(&e->expires_ns, 0);
    atomic_init(&e->used, 1);
    if (key.n)
        memcpy(e->bytes, key.p, key.n);
    if (bytes.n)
        memcpy(e->bytes + key.n, bytes.p, bytes.n);
    *ret_e = e;
    return 0;
}

static uint64_t end_in(const dict_entry *e)
{
    return atomic_load_explicit(&e->expires_ns, memory_order_relaxed);
}

static void set_end(dict_entry *e, uint64_t expires_ns)
{
    atomic_store_explicit(&e->expires_ns, expires_ns, memory_order_relaxed);
}

/* Of one in the table. Thread: the holder of the lock. */
static void move_end(dict_shard *s, dict_entry *e, uint64_t expires_ns)
{
    s->mortal -= dict_is_mortal(e);
    set_end(e, expires_ns);
    s->mortal += dict_is_mortal(e);
}

/* --- storing --- */

/* A change under way. */
typedef struct change {
    dict_port *port;
    dict_shard *shard;
    uint64_t hash;
    str key;
    const dict_change *how;
    uint64_t expires_ns;
    uint64_t version;   /* out */
    dict_entry *fresh;  /* made for it; NULL: not yet, or stored */
    dict_entry *old;    /* out of the table, to be dropped when the lock is given back ... */
    dict_entry *ended;  /* ... also */
    epoch_garbage *row; /* ... also, at once */
    size_t row_bytes;
} change;

static void begin(change *c, dict_port *p, str key, const dict_change *how)
{
    *c = (change){.port = p, .key = key, .how = how, .hash = dict_hash(p->dict, key)};
    c->shard = dict_shard_of(p->dict, c->hash);
    c->expires_ns = end_of(p->dict, how->ttl_ns);
}

/* What it has taken out is let go of, others are told. Thread: no lock. */
static void end(change *c, int err)
{
    dict *d = c->port->dict;
    free(c->fresh);
    if (c->old)
        dict_drop(c->port, c->old);
    if (c->ended) {
        dict_tell(d, DICT_EXPIRED, dict_entry_key(c->ended), c->ended->version);
        dict_drop(c->port, c->ended);
    }
    if (err == 0)
        dict_tell(d, DICT_STORED, c->key, c->version);
}

/* The entry that is there, in its time. Thread: the holder of the lock. */
static dict_entry *present(dict *d, dict_entry *e)
{
    return e && !dict_is_over(d, e) ? e : NULL;
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

/* Put a number in the place of one. Thread: the holder of the lock. */
static void renumber(change *c, dict_entry *e, const dict_value *v, uint64_t expires_ns)
{
    dict_set_number(e, v);
    if (expires_ns != end_in(e))
        move_end(c->shard, e, expires_ns);
    atomic_store_explicit(&e->used, 1, memory_order_relaxed);
    c->version = e->version = ++c->shard->version;
    c->ended = dict_room_sweep(c->port->dict, c->shard);
}

/* Store the fresh entry. Thread: the holder of the lock. Returns: 0, or -ENOSPC, -ENOMEM with nothing
 * changed.
 */
static int store(change *c, dict_place at)
{
    dict *d = c->port->dict;
    dict_shard *s = c->shard;
    if (!dict_room_take(d, dict_entry_cost(c->fresh), at.now ? dict_entry_cost(at.now) : 0))
        return -ENOSPC;
    c->version = c->fresh->version = ++s->version;
    s->mortal += dict_is_mortal(c->fresh);
    s->mortal -= at.now && dict_is_mortal(at.now);
    c->old = at.now;
    dict_table_put(&s->table, at, c->fresh);
    c->fresh = NULL;
    c->ended = dict_room_sweep(d, s);
    return 0;
}

/* One try of a change. Thread: the holder of the lock. Returns: -ENODATA when an entry has to be made first.
 */
typedef int change_try(change *c, dict_place at, void *user);

/* Thread: takes the lock. */
static int try_once(change *c, change_try *attempt, void *user)
{
    pthread_mutex_lock(&c->shard->lock);
    int err = dict_table_grow(&c->shard->table, &c->row, &c->row_bytes);
    if (err == 0)
        err = attempt(c, dict_table_seek(&c->shard->table, c->hash, c->key), user);
    pthread_mutex_unlock(&c->shard->lock);
    if (c->row)
        epoch_drop(&c->port->dict->epoch, &c->port->member, c->row, c->row_bytes);
    return err;
}

/* There was no room. Returns: 0 if there may be now. */
static int make_room(change *c)
{
    dict *d = c->port->dict;
    if (d->keeps)
        return -ENOSPC;
    if (dict_entry_cost(c->fresh) > dict_max_bytes(d))
        return -EFBIG; /* it has become less */
    dict_room_make(c->port);
    return 0;
}

/* Try, until there is an entry and room for it. */
static int run(change *c, const dict_value *v, change_try *attempt, void *user)
{
    for (;;) {
        int err = try_once(c, attempt, user);
        if (err == -ENODATA)
            err = make_entry(c->port->dict, c->hash, c->key, v, &c->fresh);
        else if (err == -ENOSPC)
            err = make_room(c);
        else
            return err;
        if (err)
            return err;
    }
}

static int try_put(change *c, dict_place at, void *user)
{
    const dict_value *v = user;
    dict_entry *now = present(c->port->dict, at.now);
    int err = judge(c->how, now);
    if (err)
        return err;
    uint64_t expires_ns = now && c->how->keeps_end && c->how->ttl_ns == 0 ? end_in(now) : c->expires_ns;
    if (now && dict_is_number(now->type) && now->type == (uint8_t)v->type) {
        renumber(c, now, v, expires_ns);
        return 0;
    }
    if (!c->fresh)
        return -ENODATA;
    set_end(c->fresh, expires_ns);
    return store(c, at);
}

int dict_put(dict_port *p, str key, const dict_value *value, const dict_change *how, uint64_t *ret_version)
{
    change c;
    dict_value v = *value;
    int err = 0;
    begin(&c, p, key, how);
    if (has_bytes(value)) /* it will be needed; a number may find one in its place */
        err = how->when == DICT_ALWAYS ? make_entry(p->dict, c.hash, key, value, &c.fresh) : 0;
    if (err == 0)
        err = run(&c, value, try_put, &v);
    end(&c, err);
    if (err == 0 && ret_version)
        *ret_version = c.version;
    return err;
}

/* --- adding --- */

typedef struct addition {
    const dict_value *by, *init;
    dict_value sum;
} addition;

static int add_numbers(const dict_value *a, const dict_value *b, dict_value *ret)
{
    if (a->type == DICT_INTEGER && b->type == DICT_INTEGER) {
        ret->type = DICT_INTEGER;
        return __builtin_add_overflow(a->integer, b->integer, &ret->integer) ? -ERANGE : 0;
    }
    if (!dict_is_number((uint8_t)a->type))
        return -EDOM;
    double x = a->type == DICT_INTEGER ? (double)a->integer : a->number;
    double y = b->type == DICT_INTEGER ? (double)b->integer : b->number;
    *ret = (dict_value){.type = DICT_FLOAT, .number = x + y};
    return 0;
}

static int try_add(change *c, dict_place at, void *user)
{
    addition *a = user;
    dict_entry *now = present(c->port->dict, at.now);
    dict_value was = {.type = now ? (dict_type)now->type : DICT_NULL};
    if (now)
        dict_get_number(now, &was);
    int err = add_numbers(now ? &was : a->init, a->by, &a->sum);
    if (err)
        return err;
    if (now && now->type == (uint8_t)a->sum.type) {
        renumber(c, now, &a->sum, end_in(now));
        return 0;
    }
    if (!c->fresh)
        return -ENODATA;
    c->fresh->type = (uint8_t)a->sum.type;
    dict_set_number(c->fresh, &a->sum);
    set_end(c->fresh, now ? end_in(now) : c->expires_ns);
    return store(c, at);
}

int dict_add(dict_port *p, str key, dict_value *value, const dict_value *init, uint64_t ttl_ns,
             uint64_t *ret_version)
{
    change c;
    addition a = {.by = value, .init = init};
    begin(&c, p, key, &(dict_change){.when = DICT_ALWAYS, .ttl_ns = ttl_ns});
    int err = run(&c, value, try_add, &a);
    end(&c, err);
    if (err)
        return err;
    *value = a.sum;
    if (ret_version)
        *ret_version = c.version;
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
    dict_entry *e = present(d, dict_table_find(&s->table, hash, key));
    int err = judge_present(how, e);
    if (err == 0)
        dict_take_out(d, s, e);
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
    dict_entry *e = present(d, dict_table_find(&s->table, hash, key));
    int err = judge_present(how, e);
    if (err == 0) {
        move_end(s, e, end_of(d, how->ttl_ns));
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

/* Thread: the holder of the lock. */
static dict_row *clear(dict *d, dict_shard *s)
{
    dict_row *r = dict_table_clear(&s->table);
    if (!r)
        return NULL;
    dict_table_view v = {r, dict_row_slots(r)};
    size_t bytes = 0;
    for (size_t i = 0; i < v.end; i++)
        if (dict_table_at(v, i))
            bytes += dict_entry_cost(dict_table_at(v, i));
    dict_room_give(d, bytes);
    s->mortal = 0;
    return r;
}

int dict_flush(dict_port *p)
{
    dict *d = p->dict;
    int err = 0;
    for (size_t i = 0; i < DICT_SHARDS && err == 0; i++) {
        dict_shard *s = &d->shards[i];
        pthread_mutex_lock(&s->lock);
        dict_row *r = clear(d, s);
        pthread_mutex_unlock(&s->lock);
        if (r)
            drop_row(p, r);
        else
            err = -ENOMEM;
    }
    dict_tell(d, DICT_FLUSHED, (str){"", 0}, 0);
    return err;
}
