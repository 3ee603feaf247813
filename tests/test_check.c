/* vm_check; what it makes of apps is told in tests/lua/check_spec.lua. */
#include <errno.h>

#include "tests/vm_fixture.h"
#include "vm/internal.h"

static vm_fixture fx;
static buf found;

static void setup(void)
{
    fixture_init(&fx, "recycled", false);
    found = (buf){0};
}

static void teardown(void)
{
    fixture_close(&fx);
    buf_fini(&found);
}

/* A line for each problem, without the folder. */
static void list_problem(void *user, const char *problem)
{
    (void)user;
    size_t n = strlen(fx.folder);
    bool here = strncmp(problem, fx.folder, n) == 0;
    ck_assert_int_eq(buf_addf(&found, "%s\n", here ? problem + n + 1 : problem), 0);
}

static int run_check(const char *app)
{
    fixture_write(&fx, "app.lua", app, strlen(app));
    ck_assert_int_eq(vm_open(&fx.config, &fx.vm, fx.error, sizeof(fx.error)), 0);
    return vm_check(fx.vm, fx.path, list_problem, NULL, fx.error, sizeof(fx.error));
}

/* Returns: the problems, "" for none. */
static const char *check_app(const char *app)
{
    int err = run_check(app);
    ck_assert_msg(err == 0, "%s", fx.error);
    ck_assert_int_eq(buf_add(&found, "", 1), 0);
    return found.p;
}

START_TEST(good_app_has_no_problem_and_its_routes_can_be_asked_for)
{
    ck_assert_str_eq(check_app("function api.a.p_id.get() end api.config { threads = 2 }"), "");
    ck_assert_str_eq(vm_signature(fx.vm), "GET /a/:id\n");
}
END_TEST

START_TEST(every_problem_is_told_in_the_order_of_the_app)
{
    const char *text = check_app("function api.a.gett() end\nfunction api.a.get() end\nerror('late')\n");
    const char *second = strchr(text, '\n') + 1;
    ck_assert_int_eq(strncmp(text, "app.lua:1: api.a.gett: ", 23), 0);
    ck_assert_str_eq(second, "app.lua:3: late\n");
    ck_assert_str_eq(vm_signature(fx.vm), "GET /a\n");
}
END_TEST

START_TEST(file_that_cannot_be_read_is_a_problem)
{
    ck_assert_int_eq(vm_open(&fx.config, &fx.vm, fx.error, sizeof(fx.error)), 0);
    ck_assert_int_eq(vm_check(fx.vm, "/nonexistent/a.lua", list_problem, NULL, fx.error, sizeof(fx.error)),
                     0);
    ck_assert_int_eq(buf_add(&found, "", 1), 0);
    ck_assert_str_eq(found.p, "cannot open /nonexistent/a.lua: No such file or directory\n");
}
END_TEST

START_TEST(modules_with_errors_hide_neither_each_other_nor_the_app)
{
    fixture_write(&fx, "one.lua", "\n(", 2);
    fixture_write(&fx, "two.lua", "\n\nerror 'two'", 13);
    const char *text =
        check_app("local m = require 'one'\nrequire 'two'\nm.x()\napi.get = m.get\napi.gett = 1\n");
    const char *second = strchr(text, '\n') + 1, *third = strchr(second, '\n') + 1;
    ck_assert_int_eq(strncmp(text, "one.lua:2: unexpected symbol", 28), 0);
    ck_assert_int_eq(strncmp(second, "two.lua:3: two\n", 15), 0);
    ck_assert_int_eq(strncmp(third, "app.lua:5: api.gett: ", 21), 0);
    ck_assert_int_eq(strchr(third, '\n')[1], 0);
}
END_TEST

START_TEST(bytecode_is_a_problem)
{
    fixture_write(&fx, "binary.lua", "\x1bLua", 4);
    ck_assert_ptr_nonnull(strstr(check_app("require 'binary'"), "binary chunk"));
}
END_TEST

/* --- failing allocations --- */

#ifdef POOLSRV_DEBUG

enum { FOREVER = 1 << 30 };

static const size_t refusals[] = {2, FOREVER};

START_TEST(checking_survives_each_refused_allocation)
{
    static const char app[] =
        "local m = require 'broken'\nfunction api.a.gett() end\nfunction api.a.get() end\n"
        "api.config { port = m.port }\nerror('late')\n";
    fixture_write(&fx, "broken.lua", "(", 1);
    fixture_write(&fx, "app.lua", app, sizeof(app) - 1);
    size_t refused = 1;
    for (size_t n = 0; refused; n++) {
        vm *v = NULL;
        ck_assert_int_eq(vm_open(&fx.config, &v, fx.error, sizeof(fx.error)), 0);
        found.n = 0;
        vm_fail_allocations(n, refusals[_i]);
        int err = vm_check(v, fx.path, list_problem, NULL, fx.error, sizeof(fx.error));
        refused = vm_failed_allocations();
        vm_fail_allocations(0, 0);
        ck_assert_msg(err == 0 || strstr(fx.error, "memory"), "%s", fx.error);
        ck_assert(err == 0 || err == -ENOMEM || err == -EINVAL);
        vm_close(v);
    }
    ck_assert_int_eq(buf_add(&found, "", 1), 0);
    ck_assert_ptr_nonnull(strstr(found.p, "broken.lua:1: "));
    ck_assert_ptr_nonnull(strstr(found.p, "app.lua:5: late"));
}
END_TEST

#endif

int main(void)
{
    Suite *s = suite_create("check");
    TCase *t = tcase_create("check");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, good_app_has_no_problem_and_its_routes_can_be_asked_for);
    tcase_add_test(t, every_problem_is_told_in_the_order_of_the_app);
    tcase_add_test(t, file_that_cannot_be_read_is_a_problem);
    tcase_add_test(t, modules_with_errors_hide_neither_each_other_nor_the_app);
    tcase_add_test(t, bytecode_is_a_problem);
#ifdef POOLSRV_DEBUG
    tcase_add_loop_test(t, checking_survives_each_refused_allocation, 0, 2);
#else
    puts("skipped: refused allocations, which need a build with POOLSRV_DEBUG");
#endif
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
