#include "runtime/crowd.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "queue/siphash.h"

enum { SHARDS = 16, CHAIN_MEAN = 2 };

typedef struct guest {
    struct guest *next;
    crowd_key key;
    unsigned open;
} guest;

typedef struct shard {
    pthread_mutex_t lock;
    guest **chains; /* [lock] */
    guest *spare;   /* [lock] one that went last; the next one that comes is often another */
} shard;

struct crowd {
    unsigned each;
    size_t chains; /* in a shard; a power of two */
    siphash_key key;
    shard shards[SHARDS];
};

static size_t chains_for(unsigned all)
{
    size_t n = 1;
    while (n * SHARDS * CHAIN_MEAN < all)
        n *= 2;
    return n;
}

int crowd_new(unsigned each, unsigned all, crowd **ret_crowd)
{
    crowd *c = calloc(1, sizeof(*c));
    if (!c)
        return -ENOMEM;
    c->each = each;
    c->chains = chains_for(all);
    int err = siphash_key_make(&c->key);
    for (unsigned i = 0; i < SHARDS; i++) {
        pthread_mutex_init(&c->shards[i].lock, NULL);
        c->shards[i].chains = calloc(c->chains, sizeof(guest *));
        if (!c->shards[i].chains)
            err = -ENOMEM;
    }
    if (err)
        crowd_free(c);
    else
        *ret_crowd = c;
    return err;
}

void crowd_free(crowd *c)
{
    if (!c)
        return;
    for (unsigned i = 0; i < SHARDS; i++) {
        shard *s = &c->shards[i];
        for (size_t k = 0; s->chains && k < c->chains; k++)
            assert(!s->chains[k]);
        free(s->chains);
        free(s->spare);
        pthread_mutex_destroy(&s->lock);
    }
    free(c);
}

bool crowd_key_of(const struct sockaddr *address, crowd_key *ret)
{
    *ret = (crowd_key){0};
    if (address && address->sa_family == AF_INET) {
        ret->address = ((const struct sockaddr_in *)(const void *)address)->sin_addr.s_addr;
        return true;
    }
    if (!address || address->sa_family != AF_INET6)
        return false;
    const struct in6_addr *a = &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr;
    if (IN6_IS_ADDR_V4MAPPED(a))
        memcpy(&ret->address, a->s6_addr + 12, sizeof(ret->address));
    else
        memcpy(&ret->network, a->s6_addr, sizeof(ret->network));
    return true;
}

static guest **chain_of(crowd *c, const crowd_key *key, shard **ret_shard)
{
    unsigned char bytes[sizeof(key->network) + sizeof(key->address)];
    memcpy(bytes, &key->network, sizeof(key->network));
    memcpy(bytes + sizeof(key->network), &key->address, sizeof(key->address));
    uint64_t hash = siphash(&c->key, bytes, sizeof(bytes));
    *ret_shard = &c->shards[hash % SHARDS];
    return &(*ret_shard)->chains[hash / SHARDS & (c->chains - 1)];
}

/* Where the guest hangs, or the chain's end. With the lock held. */
static guest **find(guest **at, const crowd_key *key)
{
    while (*at && ((*at)->key.network != key->network || (*at)->key.address != key->address))
        at = &(*at)->next;
    return at;
}

static guest *new_guest(shard *s, const crowd_key *key)
{
    guest *g = s->spare ? s->spare : malloc(sizeof(*g));
    s->spare = NULL;
    if (g)
        *g = (guest){.key = *key};
    return g;
}

bool crowd_enter(crowd *c, const crowd_key *key)
{
    shard *s;
    guest **chain = chain_of(c, key, &s);
    pthread_mutex_lock(&s->lock);
    guest **at = find(chain, key);
    if (!*at)
        *at = new_guest(s, key);
    bool may = *at && (*at)->open < c->each;
    if (may)
        (*at)->open++;
    pthread_mutex_unlock(&s->lock);
    return may;
}

void crowd_leave(crowd *c, const crowd_key *key)
{
    shard *s;
    guest **chain = chain_of(c, key, &s);
    pthread_mutex_lock(&s->lock);
    guest **at = find(chain, key), *g = *at;
    assert(g && g->open > 0 && "who leaves has entered");
    if (g && --g->open == 0) {
        *at = g->next;
        free(s->spare);
        s->spare = g;
    }
    pthread_mutex_unlock(&s->lock);
}
