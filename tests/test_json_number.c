/* Numbers as JSON text: exact integers, shortest floats, nearest reading. */
#include <check.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vm/json_number.h"
#include "vm/json_pow10.h"

/* Whole numbers of up to 1,280 bits, to compute the powers of ten again. */
enum { BIG_LIMBS = 40 };

typedef struct big {
    uint32_t limb[BIG_LIMBS]; /* lowest first */
} big;

static void big_multiply(big *b, uint32_t by)
{
    uint64_t carry = 0;
    for (int i = 0; i < BIG_LIMBS; i++) {
        carry += (uint64_t)b->limb[i] * by;
        b->limb[i] = (uint32_t)carry;
        carry >>= 32;
    }
    ck_assert_uint_eq(carry, 0);
}

static big big_pow10(int e)
{
    big b = {{1}};
    for (int i = 0; i < e; i++)
        big_multiply(&b, 10);
    return b;
}

static void big_add_shifted(big *to, const big *b, int limbs)
{
    uint64_t carry = 0;
    for (int i = limbs; i < BIG_LIMBS; i++) {
        carry += (uint64_t)to->limb[i] + b->limb[i - limbs];
        to->limb[i] = (uint32_t)carry;
        carry >>= 32;
    }
    ck_assert_uint_eq(carry, 0);
}

static bool big_bit(const big *b, int bit)
{
    return b->limb[bit / 32] >> (bit % 32) & 1;
}

static int big_bits(const big *b)
{
    int n = BIG_LIMBS * 32;
    while (n > 0 && !big_bit(b, n - 1))
        n--;
    return n;
}

static bool power_bit(json_pow10 power, int bit)
{
    return (bit < 64 ? power.low >> bit : power.high >> (bit - 64)) & 1;
}

static big power_times(json_pow10 power, const big *b)
{
    uint32_t part[4] = {(uint32_t)power.low, (uint32_t)(power.low >> 32), (uint32_t)power.high,
                        (uint32_t)(power.high >> 32)};
    big sum = {{0}};
    for (int i = 0; i < 4; i++) {
        big product = *b;
        big_multiply(&product, part[i]);
        big_add_shifted(&sum, &product, i);
    }
    return sum;
}

START_TEST(positive_powers_of_ten_are_their_first_128_bits)
{
    big b = {{1}};
    for (int e = 0; e <= JSON_POW10_MAX; e++) {
        json_pow10 power = json_pow10_get(e);
        int bits = big_bits(&b);
        ck_assert_int_eq(json_pow10_log2(e), bits - 1);
        for (int i = 0; i < 128; i++) {
            int from = bits - 128 + i;
            ck_assert_int_eq(power_bit(power, i), from >= 0 && big_bit(&b, from));
        }
        if (e < JSON_POW10_MAX)
            big_multiply(&b, 10);
    }
}
END_TEST

/* The entry p of 10^-e is floor(2^s / 10^e), s = 127 - log2: so p * 10^e <= 2^s < (p + 1) * 10^e. */
START_TEST(negative_powers_of_ten_are_rounded_down)
{
    for (int e = 1; e <= -JSON_POW10_MIN; e++) {
        json_pow10 power = json_pow10_get(-e);
        ck_assert_uint_eq(power.high >> 63, 1);
        int s = 127 - json_pow10_log2(-e);
        big ten = big_pow10(e), below = power_times(power, &ten);
        ck_assert_int_le(big_bits(&below), s); /* 10^e is no power of two, so it is never equal */
        big above = below;
        big_add_shifted(&above, &ten, 0);
        ck_assert_int_gt(big_bits(&above), s);
    }
}
END_TEST

static const char *integer_text(int64_t v)
{
    static char text[JSON_NUMBER_BYTES + 1];
    text[json_number_write_integer(text, v)] = '\0';
    return text;
}

static const char *real_text(double v)
{
    static char text[JSON_NUMBER_BYTES + 1];
    size_t n = json_number_write_real(text, v);
    ck_assert_uint_le(n, JSON_NUMBER_BYTES);
    text[n] = '\0';
    return text;
}

static json_number read_all(const char *text)
{
    json_number v;
    const char *at, *reason, *end = text + strlen(text);
    const char *behind = json_number_read(text, end, &v, &at, &reason);
    ck_assert_msg(behind == end, "not read to its end: %s", text);
    return v;
}

static void expect_integer(const char *text, int64_t v)
{
    json_number got = read_all(text);
    ck_assert(got.is_integer);
    ck_assert_int_eq(got.integer, v);
}

static void expect_real(const char *text, double v)
{
    json_number got = read_all(text);
    ck_assert_msg(!got.is_integer, "%s was read as an integer", text);
    ck_assert_msg(memcmp(&got.real, &v, sizeof v) == 0, "%s was read as %a, not %a", text, got.real, v);
}

START_TEST(integers_are_written_in_full)
{
    ck_assert_str_eq(integer_text(0), "0");
    ck_assert_str_eq(integer_text(-7), "-7");
    ck_assert_str_eq(integer_text(10), "10");
    ck_assert_str_eq(integer_text(123456789012345678), "123456789012345678");
    ck_assert_str_eq(integer_text(INT64_MAX), "9223372036854775807");
    ck_assert_str_eq(integer_text(INT64_MIN), "-9223372036854775808");
    for (int64_t v = 1; v < INT64_MAX / 10; v *= 10) {
        char text[32];
        for (int64_t around = v - 1; around <= v + 1; around++) {
            snprintf(text, sizeof text, "%" PRId64, -around);
            ck_assert_str_eq(integer_text(-around), text);
        }
    }
}
END_TEST

START_TEST(integers_are_exact_up_to_the_edges_of_int64)
{
    expect_integer("0", 0);
    expect_integer("9007199254740991", 9007199254740991);
    expect_integer("9007199254740993", 9007199254740993);
    expect_integer("9223372036854775807", INT64_MAX);
    expect_integer("-9223372036854775808", INT64_MIN);
    expect_real("0.000000000000000000000000000000", 0.0);
    expect_real("0e-400", 0.0);
    expect_real("9223372036854775808", 0x1p63);
    expect_real("-9223372036854775809", -0x1p63);
    expect_real("18446744073709551616", 0x1p64);
    expect_real("99999999999999999999", 1e20);
}
END_TEST

START_TEST(fractions_and_exponents_make_floats)
{
    expect_real("3.0", 3.0);
    expect_real("1e0", 1.0);
    expect_real("1E+2", 100.0);
    expect_real("-0", -0.0);
    expect_real("-0.0", -0.0);
    expect_real("0e5", 0.0);
    expect_real("0.5", 0.5);
}
END_TEST

START_TEST(floats_are_written_as_short_as_they_can_be)
{
    static const struct {
        double v;
        const char *text;
    } cases[] = {
        {0.0, "0.0"},
        {-0.0, "-0.0"},
        {3.0, "3.0"},
        {-1.0, "-1.0"},
        {0.1, "0.1"},
        {0.3, "0.3"},
        {0.1 + 0.2, "0.30000000000000004"},
        {19.99, "19.99"},
        {100.0, "100.0"},
        {123456.789, "123456.789"},
        {0.00001, "0.00001"},
        {0.000001, "1e-6"},
        {0.00000125, "1.25e-6"},
        {9007199254740991.0, "9007199254740991.0"},
        {9007199254740992.0, "9007199254740992.0"},
        {9007199254740994.0, "9007199254740994.0"},
        {1e15, "1000000000000000.0"},
        {1e16, "1e16"},
        {1.5e16, "1.5e16"},
        {1e21, "1e21"},
        {1e22, "1e22"},
        {1e23, "1e23"},
        {1e300, "1e300"},
        {5e-324, "5e-324"},
        {2.2250738585072014e-308, "2.2250738585072014e-308"},
        {2.225073858507201e-308, "2.225073858507201e-308"},
        {1.7976931348623157e308, "1.7976931348623157e308"},
        {0x1p63, "9.223372036854776e18"},
        {9.5e-7, "9.5e-7"},
        {2e-44, "2e-44"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ck_assert_str_eq(real_text(cases[i].v), cases[i].text);
        expect_real(cases[i].text, cases[i].v);
    }
}
END_TEST

START_TEST(halfway_cases_are_read_to_even)
{
    expect_real("9007199254740993.0", 9007199254740992.0);
    expect_real("9007199254740995.0", 9007199254740996.0);
    expect_real("9007199254740993.00000000000000000000000000000000001", 9007199254740994.0);
    expect_real("2.2250738585072011e-308", 0x0.fffffffffffffp-1022);
    expect_real("2.4703282292062327208e-324", 0.0);
    expect_real("2.4703282292062327209e-324", 0x1p-1074);
    expect_real("1.00000000000000011102230246251565404236316680908203125", 1.0);
    expect_real("1.00000000000000011102230246251565404236316680908203126", 0x1.0000000000001p0);
    expect_real("1.7976931348623158e308", 1.7976931348623157e308);
    expect_real("1e-400", 0.0);
    expect_real("-1e-99999999999999999999", -0.0);
}
END_TEST

START_TEST(digits_without_end_still_count)
{
    static char text[4096];
    /* 2^53 + 1, exactly halfway, and then a digit far behind it that decides. */
    int n = snprintf(text, sizeof text, "9007199254740993.");
    memset(text + n, '0', 3000);
    text[n + 3000] = '\0';
    expect_real(text, 9007199254740992.0);
    text[n + 2999] = '1';
    expect_real(text, 9007199254740994.0);
    /* Many zeros in front, and an exponent that takes them back. */
    memset(text, '0', 3000);
    text[1] = '.';
    snprintf(text + 3000, 96, "125e2999");
    expect_real(text, 1.25);
    memset(text + 1, '0', 3000);
    text[0] = '1';
    snprintf(text + 3001, 95, "e-3000");
    expect_real(text, 1.0);
}
END_TEST

START_TEST(too_large_and_malformed_numbers_are_refused)
{
    static const char *const out_of_range[] = {"1e309", "-1e309", "1.7976931348623159e308",
                                               "1e99999999999999999999"};
    static const char *const malformed[] = {"-", "01", "-01", "1.", "1.e1", "1e", "1e+", "-.5", "00"};
    json_number v;
    const char *at, *reason;
    for (size_t i = 0; i < sizeof out_of_range / sizeof *out_of_range; i++) {
        const char *p = out_of_range[i];
        ck_assert_ptr_null(json_number_read(p, p + strlen(p), &v, &at, &reason));
        ck_assert_str_eq(reason, "number out of range");
    }
    for (size_t i = 0; i < sizeof malformed / sizeof *malformed; i++) {
        const char *p = malformed[i];
        ck_assert_ptr_null(json_number_read(p, p + strlen(p), &v, &at, &reason));
        ck_assert_str_eq(reason, "malformed number");
        ck_assert(at >= p && at <= p + strlen(p));
    }
}
END_TEST

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state * UINT64_C(0x2545F4914F6CDD1D);
}

/* Floats of all kinds: any bits, few digits, within [0, 1), beside powers of two. */
static double random_double(uint64_t *state, int kind)
{
    uint64_t bits = next_random(state);
    double v;
    if (kind == 1)
        return (double)(bits % 1000000) / 100;
    if (kind == 2)
        return (double)(bits >> 11) * 0x1p-53;
    if (kind == 3)
        bits = (bits % 2046 << 52) + bits % 5;
    memcpy(&v, &bits, sizeof v);
    return isfinite(v) ? v : 1.0;
}

static int digit_count(const char *text)
{
    int n = 0, zeros = 0;
    for (; *text && *text != 'e'; text++) {
        if (*text < '0' || *text > '9' || (n == 0 && *text == '0'))
            continue;
        n++;
        zeros = *text == '0' ? zeros + 1 : 0;
    }
    return n - zeros;
}

START_TEST(random_floats_come_back_and_are_shortest)
{
    uint64_t state = 88172645463325252;
    for (int i = 0; i < 40000; i++) {
        double v = random_double(&state, i % 4);
        const char *text = real_text(v);
        expect_real(text, v);
        ck_assert_double_eq(strtod(text, NULL), v);
        char printed[40];
        int digits = 0;
        do
            snprintf(printed, sizeof printed, "%.*e", digits, v);
        while (strtod(printed, NULL) != v && ++digits < 17);
        ck_assert_msg(v == 0 || digit_count(text) <= digits + 1, "%s is longer than %s", text, printed);
    }
}
END_TEST

START_TEST(random_decimals_are_read_as_strtod_reads_them)
{
    uint64_t state = 123456789;
    for (int i = 0; i < 100000; i++) {
        uint64_t r = next_random(&state);
        char text[64];
        int n =
            snprintf(text, sizeof text, "%" PRIu64, 1 + next_random(&state) % UINT64_C(10000000000000000000));
        if (n > 1 + (int)(r % 19))
            n = 1 + (int)(r % 19);
        snprintf(text + n, sizeof text - (size_t)n, "e%d", (int)(r >> 32) % 330);
        double v = strtod(text, NULL);
        if (isfinite(v))
            expect_real(text, v);
    }
}
END_TEST

static Suite *json_number_suite(void)
{
    Suite *s = suite_create("json_number");
    TCase *t = tcase_create("json_number");
    tcase_set_timeout(t, 120);
    tcase_add_test(t, positive_powers_of_ten_are_their_first_128_bits);
    tcase_add_test(t, negative_powers_of_ten_are_rounded_down);
    tcase_add_test(t, integers_are_written_in_full);
    tcase_add_test(t, integers_are_exact_up_to_the_edges_of_int64);
    tcase_add_test(t, fractions_and_exponents_make_floats);
    tcase_add_test(t, floats_are_written_as_short_as_they_can_be);
    tcase_add_test(t, halfway_cases_are_read_to_even);
    tcase_add_test(t, digits_without_end_still_count);
    tcase_add_test(t, too_large_and_malformed_numbers_are_refused);
    tcase_add_test(t, random_floats_come_back_and_are_shortest);
    tcase_add_test(t, random_decimals_are_read_as_strtod_reads_them);
    suite_add_tcase(s, t);
    return s;
}

int main(void)
{
    SRunner *runner = srunner_create(json_number_suite());
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
