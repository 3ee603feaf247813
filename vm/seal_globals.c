/* Globals that a handler makes in strict mode: they are there while it runs. */
#include "vm/seal_parts.h"

enum { GLOBALS_MOST = 10000 }; /* a handler that made more has left a large table */

/* Argument: the run. */
static int bring_back(lua_State *L)
{
    vm_run *run = lua_touserdata(L, 1);
    lua_settop(L, 0);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &run->globals_away);
    lua_pushglobaltable(L);
    seal_copy(L, 1, 2, false);
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
    seal_copy(L, 1, 2, false);
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
    if (seal_clear(v->L, lua_gettop(v->L)) > GLOBALS_MOST)
        v->soiled = true;
    lua_pop(v->L, 1);
    v->overlaid = false;
}
