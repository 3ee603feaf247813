#include "queue/buf.h"

#include <check.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>

START_TEST(empty_buf_is_valid)
{
    buf b = {0};
    ck_assert_uint_eq(buf_str(&b).n, 0);
    ck_assert_int_eq(buf_add(&b, NULL, 0), 0);
    ck_assert_int_eq(buf_reserve(&b, 0), 0);
    buf_fini(&b);
    ck_assert_ptr_null(b.p);
}
END_TEST

START_TEST(what_is_added_is_there_in_order)
{
    buf b = {0};
    ck_assert_int_eq(buf_add(&b, "ab", 2), 0);
    ck_assert_int_eq(buf_add_str(&b, STR("cd")), 0);
    ck_assert_int_eq(buf_addf(&b, "%d%s", 5, "f"), 0);
    ck_assert(str_eq(buf_str(&b), STR("abcd5f")));
    buf_fini(&b);
}
END_TEST

START_TEST(bytes_survive_every_growth)
{
    buf b = {0};
    for (int i = 0; i < 100000; i++) {
        char c = (char)(i % 251);
        ck_assert_int_eq(buf_add(&b, &c, 1), 0);
    }
    ck_assert_uint_eq(b.n, 100000);
    for (int i = 0; i < 100000; i++)
        ck_assert_int_eq(b.p[i], (char)(i % 251));
    buf_fini(&b);
}
END_TEST

START_TEST(growth_is_by_half_at_least)
{
    buf b = {0};
    size_t cap = 0, growths = 0;
    for (int i = 0; i < 1000000; i++) {
        buf_add(&b, "x", 1);
        growths += b.cap != cap;
        cap = b.cap;
    }
    ck_assert_uint_le(growths, 25);
    buf_fini(&b);
}
END_TEST

START_TEST(reserved_bytes_are_added_without_moving)
{
    buf b = {0};
    ck_assert_int_eq(buf_reserve(&b, 5000), 0);
    const char *p = b.p;
    for (int i = 0; i < 5000; i++)
        buf_add(&b, "x", 1);
    ck_assert_ptr_eq(b.p, p);
    buf_fini(&b);
}
END_TEST

START_TEST(impossible_sizes_are_refused_and_change_nothing)
{
    buf b = {0};
    buf_add(&b, "ab", 2);
    ck_assert_int_eq(buf_reserve(&b, SIZE_MAX), -ENOMEM);
    ck_assert_int_eq(buf_reserve(&b, SIZE_MAX / 2), -ENOMEM);
    ck_assert(str_eq(buf_str(&b), STR("ab")));
    buf_fini(&b);
}
END_TEST

START_TEST(formatted_text_may_fill_the_buf_to_the_last_byte)
{
    for (size_t n = 200; n < 300; n++) {
        buf b = {0};
        char text[301];
        memset(text, 'x', n);
        text[n] = '\0';
        ck_assert_int_eq(buf_addf(&b, "%s", text), 0);
        ck_assert_uint_eq(b.n, n);
        ck_assert_int_eq(buf_addf(&b, "%s", text), 0);
        ck_assert_uint_eq(b.n, 2 * n);
        ck_assert_int_eq(b.p[2 * n - 1], 'x');
        buf_fini(&b);
    }
}
END_TEST

START_TEST(buf_can_be_used_again_after_fini)
{
    buf b = {0};
    buf_add(&b, "ab", 2);
    buf_fini(&b);
    buf_fini(&b);
    ck_assert_int_eq(buf_add(&b, "cd", 2), 0);
    ck_assert(str_eq(buf_str(&b), STR("cd")));
    buf_fini(&b);
}
END_TEST

static Suite *buf_suite(void)
{
    Suite *s = suite_create("buf");
    TCase *tc = tcase_create("buf");
    tcase_add_test(tc, empty_buf_is_valid);
    tcase_add_test(tc, what_is_added_is_there_in_order);
    tcase_add_test(tc, bytes_survive_every_growth);
    tcase_add_test(tc, growth_is_by_half_at_least);
    tcase_add_test(tc, reserved_bytes_are_added_without_moving);
    tcase_add_test(tc, impossible_sizes_are_refused_and_change_nothing);
    tcase_add_test(tc, formatted_text_may_fill_the_buf_to_the_last_byte);
    tcase_add_test(tc, buf_can_be_used_again_after_fini);
    suite_add_tcase(s, tc);
    return s;
}

int main(void)
{
    SRunner *sr = srunner_create(buf_suite());
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
