#include "runtime/escape.h"

#include <check.h>
#include <stdlib.h>

/* `literal` may hold NUL. */
#define CHECK(function, literal, wanted)                                                                     \
    do {                                                                                                     \
        buf b = {0};                                                                                         \
        ck_assert_int_eq(function(&b, STR(literal)), 0);                                                     \
        buf_add(&b, "", 1);                                                                                  \
        ck_assert_str_eq(b.p, wanted);                                                                       \
        buf_fini(&b);                                                                                        \
    } while (0)

START_TEST(plain_text_stays_as_it_is)
{
    CHECK(escape_text, "hello, world ~", "hello, world ~");
    CHECK(escape_quoted, "/a/b?c=d", "/a/b?c=d");
    CHECK(escape_json, "hello", "hello");
    CHECK(escape_text, "", "");
}
END_TEST

START_TEST(utf_8_stays_as_it_is)
{
    CHECK(escape_text, "caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80",
          "caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80");
    CHECK(escape_json, "\xf4\x8f\xbf\xbf", "\xf4\x8f\xbf\xbf");
    CHECK(escape_quoted, "\xc2\xa0", "\xc2\xa0");
}
END_TEST

START_TEST(newline_in_text_is_followed_by_an_indent)
{
    CHECK(escape_text, "a\nb\n\nc", "a\n    b\n    \n    c");
}
END_TEST

START_TEST(newline_never_leaves_a_quoted_field_or_json)
{
    CHECK(escape_quoted, "a\nb\rc", "a\\x0ab\\x0dc");
    CHECK(escape_json, "a\nb\rc\td", "a\\nb\\rc\\td");
}
END_TEST

START_TEST(quotes_and_backslashes_are_escaped_where_they_would_end_a_field)
{
    CHECK(escape_text, "\"\\", "\"\\");
    CHECK(escape_quoted, "\"\\", "\\\"\\\\");
    CHECK(escape_json, "\"\\/", "\\\"\\\\/");
}
END_TEST

START_TEST(control_characters_are_spelled_out)
{
    CHECK(escape_text, "\x1b[2J\0\x7f\r\t", "\\x1b[2J\\x00\\x7f\\x0d\t");
    CHECK(escape_quoted, "\x1b\t", "\\x1b\\x09");
    CHECK(escape_json, "\x1b\0\x7f\b\f", "\\u001b\\u0000\\u007f\\b\\f");
}
END_TEST

START_TEST(control_characters_beyond_ascii_are_spelled_out)
{
    CHECK(escape_text, "\xc2\x9b", "\\xc2\\x9b");
    CHECK(escape_text, "\xe2\x80\xa8", "\\xe2\\x80\\xa8");
    CHECK(escape_json, "\xc2\x9b\xe2\x80\xa9", "\\u009b\\u2029");
}
END_TEST

/* Stray and missing continuations, overlong forms, surrogates, beyond U+10FFFF, cut off at the end. */
START_TEST(what_is_not_utf_8_is_spelled_out_byte_by_byte)
{
    CHECK(escape_text, "\x80z\xffz\xc3z", "\\x80z\\xffz\\xc3z");
    CHECK(escape_text, "\xc0\xaf\xe0\x80\xaf", "\\xc0\\xaf\\xe0\\x80\\xaf");
    CHECK(escape_text, "\xed\xa0\x80", "\\xed\\xa0\\x80");
    CHECK(escape_text, "\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80");
    CHECK(escape_text, "\xe2\x82", "\\xe2\\x82");
    CHECK(escape_json, "a\xff\xe2\x82z", "a\\ufffd\\ufffd\\ufffdz");
}
END_TEST

/* Every pair of bytes: the output is printable and on one line, and no byte makes more than it may. */
START_TEST(no_pair_of_bytes_breaks_out_or_grows_too_much)
{
    static const struct {
        int (*escape)(buf *out, str s);
    } functions[] = {{escape_quoted}, {escape_json}};
    buf b = {0};
    for (int i = 0; i < 65536; i++) {
        char pair[] = {(char)(i >> 8), (char)i};
        b.n = 0;
        ck_assert_int_eq(functions[_i].escape(&b, (str){pair, 2}), 0);
        ck_assert_uint_le(b.n, 2 * ESCAPE_GROWTH);
        for (size_t k = 0; k < b.n; k++)
            ck_assert((unsigned char)b.p[k] >= ' ' && b.p[k] != 0x7f);
    }
    buf_fini(&b);
}
END_TEST

static Suite *escape_suite(void)
{
    Suite *s = suite_create("escape");
    TCase *tc = tcase_create("escape");
    tcase_add_test(tc, plain_text_stays_as_it_is);
    tcase_add_test(tc, utf_8_stays_as_it_is);
    tcase_add_test(tc, newline_in_text_is_followed_by_an_indent);
    tcase_add_test(tc, newline_never_leaves_a_quoted_field_or_json);
    tcase_add_test(tc, quotes_and_backslashes_are_escaped_where_they_would_end_a_field);
    tcase_add_test(tc, control_characters_are_spelled_out);
    tcase_add_test(tc, control_characters_beyond_ascii_are_spelled_out);
    tcase_add_test(tc, what_is_not_utf_8_is_spelled_out_byte_by_byte);
    tcase_add_loop_test(tc, no_pair_of_bytes_breaks_out_or_grows_too_much, 0, 2);
    suite_add_tcase(s, tc);
    return s;
}

int main(void)
{
    SRunner *sr = srunner_create(escape_suite());
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
