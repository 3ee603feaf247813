/* poolsrv.shared inside VMs: what is shared between them, and that no error of Lua's leaves anything held.
 * What an app sees of it is in tests/e2e/test_shared.py. */
#include "vm/shared.h"

#include "queue/dicts.h"
#include "tests/vm_fixture.h"
#include "vm/internal.h"

static vm_fixture fx, other;
static dicts *all;

static void set_up(void)
{
    all = dicts_new(&(dicts_config){.persists = false});
    ck_assert_ptr_nonnull(all);
}

static void tear_down(void)
{
    dicts_free(all);
}

static void open_with(vm_fixture *f, dicts *set, bool strict, const char *app)
{
    fixture_init(f, "recycled", false);
    f->config.dicts = set;
    f->config.strict = strict;
    int err = fixture_load(f, app);
    if (!err)
        err = vm_seal(f->vm, f->error, sizeof(f->error));
    ck_assert_msg(err == 0, "the app does not load: %s", f->error);
}

#define APP(body)                                                                                            \
    "local shared = require 'poolsrv.shared'\n"                                                              \
    "local d = shared.dict('d', { max_bytes = '64k' })\n"                                                    \
    "function api.get(ctx)\n" body "\nend\n"

static const char count[] = APP("return d:incr('n')");

START_TEST(vms_of_a_set_share_and_others_do_not)
{
    open_with(&fx, all, _i, count);
    open_with(&other, all, _i, count);
    ck_assert_str_eq(fixture_get(&fx, "GET /"), "200 application/json|1");
    ck_assert_str_eq(fixture_get(&other, "GET /"), "200 application/json|2");
    fixture_close(&other);
    open_with(&other, NULL, _i, count);
    ck_assert_str_eq(fixture_get(&other, "GET /"), "200 application/json|1");
    ck_assert_str_eq(fixture_get(&fx, "GET /"), "200 application/json|3");
    fixture_close(&other);
    fixture_close(&fx);
}
END_TEST

START_TEST(what_is_stored_outlives_its_vm)
{
    open_with(&fx, all, false, count);
    ck_assert_str_eq(fixture_get(&fx, "GET /"), "200 application/json|1");
    fixture_close(&fx);
    open_with(&fx, all, false, count);
    ck_assert_str_eq(fixture_get(&fx, "GET /"), "200 application/json|2");
    fixture_close(&fx);
}
END_TEST

/* Made before the dictionary, so it is finalized after it. */
START_TEST(a_finalizer_finds_the_dictionary_closed)
{
    open_with(&fx, all, false,
              "local d\n"
              "local last = setmetatable({}, { __gc = function() print(pcall(d.get, d, 'k')) end })\n"
              "d = require('poolsrv.shared').dict('d')\n"
              "function api.get() return last ~= nil end");
    ck_assert_str_eq(fixture_get(&fx, "GET /"), "200 application/json|true");
    fixture_close_vm(&fx);
    ck_assert_contains(fixture_logged(&fx), "dict:get: the dictionary is closed");
    fixture_close(&fx);
}
END_TEST

START_TEST(nothing_else_is_taken_for_a_dictionary)
{
    open_with(&fx, all, false,
              APP("local found = {}\n"
                  "local mt = debug.getmetatable(d)\n"
                  "for i, v in ipairs { io.stdout, api.text 'x', coroutine.create(print), json.null, {}, 5, "
                  "'d' } do\n"
                  "  found[i] = (pcall(d.get, v, 'k')) or pcall(mt.__gc, v) == nil\n"
                  "end\n"
                  "return found"));
    ck_assert_str_eq(fixture_get(&fx, "GET /"),
                     "200 application/json|[false,false,false,false,false,false,false]");
    fixture_close(&fx);
}
END_TEST

#ifdef POOLSRV_DEBUG
static const char everything[] =
    APP("d:set('t', { 1, { 'two' }, ('x'):rep(300) })\n"
        "d:set('n', 1.5) d:set('s', ('y'):rep(300) .. ctx.id)\n"
        "local t = d:get('t') d:incr('n', 2, { ttl = 5 }) d:add('a', t) d:replace('a', { t })\n"
        "local _, version = d:get_versioned('a') d:cas('a', version, { t, t })\n"
        "d:update('t', function(old) old[1] = old[1] + 1 return old end)\n"
        "d:keys() d:stats() d:touch('a', 1) d:ttl('a') d:delete('a')\n"
        "local lock <close> = shared.lock('l') or error('held')\n"
        "lock:extend(5) d:flush() return 'done'");

/* Whatever Lua could not allocate, others can read and write. A lock that is still held is in its time. */
static void check_nothing_is_held(void)
{
    dict *d;
    char error[128];
    buf bytes = {0};
    dict_value v = {.type = DICT_INTEGER, .integer = 7};
    ck_assert_int_eq(dicts_open(all, "d", 64 * 1024, NULL, &d, error, sizeof(error)), 0);
    dict_port *p = dict_port_new(d), *locks = dict_port_new(dicts_locks(all));
    ck_assert(p && locks);
    ck_assert_int_eq(dict_flush(p), 0);
    ck_assert_int_eq(dict_put(p, STR("k"), &v, &(dict_change){.when = DICT_IF_ABSENT}, NULL), 0);
    ck_assert_int_eq(dict_get(p, STR("k"), &bytes, &v, NULL), 0);
    ck_assert_int_eq(v.integer, 7);
    ck_assert_int_eq(dict_flush(locks), 0);
    dict_port_free(locks);
    dict_port_free(p); /* waits for those inside a section */
    buf_fini(&bytes);
}

START_TEST(no_lack_of_memory_leaves_anything_held)
{
    size_t after = 0;
    do {
        open_with(&fx, all, false, everything);
        vm_fail_allocations(after++, 2);
        fixture_get(&fx, "GET /");
        vm_fail_allocations(0, 0);
        check_nothing_is_held();
        ck_assert_str_eq(fixture_get(&fx, "GET /"), "200 text/plain|done");
        fixture_close(&fx);
    } while (after < 400);
}
END_TEST
#endif

static Suite *suite(void)
{
    Suite *s = suite_create("shared");
    TCase *tests = tcase_create("shared");
    tcase_set_timeout(tests, 300);
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_loop_test(tests, vms_of_a_set_share_and_others_do_not, 0, 2);
    tcase_add_test(tests, what_is_stored_outlives_its_vm);
    tcase_add_test(tests, a_finalizer_finds_the_dictionary_closed);
    tcase_add_test(tests, nothing_else_is_taken_for_a_dictionary);
#ifdef POOLSRV_DEBUG
    tcase_add_test(tests, no_lack_of_memory_leaves_anything_held);
#endif
    suite_add_tcase(s, tests);
    return s;
}

int main(void)
{
    SRunner *runner = srunner_create(suite());
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
