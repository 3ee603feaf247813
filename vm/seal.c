#include "vm/seal.h"

#include <lauxlib.h>

#include "vm/limit.h"
#include "vm/undeclared.h"

enum { GLOBALS_MOST = 10000 }; /* a handler that made more has left a large table */

/* Keys in the metatable of a sealed table, by their addresses. */
static const char contents_key = 'c', original_key = 'o', name_key = 'n';

/* --- what is sealed --- */

/* Push the contents of the sealed table at an index, or nothing. */
static bool push_contents(lua_State *L, int index)
{
    if (lua_type(L, index) != LUA_TTABLE || !lua_getmetatable(L, index))
        return false;
    bool sealed = lua_rawgetp(L, -1, &contents_key) != LUA_TNIL;
    if (sealed)
        lua_remove(L, -2);
    else
        lua_pop(L, 2);
    return sealed;
}

bool seal_is_metatable(lua_State *L, int index)
{
    bool is = lua_rawgetp(L, index, &contents_key) != LUA_TNIL;
    lua_pop(L, 1);
    return is;
}

bool seal_open(lua_State *L, int index)
{
    index = lua_absindex(L, index);
    if (!push_contents(L, index))
        return false;
    lua_replace(L, index);
    return true;
}

void seal_push_original(lua_State *L, int index)
{
    if (!lua_getmetatable(L, index)) {
        lua_pushnil(L);
        return;
    }
    lua_rawgetp(L, -1, &original_key);
    lua_remove(L, -2);
}

/* Raise for writing the key at index 2 to the table at 1. */
static int refuse(lua_State *L)
{
    lua_getmetatable(L, 1);
    lua_rawgetp(L, -1, &name_key);
    const char *key = luaL_tolstring(L, 2, NULL);
    return luaL_error(L,
                      "%s: '%s' is read-only with --sandbox strict, as all requests share it; keep what a "
                      "request needs in local variables or in ctx",
                      lua_tostring(L, -2), key);
}

/* --- metamethods of sealed tables --- */

static int on_called(lua_State *L, int status, lua_KContext context)
{
    (void)status;
    (void)context;
    return lua_gettop(L);
}

/* Table, key. Upvalues: the contents, the original's __index. */
static int on_index(lua_State *L)
{
    lua_settop(L, 2);
    lua_pushvalue(L, 2);
    if (lua_rawget(L, lua_upvalueindex(1)) != LUA_TNIL)
        return 1;
    lua_settop(L, 2);
    if (lua_type(L, lua_upvalueindex(2)) != LUA_TFUNCTION) {
        lua_gettable(L, lua_upvalueindex(2));
        return 1;
    }
    lua_pushvalue(L, lua_upvalueindex(2));
    lua_insert(L, 1);
    lua_callk(L, 2, 1, 0, on_called);
    return 1;
}

/* Table, key, value. Upvalues: the contents, the original's __newindex. */
static int on_write(lua_State *L)
{
    lua_settop(L, 3);
    lua_pushvalue(L, 2);
    if (lua_isnil(L, lua_upvalueindex(2)) || lua_rawget(L, lua_upvalueindex(1)) != LUA_TNIL)
        return refuse(L);
    lua_settop(L, 3);
    if (lua_type(L, lua_upvalueindex(2)) != LUA_TFUNCTION) {
        lua_settable(L, lua_upvalueindex(2));
        return 0;
    }
    lua_pushvalue(L, lua_upvalueindex(2));
    lua_insert(L, 1);
    lua_callk(L, 3, 0, 0, on_called);
    return 0;
}

/* The globals, name, value. Upvalue: the contents. A finalizer runs in whatever request comes. */
static int on_global(lua_State *L)
{
    vm *v = vm_of(L);
    lua_settop(L, 3);
    lua_pushvalue(L, 2);
    bool known = lua_rawget(L, lua_upvalueindex(1)) != LUA_TNIL;
    if (!v->running || v->finalizing || (known && lua_isnil(L, 3)))
        return refuse(L);
    if (lua_isnil(L, 3))
        return 0;
    undeclared_judge(L, 2, known ? "is the app's: others do not see the change" : "ends with its request");
    v->overlaid = true;
    lua_settop(L, 3);
    lua_rawset(L, 1);
    return 0;
}

/* Upvalue: the contents. */
static int on_len(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)lua_rawlen(L, lua_upvalueindex(1)));
    return 1;
}

/* --- functions that look through --- */

/* Table, key. What the table holds itself comes in front of its contents: a handler's globals. */
static int on_next(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 2);
    if (!push_contents(L, 1)) {
        if (lua_next(L, 1))
            return 2;
        lua_pushnil(L);
        return 1;
    }
    lua_pushvalue(L, 2);
    lua_pushvalue(L, 2);
    if (lua_isnil(L, 2) || lua_rawget(L, 3) != LUA_TNIL) {
        lua_settop(L, 3);
        lua_pushvalue(L, 2);
        if (lua_next(L, 3)) {
            lua_pushvalue(L, -2);
            if (lua_rawget(L, 1) == LUA_TNIL)
                lua_pop(L, 1);
            else
                lua_replace(L, -2);
            return 2;
        }
        lua_pushnil(L);
    } else {
        lua_settop(L, 3);
        lua_pushvalue(L, 2);
    }
    while (lua_next(L, 1)) {
        lua_pushvalue(L, -2);
        if (lua_rawget(L, 3) == LUA_TNIL) {
            lua_pop(L, 1);
            return 2;
        }
        lua_pop(L, 2);
    }
    lua_pushnil(L);
    return 1;
}

static int on_pairs(lua_State *L)
{
    lua_pushcfunction(L, on_next);
    lua_pushvalue(L, 1);
    lua_pushnil(L);
    return 3;
}

static int on_rawget(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    luaL_checkany(L, 2);
    lua_settop(L, 2);
    lua_pushvalue(L, 2);
    if (lua_rawget(L, 1) != LUA_TNIL || !push_contents(L, 1))
        return 1;
    lua_pushvalue(L, 2);
    lua_rawget(L, -2);
    return 1;
}

static int on_rawlen(lua_State *L)
{
    int type = lua_type(L, 1);
    luaL_argexpected(L, type == LUA_TTABLE || type == LUA_TSTRING, 1, "table or string");
    seal_open(L, 1);
    lua_pushinteger(L, (lua_Integer)lua_rawlen(L, 1));
    return 1;
}

/* The globals have their own way; the others refuse, whatever __newindex they had. */
static int on_rawset(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    luaL_checkany(L, 2);
    luaL_checkany(L, 3);
    lua_settop(L, 3);
    if (!push_contents(L, 1)) {
        lua_rawset(L, 1);
        return 1;
    }
    lua_pushglobaltable(L);
    if (!lua_rawequal(L, -1, 1))
        return refuse(L);
    lua_settop(L, 3);
    lua_pushvalue(L, 1);
    lua_insert(L, 1);
    lua_settable(L, 2);
    return 1;
}

/* Push the raw __metatable of the metatable at the top, and leave it if it is there. */
static bool is_protected(lua_State *L)
{
    lua_pushliteral(L, "__metatable");
    if (lua_rawget(L, -2) != LUA_TNIL)
        return true;
    lua_pop(L, 1);
    return false;
}

/* Push the metatable of the value at 1 as the app knows it, which is not always the one it has.
 * Returns: false when it has none. */
static bool push_known_metatable(lua_State *L)
{
    if (!lua_getmetatable(L, 1))
        return false;
    if (seal_is_metatable(L, -1)) {
        seal_push_original(L, 1);
    } else if (vm_of(L)->sealed) {
        lua_rawgeti(L, LUA_REGISTRYINDEX, vm_of(L)->sealed_ref);
        lua_pushvalue(L, -2);
        if (lua_rawget(L, -2) == LUA_TNIL)
            lua_settop(L, 2);
    }
    return !lua_isnil(L, -1);
}

/* What C code made its objects of is not for the app. */
static int on_getmetatable(lua_State *L)
{
    luaL_checkany(L, 1);
    lua_settop(L, 1);
    if (!push_known_metatable(L)) {
        lua_pushnil(L);
        return 1;
    }
    int known = lua_gettop(L);
    lua_pushvalue(L, known);
    seal_open(L, -1);
    if (is_protected(L))
        return 1;
    lua_settop(L, known);
    if (lua_type(L, 1) == LUA_TUSERDATA)
        lua_pushboolean(L, false);
    return 1;
}

/* Is the table at an index without anything? An empty metatable stays what it is: json.array_mt is known by
 * its address. */
static bool is_empty(lua_State *L, int index)
{
    index = lua_absindex(L, index);
    lua_pushnil(L);
    if (!lua_next(L, index))
        return true;
    lua_pop(L, 2);
    return false;
}

/* Upvalue: setmetatable of vm/globals.c. A finalizer that a handler makes would run in others' requests, and
 * is told apart from the app's own by the metatable, which is not sealed. */
static int on_setmetatable(lua_State *L)
{
    if (push_contents(L, 1)) {
        lua_settop(L, 1);
        lua_pushliteral(L, "its metatable");
        return refuse(L);
    }
    lua_settop(L, 2);
    if (push_contents(L, 2)) {
        if (is_empty(L, 3))
            lua_pop(L, 1);
        else
            lua_replace(L, 2);
    } else if (vm_of(L)->sealed && lua_type(L, 2) == LUA_TTABLE) {
        lua_pushliteral(L, "__gc");
        if (lua_rawget(L, 2) != LUA_TNIL)
            return luaL_error(
                L, "setmetatable: with --sandbox strict a handler makes no finalizers (__gc), as they "
                   "run in other requests; use a <close> variable");
        lua_pop(L, 1);
    }
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, 2, 1);
    return 1;
}

/* Upvalue: Lua's own. */
static int on_require(lua_State *L)
{
    const char *name = luaL_checkstring(L, 1);
    if (!vm_of(L)->sealed) {
        lua_pushvalue(L, lua_upvalueindex(1));
        lua_insert(L, 1);
        lua_call(L, lua_gettop(L) - 1, LUA_MULTRET);
        return lua_gettop(L);
    }
    lua_getfield(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
    lua_getfield(L, -1, name);
    if (!lua_toboolean(L, -1))
        return luaL_error(
            L,
            "require: '%s' is not loaded, and with --sandbox strict modules are loaded while the "
            "app loads; require it at the top of the file",
            name);
    return 1;
}

static void wrap(lua_State *L, const char *name, lua_CFunction fn)
{
    lua_getglobal(L, name);
    lua_pushcclosure(L, fn, 1);
    lua_setglobal(L, name);
}

void seal_install(lua_State *L)
{
    lua_register(L, "getmetatable", on_getmetatable);
    lua_register(L, "next", on_next);
    lua_register(L, "rawget", on_rawget);
    lua_register(L, "rawlen", on_rawlen);
    lua_register(L, "rawset", on_rawset);
    wrap(L, "require", on_require);
    wrap(L, "setmetatable", on_setmetatable);
}

/* --- going through all there is --- */

enum { SEEN = 1, QUEUE, SEALED, LIST, NAMES, SHADOWS, WORK }; /* where tables lie on the stack */

static void append(lua_State *L, int list)
{
    lua_rawseti(L, list, (lua_Integer)lua_rawlen(L, list) + 1);
}

/* Put what is at the top into the queue, once. Pops it. */
static void note(lua_State *L)
{
    int type = lua_type(L, -1);
    bool leads_on =
        type == LUA_TTABLE || type == LUA_TFUNCTION || type == LUA_TUSERDATA || type == LUA_TTHREAD;
    lua_pushvalue(L, -1);
    if (!leads_on || lua_rawget(L, SEEN) != LUA_TNIL) {
        lua_pop(L, 2);
        return;
    }
    lua_pop(L, 1);
    lua_pushvalue(L, -1);
    lua_pushboolean(L, true);
    lua_rawset(L, SEEN);
    append(L, QUEUE);
}

static void note_table(lua_State *L)
{
    for (lua_pushnil(L); lua_next(L, WORK);) {
        note(L);
        lua_pushvalue(L, -1);
        note(L);
    }
}

static void note_from(lua_State *L, lua_State *co)
{
    lua_xmove(co, L, 1);
    note(L);
}

static void note_frame(lua_State *L, lua_State *co, lua_Debug *ar)
{
    lua_getinfo(co, "f", ar);
    note_from(L, co);
    for (int i = 1; lua_getlocal(co, ar, i); i++)
        note_from(L, co);
    for (int i = -1; lua_getlocal(co, ar, i); i--)
        note_from(L, co);
}

/* One that has not begun has no frames, but a function and arguments. */
static void note_thread(lua_State *L, lua_State *co)
{
    lua_Debug ar;
    if (co == L || !lua_checkstack(co, 2))
        return;
    for (int level = 0; lua_getstack(co, level, &ar); level++)
        note_frame(L, co, &ar);
    for (int i = lua_gettop(co); i > 0; i--) {
        lua_pushvalue(co, i);
        note_from(L, co);
    }
}

/* Note all that the value at WORK leads to. */
static void note_work(lua_State *L)
{
    if (lua_getmetatable(L, WORK))
        note(L);
    switch (lua_type(L, WORK)) {
    case LUA_TTABLE:
        note_table(L);
        break;
    case LUA_TFUNCTION:
        for (int i = 1; lua_getupvalue(L, WORK, i); i++)
            note(L);
        break;
    case LUA_TUSERDATA:
        for (int i = 1; lua_getiuservalue(L, WORK, i) != LUA_TNONE; i++)
            note(L);
        lua_pop(L, 1);
        break;
    default:
        note_thread(L, lua_tothread(L, WORK));
    }
}

static void find_all(lua_State *L)
{
    lua_pushvalue(L, LUA_REGISTRYINDEX);
    note(L);
    for (lua_Integer i = 1; lua_rawgeti(L, QUEUE, i) != LUA_TNIL; i++) {
        note_work(L);
        lua_settop(L, WORK - 1);
    }
    lua_settop(L, WORK - 1);
}

/* --- what to seal --- */

/* Is the value at the top a table that C code compares with, or that no app reaches? */
static bool is_ours(lua_State *L)
{
    const void *p = lua_topointer(L, -1);
    return p == vm_of(L)->reply_mt || p == vm_of(L)->unanswered_mt;
}

/* The value at the top is to be sealed if it is a table, under the name. Pops it. */
static void choose(lua_State *L, const char *name)
{
    lua_pushvalue(L, -1);
    if (lua_type(L, -2) != LUA_TTABLE || is_ours(L) || lua_rawget(L, SEALED) != LUA_TNIL) {
        lua_pop(L, 2);
        return;
    }
    lua_pop(L, 1);
    lua_pushvalue(L, -1);
    lua_pushboolean(L, true);
    lua_rawset(L, SEALED);
    append(L, LIST);
    lua_pushstring(L, name);
    append(L, NAMES);
}

/* The metatable at the top, unless it is hidden. Pops it. */
static void choose_metatable(lua_State *L, const char *name)
{
    if (is_protected(L))
        lua_pop(L, 2);
    else
        choose(L, name);
}

/* Choose what the table at the top holds, each under its key. Pops it. */
static void choose_fields(lua_State *L)
{
    int table = lua_gettop(L);
    for (lua_pushnil(L); lua_next(L, table);)
        choose(L, lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "a table");
    lua_pop(L, 1);
}

/* C code knows its userdata by their metatables, which getmetatable does not show. */
static void choose_metatables(lua_State *L)
{
    for (lua_Integer i = 1; lua_rawgeti(L, QUEUE, i) != LUA_TNIL; i++) {
        if (lua_type(L, -1) == LUA_TTABLE && lua_getmetatable(L, -1))
            choose_metatable(L, "a metatable");
        lua_settop(L, WORK - 1);
    }
    lua_settop(L, WORK - 1);
    lua_pushliteral(L, "");
    if (lua_getmetatable(L, -1))
        choose_metatable(L, "the metatable of strings");
    lua_settop(L, WORK - 1);
}

/* All tables inside those chosen. */
static void choose_inner(lua_State *L)
{
    for (lua_Integer i = 1; lua_rawgeti(L, LIST, i) != LUA_TNIL; i++) {
        lua_rawgeti(L, NAMES, i);
        const char *name = lua_tostring(L, -1);
        if (lua_getmetatable(L, WORK))
            choose_metatable(L, name);
        for (lua_pushnil(L); lua_next(L, WORK);) {
            choose(L, name);
            lua_pushvalue(L, -1);
            choose(L, name);
        }
        lua_settop(L, WORK - 1);
    }
    lua_settop(L, WORK - 1);
}

static void choose_all(lua_State *L)
{
    lua_getfield(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
    choose_fields(L);
    lua_pushglobaltable(L);
    choose_fields(L);
    lua_getfield(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
    choose(L, "package.loaded");
    choose_metatables(L);
    choose_inner(L);
}

/* --- sealing --- */

/* Is the string at an index a metamethod's name that the sealed table takes over as it is? */
static bool is_taken_over(lua_State *L, int index)
{
    static const char *const others[] = {"__index", "__newindex", "__metatable", "__mode"};
    const char *name = lua_type(L, index) == LUA_TSTRING ? lua_tostring(L, index) : "";
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
        if (strcmp(name, others[i]) == 0)
            return false;
    return name[0] == '_' && name[1] == '_';
}

/* Copy what the table at `from` holds into the one at `to`: all, or only metamethods. */
static void copy(lua_State *L, int from, int to, bool metamethods)
{
    for (lua_pushnil(L); lua_next(L, from); lua_pop(L, 1)) {
        if (metamethods && !is_taken_over(L, -2))
            continue;
        lua_pushvalue(L, -2);
        lua_pushvalue(L, -2);
        lua_rawset(L, to);
    }
}

/* Push field `name` of the original metatable, which may be nil. */
static void push_raw(lua_State *L, int original, const char *name)
{
    lua_pushnil(L);
    if (lua_isnil(L, original))
        return;
    lua_pushstring(L, name);
    lua_rawget(L, original);
    lua_remove(L, -2);
}

static void set_raw(lua_State *L, int table, const char *name)
{
    lua_pushstring(L, name);
    lua_insert(L, -2);
    lua_rawset(L, table);
}

enum { CONTENTS = WORK + 1, ORIGINAL, NEW };

static void add_index(lua_State *L)
{
    lua_pushvalue(L, CONTENTS);
    push_raw(L, ORIGINAL, "__index");
    if (lua_isnil(L, -1))
        lua_pop(L, 1);
    else
        lua_pushcclosure(L, on_index, 2);
    set_raw(L, NEW, "__index");
}

static void add_newindex(lua_State *L)
{
    lua_pushvalue(L, CONTENTS);
    lua_pushglobaltable(L);
    bool globals = lua_rawequal(L, -1, WORK);
    lua_pop(L, 1);
    if (globals) {
        lua_pushcclosure(L, on_global, 1);
    } else {
        push_raw(L, ORIGINAL, "__newindex");
        lua_pushcclosure(L, on_write, 2);
    }
    set_raw(L, NEW, "__newindex");
}

static void add_missing(lua_State *L, const char *name, lua_CFunction fn)
{
    push_raw(L, NEW, name);
    bool missing = lua_isnil(L, -1);
    lua_pop(L, 1);
    if (!missing)
        return;
    lua_pushvalue(L, CONTENTS);
    lua_pushcclosure(L, fn, 1);
    set_raw(L, NEW, name);
}

/* A weak table stays weak, though its metatable's methods are not for the contents. */
static void keep_mode(lua_State *L)
{
    push_raw(L, ORIGINAL, "__mode");
    if (!lua_isnil(L, -1)) {
        lua_createtable(L, 0, 1);
        lua_insert(L, -2);
        set_raw(L, lua_gettop(L) - 1, "__mode");
        lua_setmetatable(L, CONTENTS);
    } else {
        lua_pop(L, 1);
    }
}

/* For the table at WORK, push the contents, the metatable that it has, or nil, and the one that it gets. */
static void prepare(lua_State *L, const char *name)
{
    lua_newtable(L);
    copy(L, WORK, CONTENTS, false);
    if (!lua_getmetatable(L, WORK))
        lua_pushnil(L);
    lua_newtable(L);
    if (!lua_isnil(L, ORIGINAL))
        copy(L, ORIGINAL, NEW, true);
    lua_pushvalue(L, CONTENTS);
    lua_rawsetp(L, NEW, &contents_key);
    lua_pushvalue(L, ORIGINAL);
    lua_rawsetp(L, NEW, &original_key);
    lua_pushstring(L, name);
    lua_rawsetp(L, NEW, &name_key);
    add_index(L);
    add_newindex(L);
    add_missing(L, "__len", on_len);
    add_missing(L, "__pairs", on_pairs);
    lua_pushboolean(L, false);
    set_raw(L, NEW, "__metatable");
    keep_mode(L);
}

static void prepare_all(lua_State *L)
{
    for (lua_Integer i = 1; lua_rawgeti(L, LIST, i) != LUA_TNIL; i++) {
        lua_rawgeti(L, NAMES, i);
        const char *name = lua_tostring(L, -1); /* the list keeps it */
        lua_pop(L, 1);
        prepare(L, name);
        lua_pushvalue(L, WORK);
        lua_pushvalue(L, NEW);
        lua_rawset(L, SEALED);
        lua_pushvalue(L, CONTENTS);
        lua_pushvalue(L, WORK);
        lua_rawset(L, SHADOWS);
        lua_settop(L, WORK - 1);
    }
    lua_settop(L, WORK - 1);
}

/* Empty the table at an index, without a byte of memory. Returns: how much it held. */
static unsigned clear(lua_State *L, int table)
{
    unsigned n = 0;
    for (lua_pushnil(L); lua_next(L, table); n++) {
        lua_pop(L, 1);
        lua_pushvalue(L, -1);
        lua_pushnil(L);
        lua_rawset(L, table);
    }
    return n;
}

static void seal_list(lua_State *L)
{
    for (lua_Integer i = 1; lua_rawgeti(L, LIST, i) != LUA_TNIL; i++) {
        clear(L, WORK);
        lua_pushvalue(L, WORK);
        lua_rawget(L, SEALED);
        lua_setmetatable(L, WORK);
        lua_settop(L, WORK - 1);
    }
    lua_settop(L, WORK - 1);
}

/* Give the value at the top, whose metatable was emptied, the contents of that as its metatable. Pops it. */
static void repoint(lua_State *L)
{
    if (lua_getmetatable(L, -1)) {
        if (seal_open(L, -1) && !is_empty(L, -1))
            lua_setmetatable(L, -2);
        else
            lua_pop(L, 1);
    }
    lua_pop(L, 1);
}

static void repoint_all(lua_State *L)
{
    for (lua_Integer i = 1; lua_rawgeti(L, QUEUE, i) != LUA_TNIL; i++) {
        if (lua_type(L, -1) == LUA_TTABLE)
            repoint(L);
        else
            lua_pop(L, 1);
    }
    lua_pop(L, 1);
    lua_pushliteral(L, "");
    repoint(L);
}

/* Loading is over: what it needed is not for handlers. */
static void drop_loaders(lua_State *L)
{
    lua_getglobal(L, "package");
    if (lua_type(L, -1) == LUA_TTABLE) {
        lua_pushnil(L);
        set_raw(L, lua_gettop(L) - 1, "searchers");
        lua_pushnil(L);
        set_raw(L, lua_gettop(L) - 1, "preload");
    }
    lua_settop(L, 0);
}

static int seal(lua_State *L)
{
    vm *v = vm_of(L);
    luaL_checkstack(L, LUA_MINSTACK, NULL);
    drop_loaders(L);
    for (int i = SEEN; i < WORK; i++)
        lua_newtable(L);
    find_all(L);
    choose_all(L);
    prepare_all(L);
    seal_list(L);
    repoint_all(L);
    lua_pushvalue(L, SHADOWS);
    v->sealed_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    v->sealed = true;
    return 0;
}

/* In between, objects would lose their finalizers. */
int vm_seal(vm *v, char *error, size_t size)
{
    if (!v->config.strict || v->sealed)
        return 0;
    lua_gc(v->L, LUA_GCCOLLECT);
    lua_gc(v->L, LUA_GCSTOP);
    lua_pushcfunction(v->L, seal);
    int err = vm_call(v, 0, 0, error, size);
    lua_gc(v->L, LUA_GCRESTART);
    lua_gc(v->L, LUA_GCCOLLECT);
    return err;
}

/* --- a handler's globals --- */

/* Argument: the run. */
static int bring_back(lua_State *L)
{
    vm_run *run = lua_touserdata(L, 1);
    lua_settop(L, 0);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &run->globals_away);
    lua_pushglobaltable(L);
    copy(L, 1, 2, false);
    lua_pushboolean(L, false);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &run->globals_away);
    return 0;
}

/* Argument: the run. */
static int put_away(lua_State *L)
{
    vm_run *run = lua_touserdata(L, 1);
    lua_settop(L, 0);
    lua_pushglobaltable(L);
    lua_newtable(L);
    copy(L, 1, 2, false);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &run->globals_away);
    run->globals_away = true;
    return 0;
}

static void call_for(vm *v, lua_CFunction fn, vm_run *run)
{
    lua_pushcfunction(v->L, fn);
    lua_pushlightuserdata(v->L, run);
    if (lua_pcall(v->L, 1, 0, 0) == LUA_OK)
        return;
    lua_pop(v->L, 1);
    v->soiled = true; /* short of memory: the globals are lost */
}

void seal_enter(vm *v, vm_run *run)
{
    call_for(v, bring_back, run);
    run->globals_away = false;
    v->overlaid = true;
}

void seal_leave(vm *v, vm_run *run, bool waits)
{
    if (waits)
        call_for(v, put_away, run);
    lua_pushglobaltable(v->L);
    if (clear(v->L, lua_gettop(v->L)) > GLOBALS_MOST)
        v->soiled = true;
    lua_pop(v->L, 1);
    v->overlaid = false;
}
