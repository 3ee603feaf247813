#include "vm/guards.h"

#include <lauxlib.h>
#include <limits.h>

#include "vm/internal.h"
#include "vm/limit.h"

/* The originals are kept in the VM, not in upvalues, which debug.getupvalue would show. */

/* --- garbage --- */

static void refuse_for_all(lua_State *L, const char *option)
{
    luaL_error(L,
               "collectgarbage(\"%s\"): would change the collector for all requests of this VM; local "
               "variables that end early help it more",
               option);
}

/* Those that end with the call, and what may be asked. */
static bool is_passing(const char *option)
{
    static const char *const passing[] = {"collect", "count", "isrunning", "restart", "step"};
    for (size_t i = 0; i < sizeof(passing) / sizeof(passing[0]); i++)
        if (strcmp(option, passing[i]) == 0)
            return true;
    return false;
}

/* A step of less than nothing is a debt to the collector: it stops for as long. Lua takes it for an int. */
static bool is_step(lua_Integer step)
{
    return step >= 0 && step <= INT_MAX;
}

static int on_collectgarbage(lua_State *L)
{
    const vm *v = vm_of(L);
    const char *option = luaL_optstring(L, 1, "collect");
    if (strcmp(option, "stop") == 0)
        return luaL_error(
            L, "collectgarbage(\"stop\"): memory would grow until the VM is replaced; keep less, or "
               "call collectgarbage(\"step\") where it suits");
    if (strcmp(option, "generational") == 0)
        return luaL_error(
            L, "collectgarbage(\"generational\"): that mode has faults in some versions of Lua 5.4 "
               "that crash; stay incremental");
    if (strcmp(option, "step") == 0 && !is_step(luaL_optinteger(L, 2, 0)))
        return luaL_error(L, "collectgarbage(\"step\"): a step that is negative or too large would stop the "
                             "collector; use 0 to 2147483647");
    if (v->config.strict && !is_passing(option))
        refuse_for_all(L, option);
    return v->lua_collectgarbage(L);
}

/* --- text only: bytecode can crash the VM --- */

/* Force the mode, the argument at `place`. Returns: false when it is for bytecode alone. */
static bool force_text(lua_State *L, int place)
{
    if (lua_gettop(L) < place)
        lua_settop(L, place);
    const char *mode = lua_tostring(L, place);
    if (mode && mode[0] == 'b' && mode[1] == '\0')
        return false;
    lua_pushliteral(L, "t");
    lua_replace(L, place);
    return true;
}

static int refuse_bytecode(lua_State *L)
{
    luaL_pushfail(L);
    lua_pushliteral(L,
                    "bytecode is not loaded here (mode is 'b'): it can crash the server; load source text");
    return 2;
}

/* An environment of nil that was given is not the same as none. */
static int on_load(lua_State *L)
{
    return force_text(L, 3) ? vm_of(L)->lua_load(L) : refuse_bytecode(L);
}

static int on_loadfile(lua_State *L)
{
    return force_text(L, 2) ? vm_of(L)->lua_loadfile(L) : refuse_bytecode(L);
}

static int on_file_done(lua_State *L, int status, lua_KContext context)
{
    (void)status;
    (void)context;
    return lua_gettop(L) - 1;
}

static int on_dofile(lua_State *L)
{
    const char *name = luaL_optstring(L, 1, NULL);
    lua_settop(L, 1);
    if (name)
        vm_tell_file(vm_of(L), name);
    if (luaL_loadfilex(L, name, "t") != LUA_OK)
        return lua_error(L);
    lua_callk(L, 0, LUA_MULTRET, 0, on_file_done);
    return on_file_done(L, LUA_OK, 0);
}

/* --- debug --- */

/* C code does not look at its own upvalues and temporaries twice. */
static int on_setupvalue(lua_State *L)
{
    if (lua_iscfunction(L, 1))
        return luaL_error(L,
                          "debug.setupvalue: an upvalue of a C function is not to be changed: that can crash "
                          "the server; wrap the function instead");
    return vm_of(L)->lua_setupvalue(L);
}

static int on_setlocal(lua_State *L)
{
    lua_Debug ar;
    lua_State *co = lua_isthread(L, 1) ? lua_tothread(L, 1) : L;
    int level = (int)luaL_checkinteger(L, lua_isthread(L, 1) ? 2 : 1);
    if (lua_getstack(co, level, &ar) && lua_getinfo(co, "S", &ar) && strcmp(ar.what, "C") == 0)
        return luaL_error(L,
                          "debug.setlocal: what a C function holds is not to be changed: that can crash the "
                          "server; set variables of Lua functions only");
    return vm_of(L)->lua_setlocal(L);
}

static int on_debug_setmetatable(lua_State *L)
{
    if (lua_type(L, 1) == LUA_TUSERDATA)
        return luaL_error(L,
                          "debug.setmetatable: C code knows its objects by their metatables, and another can "
                          "crash the server; wrap the object in a table");
    if (lua_type(L, 1) == LUA_TTABLE && lua_type(L, 2) == LUA_TTABLE) {
        lua_settop(L, 2);
        limit_guard_finalizer(L);
    }
    return vm_of(L)->lua_debug_setmetatable(L);
}

/* --- installing --- */

/* Put `fn` in the place of a function of the library at the top. Returns: that function. */
static lua_CFunction replace(lua_State *L, const char *name, lua_CFunction fn)
{
    lua_getfield(L, -1, name);
    lua_CFunction original = lua_tocfunction(L, -1);
    lua_pop(L, 1);
    lua_pushcfunction(L, fn);
    lua_setfield(L, -2, name);
    return original;
}

void guards_install(lua_State *L)
{
    vm *v = vm_of(L);
    lua_pushglobaltable(L);
    v->lua_collectgarbage = replace(L, "collectgarbage", on_collectgarbage);
    v->lua_load = replace(L, "load", on_load);
    v->lua_loadfile = replace(L, "loadfile", on_loadfile);
    replace(L, "dofile", on_dofile);
    lua_getfield(L, -1, "debug");
    v->lua_setlocal = replace(L, "setlocal", on_setlocal);
    v->lua_debug_setmetatable = replace(L, "setmetatable", on_debug_setmetatable);
    v->lua_setupvalue = replace(L, "setupvalue", on_setupvalue);
    lua_pop(L, 2);
}
