/* The judgement with readings of the test's own, and one of each kind with the kernel's. */
#include "runtime/meter.h"

#include <check.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "runtime/clock.h"

#define MS UINT64_C(1000000)

static const meter_reading before = {
    .at_ns = 5000 * MS, .cpu_ns = 700 * MS, .ready_ns = 90 * MS, .yields = 7};

/* A run that held its thread for `held_ms`; since the reading before it was on a core and ready for as long.
 */
static lane_run judge(uint64_t held_ms, uint64_t cpu_ms, uint64_t ready_ms, unsigned yields)
{
    meter_reading after = {.at_ns = before.at_ns + held_ms * MS,
                           .cpu_ns = before.cpu_ns + cpu_ms * MS,
                           .ready_ns = before.ready_ns + ready_ms * MS,
                           .yields = before.yields + yields};
    lane_run run = meter_judge(&before, &after, held_ms * MS);
    ck_assert_uint_eq(run.held_ns, held_ms * MS);
    return run;
}

START_TEST(run_that_had_a_core_all_the_time_is_all_service)
{
    lane_run run = judge(20, 20, 0, 0);
    ck_assert_uint_eq(run.service_ns, 20 * MS);
    ck_assert_uint_eq(run.blocked_ns, 0);
}
END_TEST

START_TEST(time_off_the_core_that_it_did_not_stand_ready_is_blocked)
{
    lane_run run = judge(20, 2, 0, 1);
    ck_assert_uint_eq(run.service_ns, 20 * MS);
    ck_assert_uint_eq(run.blocked_ns, 18 * MS);
}
END_TEST

START_TEST(time_that_it_stood_ready_does_not_count)
{
    lane_run run = judge(20, 2, 18, 1);
    ck_assert_uint_eq(run.service_ns, 2 * MS);
    ck_assert_uint_eq(run.blocked_ns, 0);
}
END_TEST

START_TEST(what_is_left_of_both_is_blocked)
{
    lane_run run = judge(44, 4, 30, 2);
    ck_assert_uint_eq(run.service_ns, 14 * MS);
    ck_assert_uint_eq(run.blocked_ns, 10 * MS);
}
END_TEST

START_TEST(thread_that_never_gave_its_core_up_has_not_waited)
{
    lane_run run = judge(20, 2, 0, 0);
    ck_assert_uint_eq(run.service_ns, 2 * MS);
    ck_assert_uint_eq(run.blocked_ns, 0);
}
END_TEST

START_TEST(what_was_before_the_run_makes_it_no_longer_than_it_was)
{
    lane_run computed = judge(20, 25, 0, 1), stood = judge(20, 15, 9, 1);
    ck_assert_uint_eq(computed.service_ns, 20 * MS);
    ck_assert_uint_eq(computed.blocked_ns, 0);
    ck_assert_uint_eq(stood.service_ns, 15 * MS);
    ck_assert_uint_eq(stood.blocked_ns, 0);
}
END_TEST

/* --- with the kernel --- */

static meter m;

static void open_meter(void)
{
    meter_init(&m);
}

static void close_meter(void)
{
    meter_fini(&m);
}

static uint64_t cpu_ns(void)
{
    struct timespec cpu;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &cpu);
    return (uint64_t)cpu.tv_sec * 1000000000u + (uint64_t)cpu.tv_nsec;
}

static void compute(uint64_t ns)
{
    for (uint64_t until = cpu_ns() + ns; cpu_ns() < until;)
        ;
}

START_TEST(run_that_sleeps_is_found_blocked)
{
    uint64_t since = clock_now_ns();
    meter_freshen(&m, since);
    nanosleep(&(struct timespec){.tv_nsec = 50 * 1000000}, NULL);
    uint64_t now = clock_now_ns();
    lane_run run = meter_run(&m, now - since, now);
    ck_assert_uint_gt(run.blocked_ns, 49 * MS);
    ck_assert_uint_ge(run.blocked_ns, run.service_ns / 2);
}
END_TEST

START_TEST(run_that_computes_is_found_to_have_computed)
{
    uint64_t since = clock_now_ns();
    meter_freshen(&m, since);
    compute(20 * MS);
    uint64_t now = clock_now_ns();
    lane_run run = meter_run(&m, now - since, now);
    ck_assert_uint_ge(run.service_ns, 20 * MS);
    ck_assert_uint_lt(run.blocked_ns, run.service_ns / 2);
}
END_TEST

static atomic_bool crowded;

static void *crowd(void *arg)
{
    (void)arg;
    while (atomic_load(&crowded))
        ;
    return NULL;
}

/* Held is several times computed, and service is not. */
START_TEST(run_beside_others_on_the_same_core_is_not_found_blocked)
{
    pthread_t others[4];
    cpu_set_t one;
    if (m.fd < 0)
        return; /* this kernel does not say */
    CPU_ZERO(&one);
    CPU_SET((size_t)sched_getcpu(), &one);
    ck_assert_int_eq(sched_setaffinity(0, sizeof(one), &one), 0);
    atomic_store(&crowded, true);
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(pthread_create(&others[i], NULL, crowd, NULL), 0);
    uint64_t since = clock_now_ns();
    meter_freshen(&m, since);
    compute(40 * MS);
    uint64_t now = clock_now_ns();
    lane_run run = meter_run(&m, now - since, now);
    atomic_store(&crowded, false);
    for (int i = 0; i < 4; i++)
        pthread_join(others[i], NULL);
    ck_assert_uint_gt(run.held_ns, 60 * MS);
    ck_assert_uint_ge(run.service_ns, 40 * MS);
    ck_assert_uint_lt(run.blocked_ns, run.held_ns / 8);
}
END_TEST

START_TEST(without_the_kernels_figures_time_off_the_core_is_blocked)
{
    meter_fini(&m);
    uint64_t since = clock_now_ns();
    meter_freshen(&m, since);
    nanosleep(&(struct timespec){.tv_nsec = 20 * 1000000}, NULL);
    uint64_t now = clock_now_ns();
    lane_run run = meter_run(&m, now - since, now);
    ck_assert_uint_eq(run.service_ns, run.held_ns);
    ck_assert_uint_gt(run.blocked_ns, 19 * MS);
}
END_TEST

START_TEST(reading_that_is_fresh_is_not_taken_again)
{
    uint64_t now = clock_now_ns();
    meter_freshen(&m, now);
    meter_freshen(&m, now + METER_FRESH_NS);
    ck_assert_uint_eq(m.last.at_ns, now);
    meter_freshen(&m, now + METER_FRESH_NS + 1);
    ck_assert_uint_eq(m.last.at_ns, now + METER_FRESH_NS + 1);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("meter");
    TCase *judged = tcase_create("judged"), *read = tcase_create("read");
    tcase_add_test(judged, run_that_had_a_core_all_the_time_is_all_service);
    tcase_add_test(judged, time_off_the_core_that_it_did_not_stand_ready_is_blocked);
    tcase_add_test(judged, time_that_it_stood_ready_does_not_count);
    tcase_add_test(judged, what_is_left_of_both_is_blocked);
    tcase_add_test(judged, thread_that_never_gave_its_core_up_has_not_waited);
    tcase_add_test(judged, what_was_before_the_run_makes_it_no_longer_than_it_was);
    suite_add_tcase(s, judged);
    tcase_add_checked_fixture(read, open_meter, close_meter);
    tcase_add_test(read, run_that_sleeps_is_found_blocked);
    tcase_add_test(read, run_that_computes_is_found_to_have_computed);
    tcase_add_test(read, run_beside_others_on_the_same_core_is_not_found_blocked);
    tcase_add_test(read, without_the_kernels_figures_time_off_the_core_is_blocked);
    tcase_add_test(read, reading_that_is_fresh_is_not_taken_again);
    suite_add_tcase(s, read);
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
