#include "queue/sha1.h"

enum { BLOCK_BYTES = 64, LENGTH_BYTES = 8, ROUNDS = 80, WORDS = 5 };

static uint32_t left(uint32_t word, unsigned bits)
{
    return word << bits | word >> (32 - bits);
}

static void expand(const unsigned char *block, uint32_t w[static ROUNDS])
{
    for (size_t i = 0; i < 16; i++)
        w[i] = (uint32_t)block[4 * i] << 24 | (uint32_t)block[4 * i + 1] << 16 |
               (uint32_t)block[4 * i + 2] << 8 | block[4 * i + 3];
    for (size_t i = 16; i < ROUNDS; i++)
        w[i] = left(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
}

/* One quarter of the rounds has one function and one constant: FIPS 180-4, 4.1.1 and 4.2.1. */
static uint32_t mix(size_t round, uint32_t b, uint32_t c, uint32_t d)
{
    switch (round / 20) {
    case 0:
        return ((b & c) | (~b & d)) + 0x5a827999;
    case 1:
        return (b ^ c ^ d) + 0x6ed9eba1;
    case 2:
        return ((b & c) | (b & d) | (c & d)) + 0x8f1bbcdc;
    default:
        return (b ^ c ^ d) + 0xca62c1d6;
    }
}

static void add_block(uint32_t h[static WORDS], const unsigned char *block)
{
    uint32_t w[ROUNDS], a = h[0], b = h[1], c = h[2], d = h[3], e = h[4];
    expand(block, w);
    for (size_t i = 0; i < ROUNDS; i++) {
        uint32_t next = left(a, 5) + mix(i, b, c, d) + e + w[i];
        e = d;
        d = c;
        c = left(b, 30);
        b = a;
        a = next;
    }
    h[0] += a;
    h[1] += b;
    h[2] += c;
    h[3] += d;
    h[4] += e;
}

/* What is behind the last whole block, a bit, zeros, and the length in bits at the end of a block. */
static void add_end(uint32_t h[static WORDS], str rest, uint64_t bytes)
{
    unsigned char blocks[2 * BLOCK_BYTES] = {0};
    size_t n = rest.n + 1 + LENGTH_BYTES <= BLOCK_BYTES ? BLOCK_BYTES : 2 * BLOCK_BYTES;
    if (rest.n > 0)
        memcpy(blocks, rest.p, rest.n);
    blocks[rest.n] = 0x80;
    for (size_t i = 0; i < LENGTH_BYTES; i++)
        blocks[n - 1 - i] = (unsigned char)(bytes * 8 >> 8 * i);
    for (size_t at = 0; at < n; at += BLOCK_BYTES)
        add_block(h, blocks + at);
}

void sha1_hex(str bytes, char text[static SHA1_HEX_BYTES])
{
    static const char digits[] = "0123456789abcdef";
    uint32_t h[WORDS] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
    size_t whole = bytes.n - bytes.n % BLOCK_BYTES;
    for (size_t at = 0; at < whole; at += BLOCK_BYTES)
        add_block(h, (const unsigned char *)bytes.p + at);
    add_end(h, (str){bytes.p + whole, bytes.n - whole}, bytes.n);
    for (size_t i = 0; i < SHA1_HEX_BYTES - 1; i++)
        text[i] = digits[h[i / 8] >> (28 - 4 * (i % 8)) & 15];
    text[SHA1_HEX_BYTES - 1] = '\0';
}
