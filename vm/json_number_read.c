#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "vm/json_number.h"
#include "vm/json_pow10.h"

enum {
    WORD_DIGITS = 19,        /* as many decimal digits fit into uint64_t */
    DIGITS_MAX = 800,        /* 768 decide about a float; what follows matters only by not being zero */
    EXPONENT_LIMIT = 100000, /* with DIGITS_MAX digits, anything larger is 0 or out of range all the same */
};

/* The parts of a number's text, and what they amount to: (-1)^minus * word * 10^exponent. */
typedef struct parts {
    const char *whole, *whole_end;
    const char *fraction, *fraction_end; /* empty when there is no point */
    long long exponent;                  /* of the last digit */
    uint64_t word;                       /* all digits, if they are WORD_DIGITS at most */
    bool minus, is_whole;
} parts;

static bool is_digit(const char *p, const char *end)
{
    return p < end && *p >= '0' && *p <= '9';
}

static const char *digits(const char *p, const char *end, uint64_t *word)
{
    uint64_t w = *word; /* wraps round when there are too many; then it is not used */
    for (; is_digit(p, end); p++)
        w = w * 10 + (uint64_t)(*p - '0');
    *word = w;
    return p;
}

static const char *exponent(const char *p, const char *end, long long *ret_exponent)
{
    bool minus = p < end && *p == '-';
    if (p < end && (*p == '-' || *p == '+'))
        p++;
    if (!is_digit(p, end))
        return NULL;
    long long e = 0;
    for (; is_digit(p, end); p++) {
        if (e < LLONG_MAX / 100)
            e = e * 10 + (*p - '0');
    }
    *ret_exponent = minus ? -e : e;
    return p;
}

/* Split the text by JSON's grammar. Returns: its end; or NULL, with the place of the fault in *ret_at. */
static const char *split(const char *p, const char *end, parts *n, const char **ret_at)
{
    const char *start = p;
    *n = (parts){0};
    n->minus = *p == '-';
    p += n->minus;
    n->whole = p;
    n->whole_end = p = digits(p, end, &n->word);
    if (n->whole == p || (*n->whole == '0' && p - n->whole > 1)) {
        *ret_at = start;
        return NULL;
    }
    n->is_whole = true;
    n->fraction = n->fraction_end = p;
    if (p < end && *p == '.') {
        n->is_whole = false;
        n->fraction = p + 1;
        n->fraction_end = p = digits(p + 1, end, &n->word);
        if (n->fraction == p) {
            *ret_at = p;
            return NULL;
        }
    }
    if (p < end && (*p == 'e' || *p == 'E')) {
        n->is_whole = false;
        const char *behind = exponent(p + 1, end, &n->exponent);
        if (!behind) {
            *ret_at = p;
            return NULL;
        }
        p = behind;
    }
    n->exponent -= n->fraction_end - n->fraction;
    return p;
}

/* The digits from the first that is not zero. */
static ptrdiff_t significant_digits(const parts *n)
{
    const char *p = n->whole;
    if (*p != '0')
        return (n->whole_end - p) + (n->fraction_end - n->fraction);
    p = n->fraction;
    while (p < n->fraction_end && *p == '0')
        p++;
    return n->fraction_end - p;
}

/* Small numbers times or over a power of ten that is exact: one rounding, the right one. */
static bool read_exactly(uint64_t word, long long e, double *ret_v)
{
    static const double powers[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                    1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    if (word > UINT64_C(1) << 53 || e < -22 || e > 22)
        return false;
    *ret_v = e < 0 ? (double)word / powers[-e] : (double)word * powers[e];
    return true;
}

/* Multiply with 128 bits of the power. The table is rounded down, so the product is short of the true one by
 * less than two units of `low`. Where that could matter, or the true value could be halfway between two
 * floats, or the float is not a normal one, say so and leave it to the slow way. Returns: whether *ret_v is
 * the nearest float. */
static bool read_by_product(uint64_t word, long long e, double *ret_v)
{
    if (word == 0 || e < JSON_POW10_MIN || e > JSON_POW10_MAX)
        return false;
    json_pow10 power = json_pow10_get((int)e);
    int shift = __builtin_clzll(word);
    word <<= shift;
    json_u128 product = (json_u128)word * power.high + (((json_u128)word * power.low) >> 64);
    uint64_t high = (uint64_t)(product >> 64), low = (uint64_t)product;

    int dropped = 10 + (int)(high >> 63); /* bits of high beyond the 53 of a float */
    uint64_t rest = high & ((UINT64_C(1) << dropped) - 1), half = UINT64_C(1) << (dropped - 1);
    if (low >= UINT64_MAX - 2 || (rest == half && low == 0))
        return false;
    uint64_t mantissa = (high >> dropped) + (rest >= half);
    int biased = json_pow10_log2((int)e) + 1 - shift + dropped + 52 + 1023;
    if (biased < 1 || biased > 2045)
        return false;
    /* The mantissa's top bit is implied; one that was rounded up to 2^53 carries into the exponent, as it
     * should. */
    uint64_t bits = ((uint64_t)biased << 52) + (mantissa - (UINT64_C(1) << 52));
    memcpy(ret_v, &bits, sizeof bits);
    return true;
}

static char *append_digits(char *out, const char *out_end, const char *p, const char *end, const char *first,
                           long long *exponent_of_last, bool *cut)
{
    for (; p < end; p++) {
        if (out == first && *p == '0')
            continue;
        if (out < out_end) {
            *out++ = *p;
        } else {
            ++*exponent_of_last;
            *cut = *cut || *p != '0';
        }
    }
    return out;
}

/* The C library's strtod rounds correctly. It is given digits and an exponent but no point, and so has
 * nothing to ask the locale about. */
static double read_slowly(const parts *n)
{
    char text[DIGITS_MAX + 40];
    long long e = n->exponent;
    bool cut = false;
    char *p = append_digits(text, text + DIGITS_MAX, n->whole, n->whole_end, text, &e, &cut);
    p = append_digits(p, text + DIGITS_MAX, n->fraction, n->fraction_end, text, &e, &cut);
    if (p == text)
        return 0.0;
    if (cut) {
        *p++ = '1';
        e--;
    }
    e = e > EXPONENT_LIMIT ? EXPONENT_LIMIT : e < -EXPONENT_LIMIT ? -EXPONENT_LIMIT : e;
    *p++ = 'e';
    p += json_number_write_integer(p, e);
    *p = '\0';
    return strtod(text, NULL);
}

static double nearest(const parts *n)
{
    double v;
    if (significant_digits(n) <= WORD_DIGITS &&
        (read_exactly(n->word, n->exponent, &v) || read_by_product(n->word, n->exponent, &v)))
        return v;
    return read_slowly(n);
}

/* Returns: whether the digits fit into int64_t, which holds one more below zero than above. */
static bool to_integer(const parts *n, int64_t *ret_v)
{
    ptrdiff_t count = n->whole_end - n->whole;
    uint64_t limit = (uint64_t)INT64_MAX + n->minus;
    if (!n->is_whole || count > WORD_DIGITS || n->word > limit || (n->minus && n->word == 0))
        return false;
    *ret_v = n->minus ? (int64_t)(0 - n->word) : (int64_t)n->word;
    return true;
}

const char *json_number_read(const char *p, const char *end, json_number *ret, const char **ret_at,
                             const char **ret_reason)
{
    parts n;
    const char *behind = split(p, end, &n, ret_at);
    if (!behind) {
        *ret_reason = "malformed number";
        return NULL;
    }
    int64_t integer;
    if (to_integer(&n, &integer)) {
        *ret = (json_number){.is_integer = true, .integer = integer};
        return behind;
    }
    double v = nearest(&n);
    if (isinf(v)) {
        *ret_at = p;
        *ret_reason = "number out of range";
        return NULL;
    }
    *ret = (json_number){.is_integer = false, .real = n.minus ? -v : v};
    return behind;
}
