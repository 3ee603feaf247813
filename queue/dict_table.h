/* dict_table: entries by key, for one writer at a time and any number of readers beside it. For dict.
 *
 * It is a row of slots, each a pointer to an entry. A key's entry lies in the first free slot from the one
 * that its hash names. What is removed leaves a mark, so that the search goes on past it.
 *
 * The argument for readers, who only load: slots and the row are published by a release and loaded by an
 * acquire, so an entry is whole. An entry is const but for its end and the bit. In one row a key that is
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
    uint64_t version;
    _Atomic uint64_t expires_ns; /* [writer] 0: never. Nothing hangs on it: relaxed */
    union {
        int64_t integer;
        double number;
    };
    uint32_t key_bytes, value_bytes;
    uint8_t type;
    atomic_uchar used; /* [any] since the hand came by; relaxed */
    char bytes[];      /* key, value */
} dict_entry;

typedef struct dict_row dict_row;

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

/* Thread: reader or writer. Returns: NULL when it is not there. */
dict_entry *dict_table_find(dict_table *t, uint64_t hash, str key);

/* What the slots hold, one after the other, NULL for none. Thread: reader or writer. */
dict_table_view dict_table_look(dict_table *t);
dict_entry *dict_table_at(dict_table_view v, size_t i);

/* Make sure that one more has room. Returns: 0 with *ret_old NULL or the row that has been replaced, which is
 * to be dropped; -ENOMEM. Thread: writer. */
int dict_table_grow(dict_table *t, epoch_garbage **ret_old, size_t *ret_bytes);

/* Put it in, in place of the one with its key. There is room. Returns: that one, now out, or NULL. Thread:
 * writer. */
dict_entry *dict_table_put(dict_table *t, dict_entry *e);

/* Take it out; it is in. Thread: writer. */
void dict_table_remove(dict_table *t, dict_entry *e);

/* Take all out at once. Returns: the row that held them, to be dropped with them; NULL: -ENOMEM, and nothing
 * was done. Thread: writer. */
dict_row *dict_table_clear(dict_table *t);
size_t dict_row_bytes(const dict_row *r);
size_t dict_row_slots(const dict_row *r);
epoch_garbage *dict_row_garbage(dict_row *r);

#endif
