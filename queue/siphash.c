#include "queue/siphash.h"

#include <endian.h>
#include <errno.h>
#include <string.h>
#include <sys/random.h>

/* Section 2 of the paper: the four words of the state. */
typedef struct state {
    uint64_t v0, v1, v2, v3;
} state;

static uint64_t rotate(uint64_t x, unsigned bits)
{
    return x << bits | x >> (64 - bits);
}

static void rounds(state *s, unsigned n)
{
    while (n-- > 0) {
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
}

static void absorb(state *s, uint64_t word)
{
    s->v3 ^= word;
    rounds(s, 2);
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

uint64_t siphash(const siphash_key *key, const void *bytes, size_t n)
{
    const unsigned char *p = bytes;
    state s = {key->k[0] ^ UINT64_C(0x736f6d6570736575), key->k[1] ^ UINT64_C(0x646f72616e646f6d),
               key->k[0] ^ UINT64_C(0x6c7967656e657261), key->k[1] ^ UINT64_C(0x7465646279746573)};
    uint64_t word;
    for (size_t left = n / 8; left > 0; left--, p += 8) {
        memcpy(&word, p, 8);
        absorb(&s, le64toh(word));
    }
    word = 0;
    memcpy(&word, p, n % 8);
    absorb(&s, le64toh(word) | (uint64_t)n << 56);
    s.v2 ^= 0xff;
    rounds(&s, 4);
    return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}
