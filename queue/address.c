#include "queue/address.h"

#include <arpa/inet.h>

enum { V4_PREFIX_BYTES = 12, V4_PREFIX_BITS = 96, ADDRESS_BITS = 128 };

static const uint8_t v4_prefix[V4_PREFIX_BYTES] = {[10] = 0xff, [11] = 0xff};

bool address_parse(str text, ip_address *ret_address)
{
    char copy[ADDRESS_TEXT_BYTES];
    ip_address a;
    if (text.n == 0 || text.n >= sizeof(copy) || memchr(text.p, 0, text.n))
        return false;
    memcpy(copy, text.p, text.n);
    copy[text.n] = '\0';
    if (strchr(copy, ':')) {
        if (inet_pton(AF_INET6, copy, a.bytes) != 1)
            return false;
    } else {
        memcpy(a.bytes, v4_prefix, V4_PREFIX_BYTES);
        if (inet_pton(AF_INET, copy, a.bytes + V4_PREFIX_BYTES) != 1)
            return false;
    }
    *ret_address = a;
    return true;
}

bool address_is_v4(const ip_address *a)
{
    return memcmp(a->bytes, v4_prefix, V4_PREFIX_BYTES) == 0;
}

void address_format(const ip_address *a, char text[ADDRESS_TEXT_BYTES])
{
    if (address_is_v4(a))
        inet_ntop(AF_INET, a->bytes + V4_PREFIX_BYTES, text, ADDRESS_TEXT_BYTES);
    else
        inet_ntop(AF_INET6, a->bytes, text, ADDRESS_TEXT_BYTES);
}

void address_mask(ip_address *a, unsigned bits)
{
    for (unsigned i = 0; i < sizeof(a->bytes); i++) {
        unsigned left = bits > 8 * i ? bits - 8 * i : 0;
        if (left < 8)
            a->bytes[i] &= (uint8_t)(0xff00u >> left);
    }
}

/* One to three digits, `most` at most. */
static bool parse_bits(str text, unsigned most, unsigned *ret_bits)
{
    unsigned bits = 0;
    if (text.n < 1 || text.n > 3)
        return false;
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] < '0' || text.p[i] > '9')
            return false;
        bits = bits * 10 + (unsigned)(text.p[i] - '0');
    }
    *ret_bits = bits;
    return bits <= most;
}

bool address_block_parse(str text, address_block *ret_block)
{
    address_block block = {.bits = ADDRESS_BITS};
    const char *slash = text.n ? memchr(text.p, '/', text.n) : NULL;
    str base = {text.p, slash ? (size_t)(slash - text.p) : text.n};
    if (!address_parse(base, &block.base))
        return false;
    if (slash) {
        /* What is written in dots counts from its own first bit. */
        unsigned before = memchr(base.p, ':', base.n) ? 0 : V4_PREFIX_BITS;
        str bits = {slash + 1, text.n - base.n - 1};
        if (!parse_bits(bits, ADDRESS_BITS - before, &block.bits))
            return false;
        block.bits += before;
    }
    ip_address masked = block.base;
    address_mask(&masked, block.bits);
    if (memcmp(&masked, &block.base, sizeof(masked)) != 0)
        return false;
    *ret_block = block;
    return true;
}

bool address_in(const ip_address *a, const address_block *block)
{
    ip_address masked = *a;
    if (address_is_v4(a) && block->bits < V4_PREFIX_BITS)
        return false;
    address_mask(&masked, block->bits);
    return memcmp(&masked, &block->base, sizeof(masked)) == 0;
}
