#include "runtime/trust.h"

#include <check.h>
#include <errno.h>
#include <stdlib.h>

static bool has(const trust *t, const char *text)
{
    ip_address a;
    ck_assert(address_parse(str_from(text), &a));
    return trust_has(t, &a);
}

START_TEST(a_list_holds_its_blocks_and_nothing_else)
{
    trust t;
    ck_assert_int_eq(trust_parse(STR("10.0.0.0/8, fd00::/8 ,192.0.2.7"), &t), 0);
    ck_assert(has(&t, "10.1.2.3") && has(&t, "fd12::1") && has(&t, "192.0.2.7"));
    ck_assert(!has(&t, "11.1.2.3") && !has(&t, "fe00::1") && !has(&t, "192.0.2.8") && !has(&t, "::1"));
    ck_assert(!t.unix_peer);
}
END_TEST

START_TEST(unix_is_a_word_of_its_own)
{
    trust t;
    ck_assert_int_eq(trust_parse(STR("unix"), &t), 0);
    ck_assert(t.unix_peer && !has(&t, "127.0.0.1"));
    ck_assert_int_eq(trust_parse(STR("::1,unix"), &t), 0);
    ck_assert(t.unix_peer && has(&t, "::1"));
}
END_TEST

static const char *const bad[] = {
    "", " ", ",", "10.0.0.0/8,", ",unix", "unix,,unix", "10.0.0.0/8;unix", "Unix", "all", "10.0.0.1/8"};

START_TEST(a_list_with_a_mistake_is_refused)
{
    trust t = {.count = 7};
    ck_assert_int_eq(trust_parse(str_from(bad[_i]), &t), -EINVAL);
    ck_assert_uint_eq(t.count, 7);
}
END_TEST

START_TEST(a_list_that_is_too_long_is_refused)
{
    char text[(TRUST_BLOCKS_MAX + 1) * 4 + 1] = "";
    trust t;
    for (int i = 0; i < TRUST_BLOCKS_MAX; i++)
        strcat(text, i ? ",::1" : "::1");
    ck_assert_int_eq(trust_parse(str_from(text), &t), 0);
    strcat(text, ",::2");
    ck_assert_int_eq(trust_parse(str_from(text), &t), -E2BIG);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("trust");
    TCase *tests = tcase_create("trust");
    tcase_add_test(tests, a_list_holds_its_blocks_and_nothing_else);
    tcase_add_test(tests, unix_is_a_word_of_its_own);
    tcase_add_loop_test(tests, a_list_with_a_mistake_is_refused, 0, (int)(sizeof bad / sizeof bad[0]));
    tcase_add_test(tests, a_list_that_is_too_long_is_refused);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
