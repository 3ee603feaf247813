/* Lanes with a clock of the test's own: no run in here takes any time. */
#include "runtime/lane.h"

#include <check.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

enum { SHORT_NS = LANE_LIGHT_NS - 1, MIDDLE_NS = LANE_HEAVY_NS, LONG_NS = LANE_HEAVY_NS + 1 };

#define MS     UINT64_C(1000000)
#define SECOND (1000 * MS)
#define MINUTE (60 * SECOND)

#define LONGEST_PROBATION_NS (256 * SECOND)

static lane l;
static uint64_t now_ns;

static void start(lane_policy policy, bool pin_heavy)
{
    now_ns = 1000 * SECOND;
    lane_init(&l, policy, pin_heavy, now_ns);
}

/* A run that computed all the time. Returns: whether it changed the lane. */
static bool run(uint64_t ns)
{
    now_ns += ns;
    if (lane_is_routine(&l, ns))
        return false;
    return lane_ran(&l, &(lane_run){.held_ns = ns, .service_ns = ns}, now_ns);
}

static bool run_blocked(uint64_t ns, uint64_t blocked_ns)
{
    now_ns += ns;
    return lane_ran(&l, &(lane_run){.held_ns = ns, .service_ns = ns, .blocked_ns = blocked_ns}, now_ns);
}

/* Runs until the lane is light. Returns: how many it took. */
static unsigned runs_until_light(uint64_t ns)
{
    unsigned n = 1;
    while (!run(ns))
        n++;
    ck_assert(!lane_is_heavy(&l));
    return n;
}

/* Short runs for as long. Returns: how often the lane changed. */
static unsigned short_runs_for(uint64_t ns, uint64_t each_ns)
{
    unsigned changes = 0;
    for (uint64_t until = now_ns + ns; now_ns < until;)
        changes += run(each_ns);
    return changes;
}

/* --- the way to light --- */

START_TEST(route_starts_heavy_under_auto)
{
    start(LANE_AUTO, false);
    ck_assert(lane_is_heavy(&l));
    ck_assert_int_eq(lane_why(&l), LANE_NEW);
    ck_assert(!l.pinned);
}
END_TEST

START_TEST(enough_short_runs_make_it_light)
{
    start(LANE_AUTO, false);
    for (int i = 0; i < LANE_EVIDENCE - 1; i++) {
        ck_assert(!run(SHORT_NS));
        ck_assert(lane_is_heavy(&l));
    }
    ck_assert(run(SHORT_NS));
    ck_assert(!lane_is_heavy(&l));
    ck_assert_int_eq(lane_why(&l), LANE_SHORT);
    ck_assert_uint_eq(atomic_load(&l.since_ns), now_ns);
}
END_TEST

START_TEST(run_that_is_not_short_starts_the_count_anew)
{
    start(LANE_AUTO, false);
    for (int i = 0; i < LANE_EVIDENCE - 1; i++)
        run(SHORT_NS);
    ck_assert(!run(LANE_LIGHT_NS));
    ck_assert_int_eq(lane_why(&l), LANE_SLOW);
    ck_assert_uint_eq(runs_until_light(SHORT_NS), LANE_EVIDENCE);
}
END_TEST

START_TEST(new_route_that_takes_long_says_why_it_is_heavy)
{
    start(LANE_AUTO, false);
    uint64_t since = atomic_load(&l.since_ns);
    ck_assert(!run(LONG_NS));
    ck_assert_int_eq(lane_why(&l), LANE_SLOW);
    ck_assert(!run_blocked(LONG_NS, LONG_NS));
    ck_assert_int_eq(lane_why(&l), LANE_BLOCKED);
    ck_assert_uint_eq(atomic_load(&l.since_ns), since);
    ck_assert_uint_eq(atomic_load(&l.demotions), 0);
}
END_TEST

/* --- the way back --- */

START_TEST(one_run_over_the_limit_makes_it_heavy)
{
    start(LANE_AUTO, false);
    runs_until_light(SHORT_NS);
    ck_assert(run(LONG_NS));
    ck_assert(lane_is_heavy(&l));
    ck_assert_int_eq(lane_why(&l), LANE_SLOW);
    ck_assert_uint_eq(atomic_load(&l.since_ns), now_ns);
    ck_assert_uint_eq(atomic_load(&l.demotions), 1);
}
END_TEST

START_TEST(run_that_waited_makes_it_heavy_before_the_limit)
{
    start(LANE_AUTO, false);
    runs_until_light(SHORT_NS);
    ck_assert(run_blocked(2 * LANE_LIGHT_NS, 2 * LANE_LIGHT_NS - 1000));
    ck_assert_int_eq(lane_why(&l), LANE_BLOCKED);
}
END_TEST

START_TEST(run_that_computed_for_most_of_its_time_is_slow_not_blocked)
{
    start(LANE_AUTO, false);
    runs_until_light(SHORT_NS);
    ck_assert(!run_blocked(3 * LANE_LIGHT_NS, LANE_LIGHT_NS + 1));
    ck_assert(run_blocked(5 * LONG_NS, 2 * LONG_NS));
    ck_assert_int_eq(lane_why(&l), LANE_SLOW);
}
END_TEST

START_TEST(run_that_was_only_preempted_changes_nothing)
{
    start(LANE_AUTO, false);
    runs_until_light(SHORT_NS);
    lane_run preempted = {.held_ns = 50 * MS, .service_ns = MS / 10};
    for (int i = 0; i < 1000; i++)
        ck_assert(!lane_ran(&l, &preempted, now_ns += preempted.held_ns));
    ck_assert(!lane_is_heavy(&l));
}
END_TEST

START_TEST(preempted_runs_count_as_short_on_the_way_to_light)
{
    start(LANE_AUTO, false);
    lane_run preempted = {.held_ns = 50 * MS, .service_ns = MS / 10};
    for (int i = 1; i < LANE_EVIDENCE; i++)
        ck_assert(!lane_ran(&l, &preempted, now_ns += preempted.held_ns));
    ck_assert(lane_ran(&l, &preempted, now_ns += preempted.held_ns));
}
END_TEST

START_TEST(few_runs_between_the_limits_do_no_harm)
{
    start(LANE_AUTO, false);
    runs_until_light(SHORT_NS);
    for (int i = 0; i < 1000; i++) {
        ck_assert(!run(MIDDLE_NS));
        now_ns += SECOND / 10;
    }
    ck_assert(!lane_is_heavy(&l));
}
END_TEST

START_TEST(many_runs_between_the_limits_within_a_second_make_it_heavy)
{
    start(LANE_AUTO, false);
    runs_until_light(SHORT_NS);
    unsigned n = 1;
    while (!run(MIDDLE_NS))
        n++;
    ck_assert_uint_eq(n, LANE_STALL_NS / MIDDLE_NS + 1);
    ck_assert_int_eq(lane_why(&l), LANE_SLOW);
}
END_TEST

/* --- back-off --- */

START_TEST(each_return_to_heavy_asks_for_four_times_the_evidence_up_to_a_limit)
{
    start(LANE_AUTO, false);
    unsigned evidence = LANE_EVIDENCE;
    for (int strikes = 0; strikes < 10; strikes++) {
        now_ns += LONGEST_PROBATION_NS; /* so that it is never what is waited for */
        ck_assert_uint_eq(runs_until_light(1), evidence);
        run(LONG_NS);
        evidence *= strikes < LANE_STRIKES_MAX ? 4 : 1;
    }
}
END_TEST

START_TEST(each_return_to_heavy_asks_for_four_times_as_long_without_a_bad_run)
{
    start(LANE_AUTO, false);
    runs_until_light(SHORT_NS);
    uint64_t probation = LANE_PROBATION_NS;
    for (int strikes = 1; strikes < 10; strikes++) {
        uint64_t each = probation / 500000; /* so that evidence is never what is waited for */
        ck_assert(run(LONG_NS));
        ck_assert_uint_eq(short_runs_for(probation - 2 * each, each), 0);
        ck_assert_uint_eq(short_runs_for(2 * each, each), 1);
        ck_assert(!lane_is_heavy(&l));
        probation *= strikes < LANE_STRIKES_MAX ? 4 : 1;
    }
    ck_assert_uint_eq(probation, LONGEST_PROBATION_NS);
}
END_TEST

START_TEST(probation_begins_anew_with_each_bad_run_on_the_heavy_lane)
{
    start(LANE_AUTO, false);
    runs_until_light(SHORT_NS);
    run(LONG_NS);
    for (int i = 0; i < 10; i++) {
        ck_assert_uint_eq(short_runs_for(LANE_PROBATION_NS - 1000, 1000), 0);
        ck_assert(!run(LONG_NS));
    }
    ck_assert_uint_eq(short_runs_for(LANE_PROBATION_NS, 1000), 1);
    ck_assert_uint_eq(atomic_load(&l.demotions), 1);
}
END_TEST

START_TEST(strikes_are_forgiven_with_time)
{
    start(LANE_AUTO, false);
    for (int i = 0; i < 6; i++) {
        now_ns += LONGEST_PROBATION_NS;
        runs_until_light(1);
        run(LONG_NS);
    }
    ck_assert_uint_eq(atomic_load(&l.strikes), 6);
    now_ns += 2 * LANE_FORGIVE_NS;
    ck_assert_uint_eq(runs_until_light(1), (unsigned)LANE_EVIDENCE << 2 * 4);
    run(LONG_NS);
    ck_assert_uint_eq(atomic_load(&l.strikes), 5);
    now_ns += 100 * LANE_FORGIVE_NS;
    ck_assert_uint_eq(runs_until_light(1), LANE_EVIDENCE);
    run(LONG_NS);
    ck_assert_uint_eq(atomic_load(&l.strikes), 1);
}
END_TEST

START_TEST(bad_run_on_the_heavy_lane_keeps_what_was_forgiven)
{
    start(LANE_AUTO, false);
    for (int i = 0; i < 6; i++) {
        now_ns += LONGEST_PROBATION_NS;
        runs_until_light(1);
        run(LONG_NS);
    }
    now_ns += 4 * LANE_FORGIVE_NS;
    run(LONG_NS);
    ck_assert_uint_eq(atomic_load(&l.strikes), 2);
    now_ns += LONGEST_PROBATION_NS;
    ck_assert_uint_eq(runs_until_light(1), (unsigned)LANE_EVIDENCE << 2 * 2);
}
END_TEST

/* --- no flapping --- */

/* 50 ms once in a hundred runs, a hundred a second, for an hour. */
START_TEST(route_that_is_slow_once_in_a_hundred_settles_on_the_heavy_lane)
{
    unsigned stalls = 0, seed = 1;
    start(LANE_AUTO, false);
    for (uint64_t until = now_ns + 60 * MINUTE; now_ns < until; now_ns += 9 * MS) {
        seed = seed * 1103515245 + 12345;
        bool light = !lane_is_heavy(&l), slow = (seed >> 16) % 100 == 0;
        run(slow ? 50 * MS : MS / 10);
        stalls += light && slow;
    }
    /* Of 3,600 slow runs. */
    ck_assert_uint_le(stalls, 6);
    ck_assert_uint_ge(stalls, 2);
    ck_assert(lane_is_heavy(&l));
}
END_TEST

/* What a handler took on a real machine: one run a line, see the file. Returns: false at the end. */
static bool read_run(FILE *trace, uint64_t *ret_gap_ns, lane_run *ret_run)
{
    char line[128];
    unsigned long long gap, held, service, blocked;
    do
        if (!fgets(line, sizeof(line), trace))
            return false;
    while (line[0] == '#');
    int n = sscanf(line, "%llu %llu %llu %llu", &gap, &held, &service, &blocked);
    ck_assert_msg(n == 2 || n == 4, "a strange line: %s", line);
    *ret_gap_ns = gap * 1000;
    *ret_run = (lane_run){held * 1000, (n == 4 ? service : held) * 1000, (n == 4 ? blocked : 0) * 1000};
    return true;
}

/* The rule without a memory: light after LANE_EVIDENCE short runs, heavy after a long one. */
static bool forgetful_ran(const lane_run *one)
{
    static bool heavy = true;
    static unsigned good;
    bool before = heavy;
    good = one->held_ns < LANE_LIGHT_NS ? good + 1 : 0;
    if (one->held_ns > LANE_HEAVY_NS)
        heavy = true;
    else if (good >= LANE_EVIDENCE)
        heavy = false;
    return heavy != before;
}

START_TEST(recorded_trace_does_not_make_a_route_flap)
{
    unsigned changes = 0, forgetful_changes = 0, stalls = 0, runs = 0;
    uint64_t gap_ns, last_change_ns = 0;
    lane_run one;
    FILE *trace = fopen("tests/traces/search.txt", "r");
    ck_assert_ptr_nonnull(trace);
    start(LANE_AUTO, false);
    uint64_t began = now_ns;
    for (; read_run(trace, &gap_ns, &one); runs++) {
        now_ns += gap_ns;
        forgetful_changes += forgetful_ran(&one);
        stalls += !lane_is_heavy(&l) && one.service_ns > LANE_HEAVY_NS;
        if (!lane_is_routine(&l, one.held_ns) && lane_ran(&l, &one, now_ns)) {
            changes++;
            last_change_ns = now_ns - began;
        }
    }
    fclose(trace);
    ck_assert_uint_gt(runs, 4000);
    /* The trace is one that makes a rule flap. */
    ck_assert_uint_ge(forgetful_changes, 60);
    ck_assert_uint_le(changes, 6);
    ck_assert_uint_le(stalls, 3);
    ck_assert_uint_le(last_change_ns, 10 * SECOND); /* of 40 */
    ck_assert(lane_is_heavy(&l));
}
END_TEST

START_TEST(route_that_is_slow_once_a_minute_settles_on_the_heavy_lane)
{
    unsigned stalls = 0;
    start(LANE_AUTO, false);
    for (int minute = 0; minute < 5 * 60; minute++) {
        for (uint64_t until = now_ns + MINUTE; now_ns < until; now_ns += 9 * MS)
            run(MS / 2);
        stalls += !lane_is_heavy(&l);
        run(50 * MS);
    }
    ck_assert_uint_le(stalls, 6);
    ck_assert(lane_is_heavy(&l));
}
END_TEST

START_TEST(route_that_was_slow_and_is_short_now_becomes_light_again)
{
    start(LANE_AUTO, false);
    for (int i = 0; i < 1000; i++)
        run(20 * MS);
    ck_assert_uint_eq(short_runs_for(SECOND, MS / 2), 1);
    ck_assert(!lane_is_heavy(&l));
}
END_TEST

/* --- several threads --- */

enum { THREADS = 4, RUNS_EACH = 20000 };

static void *run_a_lot(void *arg)
{
    unsigned *changes = arg;
    for (unsigned i = 1; i <= RUNS_EACH; i++) {
        lane_run one = {.service_ns = i % 500 ? 1 : LONG_NS};
        *changes += lane_ran(&l, &one, i * MINUTE);
    }
    return NULL;
}

START_TEST(of_several_threads_that_decide_the_same_one_does_it)
{
    pthread_t threads[THREADS];
    unsigned changes[THREADS] = {0}, all = 0;
    start(LANE_AUTO, false);
    for (int i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, run_a_lot, &changes[i]), 0);
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        all += changes[i];
    }
    ck_assert_uint_gt(all, 2);
    ck_assert_int_eq(lane_is_heavy(&l), all % 2 == 0);
    ck_assert_uint_eq(atomic_load(&l.demotions), all / 2);
}
END_TEST

/* --- pins --- */

static const struct {
    lane_policy policy;
    bool pin_heavy, heavy;
    lane_reason why;
} pins[] = {
    {LANE_AUTO, true, true, LANE_PINNED},       {LANE_ALL_HEAVY, false, true, LANE_OPTION},
    {LANE_ALL_HEAVY, true, true, LANE_OPTION},  {LANE_ALL_LIGHT, false, false, LANE_OPTION},
    {LANE_ALL_LIGHT, true, false, LANE_OPTION},
};

START_TEST(pinned_lane_never_changes)
{
    start(pins[_i].policy, pins[_i].pin_heavy);
    ck_assert(l.pinned);
    for (int i = 0; i < 100; i++) {
        ck_assert(!run(i % 10 ? 1 : LONG_NS));
        ck_assert(!run_blocked(LONG_NS, LONG_NS));
        ck_assert_int_eq(lane_is_heavy(&l), pins[_i].heavy);
        ck_assert_int_eq(lane_why(&l), pins[_i].why);
    }
}
END_TEST

/* --- what is expected --- */

START_TEST(nothing_is_expected_of_a_route_that_never_ran)
{
    start(LANE_AUTO, false);
    ck_assert(lane_expect_ns(&l) == UINT64_MAX);
    ck_assert(lane_mean_ns(&l) == UINT64_MAX);
}
END_TEST

START_TEST(longest_run_is_expected_again)
{
    start(LANE_ALL_HEAVY, false);
    run(500);
    ck_assert_uint_eq(lane_expect_ns(&l), 500);
    run(9000);
    ck_assert_uint_eq(lane_expect_ns(&l), 9000);
    run(8000);
    ck_assert_uint_eq(lane_expect_ns(&l), 9000);
}
END_TEST

START_TEST(expectation_sinks_with_runs_that_are_much_shorter)
{
    start(LANE_ALL_HEAVY, false);
    run(8000);
    run(100);
    ck_assert_uint_eq(lane_expect_ns(&l), 7000);
    for (int i = 0; i < 100; i++)
        run(100);
    ck_assert_uint_le(lane_expect_ns(&l), 200);
    ck_assert_uint_ge(lane_expect_ns(&l), 100);
}
END_TEST

START_TEST(run_that_makes_it_heavy_is_expected_again)
{
    start(LANE_AUTO, false);
    runs_until_light(SHORT_NS);
    run(LONG_NS);
    ck_assert_uint_eq(lane_expect_ns(&l), LONG_NS);
}
END_TEST

START_TEST(mean_follows_what_requests_hold)
{
    start(LANE_ALL_HEAVY, false);
    lane_served(&l, 80 * MS);
    ck_assert_uint_eq(lane_mean_ns(&l), 80 * MS);
    lane_served(&l, 0);
    ck_assert_uint_eq(lane_mean_ns(&l), 70 * MS);
    for (int i = 0; i < 100; i++)
        lane_served(&l, 8 * MS);
    ck_assert_uint_ge(lane_mean_ns(&l), 7 * MS);
    ck_assert_uint_le(lane_mean_ns(&l), 9 * MS);
}
END_TEST

static Suite *lane_suite(void)
{
    Suite *s = suite_create("lane");
    TCase *tc = tcase_create("lane");
    tcase_add_test(tc, route_starts_heavy_under_auto);
    tcase_add_test(tc, enough_short_runs_make_it_light);
    tcase_add_test(tc, run_that_is_not_short_starts_the_count_anew);
    tcase_add_test(tc, new_route_that_takes_long_says_why_it_is_heavy);
    tcase_add_test(tc, one_run_over_the_limit_makes_it_heavy);
    tcase_add_test(tc, run_that_waited_makes_it_heavy_before_the_limit);
    tcase_add_test(tc, run_that_computed_for_most_of_its_time_is_slow_not_blocked);
    tcase_add_test(tc, run_that_was_only_preempted_changes_nothing);
    tcase_add_test(tc, preempted_runs_count_as_short_on_the_way_to_light);
    tcase_add_test(tc, few_runs_between_the_limits_do_no_harm);
    tcase_add_test(tc, many_runs_between_the_limits_within_a_second_make_it_heavy);
    tcase_add_test(tc, each_return_to_heavy_asks_for_four_times_the_evidence_up_to_a_limit);
    tcase_add_test(tc, each_return_to_heavy_asks_for_four_times_as_long_without_a_bad_run);
    tcase_add_test(tc, probation_begins_anew_with_each_bad_run_on_the_heavy_lane);
    tcase_add_test(tc, strikes_are_forgiven_with_time);
    tcase_add_test(tc, bad_run_on_the_heavy_lane_keeps_what_was_forgiven);
    tcase_add_test(tc, route_that_is_slow_once_in_a_hundred_settles_on_the_heavy_lane);
    tcase_add_test(tc, recorded_trace_does_not_make_a_route_flap);
    tcase_add_test(tc, route_that_is_slow_once_a_minute_settles_on_the_heavy_lane);
    tcase_add_test(tc, route_that_was_slow_and_is_short_now_becomes_light_again);
    tcase_add_test(tc, of_several_threads_that_decide_the_same_one_does_it);
    tcase_add_loop_test(tc, pinned_lane_never_changes, 0, sizeof(pins) / sizeof(pins[0]));
    tcase_add_test(tc, nothing_is_expected_of_a_route_that_never_ran);
    tcase_add_test(tc, longest_run_is_expected_again);
    tcase_add_test(tc, expectation_sinks_with_runs_that_are_much_shorter);
    tcase_add_test(tc, run_that_makes_it_heavy_is_expected_again);
    tcase_add_test(tc, mean_follows_what_requests_hold);
    suite_add_tcase(s, tc);
    return s;
}

int main(void)
{
    SRunner *sr = srunner_create(lane_suite());
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
