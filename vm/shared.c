#include "vm/shared.h"

#include <lauxlib.h>
#include <stdlib.h>
#include <time.h>

#include "vm/jobs.h"
#include "vm/load.h"
#include "vm/shared_parts.h"

enum { ERROR_BYTES = 512 };

/* dict(name, max_bytes, persist) -> a dictionary, the same in every VM; or false and why not. Nil while a
 * request is answered. */
static int on_dict(lua_State *L)
{
    char error[ERROR_BYTES];
    const char *name = luaL_checkstring(L, 1);
    lua_Integer max_bytes = luaL_checkinteger(L, 2);
    const char *persist = luaL_optstring(L, 3, NULL);
    dict *d;
    if (vm_of(L)->running)
        return 0;
    if (dicts_open(shared_of(L)->dicts, name, (size_t)max_bytes, persist, &d, error, sizeof(error)) == 0) {
        shared_push_dict(L, d);
        return 1;
    }
    lua_pushboolean(L, false);
    lua_pushstring(L, error);
    return 2;
}

/* now(): seconds, monotonic. */
static int on_now(lua_State *L)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    lua_pushnumber(L, (double)now.tv_sec + (double)now.tv_nsec / 1e9);
    return 1;
}

/* Returns: false when memory is short. */
static bool prepare(vm *v)
{
    shared *s = v->shared ? v->shared : calloc(1, sizeof(*s));
    if (!s)
        return false;
    v->shared = s;
    s->stores = v->config.stores;
    s->dicts = v->config.dicts;
    if (!s->dicts && !s->own)
        s->own = dicts_new(&(dicts_config){.persists = false});
    if (!s->dicts)
        s->dicts = s->own;
    return s->dicts != NULL;
}

/* Upvalue: sleep. An app may have put another function in its place. */
static int on_open(lua_State *L)
{
    static const luaL_Reg native[] = {{"dict", on_dict},
                                      {"now", on_now},
                                      {"lock", shared_on_lock},
                                      {"unlock", shared_on_unlock},
                                      {"extend", shared_on_extend},
                                      {"store_dict", shared_on_remote_dict},
                                      {"store_problem", shared_on_remote_problem},
                                      {"store_update_get", shared_on_remote_update_get},
                                      {"store_update_cas", shared_on_remote_update_cas},
                                      {"store_lock", shared_on_remote_lock},
                                      {"store_unlock", shared_on_remote_unlock},
                                      {"store_extend", shared_on_remote_extend},
                                      {"update_get", shared_on_update_get},
                                      {"update_cas", shared_on_update_cas},
                                      {NULL, NULL}};
    if (!prepare(vm_of(L)))
        return luaL_error(L, "poolsrv.shared: not enough memory");
    load_chunk(L, "shared", 1);
    luaL_newlib(L, native);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_setfield(L, -2, "sleep");
    shared_push_remote_methods(L);
    lua_setfield(L, -2, "store_methods");
    shared_push_methods(L);
    jobs_push_define(L);
    lua_getfield(L, LUA_REGISTRYINDEX, LOAD_WHERE);
    lua_call(L, 4, 1);
    return 1;
}

void shared_install(lua_State *L)
{
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
    lua_getglobal(L, "sleep");
    lua_pushcclosure(L, on_open, 1);
    lua_setfield(L, -2, "poolsrv.shared");
    lua_pop(L, 1);
}

void shared_free(shared *s)
{
    if (!s)
        return;
    dict_port_free(s->locks);
    dicts_free(s->own);
    buf_fini(&s->scratch);
    free(s);
}
