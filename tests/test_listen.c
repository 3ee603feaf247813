/* What cannot be had by naming an address to the program; the rest is in tests/e2e/test_listen.py. */
#include "runtime/listen.h"

#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

START_TEST(a_unix_path_that_is_too_long_is_refused)
{
    char path[200], error[400];
    listen_set s = {0};
    memset(path, 'x', sizeof(path) - 1);
    path[sizeof(path) - 1] = '\0';
    ck_assert_int_eq(listen_bind_unix(&s, 1, path, error, sizeof(error)), -ENAMETOOLONG);
    ck_assert_ptr_nonnull(strstr(error, path));
    listen_close(&s);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("listen");
    TCase *t = tcase_create("listen");
    tcase_add_test(t, a_unix_path_that_is_too_long_is_refused);
    suite_add_tcase(s, t);
    SRunner *runner = srunner_create(s);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
