/* str: a slice of bytes, passed by value.
 *
 * It never owns what it points to, and the bytes are not closed by a NUL unless a function says so.
 * Threads: plain data. */
#ifndef QUEUE_STR_H
#define QUEUE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

typedef struct str {
    const char *p;
    size_t n;
} str;

/* A name and a value, each closed by a NUL that its length does not count: a header. */
typedef struct str_pair {
    const char *name, *value;
    uint32_t name_bytes, value_bytes;
} str_pair;

/* A slice of a string literal. */
#define STR(literal) ((str){(literal), sizeof(literal) - 1})

/* A slice of a NUL-terminated string; NULL gives the empty slice. */
static inline str str_from(const char *s)
{
    return (str){s ? s : "", s ? strlen(s) : 0};
}

static inline bool str_eq(str a, str b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

/* Equal but for the case of ASCII letters. */
static inline bool str_eq_nocase(str a, str b)
{
    return a.n == b.n && (a.n == 0 || strncasecmp(a.p, b.p, a.n) == 0);
}

#endif
