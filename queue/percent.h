/* percent: percent decoding of URL text, for paths and for queries.
 *
 * The two differ. A path is strict, since what it names decides who may see what: a bad escape and a NUL
 * byte, raw or as %00, are errors. A query is lenient, as browsers and other servers are: '+' is a space, a
 * bad escape stays as it is, and %00 is a NUL byte. Nothing here allocates. Threads: any. */
#ifndef QUEUE_PERCENT_H
#define QUEUE_PERCENT_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/types.h>

#include "queue/str.h"

/* Does decoding s as a path change it? If not, s can be used as it is. */
static inline bool percent_path_needs(str s)
{
    return s.n > 0 && memchr(s.p, '%', s.n) != NULL;
}

/* Does decoding s as a query change it? May say yes for a '%' that turns out to be no escape. */
static inline bool percent_query_needs(str s)
{
    return s.n > 0 && (memchr(s.p, '%', s.n) != NULL || memchr(s.p, '+', s.n) != NULL);
}

/* Can s be decoded as a path?
 * Returns: 0, or -EINVAL for a '%' without two hex digits behind it, for %00 and for a raw NUL. */
int percent_path_check(str s);

/* Decode s into out, which has room for s.n bytes and may be s.p itself. '+' is a plus.
 * Returns: the bytes written, or -EINVAL (*out untouched) where percent_path_check refuses. */
ssize_t percent_path_decode(str s, char *out);

/* Decode the byte at *p and step over it; *p is inside a slice that percent_path_check accepted. */
unsigned char percent_path_step(const char **p);

/* Decode s into out, which has room for s.n bytes and may be s.p itself.
 * Returns: the bytes written; never fails. */
size_t percent_query_decode(str s, char *out);

#endif
