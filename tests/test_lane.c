#include "runtime/lane.h"

#include <check.h>
#include <stdlib.h>

enum { SHORT_NS = LANE_LIGHT_NS - 1, MIDDLE_NS = LANE_HEAVY_NS, LONG_NS = LANE_HEAVY_NS + 1 };

static lane l;

/* Runs until the lane is light. Returns: how many it took. */
static unsigned runs_until_light(void)
{
    unsigned n = 1;
    while (!lane_ran(&l, SHORT_NS))
        n++;
    ck_assert(!lane_is_heavy(&l));
    return n;
}

START_TEST(route_starts_heavy_under_auto)
{
    lane_init(&l, LANE_AUTO, false);
    ck_assert(lane_is_heavy(&l));
    ck_assert(!l.pinned);
}
END_TEST

START_TEST(enough_short_runs_make_it_light)
{
    lane_init(&l, LANE_AUTO, false);
    for (int i = 0; i < LANE_EVIDENCE - 1; i++) {
        ck_assert(!lane_ran(&l, SHORT_NS));
        ck_assert(lane_is_heavy(&l));
    }
    ck_assert(lane_ran(&l, SHORT_NS));
    ck_assert(!lane_is_heavy(&l));
}
END_TEST

START_TEST(run_that_is_not_short_starts_the_count_anew)
{
    lane_init(&l, LANE_AUTO, false);
    for (int i = 0; i < LANE_EVIDENCE - 1; i++)
        lane_ran(&l, SHORT_NS);
    ck_assert(!lane_ran(&l, LANE_LIGHT_NS));
    ck_assert_uint_eq(runs_until_light(), LANE_EVIDENCE);
}
END_TEST

START_TEST(light_route_stays_light_up_to_the_limit)
{
    lane_init(&l, LANE_AUTO, false);
    runs_until_light();
    for (int i = 0; i < 100; i++)
        ck_assert(!lane_ran(&l, MIDDLE_NS));
    ck_assert(!lane_is_heavy(&l));
}
END_TEST

START_TEST(one_run_over_the_limit_makes_it_heavy)
{
    lane_init(&l, LANE_AUTO, false);
    runs_until_light();
    ck_assert(lane_ran(&l, LONG_NS));
    ck_assert(lane_is_heavy(&l));
}
END_TEST

START_TEST(each_return_to_heavy_doubles_the_evidence_up_to_a_limit)
{
    lane_init(&l, LANE_AUTO, false);
    unsigned evidence = LANE_EVIDENCE;
    for (int i = 0; i < 20; i++) {
        ck_assert_uint_eq(runs_until_light(), evidence);
        lane_ran(&l, LONG_NS);
        evidence = evidence < LANE_EVIDENCE_MAX ? evidence * 2 : LANE_EVIDENCE_MAX;
    }
    ck_assert_uint_eq(evidence, LANE_EVIDENCE_MAX);
}
END_TEST

static const struct {
    lane_policy policy;
    bool pin_heavy, heavy;
} pins[] = {
    {LANE_AUTO, true, true},        {LANE_ALL_HEAVY, false, true}, {LANE_ALL_HEAVY, true, true},
    {LANE_ALL_LIGHT, false, false}, {LANE_ALL_LIGHT, true, false},
};

START_TEST(pinned_lane_never_changes)
{
    lane_init(&l, pins[_i].policy, pins[_i].pin_heavy);
    ck_assert(l.pinned);
    for (int i = 0; i < 100; i++) {
        ck_assert(!lane_ran(&l, i % 10 ? 1 : LONG_NS));
        ck_assert_int_eq(lane_is_heavy(&l), pins[_i].heavy);
    }
}
END_TEST

START_TEST(nothing_is_expected_of_a_route_that_never_ran)
{
    lane_init(&l, LANE_AUTO, false);
    ck_assert(lane_expect_ns(&l) == UINT64_MAX);
}
END_TEST

START_TEST(longest_run_is_expected_again)
{
    lane_init(&l, LANE_ALL_HEAVY, false);
    lane_ran(&l, 500);
    ck_assert_uint_eq(lane_expect_ns(&l), 500);
    lane_ran(&l, 9000);
    ck_assert_uint_eq(lane_expect_ns(&l), 9000);
    lane_ran(&l, 8000);
    ck_assert_uint_eq(lane_expect_ns(&l), 9000);
}
END_TEST

START_TEST(expectation_sinks_with_runs_that_are_much_shorter)
{
    lane_init(&l, LANE_ALL_HEAVY, false);
    lane_ran(&l, 8000);
    lane_ran(&l, 100);
    ck_assert_uint_eq(lane_expect_ns(&l), 7000);
    for (int i = 0; i < 100; i++)
        lane_ran(&l, 100);
    ck_assert_uint_le(lane_expect_ns(&l), 200);
    ck_assert_uint_ge(lane_expect_ns(&l), 100);
}
END_TEST

START_TEST(run_that_makes_it_heavy_is_expected_again)
{
    lane_init(&l, LANE_AUTO, false);
    runs_until_light();
    lane_ran(&l, LONG_NS);
    ck_assert_uint_eq(lane_expect_ns(&l), LONG_NS);
}
END_TEST

static Suite *lane_suite(void)
{
    Suite *s = suite_create("lane");
    TCase *tc = tcase_create("lane");
    tcase_add_test(tc, route_starts_heavy_under_auto);
    tcase_add_test(tc, enough_short_runs_make_it_light);
    tcase_add_test(tc, run_that_is_not_short_starts_the_count_anew);
    tcase_add_test(tc, light_route_stays_light_up_to_the_limit);
    tcase_add_test(tc, one_run_over_the_limit_makes_it_heavy);
    tcase_add_test(tc, each_return_to_heavy_doubles_the_evidence_up_to_a_limit);
    tcase_add_loop_test(tc, pinned_lane_never_changes, 0, sizeof(pins) / sizeof(pins[0]));
    tcase_add_test(tc, nothing_is_expected_of_a_route_that_never_ran);
    tcase_add_test(tc, longest_run_is_expected_again);
    tcase_add_test(tc, expectation_sinks_with_runs_that_are_much_shorter);
    tcase_add_test(tc, run_that_makes_it_heavy_is_expected_again);
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
