#include "vm/vm.h"

#include <errno.h>
#include <lauxlib.h>

#include "tests/vm_fixture.h"
#include "vm/internal.h"

/* Under a sanitizer, which looks for it, a hopeless malloc is to fail as it does elsewhere. */
__attribute__((visibility("default"))) const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "allocator_may_return_null=1";
}

/* Tests in which contexts matter run for each of these. */
static const char *const strategies[] = {"eager", "lazy", "preregistered", "recycled"};

enum { STRATEGIES = sizeof(strategies) / sizeof(strategies[0]) };

static vm_fixture fx;

static void open_app_with(int strategy, const char *app)
{
    fixture_open(&fx, strategies[strategy], false, app);
}

static void open_app(const char *app)
{
    fixture_open(&fx, "recycled", false, app);
}

/* The app must be refused; the message is in fx.error. */
static void refuse_app(const char *app)
{
    fixture_init(&fx, "recycled", false);
    ck_assert_int_eq(fixture_load(&fx, app), -EINVAL);
}

static void close_app(void)
{
    fixture_close(&fx);
}

/* --- open and close --- */

START_TEST(a_vm_without_an_app_opens_and_closes)
{
    vm *v = NULL;
    fixture_init(&fx, "recycled", false);
    ck_assert_int_eq(vm_open(&fx.config, &v, fx.error, sizeof(fx.error)), 0);
    ck_assert_uint_gt(vm_bytes(v), 0);
    ck_assert_uint_eq(vm_route_count(v), 0);
    ck_assert_uint_eq(vm_running(v), 0);
    ck_assert(!vm_soiled(v));
    vm_close(v);
    close_app();
}
END_TEST

START_TEST(closing_null_is_fine)
{
    vm_close(NULL);
}
END_TEST

START_TEST(unknown_strategy_is_refused_by_name)
{
    vm *v = NULL;
    fixture_init(&fx, "psychic", false);
    ck_assert_int_eq(vm_open(&fx.config, &v, fx.error, sizeof(fx.error)), -EINVAL);
    ck_assert_ptr_null(v);
    ck_assert_contains(fx.error, "\"psychic\"");
    close_app();
}
END_TEST

static int open_answer(lua_State *L)
{
    lua_pushinteger(L, 42);
    return 1;
}

START_TEST(a_build_without_its_lua_files_says_which_is_missing)
{
    fixture_init(&fx, "recycled", false);
    fx.config.source_count = 0;
    ck_assert_int_lt(fixture_load(&fx, "function api.get() end"), 0);
    ck_assert_contains(fx.error, ".lua is not built in");
    close_app();
}
END_TEST

static void put_in_buf(void *user, const char *text, size_t n)
{
    ck_assert_int_eq(buf_add(user, text, n), 0);
}

/* describe(): what the report of a crash here would say. */
static int on_describe(lua_State *L)
{
    buf text = {0};
    vm_describe(fx.vm, put_in_buf, &text);
    lua_pushlstring(L, text.p, text.n);
    buf_fini(&text);
    return 1;
}

static int open_describe(lua_State *L)
{
    lua_pushcfunction(L, on_describe);
    return 1;
}

START_TEST(what_runs_can_be_described)
{
    static const vm_module modules[] = {{"host.describe", open_describe}};
    fixture_init(&fx, "recycled", false);
    fx.config.modules = modules;
    fx.config.module_count = 1;
    ck_assert_int_eq(fixture_load(&fx, "local describe = require 'host.describe'\n"
                                       "local function deep(n) if n > 0 then return (deep(n - 1)) end\n"
                                       "  return (describe()) end\n"
                                       "function api.users.p_id.get() return (deep(2)) end"),
                     0);
    const char *answer = fixture_ask(&fx, &(ask){.route = "GET /users/:id", .id = "req-9"});
    ck_assert_contains(answer, "|route: GET /users/:id\nrequest: req-9\nLua:\n  [C]\n  ");
    ck_assert_contains(answer, "app.lua:3\n");
    ck_assert_contains(answer, "app.lua:4\n");
    buf text = {0};
    vm_describe(fx.vm, put_in_buf, &text);
    ck_assert(str_eq(buf_str(&text), STR("Lua:\n")));
    buf_fini(&text);
    close_app();
}
END_TEST

START_TEST(what_is_no_reply_is_refused_before_hooks_see_it)
{
    open_app("function api.after(ctx, reply) return reply end function api.get() return print end");
    ck_assert_contains(fixture_get(&fx, "GET /"), "500 application/json|");
    ck_assert_contains(fixture_logged(&fx), "function");
    close_app();
}
END_TEST

/* Kept when the VM does not watch any more what becomes of contexts, and used while no request has it again.
 */
START_TEST(a_context_that_was_kept_late_is_stale_too)
{
    call waits;
    open_app("local kept\n"
             "function api.get(ctx) if ctx:header('keep') then kept = ctx end return 'x' end\n"
             "function api.wait.get() sleep(1) end\n"
             "function api.use.get() return { (pcall(function() return kept.path end)),\n"
             "  pcall(function() return kept:headers() end) } end");
    for (int i = 0; i < 1000; i++)
        fixture_get(&fx, "GET /");
    call_begin(&fx, &waits, &(ask){.route = "GET /wait"});
    fixture_ask(&fx, &(ask){.route = "GET /", .headers = {"keep", "1"}});
    call_resume(&fx, &waits);
    call_end(&fx, &waits);
    const char *answer = fixture_get(&fx, "GET /use");
    ck_assert_contains(answer, "200 application/json|[false,false,");
    ck_assert_contains(answer, "the context of GET / was used after its request had ended");
    close_app();
}
END_TEST

START_TEST(an_error_whose_text_fails_is_told_plainly)
{
    open_app("local bad = setmetatable({}, { __tostring = function() error({}) end })\n"
             "function api.get() error(bad) end");
    ck_assert_contains(fixture_get(&fx, "GET /"), "500 application/json|");
    ck_assert_contains(fixture_logged(&fx), "error object is a table");
    close_app();
}
END_TEST

START_TEST(modules_of_the_host_can_be_required)
{
    static const vm_module modules[] = {{"host.answer", open_answer}};
    fixture_init(&fx, "recycled", false);
    fx.config.modules = modules;
    fx.config.module_count = 1;
    ck_assert_int_eq(fixture_load(&fx, "local n = require 'host.answer' function api.get() return n end"), 0);
    ck_assert_str_eq(fixture_get(&fx, "GET /"), "200 application/json|42");
    close_app();
}
END_TEST

START_TEST(two_vms_live_side_by_side)
{
    vm_fixture other;
    const char *app = "local n = 0 function api.get() n = n + 1 return n end";
    open_app(app);
    fixture_open(&other, "recycled", true, app);
    fixture_get(&fx, "GET /");
    ck_assert_str_eq(fixture_get(&fx, "GET /"), "200 application/json|2");
    ck_assert_str_eq(fixture_get(&other, "GET /"), "200 application/json|1");
    fixture_close(&other);
    close_app();
}
END_TEST

/* --- load --- */

START_TEST(missing_file_is_an_error_that_names_it)
{
    vm *v = NULL;
    fixture_init(&fx, "recycled", false);
    ck_assert_int_eq(vm_open(&fx.config, &v, fx.error, sizeof(fx.error)), 0);
    ck_assert_int_eq(vm_load(v, fx.path, fx.error, sizeof(fx.error)), -EINVAL);
    ck_assert_contains(fx.error, fx.path);
    ck_assert_lacks(fx.error, "traceback");
    vm_close(v);
    close_app();
}
END_TEST

START_TEST(syntax_error_names_file_and_line)
{
    refuse_app("local a = 1\nlocal = 2\n");
    ck_assert_contains(fx.error, "app.lua:2:");
    ck_assert_lacks(fx.error, "traceback");
    close_app();
}
END_TEST

START_TEST(error_while_loading_names_file_line_and_callers)
{
    refuse_app(
        "local function deep() error 'no luck' end\nlocal function outer() deep() return 1 end\nouter()");
    ck_assert_contains(fx.error, "app.lua:1: no luck");
    ck_assert_contains(fx.error, "stack traceback:");
    ck_assert_contains(fx.error, "app.lua:3:");
    ck_assert_lacks(fx.error, "poolsrv/");
    close_app();
}
END_TEST

/* What an app raises, and what is told of it. */
static const struct {
    const char *app, *error;
} placeless[] = {
    {"\nerror {}", "/app.lua:2: error object is a table"},
    {"error()", "/app.lua:1: error object is a nil"},
    {"error(api.error(403, 'no'))", "/app.lua:1: error object is a reply"},
    {"error(setmetatable({}, { __tostring = function() return 'mine' end }))", "/app.lua:1: mine"},
    {"error('no place', 0)", "/app.lua:1: no place"},
    {"coroutine.yield()", "/app.lua:1: attempt to yield from outside a coroutine"},
    {"local function f() error(7, 0) end\nf()", "/app.lua:1: 7\nstack traceback:"},
};

START_TEST(error_without_a_place_is_told_with_the_apps_line)
{
    fixture_init(&fx, "recycled", false);
    ck_assert_int_eq(fixture_load(&fx, placeless[_i].app), -EINVAL);
    ck_assert_ptr_eq(strstr(fx.error, placeless[_i].error), fx.error + strlen(fx.folder));
    close_app();
}
END_TEST

START_TEST(unknown_method_is_refused_with_the_right_spelling)
{
    refuse_app("\nfunction api.users.gett(ctx) end");
    ck_assert_contains(fx.error, "app.lua:2:");
    ck_assert_contains(fx.error, "did you mean \"get\"?");
    close_app();
}
END_TEST

START_TEST(long_error_is_cut_to_the_callers_room)
{
    vm *v = NULL;
    char error[16];
    fixture_init(&fx, "recycled", false);
    fixture_write(&fx, "app.lua", "error(('x'):rep(5000))", 22);
    ck_assert_int_eq(vm_open(&fx.config, &v, error, sizeof(error)), 0);
    ck_assert_int_eq(vm_load(v, fx.path, error, sizeof(error)), -EINVAL);
    ck_assert_uint_eq(strlen(error), sizeof(error) - 1);
    vm_close(v);
    close_app();
}
END_TEST

START_TEST(app_of_bytecode_is_refused)
{
    refuse_app("\x1bLua\x54");
    ck_assert_contains(fx.error, "binary");
    close_app();
}
END_TEST

START_TEST(module_of_bytecode_is_refused)
{
    fixture_init(&fx, "recycled", false);
    fixture_write(&fx, "evil.lua", "\x1bLua\x54", 5);
    ck_assert_int_eq(fixture_load(&fx, "require 'evil'"), -EINVAL);
    ck_assert_contains(fx.error, "binary");
    close_app();
}
END_TEST

START_TEST(bytecode_is_refused_by_load_loadfile_and_dofile)
{
    open_app("local bytes = string.dump(function() return 'ran' end)\n"
             "local name = os.tmpname()\n"
             "local f = io.open(name, 'wb') f:write(bytes) f:close()\n"
             "local function refused(...) local ok, fn = pcall(...) return not (ok and fn) end\n"
             "local list = { refused(load, bytes), refused(load, bytes, 'x', 'b'), refused(load, bytes, 'x', "
             "'bt'),\n"
             "  refused(load, bytes, 'x', 'b', {}), refused(loadfile, name), refused(loadfile, name, 'b'),\n"
             "  refused(loadfile, name, 'bt', {}), refused(dofile, name) }\n"
             "os.remove(name)\n"
             "function api.get() return list end");
    ck_assert_str_eq(fixture_get(&fx, "GET /"),
                     "200 application/json|[true,true,true,true,true,true,true,true]");
    close_app();
}
END_TEST

START_TEST(text_is_loaded_as_in_the_manual)
{
    fixture_init(&fx, "recycled", false);
    fixture_write(&fx, "part.lua", "x = (x or 0) + 1 return x, ...", 30);
    int err = fixture_load(
        &fx,
        "local folder = package.path:match '^(.-)/%?'\n"
        "local part = folder .. '/part.lua'\n"
        "local env = { x = 10 }\n"
        "local parts = { 'return ', '7' }\n"
        "local i = 0\n"
        "function api.get() return {\n"
        "  load('return 1')(), load('return x', 'n', 't', env)(), load('return x', 'n', 't', nil) and 0,\n"
        "  load(function() i = i + 1 return parts[i] end)(), dofile(part), loadfile(part)(),\n"
        "  (loadfile(part, 't', env)()), select('#', load('return ...')(nil, nil)) } end");
    ck_assert_msg(err == 0, "%s", fx.error);
    ck_assert_str_eq(fixture_get(&fx, "GET /"), "200 application/json|[1,10,0,7,1,2,11,2]");
    close_app();
}
END_TEST

START_TEST(loading_bytecode_returns_why_not_as_for_other_texts)
{
    open_app("function api.get()\n"
             "  local a, why = load('return 1', 'n', 'b')\n"
             "  local b, too = loadfile('/dev/null', 'b')\n"
             "  local c, bad = load('return = 1', 'n', 't')\n"
             "  return { a == nil and b == nil and c == nil, why, too == why, bad }\n"
             "end");
    ck_assert_str_eq(fixture_get(&fx, "GET /"),
                     "200 application/json|[true,\"bytecode is not loaded here (mode is "
                     "'b'): it can crash the server; load source text\",true,\"[string \\\"n\\\"]:1: "
                     "unexpected symbol near '='\"]");
    close_app();
}
END_TEST

START_TEST(file_that_is_done_in_a_handler_may_sleep)
{
    call c;
    fixture_init(&fx, "recycled", false);
    fixture_write(&fx, "part.lua", "sleep(1) return 'slept', 7", 26);
    int err = fixture_load(&fx, "local part = package.path:match '^(.-)/%?' .. '/part.lua'\n"
                                "function api.get() return { dofile(part) } end");
    ck_assert_msg(err == 0, "%s", fx.error);
    call_begin(&fx, &c, &(ask){.route = "GET /"});
    call_resume(&fx, &c);
    ck_assert_str_eq(call_body(&c), "[\"slept\",7]");
    call_end(&fx, &c);
    close_app();
}
END_TEST

START_TEST(modules_come_from_the_apps_folder_first)
{
    fixture_init(&fx, "recycled", false);
    fixture_write(&fx, "json_part.lua", "return { name = ..., }", 22);
    ck_assert_int_eq(fixture_load(&fx, "local part = require 'json_part'\n"
                                       "function api.get() return part.name end"),
                     0);
    ck_assert_str_eq(fixture_get(&fx, "GET /"), "200 text/plain|json_part");
    close_app();
}
END_TEST

START_TEST(missing_module_says_where_it_was_looked_for)
{
    refuse_app("require 'no_such_part'");
    ck_assert_contains(fx.error, "module 'no_such_part' not found");
    ck_assert_contains(fx.error, fx.folder);
    close_app();
}
END_TEST

START_TEST(broken_module_names_its_file_and_line)
{
    fixture_init(&fx, "recycled", false);
    fixture_write(&fx, "part.lua", "\n\nx x", 5);
    ck_assert_int_eq(fixture_load(&fx, "require 'part'"), -EINVAL);
    ck_assert_contains(fx.error, "part.lua:3:");
    close_app();
}
END_TEST

/* --- what the app defined --- */

START_TEST(routes_tell_method_place_lane_and_segments)
{
    vm_route_def def;
    open_app("function api.get() end\n"
             "api.users.p_id.post = api.heavy(function() end)\n"
             "api.route('delete', '/files/*rest', function() end)");
    ck_assert_uint_eq(vm_route_count(fx.vm), 3);
    ck_assert_int_eq(vm_route_at(fx.vm, 0, &def), 0);
    ck_assert(str_eq(def.method, STR("GET")));
    ck_assert_contains(def.where, "app.lua:1");
    ck_assert(!def.heavy);
    ck_assert_uint_eq(def.segment_count, 0);
    ck_assert_int_eq(vm_route_at(fx.vm, 1, &def), 0);
    ck_assert(str_eq(def.method, STR("POST")));
    ck_assert_contains(def.where, "app.lua:2");
    ck_assert(def.heavy);
    ck_assert_uint_eq(def.segment_count, 2);
    ck_assert_int_eq(def.segments[0].kind, VM_SEGMENT_LITERAL);
    ck_assert(str_eq(def.segments[0].name, STR("users")));
    ck_assert_int_eq(def.segments[1].kind, VM_SEGMENT_PARAM);
    ck_assert(str_eq(def.segments[1].name, STR("id")));
    ck_assert_int_eq(vm_route_at(fx.vm, 2, &def), 0);
    ck_assert(str_eq(def.method, STR("DELETE")));
    ck_assert_int_eq(def.segments[1].kind, VM_SEGMENT_REST);
    ck_assert(str_eq(def.segments[1].name, STR("rest")));
    close_app();
}
END_TEST

START_TEST(more_segments_than_fit_are_counted)
{
    static vm_route_def def;
    open_app("api.route('GET', ('/a'):rep(70), function() end)");
    ck_assert_int_eq(vm_route_at(fx.vm, 0, &def), 0);
    ck_assert_uint_eq(def.segment_count, 70);
    ck_assert(str_eq(def.segments[VM_SEGMENTS_MAX - 1].name, STR("a")));
    close_app();
}
END_TEST

START_TEST(signature_lists_all_routes_in_order)
{
    open_app("function api.users.p_id.get() end function api.get() end\n"
             "api['a-b'].s_rest.put = function() end");
    ck_assert_str_eq(vm_signature(fx.vm), "GET /users/:id\nGET /\nPUT /a-b/*rest\n");
    close_app();
}
END_TEST

START_TEST(signature_of_an_app_without_routes_is_empty)
{
    open_app("print 'nothing here'");
    ck_assert_str_eq(vm_signature(fx.vm), "");
    ck_assert_str_eq(fixture_logged(&fx), "2 [] nothing here\n");
    close_app();
}
END_TEST

static void list_option(void *user, const char *name, const char *value, const char *where)
{
    const char *file = strrchr(where, '/');
    const char *at = file ? file + 1 : where;
    ck_assert_int_eq(buf_addf(user, "%s=%s@%s;", name, value ? value : "none", at), 0);
}

START_TEST(options_come_as_text_with_their_place)
{
    buf list = {0};
    open_app("api.config { threads = 8 }\napi.config { dev = true }\napi.config { host = {} }");
    vm_config_each(fx.vm, list_option, &list);
    buf_add(&list, "", 1);
    ck_assert_contains(list.p, "threads=8@app.lua:1;");
    ck_assert_contains(list.p, "dev=true@app.lua:2;");
    ck_assert_contains(list.p, "host=none@app.lua:3;");
    buf_fini(&list);
    close_app();
}
END_TEST

START_TEST(app_without_options_has_none)
{
    buf list = {0};
    open_app("");
    vm_config_each(fx.vm, list_option, &list);
    ck_assert_uint_eq(list.n, 0);
    close_app();
}
END_TEST

static void list_file(void *user, const char *path)
{
    ck_assert_int_eq(buf_addf(user, "%s;", strrchr(path, '/') + 1), 0);
}

/* The names of the files that the VM told of while it loaded the app, and whether that went well. */
static const char *files_of(buf *list, const char *app, int expected)
{
    fixture_init(&fx, "recycled", false);
    fx.config.file = list_file;
    fx.config.file_user = list;
    fixture_write(&fx, "used.lua", "return require 'inner'", 22);
    fixture_write(&fx, "inner.lua", "return 1", 8);
    fixture_write(&fx, "broken.lua", "return = 1", 10);
    fixture_write(&fx, "unused.lua", "return 1", 8);
    ck_assert_int_eq(fixture_load(&fx, app), expected);
    ck_assert_int_eq(buf_add(list, "", 1), 0);
    return list->p;
}

START_TEST(files_are_the_apps_own_and_those_it_required)
{
    buf list = {0};
    ck_assert_str_eq(files_of(&list, "require 'used'", 0), "app.lua;used.lua;inner.lua;");
    buf_fini(&list);
    close_app();
}
END_TEST

START_TEST(files_are_told_of_when_they_fail_too)
{
    buf list = {0};
    ck_assert_str_eq(files_of(&list, "require 'used' require 'broken'", -EINVAL),
                     "app.lua;used.lua;inner.lua;broken.lua;");
    buf_fini(&list);
    close_app();
}
END_TEST

START_TEST(module_that_is_not_there_is_told_of_where_it_would_be)
{
    buf list = {0};
    ck_assert_str_eq(files_of(&list, "require 'not_yet.made'", -EINVAL), "app.lua;made.lua;");
    ck_assert_contains(fx.error, "not_yet.made");
    buf_fini(&list);
    close_app();
}
END_TEST

START_TEST(file_that_a_handler_needs_is_told_of_then)
{
    buf list = {0};
    files_of(&list, "function api.get() return (require 'used') end", 0);
    ck_assert_str_eq(list.p, "app.lua;");
    ck_assert_str_eq(fixture_get(&fx, "GET /"), "200 application/json|1");
    ck_assert_int_eq(buf_add(&list, "", 1), 0);
    ck_assert_str_eq(list.p + strlen(list.p) + 1, "used.lua;inner.lua;");
    buf_fini(&list);
    close_app();
}
END_TEST

START_TEST(file_that_is_done_is_told_of)
{
    buf list = {0};
    files_of(&list, "dofile(package.path:match '^(.-)/%?' .. '/unused.lua')", 0);
    ck_assert_str_eq(list.p, "app.lua;unused.lua;");
    buf_fini(&list);
    close_app();
}
END_TEST

START_TEST(start_functions_run_for_the_process_or_for_each_vm)
{
    open_app("api.on_start(function() print 'process' end)\n"
             "api.on_start(function() print 'vm' end, { each = 'vm' })\n"
             "api.on_stop(function() print 'stop process' end)\n"
             "api.on_stop(function() print 'stop vm' end, { each = 'vm' })");
    ck_assert_str_eq(fixture_logged(&fx), "");
    ck_assert_int_eq(vm_on_start(fx.vm, false, fx.error, sizeof(fx.error)), 0);
    ck_assert_int_eq(vm_on_start(fx.vm, true, fx.error, sizeof(fx.error)), 0);
    ck_assert_int_eq(vm_on_stop(fx.vm, true, fx.error, sizeof(fx.error)), 0);
    ck_assert_int_eq(vm_on_stop(fx.vm, false, fx.error, sizeof(fx.error)), 0);
    ck_assert_str_eq(fixture_logged(&fx), "2 [] process\n2 [] vm\n2 [] stop vm\n2 [] stop process\n");
    close_app();
}
END_TEST

START_TEST(first_start_function_that_fails_ends_the_start)
{
    open_app("api.on_start(function() print 'one' end)\n"
             "api.on_start(function() error 'two' end)\n"
             "api.on_start(function() print 'three' end)");
    ck_assert_int_eq(vm_on_start(fx.vm, false, fx.error, sizeof(fx.error)), -EINVAL);
    ck_assert_contains(fx.error, "app.lua:2: two");
    ck_assert_str_eq(fixture_logged(&fx), "2 [] one\n");
    close_app();
}
END_TEST

START_TEST(stop_functions_all_run_and_each_failure_is_logged)
{
    open_app("api.on_stop(function() error 'one' end)\n"
             "api.on_stop(function() print 'two' end)\n"
             "api.on_stop(function() error {} end)\n"
             "api.on_stop(function() print 'four' end)\n"
             "api.on_stop(function() print 'not this' end, { each = 'vm' })");
    ck_assert_int_eq(vm_on_stop(fx.vm, false, fx.error, sizeof(fx.error)), -EINVAL);
    ck_assert_contains(fx.error, "app.lua:1: one");
    const char *logged = fixture_logged(&fx);
    ck_assert_contains(logged, "0 [] an on_stop function failed: ");
    ck_assert_contains(logged, "app.lua:1: one");
    ck_assert_contains(logged, "2 [] two\n0 [] an on_stop function failed: ");
    ck_assert_contains(logged, "2 [] four\n");
    ck_assert_lacks(logged, "not this");
    close_app();
}
END_TEST

START_TEST(start_functions_cannot_sleep)
{
    open_app("api.on_start(function() sleep(1) end)");
    ck_assert_int_eq(vm_on_start(fx.vm, false, fx.error, sizeof(fx.error)), -EINVAL);
    ck_assert_contains(fx.error, "only inside a handler");
    close_app();
}
END_TEST

/* --- warnings --- */

START_TEST(warnings_are_logged_whole)
{
    open_app("function api.get() warn('disk ', 'is ', 'full') warn('again') return 'x' end");
    ck_assert_str_eq(fixture_get(&fx, "GET /"), "200 text/plain|x");
    ck_assert_str_eq(fixture_logged(&fx),
                     "1 [req-1] Lua warning: disk is full\n1 [req-1] Lua warning: again\n");
    close_app();
}
END_TEST

START_TEST(warnings_can_be_turned_off_and_on)
{
    open_app("warn '@off' warn 'not this' warn '@on' warn('@', 'this') warn '@what'");
    ck_assert_str_eq(fixture_logged(&fx), "1 [] Lua warning: @this\n");
    close_app();
}
END_TEST

START_TEST(failing_finalizer_is_logged)
{
    open_app("function api.get()\n"
             "  setmetatable({}, { __gc = function() error 'cannot let go' end })\n"
             "  collectgarbage()\n"
             "  return 'x'\n"
             "end");
    ck_assert_str_eq(fixture_get(&fx, "GET /"), "200 text/plain|x");
    ck_assert_contains(fixture_logged(&fx), "1 [req-1] Lua warning: error in ");
    ck_assert_contains(fixture_logged(&fx), "app.lua:2: cannot let go");
    close_app();
}
END_TEST

START_TEST(finalizer_that_fails_while_the_vm_closes_is_logged)
{
    open_app("kept = setmetatable({}, { __gc = function() error 'too late' end })");
    fixture_close_vm(&fx);
    ck_assert_contains(fixture_logged(&fx), "too late");
    close_app();
}
END_TEST

START_TEST(endless_warning_is_cut)
{
    open_app("warn(string.rep('x', 100000), 'y') warn 'next'");
    ck_assert_uint_lt(strlen(fixture_logged(&fx)), 5000);
    ck_assert_contains(fixture_logged(&fx), "1 [] Lua warning: next\n");
    close_app();
}
END_TEST

/* --- runs --- */

START_TEST(request_is_answered_and_its_run_goes_back)
{
    call c;
    open_app_with(_i, "function api.get() return 'hello' end");
    call_begin(&fx, &c, &(ask){.route = "GET /"});
    ck_assert_int_eq(c.result, VM_DONE);
    ck_assert_uint_eq(vm_running(fx.vm), 1);
    ck_assert_int_eq(c.request->status, 200);
    ck_assert_str_eq(c.request->content_type, "text/plain; charset=utf-8");
    ck_assert_str_eq(call_body(&c), "hello");
    ck_assert(!c.request->failed);
    call_end(&fx, &c);
    ck_assert_uint_eq(vm_running(fx.vm), 0);
    close_app();
}
END_TEST

START_TEST(runs_are_used_again)
{
    call c;
    open_app("function api.get() end");
    call_begin(&fx, &c, &(ask){.route = "GET /"});
    const vm_run *first = c.run;
    call_end(&fx, &c);
    call_begin(&fx, &c, &(ask){.route = "GET /"});
    ck_assert_ptr_eq(c.run, first);
    call_end(&fx, &c);
    close_app();
}
END_TEST

START_TEST(sleeping_handler_parks_and_goes_on)
{
    call c;
    open_app_with(_i,
                  "function api.get(ctx) local a = ctx.method sleep(0.25) sleep(2) return a .. ctx.path end");
    call_begin(&fx, &c, &(ask){.route = "GET /", .path = "/p"});
    ck_assert_int_eq(c.result, VM_PARKED);
    ck_assert_uint_eq(c.request->park_ns, 250000000);
    ck_assert_uint_eq(c.body_out.n, 0);
    call_resume(&fx, &c);
    ck_assert_int_eq(c.result, VM_PARKED);
    ck_assert_uint_eq(c.request->park_ns, 2000000000);
    call_resume(&fx, &c);
    ck_assert_int_eq(c.result, VM_DONE);
    ck_assert_str_eq(call_body(&c), "GET/p");
    call_end(&fx, &c);
    close_app();
}
END_TEST

START_TEST(parked_requests_finish_in_any_order_each_with_its_own)
{
    enum { N = 20 };
    static call calls[N];
    static char paths[N][16];
    open_app_with(
        _i,
        "function api.get(ctx) ctx.own = ctx.path sleep(1) return ctx.own .. ctx.path .. ctx:query().q end");
    for (int i = 0; i < N; i++) {
        snprintf(paths[i], sizeof(paths[i]), "/%d", i);
        call_begin(&fx, &calls[i], &(ask){.route = "GET /", .path = paths[i], .query = "q=1"});
        ck_assert_int_eq(calls[i].result, VM_PARKED);
    }
    ck_assert_uint_eq(vm_running(fx.vm), N);
    for (int k = 0; k < N; k++) {
        int i = (k * 7) % N;
        char want[32];
        call_resume(&fx, &calls[i]);
        snprintf(want, sizeof(want), "/%d/%d1", i, i);
        ck_assert_str_eq(call_body(&calls[i]), want);
        call_end(&fx, &calls[i]);
    }
    ck_assert_uint_eq(vm_running(fx.vm), 0);
    close_app();
}
END_TEST

START_TEST(cancelled_handler_closes_its_variables_and_makes_no_answer)
{
    call c;
    open_app_with(_i, "local function closing(name)\n"
                      "  return setmetatable({}, { __close = function() print(name) end })\n"
                      "end\n"
                      "function api.get()\n"
                      "  local a <close> = closing 'a'\n"
                      "  local b <close> = closing 'b'\n"
                      "  sleep(1)\n"
                      "  print 'never'\n"
                      "end");
    call_begin(&fx, &c, &(ask){.route = "GET /"});
    ck_assert_int_eq(c.result, VM_PARKED);
    vm_cancel(fx.vm, c.run);
    ck_assert_str_eq(fixture_logged(&fx), "2 [req-1] b\n2 [req-1] a\n");
    ck_assert_uint_eq(c.body_out.n, 0);
    call_end(&fx, &c);
    ck_assert_uint_eq(vm_running(fx.vm), 0);
    close_app();
}
END_TEST

START_TEST(cancelling_survives_variables_that_fail_or_sleep_when_closed)
{
    call c;
    open_app("local function closing(fn) return setmetatable({}, { __close = fn }) end\n"
             "function api.get()\n"
             "  local a <close> = closing(function() print 'a' end)\n"
             "  local b <close> = closing(function() error 'no' end)\n"
             "  local d <close> = closing(function() sleep(1) print 'slept' end)\n"
             "  sleep(1)\n"
             "end\n"
             "function api.after.get() return 'fine' end");
    for (int i = 0; i < 3; i++) {
        call_begin(&fx, &c, &(ask){.route = "GET /"});
        vm_cancel(fx.vm, c.run);
        call_end(&fx, &c);
        ck_assert_str_eq(fixture_get(&fx, "GET /after"), "200 text/plain|fine");
    }
    /* The last error counts, as in Lua: that of `b`, which came after that of `d`. */
    const char *logged = fixture_logged(&fx);
    ck_assert_contains(logged, "2 [req-1] a\n0 [req-1] GET /: while its variables were closed: ");
    ck_assert_contains(logged, "app.lua:4: no\n");
    close_app();
}
END_TEST

START_TEST(closing_a_vm_closes_the_variables_of_what_waits_in_it)
{
    static call calls[3];
    open_app_with(
        _i,
        "function api.get(ctx)\n"
        "  local file <close> = setmetatable({}, { __close = function() print('closed ' .. ctx.id) end })\n"
        "  local c = coroutine.wrap(function() sleep(1) end) c()\n"
        "end");
    for (int i = 0; i < 3; i++) {
        call_begin(&fx, &calls[i], &(ask){.route = "GET /"});
        ck_assert_int_eq(calls[i].result, VM_PARKED);
    }
    fixture_close_vm(&fx);
    ck_assert_str_eq(fixture_logged(&fx),
                     "2 [req-1] closed req-1\n2 [req-1] closed req-1\n2 [req-1] closed req-1\n");
    close_app();
    for (int i = 0; i < 3; i++) {
        buf_fini(&calls[i].body_out);
        buf_fini(&calls[i].head_out);
    }
}
END_TEST

/* --- coroutines --- */

/* How many coroutines have served: each is held, so that no two share an address. */
#define COUNT_COROUTINES                                                                                     \
    "local seen, n = {}, 0\n"                                                                                \
    "local function count()\n"                                                                               \
    "  local co = coroutine.running()\n"                                                                     \
    "  if not seen[co] then seen[co] = true n = n + 1 end\n"                                                 \
    "  return n\n"                                                                                           \
    "end\n"                                                                                                  \
    "function api.get() return count() end\n"

START_TEST(coroutine_of_a_clean_handler_is_used_again)
{
    open_app_with(_i, COUNT_COROUTINES "function api.wait.get() sleep(1) return count() end\n"
                                       "function api.empty.get() count() return nil, 404 end");
    for (int i = 0; i < 5; i++) {
        ck_assert_str_eq(fixture_get(&fx, "GET /"), "200 application/json|1");
        ck_assert_str_eq(fixture_get(&fx, "GET /wait"), "200 application/json|1");
        ck_assert_str_eq(fixture_get(&fx, "GET /empty"), "404 |");
    }
    close_app();
}
END_TEST

START_TEST(coroutine_is_used_again_after_errors_that_it_caught_itself)
{
    open_app_with(_i, COUNT_COROUTINES "function api.bad.get() count() error 'no' end\n"
                                       "function api.raised.get() count() error(api.status(204)) end\n"
                                       "function api.odd.get() count() coroutine.yield(1) end");
    ck_assert_str_eq(fixture_get(&fx, "GET /"), "200 application/json|1");
    fixture_get(&fx, "GET /bad");
    ck_assert_str_eq(fixture_get(&fx, "GET /"), "200 application/json|1");
    ck_assert_str_eq(fixture_get(&fx, "GET /raised"), "204 |");
    ck_assert_str_eq(fixture_get(&fx, "GET /"), "200 application/json|1");
    fixture_get(&fx, "GET /odd");
    ck_assert_str_eq(fixture_get(&fx, "GET /"), "200 application/json|2");
    close_app();
}
END_TEST

START_TEST(coroutine_that_was_cancelled_is_not_used_again)
{
    call c;
    open_app(COUNT_COROUTINES "function api.wait.get() count() sleep(1) end");
    ck_assert_str_eq(fixture_get(&fx, "GET /"), "200 application/json|1");
    call_begin(&fx, &c, &(ask){.route = "GET /wait"});
    vm_cancel(fx.vm, c.run);
    call_end(&fx, &c);
    ck_assert_str_eq(fixture_get(&fx, "GET /"), "200 application/json|2");
    close_app();
}
END_TEST

START_TEST(foreign_yield_is_an_error)
{
    static const char *const routes[] = {"GET /none", "GET /one", "GET /two"};
    open_app("function api.none.get() coroutine.yield() end\n"
             "function api.one.get() coroutine.yield('x') end\n"
             "function api.two.get() coroutine.yield(1, 2) end");
    for (size_t i = 0; i < 3; i++) {
        fixture_forget_log(&fx);
        ck_assert_contains(fixture_get(&fx, routes[i]), "500 application/json|");
        ck_assert_contains(fixture_logged(&fx), "a handler yielded");
        ck_assert_contains(fixture_logged(&fx), routes[i]);
    }
    ck_assert(!vm_soiled(fx.vm));
    close_app();
}
END_TEST

START_TEST(handler_sleeps_inside_its_own_coroutines)
{
    call c;
    open_app_with(_i, "function api.get(ctx)\n"
                      "  local list = {}\n"
                      "  for x in coroutine.wrap(function()\n"
                      "    coroutine.yield(1) sleep(1) coroutine.yield(2)\n"
                      "    coroutine.wrap(function() sleep(2) end)()\n"
                      "    coroutine.yield(ctx.method)\n"
                      "  end) do list[#list + 1] = x end\n"
                      "  return list\n"
                      "end");
    call_begin(&fx, &c, &(ask){.route = "GET /"});
    ck_assert_uint_eq(c.request->park_ns, 1000000000);
    call_resume(&fx, &c);
    ck_assert_uint_eq(c.request->park_ns, 2000000000);
    call_resume(&fx, &c);
    ck_assert_int_eq(c.result, VM_DONE);
    ck_assert_str_eq(call_body(&c), "[1,2,\"GET\"]");
    call_end(&fx, &c);
    close_app();
}
END_TEST

START_TEST(handlers_sleep_inside_pcall_and_metamethods)
{
    open_app("function api.get()\n"
             "  local t = setmetatable({}, { __index = function(_, k) sleep(1) return k end })\n"
             "  local ok, v = pcall(function() sleep(1) return t.x end)\n"
             "  return { ok, v }\n"
             "end");
    ck_assert_str_eq(fixture_get(&fx, "GET /"), "200 application/json|[true,\"x\"]");
    close_app();
}
END_TEST

START_TEST(sleep_inside_a_c_functions_callback_is_an_error)
{
    open_app("function api.get() table.sort({ 2, 1 }, function(a, b) sleep(1) return a < b end) end");
    ck_assert_contains(fixture_get(&fx, "GET /"), "500 ");
    ck_assert_contains(fixture_logged(&fx), "not inside a callback of a C function");
    close_app();
}
END_TEST

START_TEST(sleep_refuses_what_is_no_time)
{
    open_app("local function refused(...) return not pcall(sleep, ...) end\n"
             "function api.get() return { refused(), refused('x'), refused({}), refused(-1), refused(0/0),\n"
             "  refused(1/0), refused(1e10) } end");
    ck_assert_str_eq(fixture_get(&fx, "GET /"), "200 application/json|[true,true,true,true,true,true,true]");
    close_app();
}
END_TEST

START_TEST(sleep_while_the_app_loads_is_an_error)
{
    refuse_app("sleep(1)");
    ck_assert_contains(fx.error, "app.lua:1:");
    ck_assert_contains(fx.error, "only inside a handler");
    close_app();
}
END_TEST

START_TEST(handlers_coroutine_resumed_by_another_breaks_no_vm)
{
    call c;
    open_app("local kept\n"
             "function api.wait.get() kept = coroutine.running() sleep(1) return 'waited' end\n"
             "function api.steal.get() return tostring(coroutine.resume(kept)) end\n"
             "function api.get() return 'fine' end");
    call_begin(&fx, &c, &(ask){.route = "GET /wait"});
    ck_assert_str_eq(fixture_get(&fx, "GET /steal"), "200 text/plain|false");
    call_resume(&fx, &c);
    ck_assert_int_eq(c.result, VM_DONE);
    ck_assert_str_eq(call_body(&c), "waited");
    call_end(&fx, &c);
    ck_assert_str_eq(fixture_get(&fx, "GET /"), "200 text/plain|fine");
    close_app();
}
END_TEST

/* --- errors --- */

START_TEST(uncaught_error_is_a_500_with_the_traceback_in_the_log_alone)
{
    call c;
    open_app_with(_i, "local function deep() error 'no luck' end\n"
                      "function api.users.p_id.get() deep() return 1 end");
    call_begin(&fx, &c, &(ask){.route = "GET /users/:id", .id = "abc"});
    ck_assert_int_eq(c.request->status, 500);
    ck_assert(c.request->failed);
    ck_assert_contains(call_body(&c), "\"error\":\"Internal Server Error\"");
    ck_assert_contains(call_body(&c), "\"status\":500");
    ck_assert_contains(call_body(&c), "\"request_id\":\"abc\"");
    ck_assert_lacks(call_body(&c), "luck");
    call_end(&fx, &c);
    ck_assert_contains(fixture_logged(&fx), "0 [abc] GET /users/:id: ");
    ck_assert_contains(fixture_logged(&fx), "app.lua:1: no luck");
    ck_assert_contains(fixture_logged(&fx), "stack traceback:");
    ck_assert_contains(fixture_logged(&fx), "app.lua:2:");
    ck_assert(!vm_soiled(fx.vm));
    close_app();
}
END_TEST

START_TEST(traceback_is_in_the_reply_in_dev_mode)
{
    fixture_open(&fx, "recycled", true, "function api.get() error 'no luck' end");
    const char *reply = fixture_get(&fx, "GET /");
    ck_assert_contains(reply, "500 application/json|");
    ck_assert_contains(reply, "\"traceback\":\"");
    ck_assert_contains(reply, "app.lua:1: no luck");
    close_app();
}
END_TEST

START_TEST(error_after_a_wait_has_its_traceback_too)
{
    open_app("local function deep() sleep(1) error 'late' end function api.get() deep() return 1 end");
    ck_assert_contains(fixture_get(&fx, "GET /"), "500 ");
    ck_assert_contains(fixture_logged(&fx), "app.lua:1: late");
    ck_assert_contains(fixture_logged(&fx), "stack traceback:");
    close_app();
}
END_TEST

START_TEST(error_values_of_every_type_are_logged)
{
    static const char *const cases[][2] = {
        {"GET /none", "GET /none: nil"},         {"GET /number", "GET /number: 42"},
        {"GET /table", "GET /table: table: 0x"}, {"GET /named", "GET /named: I am named"},
        {"GET /bad", "no name for me"},          {"GET /odd", "'__tostring' must return a string"},
    };
    open_app(
        "local function raiser(v) return function() error(v, 0) end end\n"
        "api.none.get = raiser(nil)\n"
        "api.number.get = raiser(42)\n"
        "api.table.get = raiser({})\n"
        "api.named.get = raiser(setmetatable({}, { __tostring = function() return 'I am named' end }))\n"
        "api.bad.get = raiser(setmetatable({}, { __tostring = function() error 'no name for me' end }))\n"
        "api.odd.get = raiser(setmetatable({}, { __tostring = function() return {} end }))");
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        fixture_forget_log(&fx);
        ck_assert_contains(fixture_get(&fx, cases[i][0]), "\"error\":\"Internal Server Error\"");
        ck_assert_contains(fixture_logged(&fx), cases[i][1]);
    }
    close_app();
}
END_TEST

START_TEST(raised_reply_that_cannot_be_encoded_is_logged)
{
    call c;
    open_app("function api.get() error(api.json({ price = 0/0 }):header('X-Half', 'done')) end");
    call_begin(&fx, &c, &(ask){.route = "GET /"});
    ck_assert_int_eq(c.request->status, 500);
    ck_assert(c.request->failed);
    ck_assert_contains(call_body(&c), "\"request_id\":\"req-1\"");
    ck_assert_uint_eq(c.head_out.n, 0);
    call_end(&fx, &c);
    ck_assert_contains(fixture_logged(&fx), "GET /: json: cannot encode NaN at .price");
    close_app();
}
END_TEST

START_TEST(error_text_that_is_no_utf8_is_still_answered)
{
    fixture_open(&fx, "recycled", true, "function api.get() error('\\xff\\0\\xfe', 0) end");
    ck_assert_contains(fixture_get(&fx, "GET /"), "\xef\xbf\xbd");
    close_app();
}
END_TEST

START_TEST(runaway_recursion_is_an_error_and_leaves_the_vm_clean)
{
    open_app("local function f(n) return 1 + f(n + 1) end\n"
             "function api.get() return f(1) end function api.ok.get() return 'ok' end");
    ck_assert_contains(fixture_get(&fx, "GET /"), "500 ");
    ck_assert_contains(fixture_logged(&fx), "stack overflow");
    ck_assert_str_eq(fixture_get(&fx, "GET /ok"), "200 text/plain|ok");
    ck_assert(!vm_soiled(fx.vm));
    close_app();
}
END_TEST

START_TEST(variables_of_a_failed_handler_are_closed)
{
    open_app("function api.get()\n"
             "  local a <close> = setmetatable({}, { __close = function() print 'closed' end })\n"
             "  error 'no'\n"
             "end");
    fixture_get(&fx, "GET /");
    ck_assert_contains(fixture_logged(&fx), "2 [req-1] closed\n");
    close_app();
}
END_TEST

START_TEST(error_of_a_variable_that_a_failed_handler_closes_is_logged_too)
{
    open_app("local function closing(fn) return setmetatable({}, { __close = fn }) end\n"
             "function api.get()\n"
             "  local file <close> = closing(function() error 'cannot close' end)\n"
             "  error 'first'\n"
             "end\n"
             "function api.clean.get()\n"
             "  local file <close> = closing(function() print 'closed' end)\n"
             "  error 'only'\n"
             "end");
    ck_assert_contains(fixture_get(&fx, "GET /"), "500 ");
    ck_assert_contains(fixture_logged(&fx), "app.lua:4: first");
    ck_assert_contains(fixture_logged(&fx), "0 [req-1] GET /: while its variables were closed: ");
    ck_assert_contains(fixture_logged(&fx), "app.lua:3: cannot close");
    fixture_forget_log(&fx);
    ck_assert_contains(fixture_get(&fx, "GET /clean"), "500 ");
    ck_assert_contains(fixture_logged(&fx), "2 [req-1] closed\n");
    ck_assert_lacks(fixture_logged(&fx), "while its variables");
    close_app();
}
END_TEST

START_TEST(running_out_of_memory_soils_the_vm)
{
    call c;
    open_app_with(
        _i, "function api.get() return io.open('/dev/null'):read(1 << 46) end function api.ok.get() return "
            "'ok' end");
    call_begin(&fx, &c, &(ask){.route = "GET /"});
    ck_assert_int_eq(c.request->status, 500);
    ck_assert(c.request->failed);
    call_end(&fx, &c);
    ck_assert(vm_soiled(fx.vm));
    ck_assert_contains(fixture_logged(&fx), "not enough memory");
    ck_assert_str_eq(fixture_get(&fx, "GET /ok"), "200 text/plain|ok");
    close_app();
}
END_TEST

START_TEST(memory_error_that_the_handler_catches_soils_nothing)
{
    open_app("function api.get()\n"
             "  local f = io.open '/dev/null'\n"
             "  return tostring(pcall(f.read, f, 1 << 46))\n"
             "end");
    ck_assert_str_eq(fixture_get(&fx, "GET /"), "200 text/plain|false");
    ck_assert(!vm_soiled(fx.vm));
    close_app();
}
END_TEST

/* --- globals --- */

START_TEST(os_exit_raises)
{
    open_app("function api.get() os.exit(0) end");
    ck_assert_contains(fixture_get(&fx, "GET /"), "500 ");
    ck_assert_contains(fixture_logged(&fx), "os.exit: would stop the whole server");
    close_app();
}
END_TEST

START_TEST(print_goes_to_the_log_with_the_request_id)
{
    open_app("print('loading', 1)\n"
             "function api.get() print('a', nil, 2.5, true) sleep(1) print() return 1 end");
    fixture_ask(&fx, &(ask){.route = "GET /", .id = "r7"});
    ck_assert_str_eq(fixture_logged(&fx), "2 [] loading\t1\n2 [r7] a\tnil\t2.5\ttrue\n2 [r7] \n");
    close_app();
}
END_TEST

START_TEST(print_takes_tostring_and_many_long_values)
{
    open_app("function api.get()\n"
             "  print(setmetatable({}, { __tostring = function() return 'T' end }))\n"
             "  local t = {} for i = 1, 200 do t[i] = ('y'):rep(100) end print(table.unpack(t))\n"
             "end");
    ck_assert_str_eq(fixture_get(&fx, "GET /"), "204 |");
    ck_assert_contains(fixture_logged(&fx), "2 [req-1] T\n");
    ck_assert_uint_gt(fx.log.n, 20000);
    close_app();
}
END_TEST

START_TEST(setmetatable_is_as_in_the_manual)
{
    open_app("local function refused(...) return not pcall(setmetatable, ...) end\n"
             "local locked = setmetatable({}, { __metatable = 1 })\n"
             "local t = {}\n"
             "function api.get() return { refused(), refused(1, {}), refused({}), refused({}, 1), "
             "refused(locked, {}),\n"
             "  setmetatable(t, { __index = { x = 1 } }) == t, t.x, setmetatable(t, nil).x == nil } end");
    ck_assert_str_eq(fixture_get(&fx, "GET /"),
                     "200 application/json|[true,true,true,true,true,true,1,true]");
    close_app();
}
END_TEST

/* --- upkeep --- */

START_TEST(idle_steps_collect_what_requests_left)
{
    open_app_with(_i, "function api.get() local t for i = 1, 1e4 do t = { i, tostring(i) } end return 1 end");
    lua_gc(fx.vm->L, LUA_GCSTOP);
    fixture_get(&fx, "GET /"); /* the first is audited, with collections */
    size_t before = vm_bytes(fx.vm);
    fixture_get(&fx, "GET /");
    size_t full = vm_bytes(fx.vm);
    ck_assert_uint_gt(full, before + 500000);
    for (int i = 0; i < 1000; i++)
        vm_idle(fx.vm);
    ck_assert_uint_lt(vm_bytes(fx.vm), before + 100000);
    close_app();
}
END_TEST

START_TEST(idle_steps_wait_until_there_is_garbage_in_proportion)
{
    open_app("much = {} for i = 1, 1e5 do much[i] = { i } end\n"
             "function api.get() local t for i = 1, 1e4 do t = { i, tostring(i) } end return 1 end");
    lua_gc(fx.vm->L, LUA_GCSTOP);
    fixture_get(&fx, "GET /");
    vm_idle(fx.vm);
    size_t before = vm_bytes(fx.vm);
    fixture_get(&fx, "GET /");
    size_t full = vm_bytes(fx.vm);
    ck_assert_uint_gt(full, before + 500000);
    for (int i = 0; i < 1000; i++)
        vm_idle(fx.vm);
    ck_assert_uint_eq(vm_bytes(fx.vm), full);
    close_app();
}
END_TEST

/* --- failing allocations --- */

#ifdef POOLSRV_DEBUG

enum { FOREVER = 1 << 30 };

/* How many allocations in a row are refused: one and its second try, and all. */
static const size_t refusals[] = {2, FOREVER};

static const char hungry_app[] =
    "local kept = api.json({ kept = true }):header('X-Kept', '1')\n"
    "function api.a.before(ctx) ctx.seen = ctx.id end\n"
    "function api.a.after(ctx, reply) return reply:header('X-After', ctx.seen) end\n"
    "function api.a.on_error(ctx, err) return api.error(503, tostring(err)) end\n"
    "function api.a.get(ctx)\n"
    "  local t = { ctx:headers(), ctx:query(), ctx:query_all(), ctx:params(), ctx:cookies(), ctx:body(), "
    "ctx.path }\n"
    "  return api.json(t, 201):cookie('a', 'b', { path = '/' }):header('X-A', 'b')\n"
    "end\n"
    "function api.a.bad.get(ctx) error('no: ' .. ctx.method) end\n"
    "function api.plain.get(ctx) return 'hello' end\n"
    "function api.sleepy.get(ctx) coroutine.wrap(function() sleep(1) end)() return { ctx.path } end\n"
    "function api.kept.get() return kept end\n"
    "function api.bad.get(ctx) error { text = ctx.method } end\n"
    "function api.raised.get(ctx) error(api.error(403, 'no', { a = ctx.method })) end\n"
    "function api.raisedbad.get(ctx) error(api.json(0/0)) end\n"
    "function api.odd.get(ctx) coroutine.yield(ctx) end\n"
    "function api.keys.get(ctx) for i = 1, 100 do ctx[i] = i end return setmetatable(ctx, {}) == ctx end\n"
    "api.config { threads = 2 }\n"
    "api.on_start(function() return {} end)\n";

static void expect_no_memory(int err)
{
    ck_assert_int_lt(err, 0);
    ck_assert_contains(fx.error, "memory");
}

START_TEST(opening_survives_each_refused_allocation)
{
    fixture_init(&fx, "recycled", false);
    int err = -1;
    for (size_t n = 0; err; n++) {
        vm *v = NULL;
        vm_fail_allocations(n, refusals[_i]);
        err = vm_open(&fx.config, &v, fx.error, sizeof(fx.error));
        vm_fail_allocations(0, 0);
        if (err) {
            expect_no_memory(err);
            ck_assert_ptr_null(v);
        }
        vm_close(v);
    }
    close_app();
}
END_TEST

START_TEST(loading_survives_each_refused_allocation)
{
    fixture_init(&fx, "recycled", false);
    fixture_write(&fx, "app.lua", hungry_app, sizeof(hungry_app) - 1);
    int err = -1;
    for (size_t n = 0; err; n++) {
        vm *v = NULL;
        ck_assert_int_eq(vm_open(&fx.config, &v, fx.error, sizeof(fx.error)), 0);
        vm_fail_allocations(n, refusals[_i]);
        err = vm_load(v, fx.path, fx.error, sizeof(fx.error));
        vm_fail_allocations(0, 0);
        if (err)
            expect_no_memory(err);
        vm_close(v);
    }
    close_app();
}
END_TEST

static const ask hungry_asks[] = {
    {.route = "GET /plain"},
    {.route = "GET /a",
     .path = "/%41",
     .query = "a=1&a=2&b=%20",
     .headers = {"X-A", "1", "x-a", "2", "Cookie", "a=b; c=d", "Cookie", "e=f"},
     .params = {"id", "%41"},
     .body = {"body", 4}},
    {.route = "GET /a/bad"},
    {.route = "GET /sleepy"},
    {.route = "GET /kept"},
    {.route = "GET /bad"},
    {.route = "GET /raised"},
    {.route = "GET /raisedbad"},
    {.route = "GET /odd"},
    {.route = "GET /keys"},
};

enum { HUNGRY_ASKS = sizeof(hungry_asks) / sizeof(hungry_asks[0]) };

/* Returns: whether a refusal was met. */
static bool ask_short_of_memory(const ask *a, size_t n, size_t count)
{
    call c;
    vm_fail_allocations(n, count);
    call_run(&fx, &c, a);
    vm_run_give(fx.vm, c.run);
    bool met = vm_failed_allocations() > 0;
    vm_fail_allocations(0, 0);
    ck_assert_int_ge(c.request->status, 200);
    ck_assert_int_le(c.request->status, 599);
    buf_fini(&c.body_out);
    buf_fini(&c.head_out);
    return met;
}

/* Each request on a new VM, where it makes most, and where the next one shows what is left of it. */
START_TEST(requests_survive_each_refused_allocation)
{
    const ask *a = &hungry_asks[_i / STRATEGIES / 2];
    bool met = true;
    for (size_t n = 0; met; n++) {
        open_app_with(_i % STRATEGIES, hungry_app);
        met = ask_short_of_memory(a, n, refusals[_i / STRATEGIES % 2]);
        ck_assert_str_eq(fixture_get(&fx, "GET /plain"), "200 text/plain|hello");
        ck_assert_str_eq(fixture_get(&fx, "GET /kept"), "200 application/json|{\"kept\":true}");
        ck_assert_uint_eq(vm_running(fx.vm), 0);
        close_app();
    }
}
END_TEST

START_TEST(cancelling_survives_each_refused_allocation)
{
    bool met = true;
    for (size_t n = 0; met; n++) {
        call c;
        open_app_with(_i % STRATEGIES, hungry_app);
        call_begin(&fx, &c, &(ask){.route = "GET /sleepy"});
        vm_fail_allocations(n, refusals[_i / STRATEGIES]);
        vm_cancel(fx.vm, c.run);
        vm_run_give(fx.vm, c.run);
        met = vm_failed_allocations() > 0;
        vm_fail_allocations(0, 0);
        buf_fini(&c.body_out);
        ck_assert_str_eq(fixture_get(&fx, "GET /plain"), "200 text/plain|hello");
        close_app();
    }
}
END_TEST

static void add_failing_allocations(Suite *s)
{
    TCase *tc = tcase_create("allocations");
    tcase_set_timeout(tc, 240);
    tcase_add_loop_test(tc, opening_survives_each_refused_allocation, 0, 2);
    tcase_add_loop_test(tc, loading_survives_each_refused_allocation, 0, 2);
    tcase_add_loop_test(tc, requests_survive_each_refused_allocation, 0, 2 * HUNGRY_ASKS * STRATEGIES);
    tcase_add_loop_test(tc, cancelling_survives_each_refused_allocation, 0, 2 * STRATEGIES);
    suite_add_tcase(s, tc);
}

#else

static void add_failing_allocations(Suite *s)
{
    (void)s;
    puts("skipped: refused allocations, which need a build with POOLSRV_DEBUG");
}

#endif

static void add_each_strategy(Suite *s)
{
    const TTest *const each[] = {sleeping_handler_parks_and_goes_on,
                                 parked_requests_finish_in_any_order_each_with_its_own,
                                 cancelled_handler_closes_its_variables_and_makes_no_answer,
                                 closing_a_vm_closes_the_variables_of_what_waits_in_it,
                                 coroutine_of_a_clean_handler_is_used_again,
                                 coroutine_is_used_again_after_errors_that_it_caught_itself,
                                 handler_sleeps_inside_its_own_coroutines,
                                 uncaught_error_is_a_500_with_the_traceback_in_the_log_alone,
                                 running_out_of_memory_soils_the_vm,
                                 idle_steps_collect_what_requests_left,
                                 idle_steps_wait_until_there_is_garbage_in_proportion,
                                 request_is_answered_and_its_run_goes_back};
    TCase *tc = tcase_create("each strategy");
    tcase_set_timeout(tc, 60);
    for (size_t i = 0; i < sizeof(each) / sizeof(each[0]); i++)
        tcase_add_loop_test(tc, each[i], 0, STRATEGIES);
    suite_add_tcase(s, tc);
}

static Suite *vm_suite(void)
{
    const struct {
        const char *name;
        const TTest *tests[24];
    } cases[] = {
        {"open",
         {a_vm_without_an_app_opens_and_closes, closing_null_is_fine, unknown_strategy_is_refused_by_name,
          modules_of_the_host_can_be_required, a_build_without_its_lua_files_says_which_is_missing,
          what_runs_can_be_described, a_context_that_was_kept_late_is_stale_too,
          what_is_no_reply_is_refused_before_hooks_see_it, an_error_whose_text_fails_is_told_plainly,
          two_vms_live_side_by_side}},
        {"load",
         {missing_file_is_an_error_that_names_it, syntax_error_names_file_and_line,
          error_while_loading_names_file_line_and_callers, unknown_method_is_refused_with_the_right_spelling,
          long_error_is_cut_to_the_callers_room, app_of_bytecode_is_refused, module_of_bytecode_is_refused,
          bytecode_is_refused_by_load_loadfile_and_dofile, text_is_loaded_as_in_the_manual,
          loading_bytecode_returns_why_not_as_for_other_texts, file_that_is_done_in_a_handler_may_sleep,
          modules_come_from_the_apps_folder_first, missing_module_says_where_it_was_looked_for,
          broken_module_names_its_file_and_line}},
        {"definition",
         {routes_tell_method_place_lane_and_segments, more_segments_than_fit_are_counted,
          signature_lists_all_routes_in_order, signature_of_an_app_without_routes_is_empty,
          options_come_as_text_with_their_place, app_without_options_has_none,
          files_are_the_apps_own_and_those_it_required, files_are_told_of_when_they_fail_too,
          module_that_is_not_there_is_told_of_where_it_would_be, file_that_a_handler_needs_is_told_of_then,
          file_that_is_done_is_told_of, start_functions_run_for_the_process_or_for_each_vm,
          first_start_function_that_fails_ends_the_start, stop_functions_all_run_and_each_failure_is_logged,
          start_functions_cannot_sleep}},
        {"runs", {runs_are_used_again, cancelling_survives_variables_that_fail_or_sleep_when_closed}},
        {"coroutines",
         {coroutine_that_was_cancelled_is_not_used_again, foreign_yield_is_an_error,
          handlers_sleep_inside_pcall_and_metamethods, sleep_inside_a_c_functions_callback_is_an_error,
          sleep_refuses_what_is_no_time, sleep_while_the_app_loads_is_an_error,
          handlers_coroutine_resumed_by_another_breaks_no_vm}},
        {"errors",
         {traceback_is_in_the_reply_in_dev_mode, error_after_a_wait_has_its_traceback_too,
          error_values_of_every_type_are_logged, raised_reply_that_cannot_be_encoded_is_logged,
          error_text_that_is_no_utf8_is_still_answered, runaway_recursion_is_an_error_and_leaves_the_vm_clean,
          variables_of_a_failed_handler_are_closed,
          error_of_a_variable_that_a_failed_handler_closes_is_logged_too,
          memory_error_that_the_handler_catches_soils_nothing}},
        {"globals",
         {os_exit_raises, print_goes_to_the_log_with_the_request_id,
          print_takes_tostring_and_many_long_values, setmetatable_is_as_in_the_manual}},
        {"warnings",
         {warnings_are_logged_whole, warnings_can_be_turned_off_and_on, failing_finalizer_is_logged,
          finalizer_that_fails_while_the_vm_closes_is_logged, endless_warning_is_cut}},
    };
    Suite *s = suite_create("vm");
    TCase *errors = tcase_create("errors while loading");
    tcase_add_loop_test(errors, error_without_a_place_is_told_with_the_apps_line, 0,
                        sizeof(placeless) / sizeof(placeless[0]));
    suite_add_tcase(s, errors);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        TCase *tc = tcase_create(cases[i].name);
        for (size_t k = 0; cases[i].tests[k]; k++)
            tcase_add_test(tc, cases[i].tests[k]);
        tcase_set_timeout(tc, 60);
        suite_add_tcase(s, tc);
    }
    add_each_strategy(s);
    add_failing_allocations(s);
    return s;
}

int main(void)
{
    SRunner *runner = srunner_create(vm_suite());
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
