#include "queue/tally.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

START_TEST(each_queue_has_one)
{
    enum { QUEUES = 500 };
    tallies all = {0};
    char name[32];
    for (int i = 0; i < QUEUES; i++) {
        snprintf(name, sizeof name, "q%d", i);
        ck_assert_ptr_null(tally_find(&all, name));
        tally_change(tally_of(&all, name), TALLY_DELAYED, i);
    }
    for (int i = 0; i < QUEUES; i++) {
        snprintf(name, sizeof name, "q%d", i);
        ck_assert_ptr_eq(tally_of(&all, name), tally_find(&all, name));
        ck_assert_int_eq(tally_find(&all, name)->change[TALLY_DELAYED], i);
    }
    int n = 0;
    for (const tally *t = all.first; t; t = t->next)
        n++;
    ck_assert_int_eq(n, QUEUES);
    tallies_clear(&all);
    ck_assert_ptr_null(all.first);
    ck_assert_ptr_null(tally_find(&all, "q1"));
}
END_TEST

START_TEST(only_what_becomes_ready_is_news)
{
    tallies all = {0};
    tally *t = tally_of(&all, "a");
    tally_change(t, TALLY_DELAYED, 1);
    tally_change(t, TALLY_READY, -1);
    tally_change(t, TALLY_TAKEN, 1);
    ck_assert(!t->news);
    ck_assert_int_eq(tally_changes(t), 1);
    tally_change(t, TALLY_READY, 2);
    tally_change(t, TALLY_READY, -2);
    ck_assert(t->news); /* somebody may have missed it */
    ck_assert_int_eq(t->change[TALLY_READY], -1);
    tallies_clear(&all);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("tally");
    TCase *tests = tcase_create("tally");
    tcase_add_test(tests, each_queue_has_one);
    tcase_add_test(tests, only_what_becomes_ready_is_news);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
