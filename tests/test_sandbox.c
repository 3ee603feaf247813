/* What a handler may reach, and what it may change for others: the list of vm/sandbox_names.h, and the ways
 * round it that a hostile author would try. */
#include "vm/sandbox.h"

#include <lauxlib.h>
#include <lualib.h>

#include "tests/vm_fixture.h"
#include "vm/internal.h"
#include "vm/sandbox_names.h"

typedef struct listed {
    const char *library, *name;
    enum sandbox_who who;
    const char *why;
} listed;

static const listed list[] = {
#define X(library, name, who, why) {library, name, who, why},
    SANDBOX_NAMES(X)
#undef X
};

enum { LISTED = sizeof(list) / sizeof(list[0]), FOUND_MAX = 4096, DEFAULT = 0, STRICT = 1 };

static vm_fixture fx;

/* --- what was found --- */

static lua_CFunction found[FOUND_MAX];
static size_t found_count;

/* found(fn): a walk has come upon it. */
static int on_found(lua_State *L)
{
    ck_assert_uint_lt(found_count, FOUND_MAX);
    if (lua_iscfunction(L, 1))
        found[found_count++] = lua_tocfunction(L, 1);
    return 0;
}

static int open_found(lua_State *L)
{
    lua_pushcfunction(L, on_found);
    return 1;
}

/* An object of C's, with a table in it. */
static int open_box(lua_State *L)
{
    lua_newuserdatauv(L, 1, 1);
    lua_newtable(L);
    lua_setiuservalue(L, -2, 1);
    lua_newtable(L);
    lua_setmetatable(L, -2);
    return 1;
}

static bool was_found(lua_CFunction fn)
{
    for (size_t i = 0; i < found_count; i++)
        if (found[i] == fn)
            return true;
    return false;
}

/* --- apps --- */

static const vm_module modules[] = {{"test.found", open_found}, {"test.box", open_box}};

static void prepare(bool strict, vm_globals globals)
{
    fixture_init(&fx, "recycled", false);
    fx.config.strict = strict;
    fx.config.globals = globals;
    fx.config.modules = modules;
    fx.config.module_count = sizeof(modules) / sizeof(modules[0]);
}

static void load_app(const char *app)
{
    int err = fixture_load(&fx, app);
    if (!err)
        err = vm_seal(fx.vm, fx.error, sizeof(fx.error));
    ck_assert_msg(err == 0, "the app does not load: %s", fx.error);
}

static void open_app(bool strict, const char *app)
{
    prepare(strict, VM_GLOBALS_WARN);
    load_app(app);
}

static void add_module(const char *name, const char *text)
{
    fixture_write(&fx, name, text, strlen(text));
}

static void close_app(void)
{
    fixture_close(&fx);
}

/* --- the list --- */

/* Goes through all that it can get at, from the globals and what surrounds a handler. */
#define WALK                                                                                                 \
    "local found, seen = require 'test.found', {}\n"                                                         \
    "local queue, n = {}, 0\n"                                                                               \
    "local function note(v)\n"                                                                               \
    "  local t = type(v)\n"                                                                                  \
    "  if seen[v] or t ~= 'table' and t ~= 'function' and t ~= 'userdata' and t ~= 'thread' then return "    \
    "end\n"                                                                                                  \
    "  seen[v] = true n = n + 1 queue[n] = v\n"                                                              \
    "end\n"                                                                                                  \
    "local function try(f, ...) local ok, v = pcall(f, ...) if ok then return v end end\n"                   \
    "local function visit(v)\n"                                                                              \
    "  local t = type(v)\n"                                                                                  \
    "  note(getmetatable(v)) note(try(debug.getmetatable, v))\n"                                             \
    "  if t == 'table' then for k, x in next, v do note(k) note(x) end end\n"                                \
    "  if t == 'table' then pcall(function() for k, x in pairs(v) do note(k) note(x) end end) end\n"         \
    "  if t == 'function' then\n"                                                                            \
    "    found(v)\n"                                                                                         \
    "    for i = 1, 255 do local ok, name, x = pcall(debug.getupvalue, v, i)\n"                              \
    "      if not ok or not name then break end note(x) end\n"                                               \
    "  end\n"                                                                                                \
    "  if t == 'userdata' then for i = 1, 9 do note(try(debug.getuservalue, v, i)) end end\n"                \
    "end\n"                                                                                                  \
    "local function walk(...)\n"                                                                             \
    "  for _, v in ipairs { _G, package.loaded, '', coroutine.running(), visit, ... } do note(v) end\n"      \
    "  note(getmetatable('')) note(try(debug.getregistry))\n"                                                \
    "  for level = 0, 9 do for i = 1, 99 do\n"                                                               \
    "    local ok, name, x = pcall(debug.getlocal, level, i) if not ok or not name then break end note(x)\n" \
    "  end end\n"                                                                                            \
    "  for i = 1, 1e9 do if not queue[i] then return i - 1 end visit(queue[i]) end\n"                        \
    "end\n"

/* A library's function as Lua makes it, or NULL where this Lua has none. */
static lua_CFunction original(lua_State *plain, const listed *l)
{
    lua_getglobal(plain, l->library);
    if (lua_isnil(plain, -1)) {
        lua_pop(plain, 1);
        return NULL;
    }
    lua_getfield(plain, -1, l->name);
    lua_CFunction fn = lua_tocfunction(plain, -1);
    lua_pop(plain, 2);
    return fn;
}

static bool is_granted(const listed *l, bool strict)
{
    return l->who == SANDBOX_ALL || (l->who == SANDBOX_DEFAULT && !strict);
}

static void find_all(bool strict)
{
    found_count = 0;
    open_app(strict, WALK "function api.get(ctx) return walk(ctx, ctx:headers(), api.text 'x') > 150 end");
    ck_assert_str_eq(fixture_get(&fx, "GET /"), "200 application/json|true");
}

/* Some files of the libraries share functions under two names (io.close, file:close): none here. */
START_TEST(no_walk_reaches_a_function_that_the_list_does_not_grant)
{
    bool strict = _i == STRICT;
    lua_State *plain = luaL_newstate();
    luaL_openlibs(plain);
    find_all(strict);
    size_t granted = 0, refused = 0;
    for (size_t i = 0; i < LISTED; i++) {
        lua_CFunction fn = original(plain, &list[i]);
        if (!fn)
            continue;
        if (is_granted(&list[i], strict)) {
            granted += was_found(fn);
            continue;
        }
        ck_assert_msg(!was_found(fn), "a handler reaches %s.%s", list[i].library, list[i].name);
        refused++;
    }
    ck_assert_uint_gt(granted, 60);
    ck_assert_uint_eq(refused > 20, strict);
    ck_assert_uint_gt(refused, 3);
    lua_close(plain);
    close_app();
}
END_TEST

/* What has a guard must be reached through it alone. */
START_TEST(no_walk_reaches_what_is_guarded)
{
    static const listed guarded[] = {
        {"_G", "collectgarbage", 0, NULL},  {"_G", "load", 0, NULL},
        {"_G", "loadfile", 0, NULL},        {"_G", "dofile", 0, NULL},
        {"_G", "setmetatable", 0, NULL},    {"os", "execute", 0, NULL},
        {"io", "popen", 0, NULL},           {"debug", "sethook", 0, NULL},
        {"debug", "setupvalue", 0, NULL},   {"debug", "setlocal", 0, NULL},
        {"debug", "setmetatable", 0, NULL}, {"coroutine", "resume", 0, NULL},
        {"coroutine", "close", 0, NULL},
    };
    static const listed sealed[] = {
        {"_G", "getmetatable", 0, NULL}, {"_G", "rawset", 0, NULL},  {"_G", "rawget", 0, NULL},
        {"_G", "rawlen", 0, NULL},       {"_G", "require", 0, NULL},
    };
    lua_State *plain = luaL_newstate();
    luaL_openlibs(plain);
    find_all(_i == STRICT);
    for (size_t i = 0; i < sizeof(guarded) / sizeof(guarded[0]); i++)
        ck_assert_msg(!was_found(original(plain, &guarded[i])), "a handler reaches Lua's %s",
                      guarded[i].name);
    for (size_t i = 0; i < sizeof(sealed) / sizeof(sealed[0]) && _i == STRICT; i++)
        ck_assert_msg(!was_found(original(plain, &sealed[i])), "a handler reaches Lua's %s", sealed[i].name);
    lua_close(plain);
    close_app();
}
END_TEST

static bool is_listed(const char *library, const char *name)
{
    for (size_t i = 0; i < LISTED; i++)
        if (strcmp(list[i].library, library) == 0 && strcmp(list[i].name, name) == 0)
            return true;
    return false;
}

/* The names of each library, as a handler sees them, one a line. */
#define NAMES                                                                                                \
    "function api.get() local t = {} for _, l in ipairs { '_G', 'coroutine', 'debug', 'io', 'json', "        \
    "'math', "                                                                                               \
    "'os', 'package', 'string', 'table', 'utf8' } do for k in pairs(_G[l]) do t[#t + 1] = l .. ' ' .. "      \
    "tostring(k) .. '\\n' end end return table.concat(t) end"

START_TEST(libraries_hold_nothing_but_what_is_listed)
{
    char library[64], name[64];
    int n = 0, used;
    open_app(_i == STRICT, NAMES);
    const char *p = strchr(fixture_get(&fx, "GET /"), '|') + 1;
    for (; sscanf(p, "%63s %63s%n", library, name, &used) == 2; p += used, n++)
        ck_assert_msg(is_listed(library, name), "%s.%s is not in the list", library, name);
    ck_assert_int_gt(n, 140);
    close_app();
}
END_TEST

/* Every name of 5.4.4 and 5.4.6, which have the same, must have been thought of. */
START_TEST(every_name_of_this_lua_is_listed)
{
    static const char *const libraries[] = {"_G", "coroutine", "debug",  "io",    "math",
                                            "os", "package",   "string", "table", "utf8"};
    lua_State *plain = luaL_newstate();
    luaL_openlibs(plain);
    for (size_t i = 0; i < sizeof(libraries) / sizeof(libraries[0]); i++) {
        lua_getglobal(plain, libraries[i]);
        for (lua_pushnil(plain); lua_next(plain, -2); lua_pop(plain, 1))
            ck_assert_msg(is_listed(libraries[i], lua_tostring(plain, -2)), "%s.%s is not in the list",
                          libraries[i], lua_tostring(plain, -2));
        lua_pop(plain, 1);
    }
    lua_close(plain);
}
END_TEST

START_TEST(names_that_are_refused_say_why_and_what_to_do)
{
    char app[256], name[64];
    const listed *l = &list[_i];
    lua_State *plain = luaL_newstate();
    luaL_openlibs(plain);
    if (l->who != SANDBOX_ALL && original(plain, l)) {
        bool is_global = strcmp(l->library, "_G") == 0;
        snprintf(name, sizeof(name), "%s%s%s", is_global ? "" : l->library, is_global ? "" : ".", l->name);
        snprintf(app, sizeof(app), "function api.get() %s() end", name);
        open_app(true, app);
        ck_assert_contains(fixture_get(&fx, "GET /"), "500 ");
        ck_assert_contains(fixture_logged(&fx), name);
        ck_assert_contains(fixture_logged(&fx), l->why);
        ck_assert_ptr_nonnull(strchr(l->why, ';')); /* why; what instead */
        close_app();
    }
    lua_close(plain);
}
END_TEST

/* --- refused by default --- */

/* Each is an expression, and a part of the error that it must raise. */
static const char *const refusals[][2] = {
    {"os.exit(0)", "os.exit: would stop the whole server"},
    {"os.setlocale('C')", "os.setlocale: would change"},
    {"collectgarbage('stop')", "memory would grow"},
    {"collectgarbage('step', -1000000)", "would stop the collector"},
    {"collectgarbage('step', 1 << 31)", "would stop the collector"},
    {"collectgarbage('step', 2^31)", "would stop the collector"},
    {"collectgarbage('step', math.maxinteger)", "would stop the collector"},
    {"collectgarbage('generational')", "stay incremental"},
    {"debug.getregistry()", "debug.getregistry: would open"},
    {"debug.debug()", "debug.debug: would wait"},
    {"debug.setupvalue(json.encode, 1, 1)", "C function is not to be changed"},
    {"debug.setupvalue(('x'):gmatch('x'), 3, 1)", "C function is not to be changed"},
    {"debug.setmetatable(io.stdout, {})", "C code knows its objects"},
    {"debug.getinfo(2, 'f').func(1)", "only the server calls this function"},
    {"debug.getinfo(2, 'f').func(io.stdout)", "only the server calls this function"},
    {"debug.getmetatable(select(2, debug.getupvalue(json.encode, 1))).__gc(io.stdout)",
     "only the collector calls this function"},
    {"debug.getmetatable(select(2, debug.getupvalue(json.encode, 1))).__gc()",
     "only the collector calls this function"},
    {"string.gsub('x', 'x', function() debug.setlocal(2, 1, nil) end)", "what a C function holds"},
    {"assert(load(string.dump(function() end)))", "binary chunk"},
    {"assert(load(string.dump(function() end), 'x', 'bt'))", "binary chunk"},
    {"assert(load(string.dump(function() end), 'x', 'b'))", "bytecode is not loaded here"},
    {"assert(load(coroutine.wrap(function() coroutine.yield(string.dump(function() end)) end)))",
     "binary chunk"},
};

enum { REFUSALS = sizeof(refusals) / sizeof(refusals[0]) };

START_TEST(what_breaks_the_process_is_refused)
{
    char app[256];
    snprintf(app, sizeof(app), "function api.get() local x = %s end function api.ok.get() return 'ok' end",
             refusals[_i][0]);
    open_app(false, app);
    ck_assert_contains(fixture_get(&fx, "GET /"), "500 ");
    ck_assert_contains(fixture_logged(&fx), refusals[_i][1]);
    ck_assert_str_eq(fixture_get(&fx, "GET /ok"), "200 text/plain|ok");
    close_app();
}
END_TEST

START_TEST(the_rest_is_as_in_the_manual)
{
    open_app(false, "function api.get()\n"
                    "  local set = 1 assert(debug.setlocal(1, 1, 'set') == 'set' and set == 'set')\n"
                    "  local f = assert(io.tmpfile()) f:write('x') f:close()\n"
                    "  local p = io.popen('cat; exit 4', 'w') p:write('') local a, b, c = p:close()\n"
                    "  local q = io.popen('echo piped') local line = q:read() q:close()\n"
                    "  local d, e, g = os.execute('kill -9 $$')\n"
                    "  collectgarbage() collectgarbage('step') collectgarbage('setpause', 200)\n"
                    "  local v = 1 local function up() return v end debug.setupvalue(up, 1, 2)\n"
                    "  return { a == nil, b, c, line, d == nil, e, g, os.execute(), up(),\n"
                    "    (pcall(io.popen, 'x', 'rw')), load('return 7')() }\n"
                    "end");
    ck_assert_str_eq(fixture_get(&fx, "GET /"),
                     "200 application/json|[true,\"exit\",4,\"piped\",true,\"signal\","
                     "9,true,2,false,7]");
    close_app();
}
END_TEST

/* --- globals --- */

#define LEAKY "function api.get()\n  leaked = (leaked or 0) + 1\n  return leaked\nend"

static unsigned count(const char *text, const char *part)
{
    unsigned n = 0;
    for (const char *p = text; (p = strstr(p, part)); p += strlen(part))
        n++;
    return n;
}

START_TEST(new_globals_are_told_once_for_all_vms)
{
    static once told;
    vm_fixture other;
    told = (once){0};
    prepare(_i == STRICT, VM_GLOBALS_WARN);
    fx.config.told = &told;
    load_app(LEAKY);
    fixture_get(&fx, "GET /");
    fixture_get(&fx, "GET /");
    ck_assert_contains(fixture_logged(&fx), "app.lua:2: the handler sets the global 'leaked'");
    ck_assert_uint_eq(count(fixture_logged(&fx), "the global"), 1);
    other = fx;
    ck_assert_int_eq(vm_open(&fx.config, &fx.vm, fx.error, sizeof(fx.error)), 0);
    ck_assert_int_eq(vm_load(fx.vm, fx.path, fx.error, sizeof(fx.error)), 0);
    ck_assert_int_eq(vm_seal(fx.vm, fx.error, sizeof(fx.error)), 0);
    fixture_get(&fx, "GET /");
    ck_assert_uint_eq(count(fixture_logged(&fx), "the global"), 1);
    vm_close(other.vm);
    close_app();
}
END_TEST

START_TEST(new_globals_can_be_errors_or_nobodys_business)
{
    prepare(_i == STRICT, VM_GLOBALS_ERROR);
    load_app(LEAKY);
    ck_assert_contains(fixture_get(&fx, "GET /"), "500 ");
    ck_assert_contains(fixture_logged(&fx), "app.lua:2: the handler sets the global 'leaked': make it local");
    close_app();
    prepare(_i == STRICT, VM_GLOBALS_ALLOW);
    load_app(LEAKY);
    ck_assert_str_eq(fixture_get(&fx, "GET /"), "200 application/json|1");
    ck_assert_str_eq(fixture_logged(&fx), "");
    close_app();
}
END_TEST

START_TEST(globals_set_while_the_app_loads_are_its_own)
{
    prepare(_i == STRICT, VM_GLOBALS_ERROR);
    load_app("x = 1 function helper() return x end function api.get() return helper() end");
    ck_assert_str_eq(fixture_get(&fx, "GET /"), "200 application/json|1");
    close_app();
}
END_TEST

START_TEST(names_without_end_do_not_fill_the_log)
{
    static once told;
    told = (once){0};
    prepare(false, VM_GLOBALS_WARN);
    fx.config.told = &told;
    load_app("function api.get() for i = 1, 2000 do _G['x' .. i] = i end return 'done' end");
    ck_assert_str_eq(fixture_get(&fx, "GET /"), "200 text/plain|done");
    ck_assert_uint_eq(count(fixture_logged(&fx), "sets the global"), ONCE_MOST);
    ck_assert_contains(fixture_logged(&fx), "no more are told");
    close_app();
}
END_TEST

START_TEST(an_app_that_watches_its_globals_goes_on_doing_so)
{
    prepare(false, VM_GLOBALS_WARN);
    load_app("setmetatable(_G, { __newindex = function(_, k) error('mine: ' .. k) end })\n"
             "function api.get() leaked = 1 end");
    ck_assert_contains(fixture_get(&fx, "GET /"), "500 ");
    ck_assert_contains(fixture_logged(&fx), "mine: leaked");
    close_app();
}
END_TEST

START_TEST(a_global_that_c_sets_alone_has_no_place_but_is_told)
{
    open_app(_i == STRICT, "function api.get() coroutine.wrap(table.insert)(_G, 7) end");
    fixture_get(&fx, "GET /");
    ck_assert_contains(fixture_logged(&fx), "1 [req-1] the handler sets the global '1'");
    close_app();
}
END_TEST

/* --- strict: nothing passes from one request to another --- */

#define CLASS                                                                                                \
    "local M = { list = { 1, 2, 3 }, inner = { deep = { x = 'old' } }, x = 'old' } M.__index = M\n"          \
    "M.__tostring = function(o) return 'object ' .. o.name end\n"                                            \
    "function M.new(name) return setmetatable({ name = name }, M) end\n"                                     \
    "function M:greet() return 'hello ' .. self.name end\n"                                                  \
    "M.first = M.new('first')\n"                                                                             \
    "return M\n"

#define PREFIX                                                                                               \
    "m = require 'm' conf = { x = 'old' } shared = 'old'\n"                                                  \
    "local m, rawset, string = m, rawset, string\n"

/* Each is what a handler tries; after it, nothing has changed for the next. */
static const char *const attempts[] = {
    "shared = 'new'",
    "_G.shared = 'new'",
    "rawset(_G, 'shared', 'new')",
    "shared = nil",
    "leaked = 'new'",
    "_ENV.leaked = 'new'",
    "load(\"leaked = 'new'\")()",
    "load(\"leaked = 'new'\", 'c', 't', _G)()",
    "setmetatable(_G, { __index = { leaked = 'new' } })",
    "setmetatable(_G, nil)",
    "conf.x = 'new'",
    "rawset(conf, 'x', 'new')",
    "m.x = 'new'",
    "rawset(m, 'x', 'new')",
    "m.inner.deep.x = 'new'",
    "table.insert(m.list, 4)",
    "table.remove(m.list)",
    "table.sort(m.list, function(a, b) return a > b end)",
    "table.move({ 9 }, 1, 1, 1, m.list)",
    "m.greet = function() return 'new' end",
    "m.__index = { greet = function() return 'new' end }",
    "getmetatable(m.first).__index = { greet = function() return 'new' end }",
    "getmetatable(m.first).greet = function() return 'new' end",
    "getmetatable(m.new 'x').greet = function() return 'new' end",
    "rawset(getmetatable(m.first), '__index', {})",
    "setmetatable(m, { __index = function() return 'new' end })",
    "setmetatable(m, nil)",
    "m.first.name = 'new'",
    "package.loaded.m = { x = 'new' }",
    "package.loaded.m = nil",
    "rawset(package.loaded, 'm', nil)",
    "package.loaded.string.upper = string.lower",
    "package.path = '/tmp/?.lua'",
    "string.upper = string.lower",
    "rawset(string, 'upper', string.lower)",
    "getmetatable('').__index = { upper = string.lower }",
    "getmetatable('').__index.upper = string.lower",
    "getmetatable('').__add = string.lower",
    "setmetatable(string, {})",
    "table.insert(string, 'x')",
    "load(\"upper = string.lower\", 'c', 't', string)()",
    "json.array(m.list)",
    "json.array_mt.__index = m",
    "json.encode = nil",
    "api.json = nil",
    "rawset(api, 'text', print)",
    "getmetatable(api).__index = {}",
    "getmetatable(api).__index.text = print",
    "math.randomseed(1)",
    "math.pi = 3",
    "coroutine.wrap(function() shared = 'new' leaked = 'new' end)()",
    "setmetatable({}, { __gc = function() shared = 'new' end }) collectgarbage()",
    ("local mt = { __gc = true } setmetatable({}, mt) mt.__gc = function() shared = 'new' end "
     "collectgarbage()"),
    "local x <close> = setmetatable({}, { __close = function() shared = 'new' leaked = 1 end })",
    "xpcall(error, function() shared = 'new' m.x = 'new' end)",
    "for k, v in pairs(m) do if type(v) == 'table' then rawset(v, 'x', 'new') end end",
    "for k, v in next, m do if type(v) == 'table' then rawset(v, 'x', 'new') end end",
    "for k in pairs(_G) do _G[k] = nil end",
    "string.gsub('x', 'x', function() shared = 'new' string.upper = nil end)",
    "table.sort({ 1, 2 }, function() rawset(m, 'x', 'new') end)",
    "local f = table.pack(pcall(require, 'm')) f[2].x = 'new'",
    "collectgarbage('setpause', 1000)",
    "warn('@off')",
    "io.stdout:write('x')",
    "require('other').x = 'new'",
    "local ok, e = pcall(error, setmetatable({}, m)) getmetatable(e).x = 'new'",
    "m.x, m.list[1], conf.new = 'new', 'new', 'new'",
};

enum { ATTEMPTS = sizeof(attempts) / sizeof(attempts[0]) };

#define LOOK                                                                                                 \
    "function api.look.get() local p = require 'm'\n"                                                        \
    "  return { shared, tostring(leaked), conf.x, conf.new == nil, m.x, p == m, m.inner.deep.x,\n"           \
    "    m.inner.x == nil, #m.list, m.list[1], m.first:greet(), m.new('you'):greet(), tostring(m.first),\n"  \
    "    ('x'):upper(), string.upper('y'), package.loaded.string == string, json.encode { m.list },\n"       \
    "    getmetatable(m.first) == m, getmetatable('').__index == string, getmetatable(m.list) == nil,\n"     \
    "    pcall(function() return 'a' + 'b' end), math.pi > 3, package.path ~= '/tmp/?.lua' } end\n"

#define AS_IT_WAS                                                                                            \
    "200 application/json|[\"old\",\"nil\",\"old\",true,\"old\",true,\"old\",true,3,1,\"hello first\","      \
    "\"hello you\",\"object first\",\"X\",\"Y\",true,\"[[1,2,3]]\",true,true,true,false"

static void check_as_it_was(void)
{
    ck_assert_contains(fixture_get(&fx, "GET /look"), AS_IT_WAS);
}

START_TEST(nothing_that_a_handler_tries_changes_anything_for_the_next)
{
    char app[4096];
    prepare(true, _i % 2 ? VM_GLOBALS_ALLOW : VM_GLOBALS_WARN);
    add_module("m.lua", CLASS);
    add_module("other.lua", "return {}");
    snprintf(app, sizeof(app), "%s%sfunction api.get() pcall(function() %s end) return 'tried' end\n", PREFIX,
             LOOK, attempts[_i]);
    load_app(app);
    check_as_it_was();
    ck_assert_str_eq(fixture_get(&fx, "GET /"), "200 text/plain|tried");
    check_as_it_was();
    fixture_get(&fx, "GET /");
    check_as_it_was();
    close_app();
}
END_TEST

/* Without strict mode most of these do change things: what looks, sees. */
START_TEST(without_strict_mode_handlers_change_things_for_the_next)
{
    prepare(false, VM_GLOBALS_ALLOW);
    add_module("m.lua", CLASS);
    load_app(PREFIX LOOK "function api.get() shared = 'new' m.x = 'new' string.upper = string.lower end");
    ck_assert_contains(fixture_get(&fx, "GET /look"), AS_IT_WAS);
    fixture_get(&fx, "GET /");
    ck_assert_contains(fixture_get(&fx, "GET /look"), "|[\"new\",\"nil\",\"old\",true,\"new\"");
    close_app();
}
END_TEST

START_TEST(a_waiting_handler_keeps_its_globals_and_others_see_none)
{
    call a, b;
    prepare(true, VM_GLOBALS_ALLOW);
    load_app("shared = 'old'\n"
             "function api.a.get() mine, shared = 'a', 'a' sleep(1) return mine .. shared end\n"
             "function api.b.get() local before = tostring(mine) .. shared mine = 'b' sleep(1)\n"
             "  return before .. mine .. shared end\n"
             "function api.look.get() return tostring(mine) .. shared end\n");
    call_begin(&fx, &a, &(ask){.route = "GET /a"});
    ck_assert_str_eq(fixture_get(&fx, "GET /look"), "200 text/plain|nilold");
    call_begin(&fx, &b, &(ask){.route = "GET /b"});
    ck_assert_str_eq(fixture_get(&fx, "GET /look"), "200 text/plain|nilold");
    call_resume(&fx, &a);
    ck_assert_str_eq(call_body(&a), "aa");
    call_end(&fx, &a);
    call_resume(&fx, &b);
    ck_assert_str_eq(call_body(&b), "niloldbold");
    call_end(&fx, &b);
    ck_assert_str_eq(fixture_get(&fx, "GET /look"), "200 text/plain|nilold");
    close_app();
}
END_TEST

START_TEST(a_cancelled_handler_takes_its_globals_with_it)
{
    call a;
    prepare(true, VM_GLOBALS_ALLOW);
    load_app("function api.a.get() mine = 'a'\n"
             "  local x <close> = setmetatable({}, { __close = function() print(mine) mine = 'b' end })\n"
             "  sleep(1) end\n"
             "function api.look.get() return tostring(mine) end\n");
    call_begin(&fx, &a, &(ask){.route = "GET /a"});
    vm_cancel(fx.vm, a.run);
    call_end(&fx, &a);
    ck_assert_contains(fixture_logged(&fx), "] a\n");
    ck_assert_str_eq(fixture_get(&fx, "GET /look"), "200 text/plain|nil");
    close_app();
}
END_TEST

START_TEST(a_handler_that_fails_takes_its_globals_with_it)
{
    prepare(true, VM_GLOBALS_ALLOW);
    load_app("function api.get() mine = 'a' error 'x' end function api.look.get() return tostring(mine) end");
    ck_assert_contains(fixture_get(&fx, "GET /"), "500 ");
    ck_assert_str_eq(fixture_get(&fx, "GET /look"), "200 text/plain|nil");
    close_app();
}
END_TEST

/* The app's own finalizers run in whatever request comes: they set no globals. */
START_TEST(finalizers_set_no_globals_in_others_requests)
{
    prepare(true, VM_GLOBALS_ALLOW);
    add_module("m.lua", "local M = {} M.__gc = function() admin = true end\n"
                        "function M.new() return setmetatable({}, M) end M.first = M.new() return M\n");
    load_app("m = require 'm' local kept function api.make.get() kept = m.new() return 'made' end\n"
             "function api.look.get() other, kept = 1 collectgarbage() return tostring(admin) end");
    ck_assert_str_eq(fixture_get(&fx, "GET /make"), "200 text/plain|made");
    ck_assert_str_eq(fixture_get(&fx, "GET /look"), "200 text/plain|nil");
    ck_assert_contains(fixture_logged(&fx), "'admin' is read-only");
    close_app();
}
END_TEST

START_TEST(writing_says_which_table_and_what_to_do)
{
    prepare(true, VM_GLOBALS_WARN);
    add_module("m.lua", CLASS);
    load_app("local m = require 'm'\n"
             "function api.get() m.x = 1 end\nfunction api.lib.get() string.upper = nil end");
    fixture_get(&fx, "GET /");
    fixture_get(&fx, "GET /lib");
    ck_assert_contains(fixture_logged(&fx), "app.lua:2: m: 'x' is read-only with --sandbox strict");
    ck_assert_contains(fixture_logged(&fx), "app.lua:3: string: 'upper' is read-only");
    close_app();
}
END_TEST

/* --- strict: what reads goes on as before --- */

START_TEST(sealed_tables_read_as_before)
{
    prepare(true, VM_GLOBALS_WARN);
    add_module("m.lua", CLASS);
    load_app("local m = require 'm'\n"
             "local made = setmetatable({ own = 1 }, { __index = function(t, k) return k .. '!' end,\n"
             "  __call = function(_, x) return x end, __len = function() return 42 end })\n"
             "data = { made = made, arr = json.array {}, obj = { a = 1 }, opt = { path = '/' } }\n"
             "local function keys(t) local k = {} for x in pairs(t) do k[#k + 1] = tostring(x) end\n"
             "  table.sort(k) return table.concat(k, ' ') end\n"
             "function api.get()\n"
             "  return { keys(m.inner), rawget(m, 'x'), rawlen(m.list), #m.list, table.unpack(m.list), }\n"
             "end\n"
             "function api.two.get() local it = {} for i, v in ipairs(m.list) do it[i] = v * 2 end\n"
             "  return { data.made.own, data.made.thing, data.made(7), #data.made, it, data.arr, data.obj,\n"
             "    next(m.inner) == 'deep', next({}) == nil, rawequal(m, m), table.concat(m.list, '-'),\n"
             "    select('#', table.unpack(m.list)), m.first:greet() } end\n"
             "function api.obj.get() return data.obj end\n"
             "function api.globals.get() mine = 1 local n, own = 0, 0 for k, v in pairs(_G) do n = n + 1\n"
             "  if k == 'mine' then own = own + 1 end end return { own, n > 20 } end\n"
             "function api.cookie.get() return api.text('x'):cookie('a', 'b', data.opt) end\n");
    ck_assert_str_eq(fixture_get(&fx, "GET /"), "200 application/json|[\"deep\",\"old\",3,3,1,2,3]");
    ck_assert_str_eq(
        fixture_get(&fx, "GET /two"),
        "200 application/json|[1,\"thing!\",7,42,[2,4,6],[],{\"a\":1},true,true,true,\"1-2-3\",3,"
        "\"hello first\"]");
    ck_assert_str_eq(fixture_get(&fx, "GET /obj"), "200 application/json|{\"a\":1}");
    ck_assert_str_eq(fixture_get(&fx, "GET /globals"), "200 application/json|[1,true]");
    ck_assert_str_eq(fixture_get(&fx, "GET /cookie"), "200 text/plain|x");
    close_app();
}
END_TEST

START_TEST(metamethods_of_the_app_go_on_too)
{
    prepare(true, VM_GLOBALS_WARN);
    load_app(
        "local kept = {}\n"
        "local keeper = setmetatable({}, { __newindex = function(_, k, v) kept[k] = v end })\n"
        "data = { slow = setmetatable({}, { __index = function(_, k) sleep(0) return k .. '!' end }),\n"
        "  passing = setmetatable({}, { __newindex = keeper }),\n"
        "  weak = setmetatable({ f = print }, { __mode = 'v' }),\n"
        "  hidden = setmetatable({}, { __metatable = 'hidden' }) }\n"
        "function api.get() data.passing.x = 7 keeper.y = 8\n"
        "  return { data.slow.thing, kept.x, kept.y, data.weak.f == print, getmetatable(data.hidden) } end");
    ck_assert_str_eq(fixture_get(&fx, "GET /"), "200 application/json|[\"thing!\",7,8,true,\"hidden\"]");
    close_app();
}
END_TEST

START_TEST(a_handlers_globals_stand_in_front_of_the_apps)
{
    prepare(true, VM_GLOBALS_ALLOW);
    load_app("shared = 'old'\n"
             "function api.get() shared, mine, never = 'new', 1, nil local seen = {}\n"
             "  for k, v in pairs(_G) do seen[k] = (seen[k] or '') .. tostring(v) end\n"
             "  return { seen.shared, seen.mine, seen.print == tostring(print) } end");
    ck_assert_str_eq(fixture_get(&fx, "GET /"), "200 application/json|[\"new\",\"1\",true]");
    close_app();
}
END_TEST

START_TEST(tables_of_the_handlers_own_are_as_in_the_manual)
{
    prepare(true, VM_GLOBALS_WARN);
    load_app("box = require 'test.box'\n"
             "function api.get() local t = rawset({}, 'a', 1)\n"
             "  return { rawget(t, 'a'), rawget(t, 'b') == nil, next(t), getmetatable(box), getmetatable(t) "
             "== nil,\n"
             "    getmetatable('').__index == string, setmetatable({}, json.array_mt) } end");
    ck_assert_str_eq(fixture_get(&fx, "GET /"), "200 application/json|[1,true,\"a\",false,true,true,[]]");
    close_app();
}
END_TEST

/* What __index of the app's is given is the table itself, not its contents, or it could write there. */
START_TEST(metamethods_are_given_the_sealed_table)
{
    prepare(true, VM_GLOBALS_WARN);
    load_app("lazy = setmetatable({}, { __index = function(t, k) local v = k .. '!' rawset(t, k, v) return v "
             "end })\n"
             "same = setmetatable({}, { __index = function(t) return t end })\n"
             "function api.get() return { pcall(function() return lazy.x end), same.x == same } end");
    ck_assert_contains(fixture_get(&fx, "GET /"), "200 application/json|[false,true]");
    close_app();
}
END_TEST

START_TEST(objects_of_the_app_keep_their_classes)
{
    prepare(true, VM_GLOBALS_WARN);
    add_module("m.lua", CLASS);
    load_app("local m = require 'm'\n"
             "local Sub = setmetatable({}, { __index = m }) Sub.__index = Sub\n"
             "function Sub:bye() return 'bye ' .. self.name end\n"
             "local early = setmetatable({ name = 'early' }, Sub)\n"
             "local waiting = coroutine.wrap(function() local o = m.new('inside') coroutine.yield()\n"
             "  while true do coroutine.yield(o:greet()) end end) waiting()\n"
             "local given = coroutine.wrap(function(...) coroutine.yield() return (...):greet() end)\n"
             "given(m.new('given'))\n"
             "local unbegun = coroutine.wrap((function() local o = m.new('unbegun')\n"
             "  return function() return o:greet() end end)())\n"
             "function api.co.get() return { given(), unbegun() } end\n"
             "function api.get() local late = setmetatable({ name = 'late' }, Sub)\n"
             "  return { early:bye(), early:greet(), late:bye(), late:greet(), waiting(),\n"
             "    getmetatable(late) == Sub, getmetatable(early) == Sub } end");
    ck_assert_str_eq(fixture_get(&fx, "GET /"),
                     "200 application/json|[\"bye early\",\"hello early\",\"bye late\",\"hello late\","
                     "\"hello inside\",true,true]");
    ck_assert_str_eq(fixture_get(&fx, "GET /co"), "200 application/json|[\"hello given\",\"hello unbegun\"]");
    close_app();
}
END_TEST

START_TEST(modules_are_loaded_while_the_app_loads)
{
    prepare(true, VM_GLOBALS_WARN);
    add_module("m.lua", "return { x = 1 }");
    load_app("local early = require 'm' function api.get() return require('m') == early end\n"
             "function api.late.get() return require('late') end");
    ck_assert_str_eq(fixture_get(&fx, "GET /"), "200 application/json|true");
    ck_assert_contains(fixture_get(&fx, "GET /late"), "500 ");
    ck_assert_contains(fixture_logged(&fx), "require it at the top of the file");
    close_app();
}
END_TEST

START_TEST(searchers_that_were_kept_find_no_files)
{
    prepare(true, VM_GLOBALS_WARN);
    add_module("late.lua", "return 'late'");
    load_app("local search = package.searchers[2]\n"
             "function api.get() local loader = search('late') return type(loader) end");
    ck_assert_contains(fixture_get(&fx, "GET /"), "500 ");
    ck_assert_contains(fixture_logged(&fx), "modules are loaded while the app loads");
    close_app();
}
END_TEST

START_TEST(strict_apps_have_no_files_while_they_load_either)
{
    prepare(true, VM_GLOBALS_WARN);
    ck_assert_int_ne(fixture_load(&fx, "local f = io.open('/etc/passwd')"), 0);
    ck_assert_contains(fx.error, "there are no files with --sandbox strict");
    close_app();
}
END_TEST

START_TEST(c_modules_are_not_found)
{
    prepare(_i == STRICT, VM_GLOBALS_WARN);
    ck_assert_int_ne(fixture_load(&fx, "require 'no.such.module'"), 0);
    if (_i == STRICT)
        ck_assert_lacks(fx.error, ".so'");
    else
        ck_assert_contains(fx.error, ".so'");
    close_app();
}
END_TEST

/* Local variables of a file are shared by the requests of a VM: said in the manual, and so. */
START_TEST(local_variables_of_a_file_are_shared)
{
    open_app(true, "local n, t = 0, {} function api.get() n = n + 1 t[n] = n return #t end");
    ck_assert_str_eq(fixture_get(&fx, "GET /"), "200 application/json|1");
    ck_assert_str_eq(fixture_get(&fx, "GET /"), "200 application/json|2");
    close_app();
}
END_TEST

START_TEST(a_handler_with_very_many_globals_costs_its_vm)
{
    prepare(true, VM_GLOBALS_ALLOW);
    load_app("function api.get() for i = 1, 20000 do _G['x' .. i] = i end return 'done' end");
    ck_assert_str_eq(fixture_get(&fx, "GET /"), "200 text/plain|done");
    ck_assert(vm_soiled(fx.vm));
    close_app();
}
END_TEST

#ifdef POOLSRV_DEBUG
START_TEST(strict_requests_survive_each_refused_allocation)
{
    bool met = true;
    for (size_t n = 0; met; n++) {
        call c;
        prepare(true, VM_GLOBALS_WARN);
        load_app("m = 'old' function api.get() mine, m = { 1 }, 'new' sleep(0) return { m, mine[1] } end\n"
                 "function api.look.get() return { m, mine == nil } end");
        vm_fail_allocations(n, 1 << 30);
        call_run(&fx, &c, &(ask){.route = "GET /"});
        vm_run_give(fx.vm, c.run);
        met = vm_failed_allocations() > 0;
        vm_fail_allocations(0, 0);
        ck_assert_int_ge(c.request->status, 200);
        buf_fini(&c.body_out);
        buf_fini(&c.head_out);
        if (!vm_soiled(fx.vm))
            ck_assert_str_eq(fixture_get(&fx, "GET /look"), "200 application/json|[\"old\",true]");
        close_app();
    }
}
END_TEST
#endif

int main(void)
{
    Suite *s = suite_create("sandbox");
    TCase *t = tcase_create("list");
    tcase_add_loop_test(t, no_walk_reaches_a_function_that_the_list_does_not_grant, DEFAULT, STRICT + 1);
    tcase_add_loop_test(t, no_walk_reaches_what_is_guarded, DEFAULT, STRICT + 1);
    tcase_add_loop_test(t, libraries_hold_nothing_but_what_is_listed, DEFAULT, STRICT + 1);
    tcase_add_test(t, every_name_of_this_lua_is_listed);
    tcase_add_loop_test(t, names_that_are_refused_say_why_and_what_to_do, 0, LISTED);
    tcase_add_loop_test(t, what_breaks_the_process_is_refused, 0, REFUSALS);
    tcase_add_test(t, the_rest_is_as_in_the_manual);
    suite_add_tcase(s, t);
    t = tcase_create("globals");
    tcase_add_loop_test(t, new_globals_are_told_once_for_all_vms, DEFAULT, STRICT + 1);
    tcase_add_loop_test(t, new_globals_can_be_errors_or_nobodys_business, DEFAULT, STRICT + 1);
    tcase_add_loop_test(t, globals_set_while_the_app_loads_are_its_own, DEFAULT, STRICT + 1);
    tcase_add_test(t, names_without_end_do_not_fill_the_log);
    tcase_add_test(t, an_app_that_watches_its_globals_goes_on_doing_so);
    tcase_add_loop_test(t, a_global_that_c_sets_alone_has_no_place_but_is_told, DEFAULT, STRICT + 1);
    suite_add_tcase(s, t);
    t = tcase_create("strict");
    tcase_add_loop_test(t, nothing_that_a_handler_tries_changes_anything_for_the_next, 0, ATTEMPTS);
    tcase_add_test(t, without_strict_mode_handlers_change_things_for_the_next);
    tcase_add_test(t, a_waiting_handler_keeps_its_globals_and_others_see_none);
    tcase_add_test(t, a_cancelled_handler_takes_its_globals_with_it);
    tcase_add_test(t, a_handler_that_fails_takes_its_globals_with_it);
    tcase_add_test(t, finalizers_set_no_globals_in_others_requests);
    tcase_add_test(t, writing_says_which_table_and_what_to_do);
    tcase_add_test(t, sealed_tables_read_as_before);
    tcase_add_test(t, metamethods_of_the_app_go_on_too);
    tcase_add_test(t, a_handlers_globals_stand_in_front_of_the_apps);
    tcase_add_test(t, tables_of_the_handlers_own_are_as_in_the_manual);
    tcase_add_test(t, metamethods_are_given_the_sealed_table);
    tcase_add_test(t, objects_of_the_app_keep_their_classes);
    tcase_add_test(t, modules_are_loaded_while_the_app_loads);
    tcase_add_test(t, searchers_that_were_kept_find_no_files);
    tcase_add_test(t, strict_apps_have_no_files_while_they_load_either);
    tcase_add_loop_test(t, c_modules_are_not_found, DEFAULT, STRICT + 1);
    tcase_add_test(t, local_variables_of_a_file_are_shared);
    tcase_add_test(t, a_handler_with_very_many_globals_costs_its_vm);
#ifdef POOLSRV_DEBUG
    tcase_add_test(t, strict_requests_survive_each_refused_allocation);
#endif
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed != 0;
}
