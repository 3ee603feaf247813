#include "queue/siphash.h"

#include <endian.h>
#include <errno.h>
#include <string.h>
#include <sys/random.h>

/* Section 2 of the paper: the four words of the state. */
typedef struct state {
    uint64_t v0, v1, v2, v3;
} state;

static inline uint64_t rotate(uint64_t x, unsigned bits)
{
    return x << bits | x >> (64 - bits);
}

static inline void mix(state *s)
{
    s->v0 += s->v1;
    s->v2 += s->v3;
    s->v1 = rotate(s->v1, 13) ^ s->v0;
    s->v3 = rotate(s->v3, 16) ^ s->v2;
    s->v0 = rotate(s->v0, 32);
    s->v2 += s->v1;
    s->v0 += s->v3;
    s->v1 = rotate(s->v1, 17) ^ s->v2;
    s->v3 = rotate(s->v3, 21) ^ s->v0;
    s->v2 = rotate(s->v2, 32);
}

static inline void absorb(state *s, uint64_t word, unsigned rounds)
{
    s->v3 ^= word;
    for (unsigned i = 0; i < rounds; i++)
        mix(s);
    s->v0 ^= word;
}

int siphash_key_make(siphash_key *ret)
{
    ssize_t got;
    do
        got = getrandom(ret, sizeof(*ret), 0);
    while (got < 0 && errno == EINTR);
    return got < 0 ? -errno : 0; /* up to 256 bytes come whole: getrandom(2) */
}

/* The bytes behind the last whole word, fewer than 8. */
static inline uint64_t tail(const unsigned char *p, size_t n)
{
    uint32_t low, high;
    if (n >= 4) { /* two halves that may overlap */
        memcpy(&low, p, 4);
        memcpy(&high, p + n - 4, 4);
        return le32toh(low) | (uint64_t)le32toh(high) << (8 * (n - 4));
    }
    return n == 0 ? 0 : p[0] | (uint64_t)p[n / 2] << (8 * (n / 2)) | (uint64_t)p[n - 1] << (8 * (n - 1));
}

/* Inlined into each, so that the rounds are written out. */
__attribute__((always_inline)) static inline uint64_t hash(const siphash_key *key, const void *bytes,
                                                           size_t n, unsigned rounds, unsigned last_rounds)
{
    const unsigned char *p = bytes;
    state s = {key->k[0] ^ UINT64_C(0x736f6d6570736575), key->k[1] ^ UINT64_C(0x646f72616e646f6d),
               key->k[0] ^ UINT64_C(0x6c7967656e657261), key->k[1] ^ UINT64_C(0x7465646279746573)};
    for (size_t left = n / 8; left > 0; left--, p += 8) {
        uint64_t word;
        memcpy(&word, p, 8);
        absorb(&s, le64toh(word), rounds);
    }
    absorb(&s, tail(p, n % 8) | (uint64_t)n << 56, rounds);
    s.v2 ^= 0xff;
    for (unsigned i = 0; i < last_rounds; i++)
        mix(&s);
    return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}

uint64_t siphash(const siphash_key *key, const void *bytes, size_t n)
{
    return hash(key, bytes, n, 2, 4);
}

uint64_t siphash_1_3(const siphash_key *key, const void *bytes, size_t n)
{
    return hash(key, bytes, n, 1, 3);
}
