/* linger: connections that were answered early, read to their end so that the client gets the answer.
 *
 * Closing a socket with bytes unread sends a reset, and a reset can overtake the answer (RFC 9112, 9.6). So
 * the sending side is shut first, and what still comes is read and thrown away: for LINGER_MS and
 * LINGER_BYTES at most, LINGER_MAX connections at a time; beyond that the socket is just closed. Threads: the
 * loop's. */
#ifndef RUNTIME_LINGER_H
#define RUNTIME_LINGER_H

#include <uv.h>

enum { LINGER_MS = 5000, LINGER_BYTES = 16 << 20, LINGER_MAX = 256 };

typedef struct linger_one linger_one;

typedef struct lingering {
    uv_loop_t *loop;
    linger_one *first;
    unsigned count;   /* being read */
    unsigned closing; /* not yet let go by libuv */
} lingering;

/* Read `fd`, whose sending side is shut, to its end and close it. Owns: fd. */
void linger_add(lingering *l, int fd);

/* Close them all at once; runs the loop until libuv has let go. */
void linger_close_all(lingering *l);

#endif
