/* When more heavy workers are started: the decision alone. That the thread acts on it is in test_pool.c. */
#include "runtime/keeper.h"

#include <check.h>
#include <stdlib.h>

static const keeper_view all_blocked = {.base = 2, .max = 8, .running = 2, .blocked = 2, .waiting = 10};

static keeper_memory m;
static uint64_t now_ns;

static void setup(void)
{
    m = (keeper_memory){0};
    now_ns = UINT64_C(1000) * KEEPER_STUCK_NS;
}

static unsigned decide(keeper_view v)
{
    now_ns += KEEPER_SAMPLE_MS * UINT64_C(1000000);
    return keeper_decide(&m, &v, now_ns);
}

/* Look twice at the same. */
static unsigned decide_twice(keeper_view v)
{
    ck_assert_uint_eq(decide(v), 0);
    return decide(v);
}

START_TEST(blocked_workers_are_replaced_when_they_are_so_twice_in_a_row)
{
    ck_assert_uint_eq(decide_twice(all_blocked), 2);
}
END_TEST

START_TEST(one_look_at_others_that_are_able_starts_the_count_anew)
{
    keeper_view able = all_blocked;
    able.blocked = 0;
    decide(all_blocked);
    ck_assert_uint_eq(decide(able), 0);
    ck_assert_uint_eq(decide_twice(all_blocked), 2);
}
END_TEST

START_TEST(only_as_many_as_are_missing_both_times)
{
    keeper_view one = all_blocked;
    one.blocked = 1;
    decide(all_blocked);
    ck_assert_uint_eq(decide(one), 1);
    setup();
    decide(one);
    ck_assert_uint_eq(decide(all_blocked), 1);
}
END_TEST

START_TEST(no_more_than_there_are_tasks)
{
    keeper_view v = all_blocked;
    v.waiting = 1;
    ck_assert_uint_eq(decide_twice(v), 1);
}
END_TEST

START_TEST(no_more_than_the_most)
{
    keeper_view v = all_blocked;
    v.running = v.blocked = 7;
    ck_assert_uint_eq(decide_twice(v), 1);
    v.running = v.blocked = 8;
    ck_assert(!keeper_should_watch(&v));
    ck_assert_uint_eq(decide_twice(v), 0);
}
END_TEST

START_TEST(those_that_compute_or_are_just_starting_are_not_replaced)
{
    keeper_view v = all_blocked;
    v.running = 4; /* two blocked, two not */
    for (int i = 0; i < 1000; i++)
        ck_assert_uint_eq(decide(v), 0);
}
END_TEST

START_TEST(nothing_is_started_while_one_rests_or_nothing_waits)
{
    keeper_view rests = all_blocked, calm = all_blocked;
    rests.resting = 1;
    calm.waiting = 0;
    ck_assert(keeper_should_watch(&all_blocked));
    ck_assert(!keeper_should_watch(&rests));
    ck_assert(!keeper_should_watch(&calm));
    for (int i = 0; i < 1000; i++) {
        ck_assert_uint_eq(decide(rests), 0);
        ck_assert_uint_eq(decide(calm), 0);
    }
}
END_TEST

START_TEST(growth_goes_on_with_the_next_look_while_the_new_ones_block_too)
{
    keeper_view v = all_blocked;
    decide(v);
    unsigned looks = 0;
    for (; v.running < v.max; looks++) {
        unsigned n = decide(v);
        v.running += n;
        v.blocked += n;
    }
    ck_assert_uint_eq(looks, 3); /* 2, 4, 6, 8 */
}
END_TEST

START_TEST(one_more_a_while_when_all_are_stuck_in_long_runs)
{
    keeper_view v = {.base = 2, .max = 8, .running = 2, .stuck = 2, .waiting = 5};
    ck_assert_uint_eq(decide(v), 1);
    v.running = 3;
    v.stuck = 3;
    uint64_t since = now_ns;
    while (decide(v) == 0)
        ck_assert_uint_lt(now_ns, since + UINT64_C(2) * KEEPER_STUCK_NS);
    ck_assert_uint_gt(now_ns, since + KEEPER_STUCK_NS);
}
END_TEST

START_TEST(one_that_gets_on_is_enough_against_others_that_are_stuck)
{
    keeper_view v = {.base = 2, .max = 8, .running = 3, .stuck = 2, .waiting = 5};
    for (int i = 0; i < 1000; i++)
        ck_assert_uint_eq(decide(v), 0);
}
END_TEST

START_TEST(some_blocked_and_the_rest_stuck_is_all_of_them)
{
    keeper_view v = {.base = 2, .max = 8, .running = 4, .stuck = 2, .blocked = 2, .waiting = 5};
    ck_assert_uint_eq(decide(v), 1);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("keeper");
    TCase *t = tcase_create("keeper");
    tcase_add_checked_fixture(t, setup, NULL);
    tcase_add_test(t, blocked_workers_are_replaced_when_they_are_so_twice_in_a_row);
    tcase_add_test(t, one_look_at_others_that_are_able_starts_the_count_anew);
    tcase_add_test(t, only_as_many_as_are_missing_both_times);
    tcase_add_test(t, no_more_than_there_are_tasks);
    tcase_add_test(t, no_more_than_the_most);
    tcase_add_test(t, those_that_compute_or_are_just_starting_are_not_replaced);
    tcase_add_test(t, nothing_is_started_while_one_rests_or_nothing_waits);
    tcase_add_test(t, growth_goes_on_with_the_next_look_while_the_new_ones_block_too);
    tcase_add_test(t, one_more_a_while_when_all_are_stuck_in_long_runs);
    tcase_add_test(t, one_that_gets_on_is_enough_against_others_that_are_stuck);
    tcase_add_test(t, some_blocked_and_the_rest_stuck_is_all_of_them);
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
