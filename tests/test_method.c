#include "runtime/method.h"

#include <check.h>
#include <errno.h>
#include <stdlib.h>

START_TEST(method_names_come_back)
{
    for (unsigned m = 0; m < METHOD_COUNT; m++)
        ck_assert_int_eq(method_from(str_from(method_name((enum http_method)m))), (int)m);
    ck_assert_int_eq(method_from(STR("PATCH")), METHOD_PATCH);
}
END_TEST

START_TEST(other_methods_are_unknown)
{
    static const char *const unknown[] = {"",      "get",  "Get",    "GE",      "GETS",    "TRACE",
                                          "PURGE", "HEED", "DELETF", "CONNECT", "OPTIONZ", "PROPFIND"};
    for (size_t i = 0; i < sizeof unknown / sizeof unknown[0]; i++)
        ck_assert_int_eq(method_from(str_from(unknown[i])), -1);
    ck_assert_int_eq(method_from((str){0}), -1);
}
END_TEST

START_TEST(allow_text_is_sorted)
{
    char text[METHOD_ALLOW_BYTES];
    int n = method_allow_text(METHOD_BIT(METHOD_POST) | METHOD_BIT(METHOD_GET) | METHOD_BIT(METHOD_HEAD) |
                                  METHOD_BIT(METHOD_OPTIONS),
                              text, sizeof text);
    ck_assert_str_eq(text, "GET, HEAD, OPTIONS, POST");
    ck_assert_int_eq(n, (int)strlen(text));
    ck_assert_int_eq(method_allow_text(0, text, sizeof text), 0);
    ck_assert_str_eq(text, "");
}
END_TEST

START_TEST(allow_text_of_all_methods_fits)
{
    char text[METHOD_ALLOW_BYTES];
    ck_assert_int_gt(method_allow_text(~0u, text, sizeof text), 0);
    ck_assert_str_eq(text, "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT");
    ck_assert_int_eq(method_allow_text(~0u, text, 44), -ENOSPC);
    ck_assert_int_eq(method_allow_text(~0u, text, 45), 44);
    ck_assert_int_eq(method_allow_text(0, text, 0), -ENOSPC);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("method");
    TCase *methods = tcase_create("method");
    tcase_add_test(methods, method_names_come_back);
    tcase_add_test(methods, other_methods_are_unknown);
    tcase_add_test(methods, allow_text_is_sorted);
    tcase_add_test(methods, allow_text_of_all_methods_fits);
    suite_add_tcase(suite, methods);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
