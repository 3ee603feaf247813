#include "queue/seen.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

static const siphash_key key = {{1, 2}};
static const uint64_t start_ns = 1000, window_ns = 100;
static seen s;

static void tear_down(void)
{
    seen_fini(&s);
}

static int add(const char *id, uint64_t now_ns)
{
    return seen_add(&s, &key, id, now_ns, window_ns, 1000);
}

static bool has(const char *id, uint64_t now_ns)
{
    return seen_has(&s, &key, id, now_ns, window_ns);
}

START_TEST(an_id_is_seen_until_its_window_ends)
{
    ck_assert(!has("a", start_ns));
    ck_assert_int_eq(add("a", start_ns), 0);
    ck_assert(has("a", start_ns));
    ck_assert(has("a", start_ns + window_ns - 1));
    ck_assert(!has("a", start_ns + window_ns));
    ck_assert(!has("b", start_ns));
}
END_TEST

START_TEST(the_shorter_window_counts)
{
    add("a", start_ns);
    ck_assert(!seen_has(&s, &key, "a", start_ns + 50, 50));
    ck_assert(seen_has(&s, &key, "a", start_ns + 49, 50));
    ck_assert(!seen_has(&s, &key, "a", start_ns + window_ns, 1000));
}
END_TEST

START_TEST(an_id_that_is_added_again_is_seen_longer)
{
    add("a", start_ns);
    ck_assert_int_eq(add("a", start_ns + 60), 0);
    ck_assert(has("a", start_ns + window_ns + 59));
    ck_assert_uint_eq(s.n, 1);
}
END_TEST

START_TEST(ids_whose_window_is_over_are_forgotten)
{
    char id[32];
    for (uint64_t i = 0; i < 10000; i++) {
        snprintf(id, sizeof id, "id %d", (int)i);
        ck_assert_int_eq(add(id, start_ns + i), 0);
        ck_assert_uint_le(s.n, window_ns);
    }
    ck_assert(has("id 9999", start_ns + 10000));
    ck_assert(has("id 9901", start_ns + 10000));
    ck_assert(!has("id 9900", start_ns + 10000));
}
END_TEST

START_TEST(with_the_most_inside_the_one_that_ends_first_is_forgotten)
{
    ck_assert_int_eq(seen_add(&s, &key, "long", start_ns, 1000, 2), 0);
    ck_assert_int_eq(seen_add(&s, &key, "short", start_ns + 1, 10, 2), 0);
    ck_assert_int_eq(seen_add(&s, &key, "more", start_ns + 2, 100, 2), 1);
    ck_assert(has("long", start_ns + 3));
    ck_assert(!has("short", start_ns + 3));
    ck_assert(has("more", start_ns + 3));
    ck_assert_int_eq(seen_add(&s, &key, "more", start_ns + 3, 100, 2), 0); /* no one more */
    ck_assert(has("long", start_ns + 4));
}
END_TEST

START_TEST(many_ids_are_told_apart)
{
    enum { IDS = 5000 };
    char id[32];
    for (int i = 0; i < IDS; i++) {
        snprintf(id, sizeof id, "%d", i);
        ck_assert_int_eq(seen_add(&s, &key, id, start_ns, window_ns, IDS), 0);
    }
    for (int i = 0; i < IDS * 2; i++) {
        snprintf(id, sizeof id, "%d", i);
        ck_assert_int_eq(has(id, start_ns), i < IDS);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("seen");
    TCase *tests = tcase_create("seen");
    tcase_add_checked_fixture(tests, NULL, tear_down);
    tcase_add_test(tests, an_id_is_seen_until_its_window_ends);
    tcase_add_test(tests, the_shorter_window_counts);
    tcase_add_test(tests, an_id_that_is_added_again_is_seen_longer);
    tcase_add_test(tests, ids_whose_window_is_over_are_forgotten);
    tcase_add_test(tests, with_the_most_inside_the_one_that_ends_first_is_forgotten);
    tcase_add_test(tests, many_ids_are_told_apart);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
