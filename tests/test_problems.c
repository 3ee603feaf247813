#include "api/problems.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

static problems found;

static void setup(void)
{
    found = (problems){0};
}

static void teardown(void)
{
    problems_fini(&found);
}

/* Add the texts, up to a NULL, and expect the others in that order after sorting. */
static void sorted(const char *const *texts, const char *const *expected)
{
    size_t n = 0;
    for (; *texts; texts++)
        problems_add(&found, *texts);
    problems_sort(&found);
    for (; expected[n]; n++) {
        ck_assert_uint_lt(n, found.n);
        ck_assert_str_eq(problems_at(&found, n), expected[n]);
    }
    ck_assert_uint_eq(found.n, n);
    ck_assert(!found.lost);
}

START_TEST(empty_list_can_be_sorted)
{
    problems_sort(&found);
    ck_assert_uint_eq(found.n, 0);
}
END_TEST

START_TEST(order_is_file_line_and_text)
{
    const char *const texts[] = {"b.lua:2: x", "a.lua:10: x", "a.lua:9: z", "b.lua:1: x", "a.lua:9: y", NULL};
    const char *const expected[] = {"a.lua:9: y", "a.lua:9: z", "a.lua:10: x",
                                    "b.lua:1: x", "b.lua:2: x", NULL};
    sorted(texts, expected);
}
END_TEST

START_TEST(file_that_begins_another_comes_first)
{
    const char *const texts[] = {"app.lua2:1: x", "app.lua:2: x", "app.lu:3: x", NULL};
    const char *const expected[] = {"app.lu:3: x", "app.lua:2: x", "app.lua2:1: x", NULL};
    sorted(texts, expected);
}
END_TEST

START_TEST(what_names_no_place_comes_first)
{
    const char *const texts[] = {"a.lua:1: x", "cannot open b.lua", "a:b", "a: 5: x", "x:12", NULL};
    const char *const expected[] = {"a: 5: x", "a:b", "cannot open b.lua", "x:12", "a.lua:1: x", NULL};
    sorted(texts, expected);
}
END_TEST

START_TEST(place_is_the_first_in_a_line)
{
    const char *const texts[] = {"a.lua:20: said at b.lua:3: x", "a.lua:3: see a.lua:99: y", NULL};
    const char *const expected[] = {"a.lua:3: see a.lua:99: y", "a.lua:20: said at b.lua:3: x", NULL};
    sorted(texts, expected);
}
END_TEST

START_TEST(file_may_have_colons)
{
    const char *const texts[] = {"c:b.lua:2: x", "c:a.lua:10: x", "c:a.lua:9: x", NULL};
    const char *const expected[] = {"c:a.lua:9: x", "c:a.lua:10: x", "c:b.lua:2: x", NULL};
    sorted(texts, expected);
}
END_TEST

START_TEST(the_same_is_there_once)
{
    const char *const texts[] = {"a.lua:1: x", "a.lua:1: y", "a.lua:1: x", "none", "none", NULL};
    const char *const expected[] = {"none", "a.lua:1: x", "a.lua:1: y", NULL};
    sorted(texts, expected);
}
END_TEST

START_TEST(only_the_first_line_is_kept)
{
    problems_add(&found, "a.lua:1: x\nstack traceback:\n\ta.lua:2");
    problems_addf(&found, "%s:%d: %s", "b.lua", 2, "y\nz");
    ck_assert_str_eq(problems_at(&found, 0), "a.lua:1: x");
    ck_assert_str_eq(problems_at(&found, 1), "b.lua:2: y");
}
END_TEST

START_TEST(many_are_kept_in_order)
{
    for (int i = 1000; i > 0; i--)
        problems_addf(&found, "a.lua:%d: x", i);
    problems_sort(&found);
    ck_assert_uint_eq(found.n, 1000);
    for (size_t i = 0; i < 1000; i++)
        ck_assert_uint_eq(strtoul(problems_at(&found, i) + 6, NULL, 10), i + 1);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("problems");
    TCase *t = tcase_create("problems");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, empty_list_can_be_sorted);
    tcase_add_test(t, order_is_file_line_and_text);
    tcase_add_test(t, file_that_begins_another_comes_first);
    tcase_add_test(t, what_names_no_place_comes_first);
    tcase_add_test(t, place_is_the_first_in_a_line);
    tcase_add_test(t, file_may_have_colons);
    tcase_add_test(t, the_same_is_there_once);
    tcase_add_test(t, only_the_first_line_is_kept);
    tcase_add_test(t, many_are_kept_in_order);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
