#include "queue/timers.h"

#include <check.h>
#include <stdlib.h>

START_TEST(empty_heap_has_no_first_timer)
{
    timers h = {0};
    ck_assert_ptr_null(timers_first(&h));
    timers_fini(&h);
}
END_TEST

START_TEST(first_timer_is_the_earliest)
{
    timers h = {0};
    timer t[5] = {{0}};
    const uint64_t due[] = {30, 10, 50, 20, 40};
    for (int i = 0; i < 5; i++)
        ck_assert_int_eq(timers_add(&h, &t[i], due[i]), 0);
    for (uint64_t want = 10; want <= 50; want += 10) {
        ck_assert_uint_eq(timers_first(&h)->due_ns, want);
        timers_remove(&h, timers_first(&h));
    }
    ck_assert_ptr_null(timers_first(&h));
    timers_fini(&h);
}
END_TEST

START_TEST(first_timer_stays_set)
{
    timers h = {0};
    timer t = {0};
    timers_add(&h, &t, 1);
    ck_assert_ptr_eq(timers_first(&h), &t);
    ck_assert_ptr_eq(timers_first(&h), &t);
    ck_assert(timer_is_set(&t));
    timers_fini(&h);
}
END_TEST

START_TEST(removing_a_timer_that_is_not_set_does_nothing)
{
    timers h = {0};
    timer t = {0}, other = {0};
    timers_add(&h, &other, 1);
    timers_remove(&h, &t);
    ck_assert_ptr_eq(timers_first(&h), &other);
    timers_remove(&h, &other);
    timers_remove(&h, &other);
    ck_assert(!timer_is_set(&other));
    timers_fini(&h);
}
END_TEST

START_TEST(timer_can_be_set_again_after_removal)
{
    timers h = {0};
    timer t = {0};
    for (uint64_t i = 1; i < 100; i++) {
        ck_assert_int_eq(timers_add(&h, &t, i), 0);
        ck_assert_uint_eq(timers_first(&h)->due_ns, i);
        timers_remove(&h, &t);
    }
    timers_fini(&h);
}
END_TEST

START_TEST(extreme_times_are_ordered_like_others)
{
    timers h = {0};
    timer never = {0}, at_once = {0}, later = {0};
    timers_add(&h, &never, UINT64_MAX);
    timers_add(&h, &later, 1);
    timers_add(&h, &at_once, 0);
    ck_assert_ptr_eq(timers_first(&h), &at_once);
    timers_remove(&h, &at_once);
    ck_assert_ptr_eq(timers_first(&h), &later);
    timers_remove(&h, &later);
    ck_assert_ptr_eq(timers_first(&h), &never);
    timers_fini(&h);
}
END_TEST

START_TEST(reserved_timers_are_added_without_moving_the_heap)
{
    timers h = {0};
    timer t[500] = {{0}};
    ck_assert_int_eq(timers_reserve(&h, 500), 0);
    timer **heap = h.heap;
    for (uint64_t i = 0; i < 500; i++)
        ck_assert_int_eq(timers_add(&h, &t[i], 1000 - i), 0);
    ck_assert_ptr_eq(h.heap, heap);
    timers_fini(&h);
}
END_TEST

/* --- against a model ---
 *
 * The model is an array kept in order of time. The heap must have the same first time after every step; which
 * of several timers with one time comes first is its own affair. */

enum { TIMERS = 200, STEPS = 200000, TIMES = 300 };

static timer all[TIMERS];
static timer *model[TIMERS];
static size_t model_n;

/* A fixed sequence, so that a failure can be had again: xorshift. */
static uint64_t rng_state;

static uint64_t rng(uint64_t below)
{
    rng_state ^= rng_state << 13;
    rng_state ^= rng_state >> 7;
    rng_state ^= rng_state << 17;
    return rng_state % below;
}

static void model_add(timer *t)
{
    size_t i = model_n++;
    for (; i > 0 && model[i - 1]->due_ns > t->due_ns; i--)
        model[i] = model[i - 1];
    model[i] = t;
}

static void model_remove(const timer *t)
{
    size_t i = 0;
    while (model[i] != t)
        i++;
    for (model_n--; i < model_n; i++)
        model[i] = model[i + 1];
}

static void take_step(timers *h)
{
    timer *t = &all[rng(TIMERS)];
    if (rng(4) == 0 && timers_first(h))
        t = timers_first(h); /* what a loop does most */
    if (timer_is_set(t)) {
        model_remove(t);
        timers_remove(h, t);
    } else {
        ck_assert_int_eq(timers_add(h, t, rng(TIMES)), 0);
        model_add(t);
    }
}

static void compare(const timers *h)
{
    ck_assert_uint_eq(h->n, model_n);
    if (model_n == 0)
        ck_assert_ptr_null(timers_first(h));
    else
        ck_assert_uint_eq(timers_first(h)->due_ns, model[0]->due_ns);
}

/* Every timer knows its place, and none is later than those below it. */
static void check_heap(const timers *h)
{
    for (size_t slot = 1; slot <= h->n; slot++) {
        ck_assert_uint_eq(h->heap[slot - 1]->slot, slot);
        if (slot > 1)
            ck_assert_uint_le(h->heap[slot / 2 - 1]->due_ns, h->heap[slot - 1]->due_ns);
    }
}

START_TEST(heap_agrees_with_a_sorted_array_after_every_step)
{
    timers h = {0};
    rng_state = 0x9e3779b97f4a7c15u + (uint64_t)_i;
    for (int step = 0; step < STEPS; step++) {
        take_step(&h);
        compare(&h);
        if (step % 64 == 0)
            check_heap(&h);
    }
    while (model_n) {
        compare(&h);
        timer *first = timers_first(&h);
        model_remove(first);
        timers_remove(&h, first);
    }
    for (int i = 0; i < TIMERS; i++)
        ck_assert(!timer_is_set(&all[i]));
    timers_fini(&h);
}
END_TEST

static Suite *timers_suite(void)
{
    Suite *s = suite_create("timers");
    TCase *tc = tcase_create("timers");
    tcase_add_test(tc, empty_heap_has_no_first_timer);
    tcase_add_test(tc, first_timer_is_the_earliest);
    tcase_add_test(tc, first_timer_stays_set);
    tcase_add_test(tc, removing_a_timer_that_is_not_set_does_nothing);
    tcase_add_test(tc, timer_can_be_set_again_after_removal);
    tcase_add_test(tc, extreme_times_are_ordered_like_others);
    tcase_add_test(tc, reserved_timers_are_added_without_moving_the_heap);
    suite_add_tcase(s, tc);
    tc = tcase_create("model");
    tcase_set_timeout(tc, 120);
    tcase_add_loop_test(tc, heap_agrees_with_a_sorted_array_after_every_step, 0, 3);
    suite_add_tcase(s, tc);
    return s;
}

int main(void)
{
    SRunner *sr = srunner_create(timers_suite());
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
