#include "queue/percent.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static void decodes_path(str in, str want)
{
    char out[64];
    ssize_t n = percent_path_decode(in, out);
    ck_assert_int_eq(n, (ssize_t)want.n);
    ck_assert_mem_eq(out, want.p, want.n);
}

static void decodes_query(str in, str want)
{
    char out[64];
    size_t n = percent_query_decode(in, out);
    ck_assert_uint_eq(n, want.n);
    ck_assert_mem_eq(out, want.p, want.n);
}

START_TEST(plain_text_needs_no_decoding)
{
    ck_assert(!percent_path_needs(STR("abc+d")));
    ck_assert(!percent_query_needs(STR("abc")));
    ck_assert(!percent_path_needs((str){0}));
    ck_assert(!percent_query_needs((str){0}));
}
END_TEST

START_TEST(percent_needs_decoding_and_plus_only_in_a_query)
{
    ck_assert(percent_path_needs(STR("a%20b")));
    ck_assert(percent_query_needs(STR("a%20b")));
    ck_assert(percent_query_needs(STR("a+b")));
}
END_TEST

START_TEST(path_decodes_both_cases_of_hex)
{
    decodes_path(STR("%2f%2F%c3%A9"), STR("//\xc3\xa9"));
}
END_TEST

START_TEST(path_keeps_plus_and_bytes_beyond_ascii)
{
    decodes_path(STR("a+b\xff"), STR("a+b\xff"));
}
END_TEST

START_TEST(path_is_decoded_once)
{
    decodes_path(STR("%2525"), STR("%25"));
}
END_TEST

START_TEST(empty_path_decodes_to_nothing)
{
    char out[1] = {'x'};
    ck_assert_int_eq(percent_path_decode((str){0}, out), 0);
    ck_assert_int_eq(out[0], 'x');
}
END_TEST

START_TEST(path_with_every_byte_escaped_comes_back)
{
    for (int i = 1; i < 256; i++) {
        char in[8];
        char out[8];
        snprintf(in, sizeof in, "%%%02x", (unsigned)i);
        ck_assert_int_eq(percent_path_decode(str_from(in), out), 1);
        ck_assert_int_eq((unsigned char)out[0], i);
        const char *p = in;
        ck_assert_int_eq(percent_path_step(&p), i);
        ck_assert_ptr_eq(p, in + 3);
    }
}
END_TEST

static const char *const bad_paths[] = {"%",     "%4",     "abc%",      "abc%4", "%g0",   "%0g",
                                        "%%41",  "%u0041", "%-1",       "% 1",   "%41%2", "%00",
                                        "a%00b", "%41%00", "%41%zz%42", "%+1",   "%0x"};

static void refuses(str path)
{
    char out[64];
    memset(out, 'x', sizeof out);
    ck_assert_int_eq(percent_path_check(path), -EINVAL);
    ck_assert_int_eq(percent_path_decode(path, out), -EINVAL);
    for (size_t i = 0; i < sizeof out; i++)
        ck_assert_int_eq(out[i], 'x');
}

START_TEST(bad_path_is_refused_and_nothing_written)
{
    refuses(str_from(bad_paths[_i]));
}
END_TEST

START_TEST(path_with_a_nul_byte_is_refused)
{
    refuses(STR("a\0b"));
}
END_TEST

START_TEST(escape_is_not_read_past_the_end_of_the_slice)
{
    ck_assert_int_eq(percent_path_check((str){"a%41", 3}), -EINVAL);
    char out[3];
    ck_assert_uint_eq(percent_query_decode((str){"a%41", 3}, out), 3);
    ck_assert_mem_eq(out, "a%4", 3);
}
END_TEST

START_TEST(query_decodes_plus_and_escapes)
{
    decodes_query(STR("a+b%20c%2B"), STR("a b c+"));
    decodes_query(STR(""), STR(""));
}
END_TEST

START_TEST(query_keeps_bad_escapes)
{
    decodes_query(STR("100%"), STR("100%"));
    decodes_query(STR("%zz%4"), STR("%zz%4"));
    decodes_query(STR("%%41"), STR("%A"));
    decodes_query(STR("%4+"), STR("%4 "));
}
END_TEST

START_TEST(query_decodes_zero_to_a_nul_byte)
{
    decodes_query(STR("a%00b"), STR("a\0b"));
}
END_TEST

START_TEST(decoding_in_place_works)
{
    char path[] = "%41b%43";
    ck_assert_int_eq(percent_path_decode(str_from(path), path), 3);
    ck_assert_mem_eq(path, "AbC", 3);
    char query[] = "+%41%zz";
    ck_assert_uint_eq(percent_query_decode(str_from(query), query), 5);
    ck_assert_mem_eq(query, " A%zz", 5);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("percent");
    TCase *tests = tcase_create("percent");
    tcase_add_test(tests, plain_text_needs_no_decoding);
    tcase_add_test(tests, percent_needs_decoding_and_plus_only_in_a_query);
    tcase_add_test(tests, path_decodes_both_cases_of_hex);
    tcase_add_test(tests, path_keeps_plus_and_bytes_beyond_ascii);
    tcase_add_test(tests, path_is_decoded_once);
    tcase_add_test(tests, empty_path_decodes_to_nothing);
    tcase_add_test(tests, path_with_every_byte_escaped_comes_back);
    tcase_add_loop_test(tests, bad_path_is_refused_and_nothing_written, 0,
                        (int)(sizeof bad_paths / sizeof bad_paths[0]));
    tcase_add_test(tests, path_with_a_nul_byte_is_refused);
    tcase_add_test(tests, escape_is_not_read_past_the_end_of_the_slice);
    tcase_add_test(tests, query_decodes_plus_and_escapes);
    tcase_add_test(tests, query_keeps_bad_escapes);
    tcase_add_test(tests, query_decodes_zero_to_a_nul_byte);
    tcase_add_test(tests, decoding_in_place_works);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
