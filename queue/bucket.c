#include "queue/bucket.h"

#include <pthread.h>
#include <stdlib.h>

#include "queue/siphash.h"

enum { SHARDS = 64, SHARD_SETS = BUCKETS_MAX / SHARDS / BUCKET_WAYS, LINE_BYTES = 64 };

typedef struct bucket {
    uint64_t tag;     /* its key's hash */
    uint64_t full_ns; /* when it will be full; 0: never used */
} bucket;

typedef struct shard {
    _Alignas(LINE_BYTES) pthread_mutex_t lock;
    bucket *places; /* [lock] SHARD_SETS times BUCKET_WAYS */
} shard;

struct buckets {
    shard shards[SHARDS];
    bucket *places;       /* of all */
    siphash_key hash_key; /* const once it is made */
};

buckets *buckets_new(void)
{
    buckets *b = aligned_alloc(LINE_BYTES, sizeof(*b));
    if (!b)
        return NULL;
    b->places = calloc(BUCKETS_MAX, sizeof(bucket));
    if (!b->places || siphash_key_make(&b->hash_key) < 0) {
        free(b->places);
        free(b);
        return NULL;
    }
    for (size_t i = 0; i < SHARDS; i++) {
        pthread_mutex_init(&b->shards[i].lock, NULL);
        b->shards[i].places = b->places + i * SHARD_SETS * BUCKET_WAYS;
    }
    return b;
}

void buckets_free(buckets *b)
{
    if (!b)
        return;
    for (size_t i = 0; i < SHARDS; i++)
        pthread_mutex_destroy(&b->shards[i].lock);
    free(b->places);
    free(b);
}

/* The place of that key in its set, or the one that forgets least. */
static bucket *find(bucket *set, uint64_t tag)
{
    bucket *least = set;
    for (size_t i = 0; i < BUCKET_WAYS; i++) {
        if (set[i].tag == tag)
            return &set[i];
        if (set[i].full_ns < least->full_ns)
            least = &set[i];
    }
    *least = (bucket){.tag = tag};
    return least;
}

static uint64_t take(bucket *one, const bucket_rule *rule, uint64_t now_ns)
{
    uint64_t full_ns = (one->full_ns > now_ns ? one->full_ns : now_ns) + rule->interval_ns;
    uint64_t latest_ns = now_ns + rule->burst * rule->interval_ns;
    if (full_ns > latest_ns)
        return full_ns - latest_ns;
    one->full_ns = full_ns;
    return 0;
}

/* Under a key for each limiter: then the same text is another bucket for another one, and nothing is copied.
 */
static uint64_t hash(const buckets *b, uint64_t limiter, str key)
{
    siphash_key own = b->hash_key;
    own.k[0] ^= limiter;
    return siphash(&own, key.p, key.n);
}

uint64_t buckets_take(buckets *b, uint64_t limiter, str key, const bucket_rule *rule, uint64_t now_ns)
{
    uint64_t tag = hash(b, limiter, key);
    shard *s = &b->shards[tag % SHARDS];
    size_t set = tag / SHARDS % SHARD_SETS;
    pthread_mutex_lock(&s->lock);
    uint64_t wait_ns = take(find(s->places + set * BUCKET_WAYS, tag), rule, now_ns);
    pthread_mutex_unlock(&s->lock);
    return wait_ns;
}
