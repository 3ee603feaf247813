/* cookie: read the Cookie header, write Set-Cookie's value (RFC 6265, and what browsers have added since).
 *
 * Reading is lenient, since other software on the same domain sets cookies too; writing is strict, since a
 * browser drops a bad cookie without a word. Values are bytes: nothing is percent-decoded or encoded here.
 * Threads: the caller's own data only. */
#ifndef VM_COOKIE_H
#define VM_COOKIE_H

#include <stdbool.h>
#include <stdint.h>

#include "queue/buf.h"
#include "queue/str.h"

enum {
    COOKIE_MAX_BYTES = 4096,          /* name and value together; browsers ignore more */
    COOKIE_MAX_ATTRIBUTE_BYTES = 1024 /* a path, a domain; likewise */
};

typedef struct cookie_iter {
    str left;
} cookie_iter;

/* Begin at the first cookie of a Cookie header's value. The iterator borrows it. */
static inline cookie_iter cookie_start(str header)
{
    return (cookie_iter){header};
}

/* Step to the next cookie, `name=value` up to a ';'. Blanks and tabs round both sides are trimmed. Double
 * quotes round a whole value are taken off; they do not protect a ';', which no value can hold. What has no
 * '=' or no name is skipped. Names keep their case and may repeat: servers use the first, since browsers send
 * the one with the longest path first.
 * Owns:    the slices borrow from the header.
 * Returns: false at the end (outputs untouched). */
bool cookie_next(cookie_iter *it, str *ret_name, str *ret_value);

enum cookie_same_site {
    COOKIE_SAME_SITE_UNSET, /* leave it to the browser */
    COOKIE_SAME_SITE_LAX,
    COOKIE_SAME_SITE_STRICT,
    COOKIE_SAME_SITE_NONE /* needs secure */
};

/* All zero is a cookie of this session, for the host and folder that set it. */
typedef struct cookie_options {
    str path;   /* empty: not sent */
    str domain; /* empty: not sent */
    bool has_max_age;
    bool has_expires;
    bool secure;
    bool http_only;
    bool partitioned;  /* needs secure */
    int64_t max_age_s; /* 0 or less deletes the cookie, and is written as 0 */
    int64_t expires;   /* seconds since 1970, up to the year 9999 */
    enum cookie_same_site same_site;
} cookie_options;

/* Append the value of a Set-Cookie header to out. opts may be NULL for none.
 * The name is a token. The value is printable ASCII without space, '"', ',', ';' and '\'; path and domain
 * are printable ASCII without ';', and the path begins with '/'. What browsers refuse is refused here:
 * SameSite=None or Partitioned without Secure, and the names __Secure-... and __Host-... without what they
 * promise.
 * Returns: 0;
 *          -EINVAL with *ret_why a constant text that begins with the field's name ("path: ...");
 *          -ENOMEM with *ret_why too. On failure *out is as it was. */
int cookie_format(buf *out, str name, str value, const cookie_options *opts, const char **ret_why);

#endif
