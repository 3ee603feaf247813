#include "queue/dict_table.h"

#include <errno.h>
#include <stdlib.h>

enum { SLOTS_LEAST = 16 };

dict_entry dict_table_mark = {.key_bytes = UINT32_MAX};

static dict_row *row_new(size_t slots)
{
    dict_row *r = malloc(sizeof(*r) + slots * sizeof(r->slots[0]));
    if (!r)
        return NULL;
    r->mask = slots - 1;
    for (size_t i = 0; i < slots; i++)
        atomic_init(&r->slots[i], NULL);
    return r;
}

size_t dict_row_bytes(const dict_row *r)
{
    return sizeof(*r) + (r->mask + 1) * sizeof(r->slots[0]);
}

size_t dict_row_slots(const dict_row *r)
{
    return r->mask + 1;
}

epoch_garbage *dict_row_garbage(dict_row *r)
{
    return &r->garbage;
}

static dict_row *row_of(dict_table *t)
{
    return atomic_load_explicit(&t->row, memory_order_acquire); /* pairs with set_row */
}

static void set_row(dict_table *t, dict_row *r)
{
    atomic_store_explicit(&t->row, r, memory_order_release);
}

static dict_entry *load(dict_row *r, size_t i)
{
    return atomic_load_explicit(&r->slots[i & r->mask], memory_order_acquire); /* pairs with store */
}

static void store(dict_row *r, size_t i, dict_entry *e)
{
    atomic_store_explicit(&r->slots[i & r->mask], e, memory_order_release);
}

int dict_table_init(dict_table *t)
{
    dict_row *r = row_new(SLOTS_LEAST);
    memset(t, 0, sizeof(*t));
    atomic_init(&t->row, r);
    return r ? 0 : -ENOMEM;
}

void dict_table_fini(dict_table *t)
{
    dict_row *r = row_of(t);
    for (size_t i = 0; r && i <= r->mask; i++)
        if (load(r, i) != &dict_table_mark)
            free(load(r, i));
    free(r);
}

dict_table_view dict_table_look(dict_table *t)
{
    dict_row *r = row_of(t);
    return (dict_table_view){r, r->mask + 1};
}

dict_entry *dict_table_at(dict_table_view v, size_t i)
{
    dict_entry *e = load(v.row, i);
    return e == &dict_table_mark ? NULL : e;
}

/* --- the writer --- */

static size_t live(const dict_table *t)
{
    return atomic_load_explicit(&t->live, memory_order_relaxed);
}

static void set_live(dict_table *t, size_t n)
{
    atomic_store_explicit(&t->live, n, memory_order_relaxed);
}

static void insert(dict_row *r, dict_entry *e)
{
    size_t i = e->hash;
    while (load(r, i))
        i++;
    store(r, i, e);
}

/* Entries and marks fill three quarters at most, and right after this, entries alone three eighths. */
int dict_table_grow(dict_table *t, epoch_garbage **ret_old, size_t *ret_bytes)
{
    dict_row *r = row_of(t);
    size_t slots = r->mask + 1;
    *ret_old = NULL;
    if ((t->taken + 1) * 4 <= slots * 3)
        return 0;
    while (slots > SLOTS_LEAST && live(t) < slots / 8)
        slots /= 2;
    while ((live(t) + 1) * 8 > slots * 3)
        slots *= 2;
    dict_row *more = row_new(slots);
    if (!more)
        return -ENOMEM;
    for (size_t i = 0; i <= r->mask; i++)
        if (load(r, i) && load(r, i) != &dict_table_mark)
            insert(more, load(r, i));
    t->taken = live(t);
    set_row(t, more);
    *ret_old = &r->garbage;
    *ret_bytes = dict_row_bytes(r);
    return 0;
}

dict_place dict_table_seek(dict_table *t, uint64_t hash, str key)
{
    dict_row *r = row_of(t);
    size_t free_at = SIZE_MAX;
    for (size_t i = hash;; i++) {
        dict_entry *e = load(r, i);
        if (!e)
            return (dict_place){free_at == SIZE_MAX ? i : free_at, NULL};
        if (dict_is_it(e, hash, key))
            return (dict_place){i, e};
        if (e == &dict_table_mark && free_at == SIZE_MAX)
            free_at = i;
    }
}

void dict_table_put(dict_table *t, dict_place at, dict_entry *e)
{
    dict_row *r = row_of(t);
    if (!at.now) {
        t->taken += load(r, at.slot) == NULL;
        set_live(t, live(t) + 1);
    }
    store(r, at.slot, e);
}

/* Marks before an empty slot lead nowhere. */
void dict_table_remove(dict_table *t, dict_entry *e)
{
    dict_row *r = row_of(t);
    size_t i = e->hash;
    while (load(r, i) != e)
        i++;
    store(r, i, &dict_table_mark);
    set_live(t, live(t) - 1);
    for (; load(r, i) == &dict_table_mark && !load(r, i + 1); i--) {
        store(r, i, NULL);
        t->taken--;
    }
}

dict_row *dict_table_clear(dict_table *t)
{
    dict_row *r = row_of(t), *empty = row_new(SLOTS_LEAST);
    if (!empty)
        return NULL;
    set_row(t, empty);
    set_live(t, 0);
    t->taken = 0;
    return r;
}
