/* query: the name and value pairs of a query string, one after the other, in their order.
 *
 *     query_iter it = query_start(raw);
 *     while (query_next(&it, scratch, &name, &value))
 *         ...
 *
 * Pairs are separated by '&' alone. Both sides are decoded (percent.h): '+' is a space, bad escapes stay, %00
 * is a NUL byte. `flag` and `flag=` have the value "". Nothing between two '&' is no pair; `=x` is one, with
 * the name "". Names may repeat: which one counts is the caller's business.
 * Threads: the iterator's owner. */
#ifndef VM_QUERY_H
#define VM_QUERY_H

#include <stdbool.h>

#include "queue/percent.h"
#include "queue/str.h"

typedef struct query_iter {
    str raw;
    size_t at;  /* where the next pair begins */
    bool coded; /* something in raw may need decoding */
} query_iter;

/* Begin at the first pair of raw, the text behind the '?'. The iterator borrows it. */
static inline query_iter query_start(str raw)
{
    return (query_iter){raw, 0, percent_query_needs(raw)};
}

/* Step to the next pair. scratch has room for as many bytes as raw; pass the same one each time.
 * Owns:    the slices borrow from raw or from scratch. No pair overwrites another's bytes, so all of them
 *          stay good as long as raw and scratch do.
 * Returns: false at the end (outputs untouched). */
bool query_next(query_iter *it, char *scratch, str *ret_name, str *ret_value);

#endif
