#include "queue/buf.h"

#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum { BUF_FIRST_BYTES = 256 };

int buf_grow(buf *b, size_t more)
{
    if (more > SIZE_MAX / 4 - b->n)
        return -ENOMEM;
    size_t want = b->n + more;
    size_t cap = b->cap + b->cap / 2;
    if (cap < BUF_FIRST_BYTES)
        cap = BUF_FIRST_BYTES;
    if (cap < want)
        cap = want;
    char *p = realloc(b->p, cap);
    if (!p)
        return -ENOMEM;
    b->p = p;
    b->cap = cap;
    return 0;
}

void buf_fini(buf *b)
{
    free(b->p);
    *b = (buf){0};
}

int buf_addf(buf *b, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    va_list again;
    va_copy(again, args);
    int err = -EINVAL;
    int n = vsnprintf(NULL, 0, format, args);
    if (n >= 0 && (err = buf_reserve(b, (size_t)n + 1)) == 0) {
        vsnprintf(b->p + b->n, (size_t)n + 1, format, again);
        b->n += (size_t)n;
    }
    va_end(again);
    va_end(args);
    return err;
}
