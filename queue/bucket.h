/* bucket: token buckets by key, shared by all threads, in a table of fixed size.
 *
 * A bucket is kept as one time: when it will be full again. That is the generic cell rate algorithm in its
 * form of virtual scheduling (ITU-T I.371, annex A; ATM Forum, Traffic Management 4.1, 4.4.2): a request adds
 * one interval to that time, and is refused if the bucket would then be full only later than a burst from
 * now. It decides as a bucket that holds `burst` tokens and gains one each interval, and nothing has to be
 * filled up. A time that has passed is a full bucket, which is what a key without a bucket has: so its place
 * is free.
 *
 * The table has BUCKETS_MAX places of 16 bytes, 2 MiB, in shards with a lock each. A key has BUCKET_WAYS
 * places it may be in. If all of them are taken, the bucket goes that would be full soonest, which forgives
 * its key the least: keys that are used once push each other out, and not the one that hammers. Keys are
 * known by 64 bits of SipHash under a random key, so nobody can aim at a place, and that two keys share a
 * bucket is as likely as guessing 64 bits.
 *
 * Threads: any. Times are monotonic nanoseconds. */
#ifndef QUEUE_BUCKET_H
#define QUEUE_BUCKET_H

#include <stdbool.h>
#include <stdint.h>

#include "queue/str.h"

enum { BUCKETS_MAX = 1 << 17, BUCKET_WAYS = 16 };

typedef struct buckets buckets;

typedef struct bucket_rule {
    uint64_t interval_ns; /* until a token more is there; 1 at least */
    uint64_t burst;       /* tokens in a full bucket; 1 at least. burst * interval_ns is to be under 2^62 */
} bucket_rule;

/* Make a table; its memory is taken from the system as buckets are used. Returns: NULL when there is no
 * memory or no randomness. */
buckets *buckets_new(void);

/* NULL is fine. */
void buckets_free(buckets *b);

/* Take a token of the bucket of that key. Each limiter has buckets of its own: `limiter` tells them apart,
 * and is not for clients to choose. Returns: 0 when there was one, else how long until there is, in
 * nanoseconds. */
uint64_t buckets_take(buckets *b, uint64_t limiter, str key, const bucket_rule *rule, uint64_t now_ns);

#endif
