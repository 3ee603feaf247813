/* fetch: one HTTP request to the admin address of a running server.
 *
 * For the subcommands that ask a live server. The other end may be anybody: what comes is bounded in bytes
 * and time. Threads: any; no state. */
#ifndef PROGRAM_FETCH_H
#define PROGRAM_FETCH_H

#include <stddef.h>

#include "api/poolsrv.h"

enum { FETCH_BYTES_MAX = 32 << 20 };

typedef struct fetch_target {
    const char *address; /* as it was given; borrowed */
    char host[256], port[8];
    char path[512]; /* "" when the address has none, or only "/" */
} fetch_target;

typedef struct fetch_reply {
    int status;
    const char *body; /* NUL behind it */
    size_t n;
    char *all;
} fetch_reply;

/* Read "HOST:PORT", "[::1]:PORT", or "http://HOST:PORT" with or without a path.
 * Returns: 0, or PS_EINVAL with one line that names the address. */
int fetch_target_read(fetch_target *t, const char *address, ps_error *err);

/* Ask for `path`, by GET or by a POST without a body. timeout_ms is for all of it but looking up the name.
 * Returns: 0, whatever the status is; PS_ESYSTEM when no whole reply came; PS_EINVAL for an endless path;
 * PS_ENOMEM. *err has one line that names the address. */
int fetch(const fetch_target *t, const char *method, const char *path, int timeout_ms, fetch_reply *ret,
          ps_error *err);

/* All zero is fine. */
void fetch_reply_fini(fetch_reply *r);

/* Fill *err (NULL is fine) with "ADDRESS: WHY". Returns: code. */
int fetch_fail(ps_error *err, int code, const char *address, const char *why);

#endif
