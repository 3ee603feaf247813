/* The globals beside `api`: print, sleep, and the standard functions that would break the contexts. */
#include <lauxlib.h>
#include <math.h>

#include "vm/guards.h"
#include "vm/internal.h"
#include "vm/limit.h"
#include "vm/process.h"
#include "vm/seal.h"

static int on_print(lua_State *L)
{
    int n = lua_gettop(L);
    luaL_Buffer b;
    luaL_buffinit(L, &b);
    for (int i = 1; i <= n; i++) {
        if (i > 1)
            luaL_addchar(&b, '\t');
        luaL_tolstring(L, i, NULL);
        luaL_addvalue(&b);
    }
    luaL_pushresult(&b);
    size_t bytes;
    const char *text = lua_tolstring(L, -1, &bytes);
    vm_log(vm_of(L), 2, text, bytes);
    return 0;
}

/* sleep(seconds): wait, and let the thread do other things. */
static int on_sleep(lua_State *L)
{
    vm *v = vm_of(L);
    double seconds = luaL_checknumber(L, 1);
    luaL_argcheck(L, seconds >= 0 && seconds <= 1e9, 1, "seconds from 0 to 1e9 are wanted");
    if (!v->running || !lua_isyieldable(L))
        return luaL_error(L, "sleep: only inside a handler, and not inside a callback of a C function");
    v->running->request.park_ns = (uint64_t)(seconds * 1e9);
    v->running->request.await = NULL; /* of a wait that was given up by closing its coroutine */
    lua_settop(L, 0);
    lua_pushlightuserdata(L, (void *)(uintptr_t)&vm_park_mark);
    return lua_yield(L, 1);
}

/* A module that is not there yet would be at the first place of the path: in the app's own folder. */
static void tell_missing(lua_State *L, const char *name)
{
    lua_getfield(L, lua_upvalueindex(1), "path");
    const char *path = lua_tostring(L, -1);
    if (path) {
        lua_pushlstring(L, path, strcspn(path, ";"));
        name = luaL_gsub(L, name, ".", "/");
        vm_tell_file(vm_of(L), luaL_gsub(L, lua_tostring(L, -2), "?", name));
    }
    lua_settop(L, 2);
}

/* The searcher of Lua files as in the manual, but for text only. Upvalue: package. An app may have kept it.
 */
static int search_text_file(lua_State *L)
{
    const char *name = luaL_checkstring(L, 1);
    if (vm_of(L)->sealed)
        return luaL_error(L, "a searcher: with --sandbox strict modules are loaded while the app loads");
    lua_settop(L, 1);
    lua_pushcfunction(L, vm_of(L)->lua_searchpath);
    lua_pushvalue(L, 1);
    lua_getfield(L, lua_upvalueindex(1), "path");
    lua_call(L, 2, 2);
    const char *file = lua_tostring(L, 2);
    if (!file) {
        lua_replace(L, 2);
        tell_missing(L, name);
        return 1; /* where it was looked for */
    }
    vm_tell_file(vm_of(L), file);
    if (luaL_loadfilex(L, file, "t") != LUA_OK)
        return luaL_error(L, "error loading module '%s' from file '%s':\n\t%s", name, file,
                          lua_tostring(L, -1));
    lua_pushvalue(L, 2);
    return 2;
}

static void replace_searcher(lua_State *L)
{
    lua_getglobal(L, "package");
    lua_getfield(L, -1, "searchpath");
    vm_of(L)->lua_searchpath = lua_tocfunction(L, -1);
    lua_pop(L, 1);
    lua_getfield(L, -1, "searchers");
    lua_pushvalue(L, -2);
    lua_pushcclosure(L, search_text_file, 1);
    lua_rawseti(L, -2, 2);
    lua_pop(L, 2);
}

/* As in the manual, but that a context's metatable may be replaced: it is undone when the request ends. */
static int on_setmetatable(lua_State *L)
{
    int type = lua_type(L, 2);
    luaL_checktype(L, 1, LUA_TTABLE);
    luaL_argexpected(L, type == LUA_TNIL || type == LUA_TTABLE, 2, "nil or table");
    if (luaL_getmetafield(L, 1, "__metatable") != LUA_TNIL) {
        if (!ctx_is_marker(L, -1))
            return luaL_error(L, "cannot change a protected metatable");
    }
    lua_settop(L, 2);
    if (type == LUA_TTABLE)
        limit_guard_finalizer(L);
    lua_setmetatable(L, 1);
    return 1;
}

void globals_install(lua_State *L)
{
    lua_register(L, "print", on_print);
    lua_register(L, "sleep", on_sleep);
    lua_register(L, "setmetatable", on_setmetatable);
    replace_searcher(L);
    guards_install(L);
    process_install(L);
    if (vm_of(L)->config.strict)
        seal_install(L);
}
