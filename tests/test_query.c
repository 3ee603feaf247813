#include "vm/query.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

/* All pairs as "name=value;", so that one comparison sees their order and their number. NUL shows as '0'. */
static const char *listed(str raw)
{
    static char text[256];
    char *scratch =
        malloc(raw.n + 1); /* exact but for the empty query: the sanitizer sees one byte too many */
    query_iter it = query_start(raw);
    str name, value;
    size_t n = 0;
    while (query_next(&it, scratch, &name, &value)) {
        ck_assert_uint_lt(n + name.n + value.n + 3, sizeof text);
        for (size_t i = 0; i < name.n; i++)
            text[n++] = name.p[i] ? name.p[i] : '0';
        text[n++] = '=';
        for (size_t i = 0; i < value.n; i++)
            text[n++] = value.p[i] ? value.p[i] : '0';
        text[n++] = ';';
    }
    text[n] = '\0';
    free(scratch);
    return text;
}

START_TEST(pairs_come_in_their_order)
{
    ck_assert_str_eq(listed(STR("b=1&a=2&b=3")), "b=1;a=2;b=3;");
}
END_TEST

START_TEST(empty_query_has_no_pairs)
{
    ck_assert_str_eq(listed(STR("")), "");
    ck_assert_str_eq(listed((str){0}), "");
    ck_assert_str_eq(listed(STR("&")), "");
    ck_assert_str_eq(listed(STR("&&&")), "");
}
END_TEST

START_TEST(empty_pairs_are_skipped)
{
    ck_assert_str_eq(listed(STR("&a=1&&b=2&")), "a=1;b=2;");
}
END_TEST

START_TEST(flag_has_the_empty_value)
{
    ck_assert_str_eq(listed(STR("flag")), "flag=;");
    ck_assert_str_eq(listed(STR("flag=&x")), "flag=;x=;");
}
END_TEST

START_TEST(name_may_be_empty_beside_an_equals_sign)
{
    ck_assert_str_eq(listed(STR("=")), "=;");
    ck_assert_str_eq(listed(STR("=v&=")), "=v;=;");
}
END_TEST

START_TEST(only_the_first_equals_sign_separates)
{
    ck_assert_str_eq(listed(STR("a=b=c")), "a=b=c;");
    ck_assert_str_eq(listed(STR("a==")), "a==;");
}
END_TEST

START_TEST(semicolon_does_not_separate)
{
    ck_assert_str_eq(listed(STR("a=1;b=2")), "a=1;b=2;");
    char scratch[8];
    query_iter it = query_start(STR("a=1;b=2"));
    str name, value;
    ck_assert(query_next(&it, scratch, &name, &value));
    ck_assert(str_eq(value, STR("1;b=2")));
}
END_TEST

START_TEST(names_and_values_are_decoded)
{
    ck_assert_str_eq(listed(STR("first+name=J%C3%B6rg&%61=%62")), "first name=J\xc3\xb6rg;a=b;");
}
END_TEST

START_TEST(escaped_separators_are_data)
{
    ck_assert_str_eq(listed(STR("a%3Db=c%26d%3D")), "a=b=c&d=;");
}
END_TEST

START_TEST(bad_escapes_stay_and_do_not_reach_into_the_next_pair)
{
    ck_assert_str_eq(listed(STR("a=100%&b=%4")), "a=100%;b=%4;");
    ck_assert_str_eq(listed(STR("%=1&%zz=2")), "%=1;%zz=2;");
}
END_TEST

START_TEST(escaped_zero_is_a_nul_byte)
{
    ck_assert_str_eq(listed(STR("a%00=%00b")), "a0=0b;");
}
END_TEST

START_TEST(earlier_pairs_stay_good_while_later_ones_are_read)
{
    str raw = STR("%61=%62&%63=%64&e=%66+");
    char scratch[64];
    query_iter it = query_start(raw);
    str names[3], values[3];
    for (int i = 0; i < 3; i++)
        ck_assert(query_next(&it, scratch, &names[i], &values[i]));
    ck_assert(str_eq(names[0], STR("a")) && str_eq(values[0], STR("b")));
    ck_assert(str_eq(names[1], STR("c")) && str_eq(values[1], STR("d")));
    ck_assert(str_eq(names[2], STR("e")) && str_eq(values[2], STR("f ")));
}
END_TEST

START_TEST(plain_text_is_not_copied)
{
    str raw = STR("name=value");
    char scratch[16];
    query_iter it = query_start(raw);
    str name, value;
    ck_assert(query_next(&it, scratch, &name, &value));
    ck_assert_ptr_eq(name.p, raw.p);
    ck_assert_ptr_eq(value.p, raw.p + 5);
}
END_TEST

START_TEST(the_end_leaves_the_outputs_alone)
{
    char scratch[1];
    query_iter it = query_start(STR(""));
    str name = STR("n");
    str value = STR("v");
    ck_assert(!query_next(&it, scratch, &name, &value));
    ck_assert(!query_next(&it, scratch, &name, &value));
    ck_assert(str_eq(name, STR("n")) && str_eq(value, STR("v")));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("query");
    TCase *tests = tcase_create("query");
    tcase_add_test(tests, pairs_come_in_their_order);
    tcase_add_test(tests, empty_query_has_no_pairs);
    tcase_add_test(tests, empty_pairs_are_skipped);
    tcase_add_test(tests, flag_has_the_empty_value);
    tcase_add_test(tests, name_may_be_empty_beside_an_equals_sign);
    tcase_add_test(tests, only_the_first_equals_sign_separates);
    tcase_add_test(tests, semicolon_does_not_separate);
    tcase_add_test(tests, names_and_values_are_decoded);
    tcase_add_test(tests, escaped_separators_are_data);
    tcase_add_test(tests, bad_escapes_stay_and_do_not_reach_into_the_next_pair);
    tcase_add_test(tests, escaped_zero_is_a_nul_byte);
    tcase_add_test(tests, earlier_pairs_stay_good_while_later_ones_are_read);
    tcase_add_test(tests, plain_text_is_not_copied);
    tcase_add_test(tests, the_end_leaves_the_outputs_alone);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
