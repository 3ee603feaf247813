/* The globals beside `api`: print, sleep, and the standard functions that would break the process or the
 * contexts. */
#include <lauxlib.h>
#include <math.h>

#include "vm/internal.h"
#include "vm/limit.h"

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
    lua_settop(L, 0);
    lua_pushlightuserdata(L, (void *)(uintptr_t)&vm_park_mark);
    return lua_yield(L, 1);
}

static int on_exit(lua_State *L)
{
    return luaL_error(
        L, "os.exit would stop the whole server; return a reply, or stop the server with a signal");
}

/* load and loadfile with the mode forced to text: bytecode can crash the VM. Upvalues: the function, the
 * mode's place. */
static int load_text(lua_State *L)
{
    int place = (int)lua_tointeger(L, lua_upvalueindex(2));
    if (lua_gettop(L) < place)
        lua_settop(L, place);
    const char *mode = lua_tostring(L, place);
    if (mode && mode[0] == 'b' && mode[1] == '\0') {
        luaL_pushfail(L);
        lua_pushliteral(L, "bytecode is not loaded here (mode is 'b')");
        return 2;
    }
    lua_pushliteral(L, "t");
    lua_replace(L, place);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, lua_gettop(L) - 1, LUA_MULTRET);
    return lua_gettop(L);
}

static int on_file_done(lua_State *L, int status, lua_KContext context)
{
    (void)status;
    (void)context;
    return lua_gettop(L) - 1;
}

static int do_text_file(lua_State *L)
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

/* The searcher of Lua files as in the manual, but for text only. Upvalue: package. */
static int search_text_file(lua_State *L)
{
    const char *name = luaL_checkstring(L, 1);
    lua_settop(L, 1);
    lua_getfield(L, lua_upvalueindex(1), "searchpath");
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
    lua_getfield(L, -1, "searchers");
    lua_pushvalue(L, -2);
    lua_pushcclosure(L, search_text_file, 1);
    lua_rawseti(L, -2, 2);
    lua_pop(L, 2);
}

static void force_text(lua_State *L, const char *name, int place)
{
    lua_getglobal(L, name);
    lua_pushinteger(L, place);
    lua_pushcclosure(L, load_text, 2);
    lua_setglobal(L, name);
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
    lua_register(L, "dofile", do_text_file);
    force_text(L, "load", 3);
    force_text(L, "loadfile", 2);
    replace_searcher(L);
    lua_getglobal(L, "os");
    lua_pushcfunction(L, on_exit);
    lua_setfield(L, -2, "exit");
    lua_pop(L, 1);
}
