/* buf: a growing run of bytes, made on one thread and sent by another.
 *
 * An all-zero buf is empty and valid. Threads: whoever owns it; it has no lock of its own. */
#ifndef QUEUE_BUF_H
#define QUEUE_BUF_H

#include <stddef.h>
#include <string.h>

#include "queue/str.h"

typedef struct buf {
    char *p;    /* malloc'ed, or NULL */
    size_t n;   /* bytes in use */
    size_t cap; /* bytes there are */
} buf;

/* Make room for `more` bytes behind the ones in use; grows by half at least, so that appends cost O(1).
 * Returns: 0, or -ENOMEM (*b untouched). */
int buf_grow(buf *b, size_t more);

/* Free the bytes; *b is empty again. */
void buf_fini(buf *b);

static inline int buf_reserve(buf *b, size_t more)
{
    return b->cap - b->n >= more ? 0 : buf_grow(b, more);
}

/* Append n bytes. Returns: 0, or -ENOMEM (*b untouched). */
static inline int buf_add(buf *b, const void *p, size_t n)
{
    int err = buf_reserve(b, n);
    if (err == 0 && n > 0) {
        memcpy(b->p + b->n, p, n);
        b->n += n;
    }
    return err;
}

static inline int buf_add_str(buf *b, str s)
{
    return buf_add(b, s.p, s.n);
}

/* Append printf's output. Returns: 0, or -ENOMEM. */
int buf_addf(buf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* What is in it; valid until the next append. */
static inline str buf_str(const buf *b)
{
    return (str){b->p, b->n};
}

#endif
