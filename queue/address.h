/* address: IPv4 and IPv6 addresses, and blocks of them in CIDR notation (RFC 4632, RFC 4291, 2.3).
 *
 * An IPv4 ip_address and the same one written as ::ffff:1.2.3.4 are one address. Threads: plain data. */
#ifndef QUEUE_ADDRESS_H
#define QUEUE_ADDRESS_H

#include <stdbool.h>
#include <stdint.h>

#include "queue/str.h"

enum { ADDRESS_TEXT_BYTES = 46 }; /* room for any, with its NUL */

typedef struct ip_address {
    uint8_t bytes[16]; /* IPv4 as ::ffff:a.b.c.d */
} ip_address;

typedef struct address_block {
    ip_address base;
    unsigned bits; /* that count, of 128 */
} address_block;

/* Read "10.0.0.1" or "2001:db8::1": no brackets, port or zone. Returns: false for anything else. */
bool address_parse(str text, ip_address *ret_address);

bool address_is_v4(const ip_address *a);

/* Write it as text, closed by a NUL. */
void address_format(const ip_address *a, char text[ADDRESS_TEXT_BYTES]);

/* Leave the first `bits` of 128, and clear the rest. */
void address_mask(ip_address *a, unsigned bits);

/* Read "10.0.0.0/8", "fd00::/8", or an ip_address alone. Returns: false for anything else, and for a block
 * with bits set beyond its prefix, which is likely to be a mistake. */
bool address_block_parse(str text, address_block *ret_block);

/* Whether the address is in the block. An IPv4 address is in no IPv6 block, not even in ::/0. */
bool address_in(const ip_address *a, const address_block *block);

#endif
