#include "vm/reason.h"

#include <check.h>
#include <stdlib.h>

START_TEST(status_of_the_standard_has_its_phrase)
{
    ck_assert_str_eq(reason_phrase(400), "Bad Request");
    ck_assert_str_eq(reason_phrase(404), "Not Found");
    ck_assert_str_eq(reason_phrase(511), "Network Authentication Required");
}
END_TEST

START_TEST(any_other_status_is_an_error)
{
    ck_assert_str_eq(reason_phrase(418), "Error");
    ck_assert_str_eq(reason_phrase(499), "Error");
    ck_assert_str_eq(reason_phrase(599), "Error");
    ck_assert_str_eq(reason_phrase(0), "Error");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("reason");
    TCase *tests = tcase_create("phrases");
    tcase_add_test(tests, status_of_the_standard_has_its_phrase);
    tcase_add_test(tests, any_other_status_is_an_error);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
