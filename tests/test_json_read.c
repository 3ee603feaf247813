#include "api/program/json_read.h"

#include <math.h>
#include <stdio.h>

#include "tests/top_fixture.h"

static json_slice whole(const char *text)
{
    json_slice all;
    ck_assert_msg(json_read(text, &all), "%s", text);
    return all;
}

static void expect_string(const char *object, const char *wanted)
{
    char *text = json_read_string(whole(object), "s");
    ck_assert_ptr_nonnull(text);
    ck_assert_str_eq(text, wanted);
    free(text);
}

START_TEST(elements_come_one_after_the_other)
{
    static const char *const wanted[] = {"1", "\"a,]\"", "[2,[3]]", "{\"b\":\"}\"}", "null"};
    json_slice all = whole(" [1 , \"a,]\",[2,[3]], {\"b\":\"}\"},null ] rest"), one;
    const char *at = NULL;
    for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
        ck_assert(json_read_next(all, &at, &one));
        ck_assert_uint_eq(one.n, strlen(wanted[i]));
        ck_assert_mem_eq(one.p, wanted[i], one.n);
    }
    ck_assert(!json_read_next(all, &at, &one));
    at = NULL;
    ck_assert(!json_read_next(whole("[]"), &at, &one));
    ck_assert(!json_read_next(whole("[ ]"), &at, &one));
    ck_assert(!json_read_next(whole("{\"a\":1}"), &at, &one));
    ck_assert(!json_read_next(whole("7"), &at, &one));
}
END_TEST

START_TEST(members_are_found_by_name)
{
    json_slice all = whole("{\"a\":{\"b\":1},\"b\" : 2.5e1 ,\"c\":\"3\",\"bb\":4}"), a;
    ck_assert_double_eq(json_read_number(all, "b", -1), 25);
    ck_assert_double_eq(json_read_number(all, "bb", -1), 4);
    ck_assert_double_eq(json_read_number(all, "c", -1), -1);
    ck_assert_double_eq(json_read_number(all, "d", -1), -1);
    ck_assert(json_read_member(all, "a", &a));
    ck_assert_double_eq(json_read_number(a, "b", -1), 1);
    ck_assert_double_eq(json_read_number(whole("[\"b\",1]"), "b", -1), -1);
    ck_assert_double_eq(json_read_number(whole("{}"), "b", -1), -1);
    ck_assert_ptr_null(json_read_string(all, "b"));
    ck_assert_ptr_null(json_read_string(all, "d"));
}
END_TEST

START_TEST(strings_are_unescaped)
{
    expect_string("{\"s\":\"\"}", "");
    expect_string("{\"s\":\"a\\\"b\\\\c\\/d\\n\\t\\r\\b\\f\"}", "a\"b\\c/d\n\t\r\b\f");
    expect_string("{\"s\":\"\\u0041\\u00e9\\u20AC\\ud83d\\ude00 \xc3\xa9\"}",
                  "A\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80 \xc3\xa9");
}
END_TEST

START_TEST(odd_strings_end_where_they_end)
{
    expect_string("{\"s\":\"a\\u0000b\"}", "a?b");
    expect_string("{\"s\":\"\\ud83dx\"}", "\xef\xbf\xbdx");
    expect_string("{\"s\":\"\\ud83d\\u0041\"}", "\xef\xbf\xbd"
                                                "A");
    expect_string("{\"s\":\"\\ude00\"}", "\xef\xbf\xbd");
    expect_string("{\"s\":\"\\u12\"}", "?12");
    expect_string("{\"s\":\"\\uzzzz\"}", "?zzzz");
    expect_string("{\"s\":\"\\q\"}", "q");
}
END_TEST

static const char *const unended[] = {"",     "  ",     "[",    "[1", "{\"a\":", "\"",
                                      "\"\\", "\"\\\"", "[\"]", "}",  ",",       "[[]"};

START_TEST(text_that_does_not_end_has_no_value)
{
    json_slice all;
    ck_assert(!json_read(unended[_i], &all));
}
END_TEST

static const char *const odd[] = {"[,]",     "[1 2]",    "[:]",       "[1,,2]", "{,}",       "{1:2}",
                                  "{\"a\"}", "{\"a\":}", "{\"a\" 1}", "[}",     "{\"a\":1]", "[\"a\":]"};

/* Nothing is promised of these but an end, within the text. */
START_TEST(odd_text_is_read_to_an_end)
{
    json_slice all, one;
    const char *at = NULL;
    if (!json_read(odd[_i], &all))
        return;
    for (int i = 0; json_read_next(all, &at, &one); i++) {
        ck_assert_int_lt(i, 10);
        ck_assert(one.p > odd[_i] && one.p + one.n <= odd[_i] + strlen(odd[_i]));
    }
    (void)json_read_member(all, "a", &one);
    free(json_read_string(all, "a"));
}
END_TEST

START_TEST(deep_nesting_takes_no_stack)
{
    enum { DEPTH = 1000000 };
    char *text = malloc(2 * DEPTH + 1);
    memset(text, '[', DEPTH);
    memset(text + DEPTH, ']', DEPTH);
    text[2 * DEPTH] = '\0';
    ck_assert_uint_eq(whole(text).n, 2 * DEPTH);
    free(text);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("json_read");
    TCase *tc = tcase_create("json_read");
    tcase_add_test(tc, elements_come_one_after_the_other);
    tcase_add_test(tc, members_are_found_by_name);
    tcase_add_test(tc, strings_are_unescaped);
    tcase_add_test(tc, odd_strings_end_where_they_end);
    tcase_add_loop_test(tc, text_that_does_not_end_has_no_value, 0, sizeof(unended) / sizeof(unended[0]));
    tcase_add_loop_test(tc, odd_text_is_read_to_an_end, 0, sizeof(odd) / sizeof(odd[0]));
    tcase_add_test(tc, deep_nesting_takes_no_stack);
    suite_add_tcase(s, tc);
    return run_suite(s);
}
