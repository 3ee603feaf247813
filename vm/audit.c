#include "vm/audit.h"

#include <lauxlib.h>
#include <stdio.h>

#include "vm/internal.h"

enum { CYCLES = 2, ROUTE_BITS = 24 };

static void warn(vm *v, unsigned route)
{
    char text[512];
    int n =
        snprintf(text, sizeof(text),
                 "%s keeps its context after the request has ended: %s; copy what you need from ctx instead "
                 "of storing it",
                 v->route_names[route],
                 v->strategy->recycles ? "its contexts are no longer recycled"
                                       : "using one late is an error from now on");
    v->config.log(v->config.log_user, 1, (str){0},
                  (str){text, (size_t)n < sizeof(text) ? (size_t)n : sizeof(text) - 1});
}

/* A full collection has ended: what was watched for long enough and is still there is held by somebody. */
static void look(lua_State *L, vm *v)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, v->audits_ref);
    lua_pushnil(L);
    while (lua_next(L, -2)) {
        lua_Integer entry = lua_tointeger(L, -1);
        lua_pop(L, 1);
        unsigned route = (unsigned)(entry & ((1 << ROUTE_BITS) - 1));
        if ((entry >> ROUTE_BITS) + CYCLES > v->gc_cycles)
            continue;
        if (!v->audits[route].keeps)
            warn(v, route);
        v->audits[route].keeps = true;
        v->audits[route].quiet = 0;
        lua_pushvalue(L, -1);
        lua_pushnil(L);
        lua_rawset(L, -4);
    }
    lua_pop(L, 1);
}

/* The canary: an object that nobody holds dies once a collection. */
static int on_canary(lua_State *L)
{
    vm *v = vm_of(L);
    if (v->closing)
        return 0;
    v->gc_cycles++;
    look(L, v);
    lua_newuserdatauv(L, 0, 0);
    lua_getmetatable(L, 1);
    lua_setmetatable(L, -2);
    return 0;
}

void audit_install(lua_State *L)
{
    vm *v = vm_of(L);
    lua_newtable(L);
    lua_createtable(L, 0, 1);
    lua_pushliteral(L, "k");
    lua_setfield(L, -2, "__mode");
    lua_setmetatable(L, -2);
    v->audits_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_newuserdatauv(L, 0, 0);
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, on_canary);
    lua_setfield(L, -2, "__gc");
    lua_setmetatable(L, -2);
    lua_pop(L, 1);
}

void audit_decide(vm_run *run)
{
    vm *v = run->vm;
    audit_route *a = &v->audits[run->request.route];
    run->ctx.once = true;
    if (v->config.dev || a->keeps)
        return; /* as it is for every request of the route: nothing is watched that cannot be used late */
    run->ctx.audited = true;
    a->audits++;
    a->quiet = AUDIT_EVERY - 1;
}

static int watch(lua_State *L)
{
    vm_run *run = lua_touserdata(L, 1);
    vm *v = run->vm;
    lua_rawgeti(L, LUA_REGISTRYINDEX, v->audits_ref);
    ctx_fetch(L, &run->ctx, CTX_SHELF_TABLE);
    lua_pushinteger(L, (v->gc_cycles << ROUTE_BITS) | (lua_Integer)run->request.route);
    lua_rawset(L, -3);
    return 0;
}

void audit_end(lua_State *L, vm_run *run)
{
    lua_pushcfunction(L, watch);
    lua_pushlightuserdata(L, run);
    if (lua_pcall(L, 1, 0, 0) != LUA_OK)
        lua_pop(L, 1); /* short of memory: not watched */
}

void audit_collect(lua_State *L, vm_run *run)
{
    vm *v = run->vm;
    if ((v->audits[run->request.route].audits - 1) % AUDIT_COLLECT_EVERY != 0 ||
        v->heap.bytes > AUDIT_COLLECT_BYTES)
        return;
    /* Each collection lets the canary die and look; what had a finalizer needs a second one, and CYCLES say
     * so. */
    for (int i = 0; i < CYCLES; i++)
        lua_gc(L, LUA_GCCOLLECT);
}
