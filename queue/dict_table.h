/* dict_table: entries by key, for one writer at a time and any number of readers beside it. For dict.
 *
 * It is a row of slots, each a pointer to an entry. A key's entry lies in the first free slot from the one
 * that its hash names. What is removed leaves a mark, so that the search goes on past it.
 *
 * The argument for readers, who only load: slots and the row are published by a release and loaded by an
 * acquire, so an entry is whole. An entry is const but for its end, its bit and a
 * number's digits, which are one atomic word each. In one row a key that is
 * there has one slot, and its values change in place: a reader on its way finds one of them. If it is
 * removed and comes back in an earlier slot, a reader that is between the two finds none; the key was absent
 * between these two changes, and at least a part of that was between the two loads of the reader. When the
 * row is too full, its entries are copied to a larger one, which then takes its place. Readers of the old one
 * find what was so at that moment, which was after they began. That entries and rows still exist is epoch's
 * business. A row always has an empty slot, so a search ends.
 *
 * Threads: a reader inside its section, or the writer, who holds the lock of this part. */
#ifndef QUEUE_DICT_TABLE_H
#define QUEUE_DICT_TABLE_H

#include <stdatomic.h>
#include <stdint.h>

#include "queue/epoch.h"
#include "queue/str.h"

typedef struct dict_entry {
    epoch_garbage garbage;
    uint64_t hash;
    uint64_t version;            /* of a number: [writer]; else const */
    _Atomic uint64_t expires_ns; /* [writer] 0: never. Nothing hangs on it: relaxed */
    _Atomic uint64_t digits;     /* [writer] a number's bits; relaxed */
    uint32_t key_bytes, value_bytes;
    uint8_t type;
    atomic_uchar used; /* [any] since the hand came by; relaxed */
    char bytes[];      /* key, value */
} dict_entry;

typedef struct dict_row {
    epoch_garbage garbage;
    size_t mask;
    _Atomic(dict_entry *) slots[];
} dict_row;

typedef struct dict_table {
    _Atomic(dict_row *) row;
    atomic_size_t live; /* [writer] entries; relaxed, others read it as a figure */
    size_t taken;       /* [writer] slots with entries or marks */
    size_t hand, sweep; /* [writer] where those who look for something to remove have come to */
} dict_table;

/* The slots before `end`; see dict_table_at. */
typedef struct dict_table_view {
    dict_row *row;
    size_t end;
} dict_table_view;

static inline str dict_entry_key(const dict_entry *e)
{
    return (str){e->bytes, e->key_bytes};
}

static inline str dict_entry_value(const dict_entry *e)
{
    return (str){e->bytes + e->key_bytes, e->value_bytes};
}

/* Returns: 0 or -ENOMEM. */
int dict_table_init(dict_table *t);
/* Frees the entries, too. Nobody else may be there. */
void dict_table_fini(dict_table *t);

/* What the slots hold, one after the other, NULL for none. Thread: reader or writer. */
dict_table_view dict_table_look(dict_table *t);
dict_entry *dict_table_at(dict_table_view v, size_t i);

/* Make sure that one more has room. Returns: 0 with *ret_old NULL or the row that has been replaced, which is
 * to be dropped; -ENOMEM. Thread: writer. */
int dict_table_grow(dict_table *t, epoch_garbage **ret_old, size_t *ret_bytes);

/* Where a key is, or would be put. */
typedef struct dict_place {
    size_t slot;
    dict_entry *now; /* NULL: nothing */
} dict_place;

/* Good until the next change. Thread: writer. */
dict_place dict_table_seek(dict_table *t, uint64_t hash, str key);

/* Put an entry with the key that was sought in, in place of what is there. There is room. Thread: writer. */
void dict_table_put(dict_table *t, dict_place at, dict_entry *e);

/* Take it out; it is in. Thread: writer. */
void dict_table_remove(dict_table *t, dict_entry *e);

/* Take all out at once. Returns: the row that held them, to be dropped with them; NULL: -ENOMEM, and nothing
 * was done. Thread: writer. */
dict_row *dict_table_clear(dict_table *t);
size_t dict_row_bytes(const dict_row *r);
size_t dict_row_slots(const dict_row *r);
epoch_garbage *dict_row_garbage(dict_row *r);

/* --- searching, inlined: it is most of what a read is --- */

/* Most keys are short, and a call of memcmp costs as much as the rest of a search. Words may overlap. */
static inline bool dict_same_bytes(const char *a, const char *b, size_t n)
{
    uint64_t x, y;
    uint32_t v, w;
    if (n >= sizeof(x)) {
        for (size_t i = 0; i + sizeof(x) < n; i += sizeof(x)) {
            memcpy(&x, a + i, sizeof(x));
            memcpy(&y, b + i, sizeof(y));
            if (x != y)
                return false;
        }
        memcpy(&x, a + n - sizeof(x), sizeof(x));
        memcpy(&y, b + n - sizeof(y), sizeof(y));
        return x == y;
    }
    if (n >= sizeof(v)) {
        memcpy(&v, a, sizeof(v));
        memcpy(&w, b, sizeof(w));
        if (v != w)
            return false;
        memcpy(&v, a + n - sizeof(v), sizeof(v));
        memcpy(&w, b + n - sizeof(w), sizeof(w));
        return v == w;
    }
    return n == 0 || (a[0] == b[0] && a[n / 2] == b[n / 2] && a[n - 1] == b[n - 1]);
}

/* What a removed entry leaves: it has the longest of keys, which no key is as long as. */
extern dict_entry dict_table_mark;

static inline bool dict_is_it(const dict_entry *e, uint64_t hash, str key)
{
    return e->hash == hash && e->key_bytes == key.n && dict_same_bytes(e->bytes, key.p, key.n);
}

/* Thread: reader or writer. Returns: NULL when it is not there. */
static inline dict_entry *dict_table_find(dict_table *t, uint64_t hash, str key)
{
    dict_row *r = atomic_load_explicit(&t->row, memory_order_acquire); /* pairs with set_row */
    for (size_t i = hash;; i++) {
        dict_entry *e = atomic_load_explicit(&r->slots[i & r->mask], memory_order_acquire); /* with store */
        if (!e || dict_is_it(e, hash, key))
            return e;
    }
}

#endif
