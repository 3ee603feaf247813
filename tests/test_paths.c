#include "api/paths.h"

#include <check.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

static paths *list;

static void setup(void)
{
    list = paths_new();
    ck_assert_ptr_nonnull(list);
}

static void teardown(void)
{
    paths_free(list);
}

START_TEST(paths_come_in_their_order_and_once)
{
    char text[] = "a.lua";
    ck_assert_ptr_null(paths_at(list, 0));
    ck_assert_int_eq(paths_add(list, text), 0);
    ck_assert_int_eq(paths_add(list, "b.lua"), 0);
    ck_assert_int_eq(paths_add(list, "a.lua"), 0);
    text[0] = 'x';
    ck_assert_str_eq(paths_at(list, 0), "a.lua");
    ck_assert_str_eq(paths_at(list, 1), "b.lua");
    ck_assert_ptr_null(paths_at(list, 2));
}
END_TEST

START_TEST(more_than_the_most_are_left_out)
{
    char text[32];
    for (int i = 0; i < PATHS_MAX + 10; i++) {
        snprintf(text, sizeof text, "%d.lua", i);
        ck_assert_int_eq(paths_add(list, text), 0);
    }
    ck_assert_ptr_nonnull(paths_at(list, PATHS_MAX - 1));
    ck_assert_ptr_null(paths_at(list, PATHS_MAX));
}
END_TEST

static void *add_some(void *arg)
{
    char text[32];
    (void)arg;
    for (int i = 0; i < 100; i++) {
        snprintf(text, sizeof text, "%d.lua", i);
        ck_assert_int_eq(paths_add(list, text), 0);
    }
    return NULL;
}

START_TEST(threads_that_add_the_same_keep_it_once)
{
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, add_some, NULL), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    ck_assert_ptr_nonnull(paths_at(list, 99));
    ck_assert_ptr_null(paths_at(list, 100));
}
END_TEST

START_TEST(freeing_null_is_fine)
{
    paths_free(NULL);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("paths");
    TCase *tests = tcase_create("all");
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, paths_come_in_their_order_and_once);
    tcase_add_test(tests, more_than_the_most_are_left_out);
    tcase_add_test(tests, threads_that_add_the_same_keep_it_once);
    tcase_add_test(tests, freeing_null_is_fine);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
