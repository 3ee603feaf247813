/* peers: the open connections of one thread, and when each has to end.
 *
 * The daemon could time connections out itself. It would take a lock, a clock and two list moves three times
 * a request for that, forget the time whenever a byte drips in, and not see that a client which is slow to
 * read still reads. And it misses some closes: it polls for edges, and a close that arrives before the read
 * of what came earlier has none of its own. So its timeout is off, and the owner calls peers_look now and
 * then, which goes through the connections and shuts down those whose time is over or whose client is gone;
 * the daemon then ends them.
 *
 * Threads: the owner only. Times are monotonic nanoseconds. */
#ifndef RUNTIME_PEERS_H
#define RUNTIME_PEERS_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

#include "queue/slab.h"

enum {
    PEERS_LOOK_MS = 1000,      /* how often at most, and how late a close may be noticed */
    PEERS_LOOK_ALL_MS = 30000, /* the same for connections that have been idle for long */
};

/* What a connection is waiting for. */
typedef enum peer_doing {
    PEER_SENDS, /* the client: a request, or the rest of one */
    PEER_WAITS, /* us: a handler */
    PEER_READS, /* the client: to read its reply */
} peer_doing;

typedef struct peer {
    struct peer *next, *prev;
    int fd;
    peer_doing doing;
    bool linger;               /* the client may still be sending when we close */
    bool settled;              /* in peers.settled, not in peers.recent */
    uint64_t active_ns;        /* when it last got on */
    uint64_t acked;            /* bytes of replies that the client has, as of the last look */
    char ip[INET6_ADDRSTRLEN]; /* "" on a Unix socket */
} peer;

typedef struct peers {
    slab *slab;
    uint64_t idle_ns;     /* how long a client may do nothing; 0: for ever */
    peer recent, settled; /* rings: those that had a request since the last look, and the others */
    unsigned count;
    uint64_t look_ns;     /* when recent ones were looked at */
    uint64_t look_all_ns; /* when all were */
    uint64_t late_ns;     /* no time is over before */
} peers;

/* Returns: 0 or -ENOMEM. */
int peers_init(peers *ps, uint64_t idle_ns);

/* None may be open. All zero is fine. */
void peers_fini(peers *ps);

/* A connection begins; `address` may be NULL. Its descriptor stays the caller's.
 * Returns: NULL when memory is short. */
peer *peers_open(peers *ps, int fd, const struct sockaddr *address, uint64_t now_ns);

/* It has ended. */
void peers_close(peers *ps, peer *p);

/* It got on, and this is what it does now. */
void peers_move(peers *ps, peer *p, peer_doing doing, uint64_t now_ns);

/* Shut down those that are gone or late, if it is time to look. */
void peers_look(peers *ps, uint64_t now_ns);

/* When to look again; UINT64_MAX for never. */
uint64_t peers_next_look_ns(const peers *ps);

/* Shut down the one that has been idle longest, if one is. */
void peers_shut_idlest(peers *ps);

/* Shut down those that nothing is being answered on, or all. */
void peers_shut_idle(peers *ps);
void peers_shut_all(peers *ps);

#endif
