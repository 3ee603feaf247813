/* The judgement with readings of the test's own, and one of each kind with the kernel's. */
#include "runtime/meter.h"

#include <check.h>
#include <stdlib.h>
#include <time.h>

#include "runtime/clock.h"

#define MS UINT64_C(1000000)

static const meter_reading before = {
    .at_ns = 5000 * MS, .cpu_ns = 700 * MS, .voluntary = 10, .involuntary = 20};

/* A run that held its thread for `held_ms` and had it on a core for `cpu_ms`. */
static lane_run judge(uint64_t held_ms, uint64_t cpu_ms, unsigned voluntary, unsigned involuntary,
                      unsigned naps)
{
    meter_reading after = {.at_ns = before.at_ns + held_ms * MS,
                           .cpu_ns = before.cpu_ns + cpu_ms * MS,
                           .voluntary = before.voluntary + voluntary,
                           .involuntary = before.involuntary + involuntary};
    lane_run run = meter_judge(&before, &after, naps, held_ms * MS);
    ck_assert_uint_eq(run.held_ns, held_ms * MS);
    return run;
}

START_TEST(run_that_had_a_core_all_the_time_is_all_service)
{
    lane_run run = judge(20, 20, 0, 0, 0);
    ck_assert_uint_eq(run.service_ns, 20 * MS);
    ck_assert_uint_eq(run.blocked_ns, 0);
}
END_TEST

START_TEST(time_off_the_core_is_blocked_if_the_thread_gave_it_up)
{
    lane_run run = judge(20, 2, 1, 0, 0);
    ck_assert_uint_eq(run.service_ns, 20 * MS);
    ck_assert_uint_eq(run.blocked_ns, 18 * MS);
}
END_TEST

START_TEST(time_off_the_core_does_not_count_if_the_core_was_taken)
{
    lane_run run = judge(20, 2, 0, 3, 0);
    ck_assert_uint_eq(run.service_ns, 2 * MS);
    ck_assert_uint_eq(run.blocked_ns, 0);
}
END_TEST

START_TEST(time_off_the_core_without_any_switch_does_not_count)
{
    ck_assert_uint_eq(judge(20, 2, 0, 0, 0).service_ns, 2 * MS);
}
END_TEST

START_TEST(time_off_the_core_is_shared_out_where_both_happened)
{
    lane_run run = judge(44, 4, 1, 3, 0);
    ck_assert_uint_eq(run.service_ns, 14 * MS);
    ck_assert_uint_eq(run.blocked_ns, 10 * MS);
}
END_TEST

START_TEST(sleeps_of_the_thread_before_the_run_are_not_the_runs)
{
    ck_assert_uint_eq(judge(20, 2, 3, 1, 3).blocked_ns, 0);
    ck_assert_uint_eq(judge(20, 2, 4, 0, 3).blocked_ns, 18 * MS);
    /* A sleep that found something at once was no switch. */
    ck_assert_uint_eq(judge(20, 2, 0, 1, 3).blocked_ns, 0);
}
END_TEST

START_TEST(computing_before_the_run_is_counted_to_it_and_no_more)
{
    lane_run run = judge(20, 25, 1, 1, 0);
    ck_assert_uint_eq(run.service_ns, 20 * MS);
    ck_assert_uint_eq(run.blocked_ns, 0);
}
END_TEST

/* --- with the kernel --- */

START_TEST(run_that_sleeps_is_found_blocked)
{
    meter m = {0};
    uint64_t since = clock_now_ns();
    meter_freshen(&m, since);
    nanosleep(&(struct timespec){.tv_nsec = 20 * 1000000}, NULL);
    uint64_t now = clock_now_ns();
    lane_run run = meter_run(&m, now - since, now);
    ck_assert_uint_gt(run.blocked_ns, LANE_LIGHT_NS);
    ck_assert_uint_ge(run.blocked_ns, run.service_ns / 2);
}
END_TEST

START_TEST(run_that_computes_is_found_to_have_computed)
{
    struct timespec cpu;
    meter m = {0};
    uint64_t since = clock_now_ns();
    meter_freshen(&m, since);
    uint64_t cpu_since = m.last.cpu_ns, used = 0;
    while (used < 20 * MS) {
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &cpu);
        used = (uint64_t)cpu.tv_sec * 1000000000u + (uint64_t)cpu.tv_nsec - cpu_since;
    }
    uint64_t now = clock_now_ns();
    lane_run run = meter_run(&m, now - since, now);
    ck_assert_uint_ge(run.service_ns, 19 * MS);
    ck_assert_uint_le(run.blocked_ns, run.service_ns / 2);
}
END_TEST

START_TEST(reading_that_is_fresh_is_not_taken_again)
{
    meter m = {0};
    uint64_t now = clock_now_ns();
    meter_freshen(&m, now);
    m.naps = 7;
    meter_freshen(&m, now + METER_FRESH_NS);
    ck_assert_uint_eq(m.naps, 7);
    meter_freshen(&m, now + METER_FRESH_NS + 1);
    ck_assert_uint_eq(m.naps, 0);
    ck_assert_uint_eq(m.last.at_ns, now + METER_FRESH_NS + 1);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("meter");
    TCase *t = tcase_create("meter");
    tcase_add_test(t, run_that_had_a_core_all_the_time_is_all_service);
    tcase_add_test(t, time_off_the_core_is_blocked_if_the_thread_gave_it_up);
    tcase_add_test(t, time_off_the_core_does_not_count_if_the_core_was_taken);
    tcase_add_test(t, time_off_the_core_without_any_switch_does_not_count);
    tcase_add_test(t, time_off_the_core_is_shared_out_where_both_happened);
    tcase_add_test(t, sleeps_of_the_thread_before_the_run_are_not_the_runs);
    tcase_add_test(t, computing_before_the_run_is_counted_to_it_and_no_more);
    tcase_add_test(t, run_that_sleeps_is_found_blocked);
    tcase_add_test(t, run_that_computes_is_found_to_have_computed);
    tcase_add_test(t, reading_that_is_fresh_is_not_taken_again);
    suite_add_tcase(s, t);
    return s;
}

int main(void)
{
    SRunner *r = srunner_create(suite());
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
