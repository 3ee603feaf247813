#include "vm/seal.h"

#include <lauxlib.h>

#include "vm/limit.h"
#include "vm/seal_parts.h"
#include "vm/undeclared.h"

const char seal_contents_key = 'c', seal_original_key = 'o', seal_name_key = 'n';

/* --- what is sealed --- */

/* Push the contents of the sealed table at an index, or nothing. */
static bool push_contents(lua_State *L, int index)
{
    if (lua_type(L, index) != LUA_TTABLE || !lua_getmetatable(L, index))
        return false;
    bool sealed = lua_rawgetp(L, -1, &seal_contents_key) != LUA_TNIL;
    if (sealed)
        lua_remove(L, -2);
    else
        lua_pop(L, 2);
    return sealed;
}

bool seal_is_metatable(lua_State *L, int index)
{
    bool is = lua_rawgetp(L, index, &seal_contents_key) != LUA_TNIL;
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
    lua_rawgetp(L, -1, &seal_original_key);
    lua_remove(L, -2);
}

/* Raise for writing the key at index 2 to the table at 1. */
static int refuse(lua_State *L)
{
    lua_getmetatable(L, 1);
    lua_rawgetp(L, -1, &seal_name_key);
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
int seal_on_index(lua_State *L)
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
int seal_on_write(lua_State *L)
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
int seal_on_global(lua_State *L)
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
int seal_on_len(lua_State *L)
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

int seal_on_pairs(lua_State *L)
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
bool seal_is_protected(lua_State *L)
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
    if (seal_is_protected(L))
        return 1;
    lua_settop(L, known);
    if (lua_type(L, 1) == LUA_TUSERDATA)
        lua_pushboolean(L, false);
    return 1;
}

/* Is the table at an index without anything? An empty metatable stays what it is: json.array_mt is known by
 * its address. */
bool seal_is_empty(lua_State *L, int index)
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
        if (seal_is_empty(L, 3))
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
