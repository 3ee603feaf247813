/* When a run is ended: the decision, with a clock of the test's own; and whom the signal ends. That the
 * thread acts on it is in tests/e2e/test_limits.py. */
#include "runtime/watchdog.h"

#include <check.h>
#include <stdlib.h>

#include "runtime/exec.h"

#define MS     UINT64_C(1000000)
#define SECOND (1000 * MS)

static watchdog_memory m;
static watchdog_view run;

static void setup(void)
{
    m = (watchdog_memory){0};
    run = (watchdog_view){.stamp = 7, .now_ns = 1000 * SECOND, .cpu_ns = 50 * SECOND};
}

/* Time passes; the run uses so much of the processor meanwhile. */
static watchdog_step after(uint64_t wall_ns, uint64_t cpu_ns)
{
    run.now_ns += wall_ns;
    run.cpu_ns += cpu_ns;
    return watchdog_decide(&m, &run);
}

static void limit_cpu(uint64_t ns)
{
    run.cpu_most_ns = ns;
    ck_assert_int_eq(after(0, 0), WATCHDOG_WAIT);
}

static void limit_wall(uint64_t ns)
{
    run.wall_most_ns = ns;
    run.deadline_ns = run.now_ns + ns;
    ck_assert_int_eq(after(0, 0), WATCHDOG_WAIT);
}

START_TEST(run_without_limits_goes_on_for_ever)
{
    ck_assert_int_eq(after(0, 0), WATCHDOG_WAIT);
    ck_assert_int_eq(after(1000000 * SECOND, 1000000 * SECOND), WATCHDOG_WAIT);
}
END_TEST

START_TEST(run_over_its_processor_time_is_interrupted)
{
    limit_cpu(2 * SECOND);
    ck_assert_int_eq(after(2 * SECOND, 2 * SECOND), WATCHDOG_WAIT);
    ck_assert_int_eq(after(MS, MS), WATCHDOG_INTERRUPT);
    ck_assert_int_eq(m.limit, RUN_LIMIT_CPU);
    ck_assert_uint_eq(m.used_ns, 2 * SECOND + MS);
    ck_assert_uint_eq(m.most_ns, 2 * SECOND);
}
END_TEST

START_TEST(waiting_uses_no_processor_time)
{
    limit_cpu(2 * SECOND);
    ck_assert_int_eq(after(1000 * SECOND, SECOND), WATCHDOG_WAIT);
}
END_TEST

START_TEST(what_the_thread_did_before_is_not_the_runs)
{
    run.cpu_ns = 1000 * SECOND;
    limit_cpu(2 * SECOND);
    ck_assert_int_eq(after(SECOND, SECOND), WATCHDOG_WAIT);
}
END_TEST

START_TEST(earlier_runs_of_the_request_count)
{
    run.before_ns = 3 * SECOND / 2;
    limit_cpu(2 * SECOND);
    ck_assert_int_eq(after(SECOND / 4, SECOND / 4), WATCHDOG_WAIT);
    ck_assert_int_eq(after(SECOND / 2, SECOND / 2), WATCHDOG_INTERRUPT);
    ck_assert_uint_eq(m.used_ns, 9 * SECOND / 4);
}
END_TEST

START_TEST(run_past_its_deadline_is_interrupted)
{
    limit_wall(5 * SECOND);
    ck_assert_int_eq(after(5 * SECOND, 0), WATCHDOG_WAIT);
    ck_assert_int_eq(after(MS, 0), WATCHDOG_INTERRUPT);
    ck_assert_int_eq(m.limit, RUN_LIMIT_WALL);
    ck_assert_uint_eq(m.used_ns, 5 * SECOND + MS);
    ck_assert_uint_eq(m.most_ns, 5 * SECOND);
}
END_TEST

START_TEST(limit_that_was_met_first_stays_the_reason)
{
    run.cpu_most_ns = SECOND;
    limit_wall(SECOND + 2 * MS);
    ck_assert_int_eq(after(SECOND + MS, SECOND + MS), WATCHDOG_INTERRUPT);
    ck_assert_int_eq(after(100 * MS, 100 * MS), WATCHDOG_INTERRUPT);
    ck_assert_int_eq(m.limit, RUN_LIMIT_CPU);
    ck_assert_uint_eq(m.used_ns, SECOND + MS);
}
END_TEST

START_TEST(interruption_is_repeated_until_the_grace_is_over)
{
    limit_cpu(SECOND / 2);
    ck_assert_int_eq(after(SECOND, SECOND), WATCHDOG_INTERRUPT);
    ck_assert_int_eq(after(100 * MS, 0), WATCHDOG_INTERRUPT);
    ck_assert_int_eq(after((WATCHDOG_GRACE_MS - 101) * MS, 0), WATCHDOG_INTERRUPT);
    ck_assert_int_eq(after(MS, 0), WATCHDOG_RELIEVE);
    ck_assert_int_eq(after(MS, 0), WATCHDOG_INTERRUPT);
}
END_TEST

START_TEST(place_that_nobody_has_taken_is_offered_again)
{
    limit_cpu(SECOND / 2);
    ck_assert_int_eq(after(SECOND, SECOND), WATCHDOG_INTERRUPT);
    ck_assert_int_eq(after(WATCHDOG_GRACE_MS * MS, 0), WATCHDOG_RELIEVE);
    ck_assert_int_eq(after(WATCHDOG_AGAIN_MS * MS - MS, 0), WATCHDOG_INTERRUPT);
    ck_assert_int_eq(after(MS, 0), WATCHDOG_RELIEVE);
    ck_assert_int_eq(after(MS, 0), WATCHDOG_INTERRUPT);
}
END_TEST

START_TEST(grace_is_a_quarter_of_a_long_limit)
{
    limit_cpu(8 * SECOND);
    ck_assert_int_eq(after(9 * SECOND, 9 * SECOND), WATCHDOG_INTERRUPT);
    ck_assert_int_eq(after(2 * SECOND - MS, 0), WATCHDOG_INTERRUPT);
    ck_assert_int_eq(after(MS, 0), WATCHDOG_RELIEVE);
}
END_TEST

START_TEST(next_run_is_judged_anew)
{
    limit_cpu(SECOND);
    ck_assert_int_eq(after(2 * SECOND, 2 * SECOND), WATCHDOG_INTERRUPT);
    run.stamp++;
    ck_assert_int_eq(after(MS, MS), WATCHDOG_WAIT);
    ck_assert_int_eq(after(SECOND / 2, SECOND / 2), WATCHDOG_WAIT);
    ck_assert_int_eq(after(SECOND, SECOND), WATCHDOG_INTERRUPT);
}
END_TEST

START_TEST(thread_whose_clock_cannot_be_read_has_used_nothing)
{
    limit_cpu(SECOND);
    run.cpu_ns = 0;
    ck_assert_int_eq(after(SECOND, 0), WATCHDOG_WAIT);
}
END_TEST

/* --- how often --- */

START_TEST(looks_come_four_times_in_the_smallest_limit)
{
    ck_assert_uint_eq(watchdog_period_ns(400 * MS, false), 100 * MS);
    ck_assert_uint_eq(watchdog_period_ns(MS, false), 5 * MS);
    ck_assert_uint_eq(watchdog_period_ns(3600 * SECOND, false), 250 * MS);
}
END_TEST

START_TEST(looks_are_rarer_while_all_rest_but_not_rarer_than_the_limit)
{
    ck_assert_uint_eq(watchdog_period_ns(400 * MS, true), 400 * MS);
    ck_assert_uint_eq(watchdog_period_ns(10 * SECOND, true), SECOND);
    ck_assert_uint_eq(watchdog_period_ns(MS, true), 5 * MS);
}
END_TEST

/* --- whom the signal ends --- */

static unsigned interrupted;
static void *interrupted_vm;

static void on_interrupt(void *vm, run_limit limit, uint64_t used_ns, uint64_t most_ns)
{
    ck_assert_int_eq(limit, RUN_LIMIT_WALL);
    ck_assert_uint_eq(used_ns, 2);
    ck_assert_uint_eq(most_ns, 1);
    interrupted++;
    interrupted_vm = vm;
}

static const runner only_interrupts = {.interrupt = on_interrupt};

/* A thread that runs one of that stamp, and has been sent a signal for one of another. */
static unsigned interruptions(uint64_t held, uint64_t aimed)
{
    int vm;
    hold x = {.runner = &only_interrupts, .vm = &vm};
    interrupted = 0;
    atomic_store(&x.since_ns, held);
    atomic_store(&x.aim_stamp, aimed);
    atomic_store(&x.aim_limit, RUN_LIMIT_WALL);
    atomic_store(&x.aim_used_ns, 2);
    atomic_store(&x.aim_most_ns, 1);
    hold_enter(&x);
    hold_interrupt();
    hold_leave(&x);
    ck_assert(!interrupted || interrupted_vm == &vm);
    return interrupted;
}

START_TEST(signal_ends_the_run_that_it_is_for)
{
    ck_assert_uint_eq(interruptions(5, 5), 1);
}
END_TEST

START_TEST(signal_that_comes_late_ends_nothing)
{
    ck_assert_uint_eq(interruptions(0, 5), 0);
    ck_assert_uint_eq(interruptions(6, 5), 0);
    ck_assert_uint_eq(interruptions(0, 0), 0);
}
END_TEST

START_TEST(signal_ends_a_run_that_was_taken)
{
    ck_assert_uint_eq(interruptions(HOLD_TAKEN, 5), 1);
}
END_TEST

START_TEST(thread_at_rest_or_taken_away_is_not_looked_at)
{
    hold x = {0};
    hold_view view;
    ck_assert(!hold_look(&x, &view));
    atomic_store(&x.since_ns, HOLD_TAKEN);
    ck_assert(!hold_look(&x, &view));
    atomic_store(&x.since_ns, 5);
    ck_assert(hold_look(&x, &view));
    ck_assert_uint_eq(view.stamp, 5);
    ck_assert_uint_eq(view.cpu_ns, 0);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("watchdog");
    TCase *decision = tcase_create("decision");
    tcase_add_checked_fixture(decision, setup, NULL);
    tcase_add_test(decision, run_without_limits_goes_on_for_ever);
    tcase_add_test(decision, run_over_its_processor_time_is_interrupted);
    tcase_add_test(decision, waiting_uses_no_processor_time);
    tcase_add_test(decision, what_the_thread_did_before_is_not_the_runs);
    tcase_add_test(decision, earlier_runs_of_the_request_count);
    tcase_add_test(decision, run_past_its_deadline_is_interrupted);
    tcase_add_test(decision, limit_that_was_met_first_stays_the_reason);
    tcase_add_test(decision, interruption_is_repeated_until_the_grace_is_over);
    tcase_add_test(decision, place_that_nobody_has_taken_is_offered_again);
    tcase_add_test(decision, grace_is_a_quarter_of_a_long_limit);
    tcase_add_test(decision, next_run_is_judged_anew);
    tcase_add_test(decision, thread_whose_clock_cannot_be_read_has_used_nothing);
    tcase_add_test(decision, looks_come_four_times_in_the_smallest_limit);
    tcase_add_test(decision, looks_are_rarer_while_all_rest_but_not_rarer_than_the_limit);
    suite_add_tcase(s, decision);
    TCase *signals = tcase_create("signals");
    tcase_add_test(signals, signal_ends_the_run_that_it_is_for);
    tcase_add_test(signals, signal_that_comes_late_ends_nothing);
    tcase_add_test(signals, signal_ends_a_run_that_was_taken);
    tcase_add_test(signals, thread_at_rest_or_taken_away_is_not_looked_at);
    suite_add_tcase(s, signals);
    return s;
}

int main(void)
{
    SRunner *all = srunner_create(suite());
    srunner_run_all(all, CK_ENV);
    int failed = srunner_ntests_failed(all);
    srunner_free(all);
    return failed ? 1 : 0;
}
