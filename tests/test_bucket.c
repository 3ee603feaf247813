#include "queue/bucket.h"

#include <check.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#define NS UINT64_C(1000000000)

static const bucket_rule ten_a_second = {.interval_ns = NS / 10, .burst = 5};
static const uint64_t start_ns = 1000 * NS;

static buckets *b;

static void set_up(void)
{
    b = buckets_new();
    ck_assert_ptr_nonnull(b);
}

static void tear_down(void)
{
    buckets_free(b);
}

static uint64_t take(const char *key, uint64_t now_ns)
{
    return buckets_take(b, 1, str_from(key), &ten_a_second, now_ns);
}

/* How many of n at once are let through. */
static int let_through(const char *key, int n, uint64_t now_ns)
{
    int passed = 0;
    while (n-- > 0)
        passed += take(key, now_ns) == 0;
    return passed;
}

START_TEST(a_burst_passes_and_the_next_is_told_how_long)
{
    ck_assert_int_eq(let_through("a", 5, start_ns), 5);
    ck_assert_uint_eq(take("a", start_ns), NS / 10);
    ck_assert_uint_eq(take("a", start_ns + NS / 20), NS / 20);
    ck_assert_uint_eq(take("a", start_ns + NS / 10 - 1), 1);
    ck_assert_uint_eq(take("a", start_ns + NS / 10), 0);
}
END_TEST

START_TEST(refused_requests_take_nothing)
{
    ck_assert_int_eq(let_through("a", 1000, start_ns), 5);
    ck_assert_int_eq(let_through("a", 1000, start_ns + NS / 10), 1);
}
END_TEST

START_TEST(a_bucket_never_holds_more_than_its_burst)
{
    ck_assert_int_eq(let_through("a", 1, start_ns), 1);
    ck_assert_int_eq(let_through("a", 1000, start_ns + 3600 * NS), 5);
}
END_TEST

START_TEST(in_the_long_run_the_rate_holds)
{
    int passed = 0;
    for (uint64_t ms = 0; ms < 10000; ms++)
        passed += take("a", start_ns + ms * 1000000) == 0;
    ck_assert_int_eq(passed, 5 + 99);
}
END_TEST

START_TEST(keys_and_limiters_do_not_touch_each_other)
{
    ck_assert_int_eq(let_through("a", 1000, start_ns), 5);
    ck_assert_int_eq(let_through("b", 1000, start_ns), 5);
    ck_assert_uint_eq(buckets_take(b, 1, (str){"a\0b", 3}, &ten_a_second, start_ns), 0);
    ck_assert_uint_eq(buckets_take(b, 2, STR("a"), &ten_a_second, start_ns), 0);
}
END_TEST

START_TEST(a_clock_that_a_thread_read_earlier_does_no_harm)
{
    ck_assert_int_eq(let_through("a", 3, start_ns), 3);
    ck_assert_int_eq(let_through("a", 1000, start_ns - 1000), 1);
    ck_assert_int_eq(let_through("a", 1000, start_ns), 1);
}
END_TEST

START_TEST(extreme_rules_do_not_overflow)
{
    bucket_rule slow = {.interval_ns = UINT64_C(1) << 61, .burst = 1};
    ck_assert_uint_eq(buckets_take(b, 1, STR("slow"), &slow, start_ns), 0);
    ck_assert_uint_eq(buckets_take(b, 1, STR("slow"), &slow, start_ns), slow.interval_ns);
    bucket_rule fast = {.interval_ns = 1, .burst = 1};
    ck_assert_uint_eq(buckets_take(b, 1, STR("fast"), &fast, start_ns), 0);
    ck_assert_uint_eq(buckets_take(b, 1, STR("fast"), &fast, start_ns), 1);
    ck_assert_uint_eq(buckets_take(b, 1, STR("fast"), &fast, start_ns + 1), 0);
}
END_TEST

/* Ten times as many keys as there are places, each used once: the one that hammers is not forgotten. */
START_TEST(a_flood_of_keys_does_not_empty_the_bucket_that_is_used_up)
{
    char key[32];
    ck_assert_int_eq(let_through("hammer", 1000, start_ns), 5);
    for (int i = 0; i < 10 * BUCKETS_MAX; i++) {
        snprintf(key, sizeof(key), "key %d", i);
        take(key, start_ns);
    }
    ck_assert_int_eq(let_through("hammer", 1000, start_ns), 0);
}
END_TEST

enum { THREADS = 4, TAKES = 20000, KEYS = 3 };

static atomic_int passed[KEYS];

static void *take_many(void *seed)
{
    char key[32];
    for (int i = 0; i < TAKES; i++) {
        int k = i % KEYS;
        snprintf(key, sizeof(key), "shared %d", k);
        if (take(key, start_ns) == 0)
            atomic_fetch_add_explicit(&passed[k], 1, memory_order_relaxed);
        snprintf(key, sizeof(key), "own %d %d", *(int *)seed, i);
        ck_assert_uint_eq(take(key, start_ns), 0);
    }
    return NULL;
}

START_TEST(threads_together_get_no_more_than_one)
{
    pthread_t threads[THREADS];
    int seeds[THREADS];
    for (int k = 0; k < KEYS; k++)
        atomic_store(&passed[k], 0);
    for (int i = 0; i < THREADS; i++) {
        seeds[i] = i;
        ck_assert_int_eq(pthread_create(&threads[i], NULL, take_many, &seeds[i]), 0);
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    for (int k = 0; k < KEYS; k++)
        ck_assert_int_eq(atomic_load(&passed[k]), 5);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("bucket");
    TCase *tests = tcase_create("bucket");
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_test(tests, a_burst_passes_and_the_next_is_told_how_long);
    tcase_add_test(tests, refused_requests_take_nothing);
    tcase_add_test(tests, a_bucket_never_holds_more_than_its_burst);
    tcase_add_test(tests, in_the_long_run_the_rate_holds);
    tcase_add_test(tests, keys_and_limiters_do_not_touch_each_other);
    tcase_add_test(tests, a_clock_that_a_thread_read_earlier_does_no_harm);
    tcase_add_test(tests, extreme_rules_do_not_overflow);
    tcase_add_test(tests, a_flood_of_keys_does_not_empty_the_bucket_that_is_used_up);
    tcase_add_test(tests, threads_together_get_no_more_than_one);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
