/* json_pow10: the powers of ten to 128 bits, by which floats are read and written. */
#ifndef VM_JSON_POW10_H
#define VM_JSON_POW10_H

#include <stdint.h>

__extension__ typedef unsigned __int128 json_u128;

enum {
    JSON_POW10_MIN = -327, /* 19 digits times this is the smallest normal float */
    JSON_POW10_MAX = 324,  /* lifts the smallest subnormal above one */
    JSON_POW10_EXACT = 55, /* the entries from 0 to here have no rounding error */
};

/* The first 128 bits of 10^e, rounded down, the top bit set. */
typedef struct json_pow10 {
    uint64_t high, low;
} json_pow10;

extern const json_pow10 json_pow10_table[JSON_POW10_MAX - JSON_POW10_MIN + 1];

static inline json_pow10 json_pow10_get(int e)
{
    return json_pow10_table[e - JSON_POW10_MIN];
}

/* floor(log2(10^e)): so 10^e = table entry * 2^(this - 127). Holds for |e| <= 1233. */
static inline int json_pow10_log2(int e)
{
    return (int)(((int64_t)e * 1741647) >> 19);
}

#endif
