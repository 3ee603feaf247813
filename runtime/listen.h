/* listen: the sockets that workers accept from.
 *
 * TCP: one socket a worker, all bound to the same address with SO_REUSEPORT, so that the kernel spreads
 * connections and no worker wakes for another's. Two programs can share a port that way without an error, so
 * a probe without SO_REUSEPORT comes first. Unix sockets and sockets handed down by a service manager cannot
 * be shared that way: there all workers hold the same one. Threads: one at a time. */
#ifndef RUNTIME_LISTEN_H
#define RUNTIME_LISTEN_H

#include <stdbool.h>
#include <stddef.h>

enum { LISTEN_NAME_BYTES = 160 };

typedef struct listen_set {
    int *fds; /* one a worker; some may be the same */
    unsigned count;
    bool own;                     /* each worker has one of its own */
    bool lent;                    /* it is a service manager's, which has it anyway */
    char *unix_path;              /* to be removed at the end, or NULL */
    char name[LISTEN_NAME_BYTES]; /* "http://127.0.0.1:8080", "unix:PATH" */
} listen_set;

/* Bind `count` sockets; nobody can connect yet. On failure `error` says which address and why, nothing is
 * left behind, and -errno is returned. Port 0 picks a free one. */
int listen_bind_tcp(listen_set *s, unsigned count, const char *host, int port, char *error, size_t size);

/* The same for a Unix socket; the file of a server that is gone is replaced. */
int listen_bind_unix(listen_set *s, unsigned count, const char *path, char *error, size_t size);

/* The same for sockets that were handed down from descriptor 3 on, if LISTEN_PID and LISTEN_FDS say so
 * (sd_listen_fds(3)): those that LISTEN_FDNAMES calls `name`, which a server in whose place this one was
 * started had kept; of more than `count` nobody listens at the rest any more. Where there is none and `other`
 * is not NULL, one socket whatever its name, unless that is `other`. Returns: 0; 1 when there is none; or
 * -errno. */
int listen_inherit(listen_set *s, unsigned count, const char *name, const char *other, char *error,
                   size_t size);

/* Let clients connect. Returns: 0 or -errno, with `error` filled. */
int listen_start(listen_set *s, char *error, size_t size);

/* Close and remove. Fine on an all-zero set. */
void listen_close(listen_set *s);

#endif
