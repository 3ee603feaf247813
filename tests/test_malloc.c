/* Each allocation of the product's own code fails once, in a server's whole life (tests/life.h).
 *
 * The linker sends the calls of the product's objects here (--wrap). The libraries' own calls are refused in
 * tests/e2e/test_faults.py, and those of a Lua state in tests/test_vm.c. */
#include "tests/life.h"

#define WRAP(type, name, parameters, arguments)                                                              \
    type __real_##name parameters; /* the linker's names */                                                  \
    type __wrap_##name parameters;                                                                           \
    type __wrap_##name parameters                                                                            \
    {                                                                                                        \
        return life_fails(0) ? NULL : __real_##name arguments;                                               \
    }

WRAP(void *, malloc, (size_t n), (n))
WRAP(void *, calloc, (size_t n, size_t size), (n, size))
WRAP(void *, realloc, (void *p, size_t n), (p, n))
WRAP(void *, aligned_alloc, (size_t alignment, size_t n), (alignment, n))
WRAP(char *, strdup, (const char *text), (text))
WRAP(char *, strndup, (const char *text, size_t n), (text, n))

static const long in_a_rows[] = {1, 2, 4};

START_TEST(each_failure_is_survived)
{
    long n = 0;
    is_test = true;
    while (live(0, n, in_a_rows[_i]))
        n++;
    ck_assert_int_gt(n, 100); /* or they are not seen */
}
END_TEST

static void on_problem(const char *problem, int i, int n, void *user)
{
    (void)i;
    (void)n;
    (void)user;
    ck_assert_str_ne(problem, "");
}

START_TEST(checking_an_app_survives_each_failure)
{
    ps_error err;
    ps_options opt;
    ps_server *srv = NULL;
    bool met = true;
    is_test = true;
    ps_options_init(&opt);
    opt.log_level = "error";
    ck_assert_int_eq(ps_server_new(&opt, &srv, &err), 0);
    for (long n = 0; met; n++) {
        arm(0, n, in_a_rows[_i]);
        int problems = PRODUCT(ps_server_check_file(srv, app_path, on_problem, NULL, &err));
        met = atomic_load(&failures) > 0;
        disarm();
        /* Some are done without. */
        ck_assert_msg(problems == PS_ENOMEM || problems >= 0, "allocation %ld: %d", n, problems);
        ck_assert(problems == 0 || met);
    }
    ps_server_free(srv);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("malloc");
    TCase *tc = tcase_create("lives");
    tcase_set_timeout(tc, 600);
    tcase_add_unchecked_fixture(tc, setup, teardown);
    tcase_add_loop_test(tc, each_failure_is_survived, 0, sizeof in_a_rows / sizeof *in_a_rows);
    tcase_add_loop_test(tc, checking_an_app_survives_each_failure, 0, sizeof in_a_rows / sizeof *in_a_rows);
    suite_add_tcase(s, tc);
    return s;
}

int main(void)
{
    SRunner *runner = srunner_create(suite());
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
