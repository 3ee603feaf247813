/* Checking an app: as loading it, but that what goes wrong is noted and the app goes on (api/lua/check.lua).
 */
#include <errno.h>
#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>

#include "vm/load.h"
#include "vm/sandbox.h"

/* Call checker[name](value at the top). */
static void call_checker(lua_State *L, int checker, const char *name, int nresults)
{
    lua_getfield(L, checker, name);
    lua_insert(L, -2);
    lua_call(L, 1, nresults);
}

static void set_global(lua_State *L, int checker, const char *name)
{
    lua_getfield(L, checker, name);
    lua_setglobal(L, name);
}

/* Leaves the list of problems. */
static int check_app(lua_State *L)
{
    vm *v = vm_of(L);
    load_begin(L);
    load_chunk(L, "check", 1);
    load_parts(L);
    load_chunk(L, "unknown", 1);
    lua_setfield(L, -2, "unknown");
    lua_pushvalue(L, -1);
    lua_insert(L, -3); /* parts, check, parts */
    lua_call(L, 1, 1);
    lua_insert(L, -2);
    lua_getfield(L, -1, "where"); /* the checker's: modules note their mistakes, too */
    lua_setfield(L, LUA_REGISTRYINDEX, LOAD_WHERE);
    int checker = lua_gettop(L) - 1;
    load_tree(L);
    sandbox_cut(L);
    set_global(L, checker, "require");
    if (!v->config.strict)
        set_global(L, checker, "dofile");
    lua_pushstring(L, v->path);
    call_checker(L, checker, "run", 0);
    lua_getfield(L, -1, "finish");
    lua_call(L, 0, 1);
    call_checker(L, checker, "finish", 1);
    v->definition_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_getfield(L, checker, "problems");
    return 1;
}

typedef struct telling {
    void (*each)(void *user, const char *problem);
    void *user;
} telling;

/* Arguments: the list, and whom to tell. */
static int tell(lua_State *L)
{
    const telling *to = lua_touserdata(L, 2);
    for (lua_Integer i = 1; lua_rawgeti(L, 1, i) == LUA_TSTRING; i++) {
        to->each(to->user, lua_tostring(L, -1));
        lua_pop(L, 1);
    }
    return 0;
}

int vm_check(vm *v, const char *path, void (*each)(void *user, const char *problem), void *user, char *error,
             size_t size)
{
    telling to = {each, user};
    v->path = strdup(path);
    if (!v->path) {
        snprintf(error, size, "out of memory");
        return -ENOMEM;
    }
    lua_pushcfunction(v->L, check_app);
    int err = vm_call(v, 0, 1, error, size);
    if (err)
        return err;
    lua_pushcfunction(v->L, tell);
    lua_insert(v->L, -2);
    lua_pushlightuserdata(v->L, &to);
    err = vm_call(v, 2, 0, error, size);
    return err ? err : load_keep(v, error, size);
}
