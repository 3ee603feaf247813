#include <string.h>

#include "vm/json_number.h"
#include "vm/json_pow10.h"

enum {
    FIXED_MIN = -5, /* the first digit's power of ten, between which no exponent is written */
    FIXED_MAX = 15,
};

static const char two_digits[] = "0001020304050607080910111213141516171819"
                                 "2021222324252627282930313233343536373839"
                                 "4041424344454647484950515253545556575859"
                                 "6061626364656667686970717273747576777879"
                                 "8081828384858687888990919293949596979899";

/* Write v so that it ends before `end`. Returns: its first byte. */
static char *write_backwards(char *end, uint64_t v)
{
    while (v >= 100) {
        end -= 2;
        memcpy(end, two_digits + v % 100 * 2, 2);
        v /= 100;
    }
    if (v >= 10) {
        end -= 2;
        memcpy(end, two_digits + v * 2, 2);
    } else {
        *--end = (char)('0' + v);
    }
    return end;
}

size_t json_number_write_integer(char *out, int64_t v)
{
    char text[JSON_NUMBER_BYTES], *end = text + sizeof text;
    char *p = write_backwards(end, v < 0 ? 0 - (uint64_t)v : (uint64_t)v);
    if (v < 0)
        *--p = '-';
    size_t n = (size_t)(end - p);
    memcpy(out, p, n);
    return n;
}

/* digits * 10^exponent */
typedef struct decimal {
    uint64_t digits;
    int exponent;
} decimal;

/* The product's bits above 128, the last of them set also if anything below them is not zero ("round to
 * odd"): that is all that later comparisons need to know of the rest. */
static uint64_t multiply_sticky(json_pow10 power, uint64_t v)
{
    uint64_t low_carry = (uint64_t)(((json_u128)power.low * v) >> 64);
    json_u128 high = (json_u128)power.high * v + low_carry;
    return (uint64_t)(high >> 64) | ((uint64_t)high > 1);
}

/* Powers rounded up, where they are not exact. */
static json_pow10 pow10_above(int e)
{
    json_pow10 power = json_pow10_get(e);
    if (e < 0 || e > JSON_POW10_EXACT)
        power.high += ++power.low == 0;
    return power;
}

/* Raffaello Giulietti's Schubfach ("The Schubfach way to render doubles", 2020). The reals that round to the
 * float mantissa * 2^exponent form an interval; a power 10^k is chosen such that multiples of 10^k surely
 * fall into it and at most one of 10^(k+1) does. Everything is counted in quarters of 10^k, so that halves of
 * the float's last place are whole. is_power: the float below is only half as far, since here the exponent
 * changes. */
static decimal shortest(uint64_t mantissa, int exponent, bool is_power)
{
    bool is_even = mantissa % 2 == 0; /* then the interval's ends belong to it */
    /* floor(log10(2^exponent)), or of 3/4 of it */
    int k = (int)(((int64_t)exponent * 1262611 - (is_power ? 524031 : 0)) >> 22);
    json_pow10 power = pow10_above(-k);
    int shift = exponent + json_pow10_log2(-k) + 1;
    uint64_t low = multiply_sticky(power, (4 * mantissa - 2 + is_power) << shift) + !is_even;
    uint64_t mid = multiply_sticky(power, 4 * mantissa << shift);
    uint64_t high = multiply_sticky(power, (4 * mantissa + 2) << shift) - !is_even;

    uint64_t s = mid / 4, tens = s / 10;
    if (s >= 10) {
        bool below = low <= 40 * tens, above = 40 * tens + 40 <= high;
        if (below != above)
            return (decimal){tens + above, k + 1};
    }
    bool below = low <= 4 * s, above = 4 * s + 4 <= high;
    if (below != above)
        return (decimal){s + above, k};
    uint64_t half = 4 * s + 2;
    bool up = mid > half || (mid == half && s % 2 == 1);
    return (decimal){s + up, k};
}

/* Lay out n digits, the first of them worth 10^first. */
static size_t lay_out(char *out, const char *digits, int n, int first)
{
    char *p = out;
    if (first < FIXED_MIN || first > FIXED_MAX) { /* d.ddde-ddd */
        *p++ = digits[0];
        if (n > 1) {
            *p++ = '.';
            memcpy(p, digits + 1, (size_t)n - 1);
            p += n - 1;
        }
        *p++ = 'e';
        return (size_t)(p - out) + json_number_write_integer(p, first);
    }
    if (first < 0) { /* 0.000ddd */
        memcpy(p, "0.00000", 7);
        p += 1 - first;
        memcpy(p, digits, (size_t)n);
        return (size_t)(p + n - out);
    }
    int whole = first + 1; /* ddd.ddd, or ddd000.0 */
    for (int i = 0; i < whole; i++)
        *p++ = i < n ? digits[i] : '0';
    *p++ = '.';
    if (n <= whole) {
        *p++ = '0';
    } else {
        memcpy(p, digits + whole, (size_t)(n - whole));
        p += n - whole;
    }
    return (size_t)(p - out);
}

static decimal to_decimal(uint64_t bits)
{
    uint64_t fraction = bits & ((UINT64_C(1) << 52) - 1);
    int biased = (int)(bits >> 52 & 0x7FF);
    if (biased == 0)
        return shortest(fraction, 1 - 1075, false);
    uint64_t mantissa = fraction | UINT64_C(1) << 52;
    int exponent = biased - 1075;
    /* Whole numbers below 2^53 are their own shortest digits. */
    if (exponent <= 0 && exponent >= -52 && (mantissa & ((UINT64_C(1) << -exponent) - 1)) == 0)
        return (decimal){mantissa >> -exponent, 0};
    return shortest(mantissa, exponent, fraction == 0 && biased > 1);
}

size_t json_number_write_real(char *out, double v)
{
    uint64_t bits;
    memcpy(&bits, &v, sizeof bits);
    size_t sign = bits >> 63;
    if (sign)
        *out++ = '-';
    if (v == 0) {
        memcpy(out, "0.0", 3);
        return sign + 3;
    }
    decimal d = to_decimal(bits);
    char text[JSON_NUMBER_BYTES], *end = text + sizeof text;
    char *p = write_backwards(end, d.digits);
    int first = d.exponent + (int)(end - p) - 1;
    /* NOLINTNEXTLINE(clang-analyzer-core.UndefinedBinaryOperatorResult): it was written */
    while (end[-1] == '0')
        end--;
    return sign + lay_out(out, p, (int)(end - p), first);
}
