#include "vm/ctx.h"

#include <lauxlib.h>

#include "vm/audit.h"
#include "vm/ctx_eager.h"
#include "vm/ctx_fields.h"
#include "vm/ctx_lazy.h"
#include "vm/ctx_preregistered.h"
#include "vm/ctx_recycled.h"
#include "vm/internal.h"
#include "vm/limit.h"

const ctx_strategy *ctx_strategy_named(const char *name)
{
    static const ctx_strategy *const all[] = {&ctx_eager, &ctx_lazy, &ctx_preregistered, &ctx_recycled};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        if (strcmp(all[i]->name, name) == 0)
            return all[i];
    return NULL;
}

void ctx_install(lua_State *L)
{
    ctx_fields_install(L);
    vm_of(L)->strategy->install(L);
}

/* --- the shelf --- */

static lua_State *shelf_of(lua_State *L, vm_run *run)
{
    if (!run->ctx.shelf) {
        lua_State *shelf = lua_newthread(L);
        lua_settop(shelf, CTX_SHELF_TABLE);
        luaL_ref(L, LUA_REGISTRYINDEX); /* for as long as the VM lives, as the run */
        run->ctx.shelf = shelf;
    }
    return run->ctx.shelf;
}

void ctx_shelve(lua_State *L, vm_run *run)
{
    lua_State *shelf = shelf_of(L, run);
    run->ctx.table = lua_topointer(L, -1);
    lua_pushvalue(L, -1);
    lua_xmove(L, shelf, 1);
    lua_replace(shelf, CTX_SHELF_TABLE);
}

int ctx_remember(lua_State *L, vm_run *run, enum ctx_field field)
{
    ctx_slot *slot = &run->ctx;
    lua_State *shelf = shelf_of(L, run); /* any stack has room for as many as there are functions */
    lua_pushvalue(L, -1);
    lua_xmove(L, shelf, 1);
    slot->places[field] = (uint8_t)(CTX_SHELF_TABLE + ++slot->results);
    return 1;
}

/* --- what makes a table a context --- */

/* Its address is the value of __metatable in every metatable that is hidden, and in those of contexts the key
 * of what tells more: a route's name once the context has ended, true before that. */
static const char marker;

bool ctx_is_marker(lua_State *L, int index)
{
    return lua_touserdata(L, index) == &marker;
}

void ctx_hide_metatable(lua_State *L)
{
    lua_pushlightuserdata(L, (void *)(uintptr_t)&marker);
    lua_setfield(L, -2, "__metatable");
}

/* Push a metatable with room for so many fields more. */
static void push_marked(lua_State *L, int fields)
{
    lua_createtable(L, 0, 3 + fields);
    ctx_hide_metatable(L);
    lua_pushliteral(L, "context");
    lua_setfield(L, -2, "__name");
}

void ctx_push_metatable(lua_State *L)
{
    push_marked(L, 1);
    lua_pushboolean(L, true);
    lua_rawsetp(L, -2, &marker);
}

int ctx_raise_stale(lua_State *L, const char *route)
{
    return luaL_error(L, "the context of %s was used after its request had ended; copy what you need from it",
                      route ? route : "a request");
}

/* --- which request --- */

/* The table at index 1 is no context under way. */
static void raise_not_live(lua_State *L)
{
    if (lua_getmetatable(L, 1) && lua_rawgetp(L, -1, &marker) != LUA_TNIL)
        ctx_raise_stale(L, lua_tostring(L, -1));
    luaL_error(L, "the first argument is no context: call it with a colon, as in ctx:headers()");
}

/* The context at index 1 is not that of the request which runs: search for its own. Rare. */
static vm_run *search(lua_State *L)
{
    const void *table = lua_topointer(L, 1);
    if (lua_type(L, 1) != LUA_TTABLE)
        luaL_error(L, "the context is missing: call it with a colon, as in ctx:headers()");
    vm_run *run = vm_of(L)->runs;
    while (run && run->ctx.table != table)
        run = run->next;
    if (!run)
        raise_not_live(L);
    else if (!limit_lets_read(run))
        ctx_raise_stale(L, run->request.route_name);
    return run;
}

vm_run *ctx_check(lua_State *L)
{
    const void *table = lua_topointer(L, 1);
    vm_run *run = vm_of(L)->running;
    if (run && table && run->ctx.table == table)
        return run;
    run = lua_touserdata(L, lua_upvalueindex(1));
    if (run && limit_lets_read(run) && table && run->ctx.table == table)
        return run;
    return search(L);
}

int ctx_keep(lua_State *L, int table)
{
    if (lua_isnil(L, -1))
        return 1;
    lua_pushvalue(L, 2);
    lua_pushvalue(L, -2);
    lua_rawset(L, table);
    return 1;
}

/* --- the end of a context --- */

static int on_stale(lua_State *L)
{
    return ctx_raise_stale(L, lua_tostring(L, lua_upvalueindex(1)));
}

/* Push the metatable that makes every use of a context of that route an error. */
static void push_poison(lua_State *L, vm *v, unsigned route)
{
    if (v->poison_refs[route] != LUA_NOREF) {
        lua_rawgeti(L, LUA_REGISTRYINDEX, v->poison_refs[route]);
        return;
    }
    static const char *const events[] = {"__index", "__newindex", "__pairs", "__len", "__call"};
    push_marked(L, 5);
    lua_pushstring(L, v->route_names[route]);
    lua_pushvalue(L, -1);
    lua_rawsetp(L, -3, &marker);
    lua_pushcclosure(L, on_stale, 1);
    for (size_t i = 0; i < sizeof(events) / sizeof(events[0]); i++) {
        lua_pushvalue(L, -1);
        lua_setfield(L, -3, events[i]);
    }
    lua_pop(L, 1);
    lua_pushvalue(L, -1);
    v->poison_refs[route] = luaL_ref(L, LUA_REGISTRYINDEX);
}

static int poison(lua_State *L)
{
    vm_run *run = lua_touserdata(L, 1);
    ctx_fetch(L, &run->ctx, CTX_SHELF_TABLE);
    lua_pushnil(L);
    while (lua_next(L, 2)) {
        lua_pop(L, 1);
        lua_pushvalue(L, -1);
        lua_pushnil(L);
        lua_rawset(L, 2);
    }
    push_poison(L, run->vm, run->request.route);
    lua_setmetatable(L, 2);
    return 0;
}

void ctx_discard(lua_State *L, vm_run *run)
{
    ctx_slot *slot = &run->ctx;
    lua_pushcfunction(L, poison);
    lua_pushlightuserdata(L, run);
    if (lua_pcall(L, 1, 0, 0) != LUA_OK) {
        lua_pop(L, 1);
        run->vm->soiled = true;
    }
    if (slot->audited)
        audit_end(L, run);
    lua_pushnil(slot->shelf);
    lua_replace(slot->shelf, CTX_SHELF_TABLE);
    slot->table = NULL;
    if (slot->audited)
        audit_collect(L, run);
}

/* --- a new table for each request --- */

int ctx_on_index(lua_State *L)
{
    vm_run *run = ctx_check(L);
    int field = ctx_field_at(L, 2, run->vm);
    if (field < 0)
        return 0;
    lua_CFunction function = ctx_field_function((enum ctx_field)field);
    if (function)
        lua_pushcfunction(L, function);
    else
        ctx_field_push_value(L, run, (enum ctx_field)field);
    return 1;
}

void ctx_share_metatable(lua_State *L, lua_CFunction index)
{
    ctx_push_metatable(L);
    lua_pushcfunction(L, index);
    lua_setfield(L, -2, "__index");
    vm_of(L)->ctx_mt_ref = luaL_ref(L, LUA_REGISTRYINDEX);
}

void ctx_begin_new(lua_State *co, vm_run *run)
{
    lua_rawgeti(co, LUA_REGISTRYINDEX, run->vm->ctx_mt_ref);
    lua_setmetatable(co, -2);
    audit_begin(run);
    if (run->ctx.once)
        ctx_shelve(co, run); /* to be found again at the end */
    else
        run->ctx.table = lua_topointer(co, -1);
}

void ctx_end_new(lua_State *L, vm_run *run)
{
    ctx_slot *slot = &run->ctx;
    ctx_forget(slot);
    if (slot->once && slot->table)
        ctx_discard(L, run);
    slot->table = NULL;
}
