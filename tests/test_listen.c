/* What cannot be had by naming an address to the program; the rest is in tests/e2e/test_listen.py. */
#include "runtime/listen.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

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

/* As root is not refused anything else. */
START_TEST(a_unix_socket_that_cannot_be_made_is_refused)
{
    char folder[] = "/tmp/poolsrv-listen-XXXXXX", path[64], error[400];
    listen_set s = {0};
    struct rlimit before;
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/s", folder);
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
    struct rlimit none = {0, before.rlim_max};
    for (int twice = 0; twice < 2; twice++) {
        ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
        ck_assert_int_eq(listen_bind_unix(&s, 1, path, error, sizeof(error)), -EMFILE);
        ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
        /* The file of one that is gone is there the second time. */
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        memcpy(address.sun_path, path, sizeof(path));
        int gone = socket(AF_UNIX, SOCK_STREAM, 0);
        ck_assert_int_eq(bind(gone, (struct sockaddr *)&address, sizeof(address)), twice ? -1 : 0);
        close(gone);
    }
    ck_assert_ptr_nonnull(strstr(error, path));
    unlink(path);
    rmdir(folder);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("listen");
    TCase *t = tcase_create("listen");
    tcase_add_test(t, a_unix_path_that_is_too_long_is_refused);
    tcase_add_test(t, a_unix_socket_that_cannot_be_made_is_refused);
    suite_add_tcase(s, t);
    SRunner *runner = srunner_create(s);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
