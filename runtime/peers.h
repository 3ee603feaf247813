/* peers: the open connections of one thread, and when each has to end.
 *
 * The daemon could time connections out itself. It would take a lock, a clock and two list moves three times
 * a request for that, forget the time whenever a byte drips in, and not see that a client which is slow to
 * read still reads. And it misses some closes: it polls for edges, and a close that arrives before the read
 * of what came earlier has none of its own. So its timeout is off, and the owner calls peers_look now and
 * then, which goes through the connections and shuts down those whose time is over or whose client is gone;
 * the daemon then ends them.
 *
 * Each thing that a connection can do has a deadline of its own, which what drips in does not move. Where a
 * client sends or reads much, it is judged by its rate: in each window of the given length it has to get on
 * by so many bytes.
 *
 * Threads: the owner only, but for peers_late. Times are monotonic nanoseconds. */
#ifndef RUNTIME_PEERS_H
#define RUNTIME_PEERS_H

#include <netinet/in.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "queue/slab.h"
#include "runtime/crowd.h"

enum {
    PEERS_LOOK_MS = 1000,      /* how often at most, and how late a close may be noticed */
    PEERS_LOOK_ALL_MS = 30000, /* the same for connections that have been idle for long */
};

/* What a connection is doing, and so which deadline it has. */
typedef enum peer_doing {
    PEER_IDLE,       /* no request has begun since it was opened, or since the last one */
    PEER_SENDS_HEAD, /* the client: the rest of a head, whose first line is there */
    PEER_SENDS_BODY, /* the client: a body */
    PEER_READS,      /* the client: its reply */
    PEER_WAITS,      /* the client, for a handler; that has no deadline here */
    PEER_READS_REST, /* as PEER_IDLE, but the system still has some of the reply: seen by peers_look */
    PEER_DOINGS
} peer_doing;

/* Why a connection was ended; as words in peer_late_names. The first are by what it did, as above. */
typedef enum peer_late {
    PEER_LATE_IDLE = PEER_IDLE,
    PEER_LATE_HEAD,
    PEER_LATE_BODY,
    PEER_LATE_READING,
    PEER_LATE_CROWD,       /* its address had all the connections that it may have */
    PEER_LATE_DESCRIPTORS, /* it was idle, and the descriptor was wanted */
    PEER_LATES
} peer_late;

extern const char *const peer_late_names[PEER_LATES];

/* 0 is no limit. */
typedef struct peer_limits {
    uint64_t idle_ns; /* from the end of a reply to the first line of the next request */
    uint64_t head_ns; /* for a head: from the opening, or where a request came before, from its first line */
    uint64_t body_ns; /* the window in which... */
    uint64_t body_rate;  /* ...as many bytes a second have to come of a body, and one at least */
    uint64_t reading_ns; /* the window in which... */
    uint64_t
        reading_rate; /* ...as many bytes a second of a reply have to reach the client, and one at least */
    crowd *crowd;     /* connections by address, shared with other threads; NULL: not limited */
} peer_limits;

typedef struct peer {
    struct peer *next, *prev;
    int fd;
    peer_doing doing;
    bool linger;               /* the client may still be sending when we close */
    bool settled;              /* in peers.settled, not in peers.recent */
    bool first;                /* no request has been read yet */
    bool shut;                 /* it has been told to end */
    bool watched;              /* it was seen to read: its window has begun */
    uint64_t since_ns;         /* when it began to do that, or its window began */
    uint64_t bytes;            /* of its body so far */
    uint64_t counted;          /* of its body, or acknowledged of replies, when its window began */
    crowd_key key;             /* what it counts as in the crowd */
    bool crowded;              /* counted there */
    char ip[INET6_ADDRSTRLEN]; /* "" on a Unix socket */
} peer;

typedef struct peers {
    slab *slab;
    peer_limits limits;
    uint64_t times_ns[PEER_DOINGS]; /* that each doing may take, but for the first head's: see peers_move */
    peer recent, settled;           /* rings: those that had a request since the last look, and the others */
    unsigned count;
    uint64_t look_ns;                      /* when recent ones were looked at */
    uint64_t look_all_ns;                  /* when all were */
    uint64_t late_ns;                      /* no time is over before */
    atomic_uint_fast64_t late[PEER_LATES]; /* [any] how many were ended for it */
} peers;

/* Returns: 0 or -ENOMEM. */
int peers_init(peers *ps, const peer_limits *limits);

/* None may be open. All zero is fine. */
void peers_fini(peers *ps);

/* A connection begins; `address` may be NULL. Its descriptor stays the caller's. One too many of its address
 * is shut down at once. Returns: NULL when memory is short. */
peer *peers_open(peers *ps, int fd, const struct sockaddr *address, uint64_t now_ns);

/* It has ended. */
void peers_close(peers *ps, peer *p);

/* This is what it does from now on. */
void peers_move(peers *ps, peer *p, peer_doing doing, uint64_t now_ns);

/* Some more of its body has come. */
static inline void peers_got(peer *p, size_t bytes)
{
    p->bytes += bytes;
}

/* How many connections were ended for that reason. Thread: any. */
static inline uint64_t peers_late(const peers *ps, peer_late why)
{
    return atomic_load_explicit(&ps->late[why], memory_order_relaxed);
}

/* Shut down those that are gone or late, if it is time to look. Who is late with a head or a body is told so,
 * with a bare 408 (RFC 9110, 15.5.9). */
void peers_look(peers *ps, uint64_t now_ns);

/* When to look again; UINT64_MAX for never. */
uint64_t peers_next_look_ns(const peers *ps);

/* Shut down the one that has been idle longest, if one is. */
void peers_shut_idlest(peers *ps);

/* Shut down those that nothing is being answered on, or all. */
void peers_shut_idle(peers *ps);
void peers_shut_all(peers *ps);

#endif
