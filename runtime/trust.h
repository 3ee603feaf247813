/* trust: the peers whose word about their own clients counts: the server's proxies.
 *
 * Threads: made by one, then const. */
#ifndef RUNTIME_TRUST_H
#define RUNTIME_TRUST_H

#include "queue/address.h"

enum { TRUST_BLOCKS_MAX = 64 };

typedef struct trust {
    bool unix_peer; /* whoever comes over a Unix socket */
    unsigned count;
    address_block blocks[TRUST_BLOCKS_MAX];
} trust;

/* Read "10.0.0.0/8,fd00::/8,unix"; spaces round the commas do no harm.
 * Returns: 0; -EINVAL for what is no such list, or -E2BIG for one that is too long, *ret_trust untouched. */
int trust_parse(str text, trust *ret_trust);

bool trust_has(const trust *t, const ip_address *a);

#endif
