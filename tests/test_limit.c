/* Handlers that never end by themselves, and a thread that interrupts them as a watchdog would: by a signal
 * to the thread that runs them, sent until they have ended. */
#include "vm/limit.h"

#include <lauxlib.h>
#include <pthread.h>
#include <signal.h>
#include <time.h>

#include "tests/vm_fixture.h"

enum { MIB = 1 << 20 };

static vm_fixture fx;

/* --- the watchdog --- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static bool begun, ended; /* [lock] */
static pthread_t guilty, watchdog;
static long again_ns = 1000000; /* how soon, at least, the signal is sent again */

static void on_signal(int signal)
{
    (void)signal;
    vm_interrupt(fx.vm, VM_LIMIT_CPU, 11000000000u, 10000000000u);
}

static void *watch(void *arg)
{
    (void)arg;
    long n = 0;
    pthread_mutex_lock(&lock);
    while (!begun)
        pthread_cond_wait(&changed, &lock);
    while (!ended) {
        struct timespec until;
        pthread_kill(guilty, SIGUSR1);
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += again_ns * (1 + n++ % 16);
        if (until.tv_nsec >= 1000000000) {
            until.tv_nsec -= 1000000000;
            until.tv_sec++;
        }
        pthread_cond_timedwait(&changed, &lock, &until);
    }
    pthread_mutex_unlock(&lock);
    return NULL;
}

static void set(bool *flag)
{
    sigset_t one;
    sigemptyset(&one);
    sigaddset(&one, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &one, NULL);
    pthread_mutex_lock(&lock);
    *flag = true;
    pthread_cond_signal(&changed);
    pthread_mutex_unlock(&lock);
    pthread_sigmask(SIG_UNBLOCK, &one, NULL);
}

/* begin(): the app says that it is where it is to be interrupted. */
static int on_begin(lua_State *L)
{
    (void)L;
    set(&begun);
    return 0;
}

static int open_begin(lua_State *L)
{
    lua_pushcfunction(L, on_begin);
    return 1;
}

/* interrupted(f, ...): call f while a limit is met that the VM has not seen yet, as it runs C. */
static int on_interrupted(lua_State *L)
{
    vm_interrupt(fx.vm, VM_LIMIT_CPU, 11000000000u, 10000000000u);
    lua_call(L, lua_gettop(L) - 1, LUA_MULTRET);
    return lua_gettop(L);
}

static int open_interrupted(lua_State *L)
{
    lua_pushcfunction(L, on_interrupted);
    return 1;
}

#ifdef POOLSRV_DEBUG
/* starve(): from now on the VM gets no memory. */
static int on_starve(lua_State *L)
{
    (void)L;
    vm_fail_allocations(0, 1 << 30);
    return 0;
}

static int open_starve(lua_State *L)
{
    lua_pushcfunction(L, on_starve);
    return 1;
}
#endif

static int read_all(lua_State *L)
{
    lua_getfield(L, 1, "headers");
    lua_pushvalue(L, 1);
    lua_call(L, 1, 1);
    lua_getfield(L, 1, "method");
    return 0;
}

static int was_read, was_read_late;

/* read(ctx): in C, before and after a limit was met. */
static int on_read(lua_State *L)
{
    for (int late = 0; late <= 1; late++) {
        lua_pushcfunction(L, read_all);
        lua_pushvalue(L, 1);
        *(late ? &was_read_late : &was_read) = lua_pcall(L, 1, 0, 0) == LUA_OK;
        vm_interrupt(fx.vm, VM_LIMIT_CPU, 2, 1);
    }
    return 0;
}

static int open_read(lua_State *L)
{
    lua_pushcfunction(L, on_read);
    return 1;
}

static void start_watchdog(void)
{
    begun = ended = false;
    guilty = pthread_self();
    ck_assert_int_eq(sigaction(SIGUSR1, &(struct sigaction){.sa_handler = on_signal}, NULL), 0);
    ck_assert_int_eq(pthread_create(&watchdog, NULL, watch, NULL), 0);
}

static void stop_watchdog(void)
{
    set(&ended);
    pthread_join(watchdog, NULL);
}

/* --- apps --- */

#define PRELUDE                                                                                              \
    "local begin = require 'test.begin'\n"                                                                   \
    "local function spin() begin() while true do end end\n"                                                  \
    "local function with(name) return setmetatable({}, { [name] = spin }) end\n"                             \
    "local served = 0\n"                                                                                     \
    "function api.ok.get() served = served + 1 return served end\n"

static void open_app(const char *app)
{
    static const vm_module modules[] = {{"test.begin", open_begin},
                                        {"test.interrupted", open_interrupted},
                                        {"test.read", open_read},
#ifdef POOLSRV_DEBUG
                                        {"test.starve", open_starve}
#endif
    };
    static char text[8192];
    fixture_init(&fx, "recycled", false);
    fx.config.modules = modules;
    fx.config.module_count = sizeof(modules) / sizeof(modules[0]);
    snprintf(text, sizeof(text), "%s%s", PRELUDE, app);
    int err = fixture_load(&fx, text);
    ck_assert_msg(err == 0, "the app does not load: %s", fx.error);
}

static void close_app(void)
{
    fixture_close(&fx);
}

/* What GET / does, after the prelude. Each is interrupted in its innermost function. */
static const char *const runaways[] = {
    "spin()",
    "for i = 1, math.huge do begin() end",
    "local function again() begin() return again() end again()",
    "begin() local n = 0 repeat n = n + 1 until false",
    /* caught */
    "while true do pcall(spin) end",
    "return pcall(spin)",
    "return select('#', pcall(spin))",
    "pcall(spin) sleep(1) return 'slept'",
    "local function deep() pcall(deep) spin() end deep()",
    "while true do pcall(error, 'x') begin() end",
    /* message handlers */
    "xpcall(error, spin)",
    "xpcall(spin, function() while true do end end)",
    "while true do xpcall(spin, function() while true do end end) end",
    "xpcall(function() xpcall(error, spin) end, function() while true do end end)",
    "xpcall(function() pcall(spin) error('x') end, function() while true do end end)",
    "error(with('__tostring'))",
    "xpcall(error, function() error(with('__tostring')) end) spin()",
    "print(with('__tostring'))",
    /* coroutines */
    "coroutine.wrap(spin)()",
    "coroutine.resume(coroutine.create(spin))",
    "while true do coroutine.resume(coroutine.create(spin)) end",
    "while true do pcall(coroutine.wrap(spin)) end",
    "while true do coroutine.wrap(function() coroutine.wrap(function() pcall(spin) end)() end)() end",
    ("local co = coroutine.wrap(function() while true do begin() coroutine.yield() end end) while true do "
     "co() end"),
    "return coroutine.resume(coroutine.create(spin))",
    ("local co = coroutine.create(function() local x <close> = with('__close') coroutine.yield() end)\n"
     "coroutine.resume(co) coroutine.close(co)"),
    "coroutine.wrap(function() local x <close> = with('__close') error('x') end)()",
    "coroutine.wrap(function() sleep(1) spin() end)()",
    /* to-be-closed variables */
    "local x <close> = with('__close')",
    "local x <close> = with('__close') error('x')",
    "local x <close> = with('__close') spin()",
    "local x <close> = setmetatable({}, { __close = function() while true do end end }) spin()",
    "pcall(function() local x <close> = with('__close') error('x') end)",
    "for i in function() return 1 end, nil, nil, with('__close') do break end",
    /* metamethods and callbacks */
    "return with('__index').x",
    "with('__newindex').x = 1",
    "return with('__eq') == with('__eq')",
    "return with('__lt') < 1",
    "return with('__le') <= 1",
    "return with('__concat') .. ''",
    "return #with('__len')",
    "return -with('__unm')",
    "with('__call')()",
    "for k in pairs(with('__pairs')) do end",
    "table.sort({ 3, 2, 1 }, spin)",
    "table.sort({ 3, 2, 1 }, function(a, b) begin() pcall(spin) return a < b end)",
    "string.gsub('abc', '.', spin)",
    "string.gsub(string.rep('a', 100), '.', function() pcall(spin) end) return 'got through'",
    "load(spin)",
    "table.concat(setmetatable({}, { __index = spin, __len = function() return 3 end }))",
    "require('debug').sethook() spin()",
    /* finalizers */
    "with('__gc') collectgarbage()",
    "with('__gc') while true do local t = {} end",
    "setmetatable({}, { __gc = function() pcall(spin) end }) collectgarbage() spin()",
    /* hooks of the app's own */
    "begin() while true do debug.sethook() end",
    "begin() while true do debug.sethook((coroutine.running())) end",
    "debug.sethook(function() end, '', 1) spin()",
    "begin() while true do debug.sethook(function() end, 'l') end",
    "begin() while true do pcall(debug.sethook, function() end, '', 1000) end",
    "debug.sethook(function() begin() end, 'l') while true do end",
};

enum { RUNAWAYS = sizeof(runaways) / sizeof(runaways[0]) };

START_TEST(runaway_is_ended_and_the_vm_serves_on)
{
    char app[1024];
    snprintf(app, sizeof(app), "function api.get(ctx)\n%s\nend", runaways[_i]);
    open_app(app);
    fixture_get(&fx, "GET /ok");
    start_watchdog();
    const char *answer = fixture_get(&fx, "GET /");
    stop_watchdog();
    ck_assert_msg(strncmp(answer, "504 application/json|", 21) == 0, "%s\n%s\n%s", runaways[_i], answer,
                  fixture_logged(&fx));
    ck_assert_contains(answer, "\"error\":\"Gateway Timeout\"");
    ck_assert_contains(answer, "\"request_id\":\"req-1\"");
    ck_assert_contains(fixture_logged(&fx), "0 [req-1] GET /: the handler was ended: its CPU limit is 10 s");
    ck_assert_contains(fixture_logged(&fx), "it had taken 11.000 s\nstack traceback:");
    ck_assert_contains(fixture_logged(&fx), "app.lua:");
    ck_assert_str_eq(fixture_get(&fx, "GET /ok"), "200 application/json|2");
    ck_assert_str_eq(fixture_get(&fx, "GET /ok"), "200 application/json|3");
    ck_assert(!vm_soiled(fx.vm));
    ck_assert_uint_eq(vm_running(fx.vm), 0);
    close_app();
}
END_TEST

START_TEST(runaway_hook_is_ended)
{
    static const char *const hooks[] = {
        "function api.before() spin() end function api.get() end",
        "function api.after() spin() end function api.get() end",
        "function api.on_error() spin() end function api.get() error('x') end",
        "function api.on_error() return api.text('saved') end function api.get() spin() end",
        "function api.after() return api.text('saved') end function api.get() spin() end",
        "function api.on_error() pcall(spin) return api.text('saved') end function api.get() error('x') end",
    };
    open_app(hooks[_i]);
    start_watchdog();
    const char *answer = fixture_get(&fx, "GET /");
    stop_watchdog();
    ck_assert_contains(answer, "504 application/json|");
    close_app();
}
END_TEST

START_TEST(handler_that_waits_is_ended_while_its_variables_are_closed)
{
    call c;
    open_app("function api.get() local x <close> = with('__close') sleep(1) end");
    call_begin(&fx, &c, &(ask){.route = "GET /"});
    ck_assert_int_eq(c.result, VM_PARKED);
    start_watchdog();
    vm_cancel(fx.vm, c.run);
    stop_watchdog();
    call_end(&fx, &c);
    ck_assert_contains(fixture_logged(&fx), "while its variables were closed: ");
    ck_assert_str_eq(fixture_get(&fx, "GET /ok"), "200 application/json|1");
    close_app();
}
END_TEST

START_TEST(handler_that_went_on_after_its_wait_is_ended)
{
    call c;
    open_app("function api.get() sleep(1) spin() end");
    call_begin(&fx, &c, &(ask){.route = "GET /"});
    start_watchdog();
    call_resume(&fx, &c);
    stop_watchdog();
    ck_assert_int_eq(c.result, VM_DONE);
    ck_assert_int_eq(c.request->status, 504);
    ck_assert_int_eq(c.request->limit, VM_LIMIT_CPU);
    call_end(&fx, &c);
    close_app();
}
END_TEST

START_TEST(a_long_text_is_not_encoded_when_a_limit_is_met)
{
    open_app("local interrupted, text = require 'test.interrupted', ('x'):rep(2 << 20)\n"
             "function api.get() interrupted(json.encode, { text, text }) end");
    ck_assert_contains(fixture_get(&fx, "GET /"), "504 application/json|");
    ck_assert_str_eq(fixture_get(&fx, "GET /ok"), "200 application/json|1");
    close_app();
}
END_TEST

#ifdef POOLSRV_DEBUG
START_TEST(a_limit_without_memory_to_tell_of_it_is_a_500)
{
    open_app(
        "local starve = require 'test.starve' function api.get() starve() begin() while true do end end");
    start_watchdog();
    const char *answer = fixture_get(&fx, "GET /");
    stop_watchdog();
    vm_fail_allocations(0, 0);
    ck_assert_contains(answer, "500 ");
    ck_assert(vm_soiled(fx.vm));
    close_app();
}
END_TEST
#endif

START_TEST(variables_of_c_are_closed_when_a_limit_ends_the_handler)
{
    open_app("local f = io.tmpfile()\n"
             "function api.get() local x <close> = f spin() end\n"
             "function api.type.get() return io.type(f) end");
    start_watchdog();
    fixture_get(&fx, "GET /");
    stop_watchdog();
    ck_assert_str_eq(fixture_get(&fx, "GET /type"), "200 text/plain|closed file");
    close_app();
}
END_TEST

/* Its thread may be lost by then, and the other request freed. */
START_TEST(handler_that_met_its_limit_reads_no_other_request)
{
    call c;
    open_app("local read, other = require 'test.read'\n"
             "function api.wait.get(ctx) other = ctx sleep(1) return ctx.method end\n"
             "function api.other.get() read(other) end\n"
             "function api.own.get(ctx) read(ctx) end");
    call_begin(&fx, &c, &(ask){.route = "GET /wait"});
    ck_assert_contains(fixture_get(&fx, "GET /other"), "504 application/json|");
    ck_assert(was_read && !was_read_late);
    ck_assert_contains(fixture_get(&fx, "GET /own"), "504 application/json|");
    ck_assert(was_read && was_read_late);
    call_resume(&fx, &c);
    ck_assert_int_eq(c.request->status, 200);
    call_end(&fx, &c);
    close_app();
}
END_TEST

START_TEST(interruption_that_comes_late_ends_nothing)
{
    call c;
    open_app("function api.wait.get() sleep(1) local n = 0 for i = 1, 100 do n = n + i end return n end");
    vm_interrupt(fx.vm, VM_LIMIT_WALL, 2, 1);
    ck_assert_str_eq(fixture_get(&fx, "GET /ok"), "200 application/json|1");
    call_begin(&fx, &c, &(ask){.route = "GET /wait"});
    vm_interrupt(fx.vm, VM_LIMIT_WALL, 2, 1);
    call_resume(&fx, &c);
    ck_assert_int_eq(c.request->status, 200);
    ck_assert_int_eq(c.request->limit, VM_LIMIT_NONE);
    call_end(&fx, &c);
    ck_assert_str_eq(fixture_logged(&fx), "");
    close_app();
}
END_TEST

/* What a handler is in the middle of when the signal comes, is for chance: all that a VM does is in here. */
START_TEST(interruption_is_safe_at_any_moment)
{
    unsigned cut = 0, answered = 0;
    open_app("local mt = { __gc = function() local t = {} end, __close = function() end,\n"
             "  __index = function(t, k) return k end, __lt = function() return true end }\n"
             "local function work(depth)\n"
             "  local x <close> = setmetatable({}, mt)\n"
             "  local co = coroutine.wrap(function(...)\n"
             "    local n = select('#', ...)\n"
             "    for i = 1, 5 do n = n + coroutine.yield(n) end\n"
             "    if depth > 0 then work(depth - 1) end\n"
             "    error('inner')\n"
             "  end)\n"
             "  for i = 1, 5 do co(i) end\n"
             "  pcall(co, 1)\n"
             "  xpcall(error, function(e) return debug.traceback(e) end, 'x')\n"
             "  table.sort({ x, x, x }, function(a, b) return a.k < b.k end)\n"
             "  local s = ('abc'):gsub('.', function(c) return c .. depth end)\n"
             "  json.decode(json.encode({ s, { depth } }))\n"
             "  debug.sethook(function() end, '', 100) debug.sethook()\n"
             "  coroutine.close(coroutine.create(print))\n"
             "end\n"
             "function api.get(ctx)\n"
             "  for i = 1, 3 do work(5) pcall(work, 2) end\n"
             "  sleep(0) work(1) collectgarbage('step') return { ctx.id }\n"
             "end");
    again_ns = 20000;
    start_watchdog();
    set(&begun);
    for (int i = 0; i < 2000; i++) {
        const char *answer = fixture_get(&fx, "GET /");
        bool is_ended = strncmp(answer, "504 ", 4) == 0;
        ck_assert_msg(is_ended || strcmp(answer, "200 application/json|[\"req-1\"]") == 0, "%s", answer);
        cut += is_ended;
        answered += !is_ended;
        fixture_forget_log(&fx);
    }
    stop_watchdog();
    ck_assert_uint_gt(cut, 0);
    ck_assert_uint_eq(cut + answered, 2000);
    ck_assert_str_eq(fixture_get(&fx, "GET /"), "200 application/json|[\"req-1\"]");
    ck_assert_uint_eq(vm_running(fx.vm), 0);
    close_app();
}
END_TEST

/* --- what must be as in the manual --- */

START_TEST(coroutines_are_as_in_the_manual)
{
    open_app(
        "local function text(...) local t = table.pack(...) for i = 1, t.n do t[i] = tostring(t[i]) end\n"
        "  return table.concat(t, ',') end\n"
        "function api.get()\n"
        "  local out, co = {}\n"
        "  local function add(...) out[#out + 1] = text(...) end\n"
        "  co = coroutine.create(function(a, b) add(a, b) add(coroutine.yield(1, nil)) return 'end', nil "
        "end)\n"
        "  add(coroutine.status(co), coroutine.isyieldable(co))\n"
        "  add(coroutine.resume(co, 'a', nil)) add(coroutine.status(co)) add(coroutine.resume(co, 'again'))\n"
        "  add(coroutine.status(co)) add(coroutine.resume(co)) add(coroutine.close(co))\n"
        "  co = coroutine.create(function() add(coroutine.resume(co)) add(pcall(coroutine.close, co)) end)\n"
        "  coroutine.resume(co)\n"
        "  local outer = coroutine.running()\n"
        "  coroutine.wrap(function() add(coroutine.status(outer)) add(pcall(coroutine.close, outer)) end)()\n"
        "  co = coroutine.create(function() local x <close> = setmetatable({}, { __close = function(_, e)\n"
        "    add('closed', e) error('bad close', 0) end }) coroutine.yield() end)\n"
        "  coroutine.resume(co) add(coroutine.close(co)) add(coroutine.status(co))\n"
        "  co = coroutine.create(error) add(coroutine.resume(co, 'x')) add(coroutine.close(co))\n"
        "  add(coroutine.close(coroutine.create(print)))\n"
        "  add(pcall(coroutine.close, 1)) add(coroutine.resume(coroutine.create(coroutine.isyieldable)))\n"
        "  return table.concat(out, ' | ')\n"
        "end");
    ck_assert_str_eq(
        fixture_get(&fx, "GET /"),
        "200 text/plain|suspended,true | a,nil | true,1,nil | suspended | again | true,end,nil | dead | "
        "false,cannot resume dead coroutine | true | false,cannot resume non-suspended coroutine | "
        "false,cannot close a running coroutine | normal | false,cannot close a normal coroutine | "
        "closed,nil | false,bad close | dead | false,x | false,x | true | "
        "false,bad argument #1 to 'coroutine.close' (coroutine expected, got number) | true,true");
    close_app();
}
END_TEST

START_TEST(coroutines_take_no_more_values_than_their_stacks)
{
    open_app("function api.get()\n"
             "  local function with(n, f) return f(table.unpack({}, 1, n)) end\n"
             "  local full = coroutine.create(function()\n"
             "    with(900000, function(...) coroutine.yield() return ... end) end)\n"
             "  coroutine.resume(full)\n"
             "  local a, b = with(200000, function(...) return coroutine.resume(full, ...) end)\n"
             "  local gives = coroutine.create(function() with(200000, coroutine.yield) end)\n"
             "  local c, d\n"
             "  with(850000, function(...) c, d = coroutine.resume(gives) end)\n"
             "  return { a, b, c, d, coroutine.status(gives) }\n"
             "end");
    ck_assert_str_eq(fixture_get(&fx, "GET /"),
                     "200 application/json|[false,\"too many arguments to resume\",false,"
                     "\"too many results to resume\",\"suspended\"]");
    close_app();
}
END_TEST

START_TEST(a_waiting_request_is_not_closed_by_another)
{
    call c;
    open_app("local first\n"
             "function api.get() first = coroutine.running() sleep(1) return 'whole' end\n"
             "function api.close.get() return { pcall(coroutine.close, first) } end");
    call_begin(&fx, &c, &(ask){.route = "GET /"});
    ck_assert_contains(fixture_get(&fx, "GET /close"), "200 application/json|[false,\"");
    call_resume(&fx, &c);
    ck_assert_str_eq(call_body(&c), "whole");
    call_end(&fx, &c);
    close_app();
}
END_TEST

START_TEST(hooks_of_the_app_are_as_in_the_manual)
{
    open_app("function api.get()\n"
             "  local n = 0\n"
             "  local function hook() n = n + 1 end\n"
             "  debug.sethook(hook, '', 1) for i = 1, 10 do end\n"
             "  local fn, mask, count = debug.gethook() debug.sethook()\n"
             "  local was = n for i = 1, 10 do end\n"
             "  return { n > 10, n == was, fn == hook, mask, count, debug.gethook() == nil }\n"
             "end");
    ck_assert_str_eq(fixture_get(&fx, "GET /"), "200 application/json|[true,true,true,\"\",1,true]");
    close_app();
}
END_TEST

START_TEST(hook_of_the_app_ends_with_its_request)
{
    open_app("local n = 0\n"
             "function api.get() debug.sethook(function() n = n + 1 end, '', 1) end\n"
             "function api.count.get() n = 0 for i = 1, 10 do end return n end");
    fixture_get(&fx, "GET /");
    ck_assert_str_eq(fixture_get(&fx, "GET /count"), "200 application/json|0");
    close_app();
}
END_TEST

START_TEST(finalizers_are_as_in_the_manual)
{
    open_app("local seen = {}\n"
             "local mt = { __gc = function(o) seen[#seen + 1] = o.name end }\n"
             "function api.get()\n"
             "  setmetatable({ name = 'a' }, mt) setmetatable({ name = 'b' }, mt) collectgarbage()\n"
             "  setmetatable({}, { __gc = function() error('broken', 0) end }) collectgarbage()\n"
             "  setmetatable({}, { __gc = function() coroutine.yield() end }) collectgarbage()\n"
             "  setmetatable({ name = 'c' }, mt) collectgarbage() setmetatable({}, { __gc = true })\n"
             "  return table.concat(seen, ',')\n"
             "end");
    ck_assert_str_eq(fixture_get(&fx, "GET /"), "200 text/plain|b,a,c");
    ck_assert_contains(fixture_logged(&fx), "error in __gc");
    ck_assert_contains(fixture_logged(&fx), "broken");
    ck_assert_contains(fixture_logged(&fx), "attempt to yield across a C-call boundary");
    close_app();
}
END_TEST

START_TEST(finalizers_call_each_other)
{
    open_app(
        "local mt = {}\n"
        "mt.__gc = function(o) if o.inner then getmetatable(o.inner).__gc(o.inner) end\n"
        "  o.log[#o.log + 1] = o.name end\n"
        "local function new(name, log, inner) return setmetatable({ name = name, log = log, inner = inner }, "
        "mt) end\n"
        "function api.get() local log = {} mt.__gc(new('b', log, new('a', log))) return log end\n"
        "function api.collected.get() local log = {} new('b', log, new('a', log)) collectgarbage()\n"
        "  return log end\n"
        "function api.garbage.get() local log = {}\n"
        "  setmetatable(log, mt).name = { name = 'own' } log.log = {}\n"
        "  local outer = setmetatable({}, { __gc = function() new('a', log) collectgarbage() end })\n"
        "  getmetatable(outer).__gc(outer) return log[1] end");
    ck_assert_str_eq(fixture_get(&fx, "GET /"), "200 application/json|[\"a\",\"b\"]");
    ck_assert_str_eq(fixture_get(&fx, "GET /collected"), "200 application/json|[\"a\",\"b\",\"a\"]");
    ck_assert_str_eq(fixture_get(&fx, "GET /garbage"), "200 text/plain|a");
    ck_assert_str_eq(fixture_logged(&fx), "");
    close_app();
}
END_TEST

/* Each runs in a coroutine that nothing but the call holds. */
START_TEST(finalizers_that_call_each_other_outlive_a_collection)
{
    open_app(
        "local inner = setmetatable({}, { __gc = function()\n"
        "  for i = 1, 10 do collectgarbage() local t = {} for j = 1, 200 do t[j] = { j } end end end })\n"
        "local mt = {}\n"
        "mt.__gc = function(o) local a, b, c = {}, {}, {} pcall(mt.__gc, nil)\n"
        "  getmetatable(inner).__gc(inner) a[1], b[1], c[1] = b, c, a o.done = a[1] == b end\n"
        "function api.get() local o = setmetatable({}, mt) mt.__gc(o) return o.done end");
    for (int i = 0; i < 3; i++)
        ck_assert_str_eq(fixture_get(&fx, "GET /"), "200 application/json|true");
    close_app();
}
END_TEST

START_TEST(finalizer_is_ended_while_no_handler_runs)
{
    open_app("function api.get() with('__gc') end");
    start_watchdog();
    ck_assert_str_eq(fixture_get(&fx, "GET /"), "204 |");
    lua_gc(fx.vm->L, LUA_GCCOLLECT);
    stop_watchdog();
    ck_assert_contains(fixture_logged(&fx), "error in __gc");
    ck_assert_str_eq(fixture_get(&fx, "GET /ok"), "200 application/json|1");
    ck_assert(!vm_soiled(fx.vm));
    close_app();
}
END_TEST

/* --- recursion --- */

START_TEST(deep_recursion_is_an_error_that_soils_nothing)
{
    static const char *const recursions[] = {
        "local function f() return 1 + f() end f()",
        "local function f() string.gsub('a', 'a', f) end f()",
        ("local t = setmetatable({}, {}) getmetatable(t).__tostring = function() return tostring(t) end "
         "tostring(t)"),
        "local t = setmetatable({}, {}) getmetatable(t).__index = function() return t.x end return t.x",
        "local function f() return coroutine.wrap(f)() end f()",
        "local function f() return pcall(f) end f() error('stack overflow')",
        "local t = {} for i = 1, 1000 do t = { t } end return t",
    };
    char app[512];
    snprintf(app, sizeof(app), "function api.get()\n%s\nend", recursions[_i]);
    open_app(app);
    ck_assert_contains(fixture_get(&fx, "GET /"), "500 application/json|");
    ck_assert_contains(fixture_logged(&fx), "GET /: ");
    ck_assert_str_eq(fixture_get(&fx, "GET /ok"), "200 application/json|1");
    ck_assert(!vm_soiled(fx.vm));
    close_app();
}
END_TEST

/* --- memory --- */

static const char *const bombs[] = {
    "return ('x'):rep(1 << 30)",
    "local t = {} while true do t[#t + 1] = {} end",
    "local t = {} for i = 1, math.huge do t[i] = i end",
    "local s = 'x' while true do s = s .. s end",
    "local t = {} while true do t[#t + 1] = coroutine.create(print) end",
    "local t = {} while true do t[#t + 1] = ('x'):rep(100000) .. #t end",
    "local s = ('x'):rep(100000) string.gsub(s, '.', s)",
    "local t = {} for i = 1, 10000 do t[i] = ('x'):rep(10000) end return table.concat(t)",
    "local t = 'x' for i = 1, 40 do t = { t, t } end return t",
    "local t = 'x' for i = 1, 40 do t = { t, t } end return json.encode(t)",
    "return json.decode(('['):rep(500) .. (',[]'):rep(3000000))",
    "local function f(n) return 1 + f(n + 1) end return f(1)", /* the stack is refused while it is moved */
};

enum { BOMBS = sizeof(bombs) / sizeof(bombs[0]), BOMB_BYTES = 16 * MIB };

static void open_bomb(void (*open)(const char *app), int i)
{
    char app[512];
    snprintf(app, sizeof(app), "function api.get()\n%s\nend", bombs[i]);
    open(app);
}

START_TEST(memory_bomb_is_stopped_and_the_vm_is_to_be_replaced)
{
    open_bomb(open_app, _i);
    size_t before = vm_bytes(fx.vm);
    const char *answer = fixture_ask(&fx, &(ask){.route = "GET /", .memory_bytes = BOMB_BYTES});
    ck_assert_msg(strncmp(answer, "500 application/json|", 21) == 0, "%s", bombs[_i]);
    ck_assert_contains(answer, "\"request_id\":\"req-1\"");
    ck_assert_contains(fixture_logged(&fx), "0 [req-1] GET /: the handler met its memory limit: it wanted ");
    ck_assert_contains(fixture_logged(&fx), "and may have 16.0 MiB\nstack traceback:");
    ck_assert_uint_le(vm_bytes(fx.vm), before + BOMB_BYTES + MIB);
    ck_assert(vm_soiled(fx.vm));
    close_app();
}
END_TEST

static void open_small_vm(const char *app)
{
    fixture_init(&fx, "recycled", false);
    fx.config.memory_bytes = BOMB_BYTES;
    ck_assert_int_eq(fixture_load(&fx, app), 0);
}

START_TEST(vm_has_a_limit_too)
{
    open_bomb(open_small_vm, 1);
    ck_assert_contains(fixture_get(&fx, "GET /"), "500 application/json|");
    ck_assert_contains(fixture_logged(&fx), "memory limit");
    ck_assert_contains(fixture_logged(&fx), "app.lua:2");
    close_app();
}
END_TEST

START_TEST(handlers_that_wait_have_the_limit_of_the_vm_together)
{
    call c;
    open_small_vm("function api.get() local t = {} while true do t[#t + 1] = ('x'):rep(1 << 20) .. #t "
                  "sleep(0) end end");
    call_run(&fx, &c, &(ask){.route = "GET /", .memory_bytes = 4 * MIB});
    ck_assert_int_eq(c.request->status, 500);
    ck_assert_int_eq(c.request->limit, VM_LIMIT_MEMORY);
    call_end(&fx, &c);
    close_app();
}
END_TEST

START_TEST(handler_may_catch_the_lack_of_memory)
{
    open_app("function api.get() return tostring(pcall(string.rep, 'x', 1 << 30)) end");
    ck_assert_str_eq(fixture_ask(&fx, &(ask){.route = "GET /", .memory_bytes = MIB}), "200 text/plain|false");
    ck_assert(!vm_soiled(fx.vm));
    close_app();
}
END_TEST

START_TEST(garbage_does_not_count)
{
    open_app("function api.get() for i = 1, 400 do local s = ('x'):rep(1 << 20) .. i end return 'made' end");
    for (int i = 0; i < 3; i++)
        ck_assert_str_eq(fixture_ask(&fx, &(ask){.route = "GET /", .memory_bytes = 8 * MIB}),
                         "200 text/plain|made");
    ck_assert_str_eq(fixture_logged(&fx), "");
    ck_assert(!vm_soiled(fx.vm));
    close_app();
}
END_TEST

START_TEST(limit_holds_for_its_own_request_alone)
{
    open_app("function api.get() return #('x'):rep(8 << 20) end");
    ck_assert_contains(fixture_ask(&fx, &(ask){.route = "GET /", .memory_bytes = MIB}), "500 ");
    ck_assert_str_eq(fixture_get(&fx, "GET /"), "200 application/json|8388608");
    close_app();
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("limit");
    TCase *time = tcase_create("time");
    tcase_add_loop_test(time, runaway_is_ended_and_the_vm_serves_on, 0, RUNAWAYS);
    tcase_add_loop_test(time, runaway_hook_is_ended, 0, 6);
    tcase_add_test(time, handler_that_waits_is_ended_while_its_variables_are_closed);
    tcase_add_test(time, handler_that_went_on_after_its_wait_is_ended);
    tcase_add_test(time, finalizer_is_ended_while_no_handler_runs);
    tcase_add_test(time, a_long_text_is_not_encoded_when_a_limit_is_met);
#ifdef POOLSRV_DEBUG
    tcase_add_test(time, a_limit_without_memory_to_tell_of_it_is_a_500);
#endif
    tcase_add_test(time, variables_of_c_are_closed_when_a_limit_ends_the_handler);
    tcase_add_test(time, interruption_is_safe_at_any_moment);
    tcase_add_test(time, handler_that_met_its_limit_reads_no_other_request);
    tcase_add_test(time, interruption_that_comes_late_ends_nothing);
    suite_add_tcase(s, time);
    TCase *manual = tcase_create("manual");
    tcase_add_test(manual, coroutines_are_as_in_the_manual);
    tcase_add_test(manual, coroutines_take_no_more_values_than_their_stacks);
    tcase_add_test(manual, a_waiting_request_is_not_closed_by_another);
    tcase_add_test(manual, hooks_of_the_app_are_as_in_the_manual);
    tcase_add_test(manual, hook_of_the_app_ends_with_its_request);
    tcase_add_test(manual, finalizers_are_as_in_the_manual);
    tcase_add_test(manual, finalizers_call_each_other);
    tcase_add_test(manual, finalizers_that_call_each_other_outlive_a_collection);
    suite_add_tcase(s, manual);
    TCase *memory = tcase_create("memory");
    tcase_add_loop_test(memory, deep_recursion_is_an_error_that_soils_nothing, 0, 7);
    tcase_add_loop_test(memory, memory_bomb_is_stopped_and_the_vm_is_to_be_replaced, 0, BOMBS);
    tcase_add_test(memory, vm_has_a_limit_too);
    tcase_add_test(memory, handlers_that_wait_have_the_limit_of_the_vm_together);
    tcase_add_test(memory, handler_may_catch_the_lack_of_memory);
    tcase_set_timeout(memory, 240); /* gigabytes are copied, and a sanitizer looks at each */
    tcase_add_test(memory, garbage_does_not_count);
    tcase_add_test(memory, limit_holds_for_its_own_request_alone);
    suite_add_tcase(s, memory);
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
