#include "api/program/top_text.h"

#include <locale.h>
#include <math.h>

#include "tests/top_fixture.h"

static char cell[TOP_CELL_BYTES];

static void in_utf8(void)
{
    ck_assert_ptr_nonnull(setlocale(LC_CTYPE, "C.UTF-8"));
}

static void in_c(void)
{
    setlocale(LC_CTYPE, "C");
}

/* --- figures --- */

static const struct {
    double n;
    const char *text;
} rates[] = {
    {NAN, "-"},      {0, "0"},           {0.004, "0.00"},         {0.25, "0.25"},
    {0.994, "0.99"}, {0.996, "1.0"},     {9.96, "10.0"},          {99.9, "99.9"},
    {99.96, "100"},  {12345.6, "12346"}, {1e18, "1000000000000"},
};

START_TEST(rate_has_as_many_digits_as_it_needs)
{
    ck_assert_str_eq(top_text_rate(cell, rates[_i].n), rates[_i].text);
}
END_TEST

static const struct {
    double n;
    const char *text;
} sizes[] = {
    {NAN, "-"},      {0, "0 B"},         {999, "999 B"},     {1000, "1.0 KB"},  {9940, "9.9 KB"},
    {9960, "10 KB"}, {150400, "150 KB"}, {999600, "1.0 MB"}, {2.5e9, "2.5 GB"}, {7e13, "70 TB"},
};

START_TEST(bytes_have_their_unit)
{
    ck_assert_str_eq(top_text_bytes(cell, sizes[_i].n), sizes[_i].text);
}
END_TEST

static const struct {
    double seconds;
    bool beyond;
    const char *text;
} latencies[] = {
    {NAN, false, "-"},       {0, false, "0.00ms"},     {0.00021, false, "0.21ms"}, {0.0042, false, "4.2ms"},
    {0.0123, false, "12ms"}, {0.9994, false, "999ms"}, {0.9996, false, "1.0s"},    {2.34, false, "2.3s"},
    {60, false, "60s"},      {10, true, ">10s"},       {0.1, true, ">100ms"},
};

START_TEST(latency_is_in_milliseconds_or_seconds)
{
    top_latency t = {latencies[_i].seconds, latencies[_i].beyond};
    ck_assert_str_eq(top_text_latency(cell, t), latencies[_i].text);
}
END_TEST

static const struct {
    double seconds;
    const char *text;
} ages[] = {
    {NAN, "-"},       {-3, "0s"},      {59.9, "59s"},     {60, "1m00s"},
    {3599, "59m59s"}, {3600, "1h00m"}, {86399, "23h59m"}, {90000, "1d01h"},
};

START_TEST(age_has_two_units_at_most)
{
    ck_assert_str_eq(top_text_age(cell, ages[_i].seconds), ages[_i].text);
}
END_TEST

START_TEST(count_is_a_whole_number)
{
    ck_assert_str_eq(top_text_count(cell, 64), "64");
    ck_assert_str_eq(top_text_count(cell, NAN), "-");
    ck_assert_str_eq(top_text_count(cell, INFINITY), "1000000000000000");
}
END_TEST

/* --- names --- */

/* What top_text_name writes; good until the next. */
static const char *shown(const char *name, size_t columns)
{
    static char text[256];
    FILE *out = fmemopen(text, sizeof text, "w");
    size_t used = top_text_name(out, name, columns);
    fclose(out);
    ck_assert_uint_le(used, columns);
    return text;
}

static const struct {
    const char *name;
    size_t columns;
    const char *text;
} utf8[] = {
    {"/users/:id", 10, "/users/:id"},
    {"/users/:id", 9, "/users/:~"},
    {"/users", 1, "~"},
    {"/users", 0, ""},
    {"", 5, ""},
    {"/stra\u00dfe", 7, "/stra\u00dfe"},
    {"/stra\u00dfe", 6, "/stra~"},
    {"/\u6771\u4eac", 5, "/\u6771\u4eac"}, /* two columns each */
    {"/\u6771\u4eac", 4, "/\u6771~"},
    {"/\u6771\u4eac", 3, "/~"},
    {"/e\u0301t\u00e9", 4, "/e\u0301t\u00e9"}, /* an accent of no column belongs to its letter */
    {"/a\x1b[2J", 20, "/a\\x1b[2J"},
    {"/a\x1b[2J", 5, "/a~"}, /* an escape is not cut in two */
    {"/a\nb\tc\x7f", 20, "/a\\x0ab\\x09c\\x7f"},
    {"/a\xff"
     "b",
     20, "/a\\xffb"},
    {"/a\xe4\xbd", 20, "/a\\xe4\\xbd"},
    {"/\xc2\x85x", 20, "/\\xc2\\x85x"},
    {"/\u202e/x", 30, "/\\xe2\\x80\\xae/x"}, /* would turn the direction of what follows */
    {"/\u200bx", 30, "/\\xe2\\x80\\x8bx"},
};

START_TEST(name_is_cut_at_whole_characters_and_cannot_steer)
{
    ck_assert_str_eq(shown(utf8[_i].name, utf8[_i].columns), utf8[_i].text);
}
END_TEST

START_TEST(name_is_spelled_out_where_the_locale_cannot_show_it)
{
    in_c();
    ck_assert_str_eq(shown("/stra\u00dfe", 40), "/stra\\xc3\\x9fe");
    ck_assert_uint_eq(top_text_width("/stra\u00dfe"), 14);
}
END_TEST

START_TEST(width_is_counted_in_columns)
{
    ck_assert_uint_eq(top_text_width("/stra\u00dfe"), 7);
    ck_assert_uint_eq(top_text_width("/\u6771\u4eac"), 5);
    ck_assert_uint_eq(top_text_width("\n"), 4);
}
END_TEST

START_TEST(word_has_no_blanks_and_is_never_empty)
{
    char text[64];
    FILE *out = fmemopen(text, sizeof text, "w");
    top_text_word(out, "a b\n");
    top_text_word(out, "");
    fclose(out);
    ck_assert_str_eq(text, "a\\x20b\\x0a-");
}
END_TEST

int main(void)
{
    Suite *s = suite_create("top_text");
    TCase *tc = tcase_create("top_text");
    tcase_add_checked_fixture(tc, in_utf8, in_c);
    tcase_add_loop_test(tc, rate_has_as_many_digits_as_it_needs, 0, sizeof(rates) / sizeof(rates[0]));
    tcase_add_loop_test(tc, bytes_have_their_unit, 0, sizeof(sizes) / sizeof(sizes[0]));
    tcase_add_loop_test(tc, latency_is_in_milliseconds_or_seconds, 0,
                        sizeof(latencies) / sizeof(latencies[0]));
    tcase_add_loop_test(tc, age_has_two_units_at_most, 0, sizeof(ages) / sizeof(ages[0]));
    tcase_add_test(tc, count_is_a_whole_number);
    tcase_add_loop_test(tc, name_is_cut_at_whole_characters_and_cannot_steer, 0,
                        sizeof(utf8) / sizeof(utf8[0]));
    tcase_add_test(tc, name_is_spelled_out_where_the_locale_cannot_show_it);
    tcase_add_test(tc, width_is_counted_in_columns);
    tcase_add_test(tc, word_has_no_blanks_and_is_never_empty);
    suite_add_tcase(s, tc);
    return run_suite(s);
}
