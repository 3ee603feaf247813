/* siphash: SipHash-2-4, a keyed hash of short texts. (Aumasson and Bernstein, "SipHash: a fast short-input
 * PRF", 2012.)
 *
 * For tables whose keys clients choose: without the key, nobody can find texts that meet in one place.
 * Threads: any. */
#ifndef QUEUE_SIPHASH_H
#define QUEUE_SIPHASH_H

#include <stddef.h>
#include <stdint.h>

typedef struct siphash_key {
    uint64_t k[2];
} siphash_key;

/* A key that nobody can guess, from the system's random numbers. Returns: 0 or -errno. */
int siphash_key_make(siphash_key *ret);

/* The hash of n bytes. */
uint64_t siphash(const siphash_key *key, const void *bytes, size_t n);

/* The same with fewer rounds, SipHash-1-3: for a table in which texts that meet cost no more than a search.
 * Its authors know of no attack on it; Rust, Python and Ruby use it for theirs. */
uint64_t siphash_1_3(const siphash_key *key, const void *bytes, size_t n);

#endif
