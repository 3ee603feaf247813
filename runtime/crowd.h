/* crowd: how many connections each client's address has open, over all workers.
 *
 * An IPv6 client usually has a whole /64 to itself, so one such network counts as one address. Threads: any;
 * each call holds one of several locks for the time of a look-up. */
#ifndef RUNTIME_CROWD_H
#define RUNTIME_CROWD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

typedef struct crowd crowd;

/* An IPv6 network's 64 bits, or an IPv4 address behind bits that no such network has. */
typedef struct crowd_key {
    uint64_t network;
    uint32_t address;
} crowd_key;

/* `each` is how many connections an address may have, from 1 on; `all` about how many there can be at all.
 * Returns: 0 or -errno. */
int crowd_new(unsigned each, unsigned all, crowd **ret_crowd);

/* All must have left. NULL is fine. */
void crowd_free(crowd *c);

/* What that address counts as. Returns: false where there is none to count, as on a Unix socket or for NULL.
 */
bool crowd_key_of(const struct sockaddr *address, crowd_key *ret);

/* Count a connection. Returns: false, and counts nothing, if that address has all that it may, or memory is
 * short. */
bool crowd_enter(crowd *c, const crowd_key *key);

/* One that entered has gone. */
void crowd_leave(crowd *c, const crowd_key *key);

#endif
