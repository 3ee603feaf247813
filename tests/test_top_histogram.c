#include "api/program/top_histogram.h"

#include <math.h>

#include "tests/top_fixture.h"

static top_histogram h;

static void set_up(void)
{
    h = (top_histogram){0};
}

/* Buckets up to 1 ms, 10 ms, 100 ms and without a bound, each with what is below it. */
static top_histogram made_of(double a, double b, double c, double all)
{
    top_histogram made = {0};
    top_histogram_add(&made, 0.001, a);
    top_histogram_add(&made, 0.010, b);
    top_histogram_add(&made, 0.100, c);
    top_histogram_add(&made, INFINITY, all);
    return made;
}

static void assert_quantile(double q, double seconds, bool beyond)
{
    top_latency t = top_histogram_quantile(&h, q);
    ck_assert_double_eq_tol(t.seconds, seconds, 1e-9);
    ck_assert_int_eq(t.beyond, beyond);
}

START_TEST(empty_histogram_has_no_quantile)
{
    ck_assert(isnan(top_histogram_quantile(&h, 0.5).seconds));
    h = made_of(0, 0, 0, 0);
    ck_assert(isnan(top_histogram_quantile(&h, 0.5).seconds));
    ck_assert_double_eq(top_histogram_count(&h), 0);
}
END_TEST

START_TEST(quantile_is_spread_evenly_inside_its_bucket)
{
    h = made_of(0, 100, 100, 100);
    assert_quantile(0.50, 0.0055, false);
    assert_quantile(0.99, 0.00991, false);
    assert_quantile(1.00, 0.010, false);
}
END_TEST

START_TEST(first_bucket_begins_at_zero)
{
    h = made_of(10, 10, 10, 10);
    assert_quantile(0.5, 0.0005, false);
}
END_TEST

START_TEST(quantiles_may_lie_in_different_buckets)
{
    h = made_of(90, 98, 100, 100);
    assert_quantile(0.50, 0.001 * 50 / 90, false);
    assert_quantile(0.99, 0.010 + 0.090 * 1 / 2, false);
}
END_TEST

START_TEST(quantile_at_a_bound_is_the_bound)
{
    h = made_of(50, 100, 100, 100);
    assert_quantile(0.5, 0.001, false);
}
END_TEST

START_TEST(quantile_behind_the_last_bound_is_more_than_that)
{
    h = made_of(0, 0, 10, 100);
    assert_quantile(0.99, 0.100, true);
    assert_quantile(0.05, 0.055, false);
}
END_TEST

START_TEST(histogram_without_a_finite_bound_says_more_than_nothing)
{
    top_histogram_add(&h, INFINITY, 5);
    assert_quantile(0.5, 0, true);
}
END_TEST

START_TEST(buckets_may_come_in_any_order)
{
    top_histogram_add(&h, INFINITY, 4);
    top_histogram_add(&h, 0.010, 4);
    top_histogram_add(&h, 0.001, 2);
    ck_assert_uint_eq(h.n, 3);
    ck_assert_double_eq(top_histogram_count(&h), 4);
    assert_quantile(0.5, 0.001, false);
}
END_TEST

START_TEST(bound_or_count_that_is_no_number_is_left_out)
{
    top_histogram_add(&h, NAN, 4);
    top_histogram_add(&h, 1, NAN);
    ck_assert_uint_eq(h.n, 0);
}
END_TEST

START_TEST(difference_is_what_lies_between)
{
    top_histogram before = made_of(100, 150, 150, 150), now = made_of(100, 160, 170, 170);
    h = top_histogram_between(&before, &now);
    ck_assert_double_eq(top_histogram_count(&h), 20);
    assert_quantile(0.5, 0.010, false);
}
END_TEST

START_TEST(difference_to_nothing_is_all)
{
    top_histogram before = {0}, now = made_of(1, 2, 3, 4);
    h = top_histogram_between(&before, &now);
    ck_assert_double_eq(top_histogram_count(&h), 4);
}
END_TEST

START_TEST(bucket_that_went_back_counts_as_empty)
{
    top_histogram before = made_of(5, 5, 5, 5), now = made_of(1, 1, 1, 1);
    h = top_histogram_between(&before, &now);
    ck_assert_double_eq(top_histogram_count(&h), 0);
    ck_assert(isnan(top_histogram_quantile(&h, 0.5).seconds));
}
END_TEST

START_TEST(sum_has_the_observations_of_both)
{
    top_histogram more = made_of(0, 10, 10, 10);
    h = made_of(10, 10, 10, 10);
    top_histogram_merge(&h, &more);
    ck_assert_double_eq(top_histogram_count(&h), 20);
    assert_quantile(0.5, 0.001, false);
}
END_TEST

/* The observations of the last bucket are all of them, so it must survive. */
START_TEST(buckets_beyond_the_room_are_left_out_but_for_the_last)
{
    enum { MORE = 3 };
    for (int i = 1; i <= TOP_BUCKETS + MORE; i++)
        top_histogram_add(&h, i, i);
    top_histogram_add(&h, INFINITY, 1000);
    top_histogram_add(&h, 0.5, 0);
    ck_assert_uint_eq(h.n, TOP_BUCKETS);
    ck_assert_double_eq(top_histogram_count(&h), 1000);
    for (size_t i = 1; i < h.n; i++)
        ck_assert(h.bounds[i - 1] < h.bounds[i] && h.below[i - 1] <= h.below[i]);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("top_histogram");
    TCase *tc = tcase_create("top_histogram");
    tcase_add_checked_fixture(tc, set_up, NULL);
    tcase_add_test(tc, empty_histogram_has_no_quantile);
    tcase_add_test(tc, quantile_is_spread_evenly_inside_its_bucket);
    tcase_add_test(tc, first_bucket_begins_at_zero);
    tcase_add_test(tc, quantiles_may_lie_in_different_buckets);
    tcase_add_test(tc, quantile_at_a_bound_is_the_bound);
    tcase_add_test(tc, quantile_behind_the_last_bound_is_more_than_that);
    tcase_add_test(tc, histogram_without_a_finite_bound_says_more_than_nothing);
    tcase_add_test(tc, buckets_may_come_in_any_order);
    tcase_add_test(tc, bound_or_count_that_is_no_number_is_left_out);
    tcase_add_test(tc, difference_is_what_lies_between);
    tcase_add_test(tc, difference_to_nothing_is_all);
    tcase_add_test(tc, bucket_that_went_back_counts_as_empty);
    tcase_add_test(tc, sum_has_the_observations_of_both);
    tcase_add_test(tc, buckets_beyond_the_room_are_left_out_but_for_the_last);
    suite_add_tcase(s, tc);
    return run_suite(s);
}
