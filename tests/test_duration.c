#include "queue/duration.h"

#include <check.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static char error[256];

static const struct {
    const char *text;
    int64_t ms;
} right[] = {
    {"0", 0},
    {"0s", 0},
    {"10", 10000},
    {"1.5", 1500},
    {"0.001", 1},
    {"250ms", 250},
    {"10s", 10000},
    {"5m", 300000},
    {"1h30m", 5400000},
    {"1d", 86400000},
    {"1d2h3m4s5ms", 93784005},
    {"1d5ms", 86400005},
    {"90m", 5400000},
    {"1.5h", 5400000},
    {"0.5d", 43200000},
    {"0.3333333333333333333333333s", 333},
    {"1.0005s", 1001},
    {"1.4ms", 1},
    {"0.5ms", 1},
    {"0.0000000058d", 1}, /* 0.50112 ms */
    {"00010s", 10000},
    {"36525d", DURATION_MAX_MS},
    {"36524d24h", DURATION_MAX_MS},
    {"3155760000", DURATION_MAX_MS},
};

START_TEST(text_is_read_as_milliseconds)
{
    int64_t ms = -1;
    int err = duration_parse(str_from(right[_i].text), &ms, error, sizeof(error));
    ck_assert_msg(err == 0, "%s", error);
    ck_assert_msg(ms == right[_i].ms, "%s: %ld", right[_i].text, (long)ms);
}
END_TEST

#define EXPECTED ": expected \"250ms\", \"10s\", \"5m\", \"1h30m\", \"1d\" or a number of seconds"

static const struct {
    const char *text, *error;
} wrong[] = {
    {"", "duration \"\" has no number where one is needed" EXPECTED},
    {"s", "duration \"s\" has no number where one is needed" EXPECTED},
    {" 5m", "duration \" 5m\" has no number where one is needed" EXPECTED},
    {".5s", "duration \".5s\" has no number where one is needed" EXPECTED},
    {"+5s", "duration \"+5s\" has no number where one is needed" EXPECTED},
    {"5.s", "duration \"5.s\" has no digits behind its point" EXPECTED},
    {"1h.5m", "duration \"1h.5m\" has no number where one is needed" EXPECTED},
    {"-5s", "duration \"-5s\" is less than nothing" EXPECTED},
    {"5w", "duration \"5w\" has a unit that is none of d, h, m, s, ms" EXPECTED},
    {"5M", "duration \"5M\" has a unit that is none of d, h, m, s, ms" EXPECTED},
    {"5 m", "duration \"5 m\" has a unit that is none of d, h, m, s, ms" EXPECTED},
    {"5m ", "duration \"5m \" has a unit that is none of d, h, m, s, ms" EXPECTED},
    {"1h30", "duration \"1h30\" has a unit that is none of d, h, m, s, ms" EXPECTED},
    {"1.2.3s", "duration \"1.2.3s\" has a unit that is none of d, h, m, s, ms" EXPECTED},
    {"5mn", "duration \"5mn\" has a unit that is none of d, h, m, s, ms" EXPECTED},
    {"5\n", "duration \"5?\" has a unit that is none of d, h, m, s, ms" EXPECTED},
    {"30m1h",
     "duration \"30m1h\" does not have its units from the largest to the smallest, each once" EXPECTED},
    {"1m1m",
     "duration \"1m1m\" does not have its units from the largest to the smallest, each once" EXPECTED},
    {"0.4ms", "duration \"0.4ms\" is less than a millisecond" EXPECTED},
    {"0.0000000057d", "duration \"0.0000000057d\" is less than a millisecond" EXPECTED},
    {"36525d1ms", "duration \"36525d1ms\" is more than a hundred years" EXPECTED},
    {"3155760001", "duration \"3155760001\" is more than a hundred years" EXPECTED},
    {"99999999999999999999999999999999999ms",
     "duration \"99999999999999999999999999999999999ms\" is more than a hundred years" EXPECTED},
    {"0000000000000000000000000000000000000000000x", "duration \"0000000000000000000000000000000000000000\" "
                                                     "has a unit that is none of d, h, m, s, ms" EXPECTED},
};

START_TEST(what_is_no_duration_is_refused_and_told_why)
{
    int64_t ms = -7;
    ck_assert_int_eq(duration_parse(str_from(wrong[_i].text), &ms, error, sizeof(error)), -EINVAL);
    ck_assert_str_eq(error, wrong[_i].error);
    ck_assert_int_eq(ms, -7);
}
END_TEST

START_TEST(a_nul_is_no_end)
{
    int64_t ms = 0;
    ck_assert_int_eq(duration_parse((str){"5m\0", 3}, &ms, error, sizeof(error)), -EINVAL);
}
END_TEST

static const struct {
    double seconds;
    int64_t ms;
} numbers[] = {
    {0, 0},
    {-0.0, 0},
    {1, 1000},
    {0.1, 100},
    {0.0005, 1},
    {1.5, 1500},
    {1.0 / 3, 333},
    {3155760000.0, DURATION_MAX_MS},
    {86400.001, 86400001},
};

START_TEST(numbers_are_seconds)
{
    int64_t ms = -1;
    ck_assert_int_eq(duration_from_seconds(numbers[_i].seconds, &ms, error, sizeof(error)), 0);
    ck_assert_int_eq(ms, numbers[_i].ms);
}
END_TEST

static const struct {
    double seconds;
    const char *error;
} bad_numbers[] = {
    {-1, "duration \"-1\" is less than nothing" EXPECTED},
    {(double)NAN, "is no number" EXPECTED},
    {(double)INFINITY, "duration \"inf\" is more than a hundred years" EXPECTED},
    {-(double)INFINITY, "duration \"-inf\" is less than nothing" EXPECTED},
    {1e300, "duration \"1e+300\" is more than a hundred years" EXPECTED},
    {0.0004, "duration \"0.0004\" is less than a millisecond" EXPECTED},
    {5e-324, "is less than a millisecond" EXPECTED},
};

START_TEST(numbers_that_are_no_duration_are_refused)
{
    int64_t ms = -7;
    ck_assert_int_eq(duration_from_seconds(bad_numbers[_i].seconds, &ms, error, sizeof(error)), -EINVAL);
    ck_assert_msg(strstr(error, bad_numbers[_i].error) != NULL, "%s", error);
    ck_assert_int_eq(ms, -7);
}
END_TEST

static Suite *duration_suite(void)
{
    Suite *s = suite_create("duration");
    TCase *tc = tcase_create("duration");
    tcase_add_loop_test(tc, text_is_read_as_milliseconds, 0, sizeof(right) / sizeof(right[0]));
    tcase_add_loop_test(tc, what_is_no_duration_is_refused_and_told_why, 0, sizeof(wrong) / sizeof(wrong[0]));
    tcase_add_test(tc, a_nul_is_no_end);
    tcase_add_loop_test(tc, numbers_are_seconds, 0, sizeof(numbers) / sizeof(numbers[0]));
    tcase_add_loop_test(tc, numbers_that_are_no_duration_are_refused, 0,
                        sizeof(bad_numbers) / sizeof(bad_numbers[0]));
    suite_add_tcase(s, tc);
    return s;
}

int main(void)
{
    SRunner *sr = srunner_create(duration_suite());
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
