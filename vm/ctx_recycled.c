#include "vm/ctx_recycled.h"

#include <lauxlib.h>

#include "vm/internal.h"

enum { KEYS_SWEPT_MAX = 32 };

/* Reading a value field for the first time. Upvalue: the run. */
static int on_first_read(lua_State *L)
{
    vm_run *run = lua_touserdata(L, lua_upvalueindex(1));
    if (!run->live)
        return ctx_raise_stale(L, run->request.route_name);
    int field = ctx_field_at(L, 2);
    if (field < 0)
        return 0;
    lua_rawgeti(L, LUA_REGISTRYINDEX, run->ctx.ref);
    ctx_push_value(L, run, (enum ctx_field)field);
    return ctx_keep(L, 3);
}

/* Push the table of functions with what stands behind it. */
static void push_base(lua_State *L, vm_run *run)
{
    lua_createtable(L, 0, CTX_FIELD_COUNT);
    for (int field = 0; field < CTX_FIELD_COUNT; field++) {
        lua_CFunction function = ctx_function((enum ctx_field)field);
        if (!function)
            continue;
        ctx_push_name(L, run, (enum ctx_field)field);
        lua_pushcfunction(L, function);
        lua_rawset(L, -3);
    }
    lua_createtable(L, 0, 1);
    lua_pushlightuserdata(L, run);
    lua_pushcclosure(L, on_first_read, 1);
    lua_setfield(L, -2, "__index");
    lua_setmetatable(L, -2);
}

/* Push a new context and remember it. */
static void push_new(lua_State *L, vm_run *run)
{
    ctx_slot *slot = &run->ctx;
    lua_newtable(L);
    ctx_push_metatable(L);
    push_base(L, run);
    lua_setfield(L, -2, "__index");
    slot->mt = lua_topointer(L, -1);
    lua_setmetatable(L, -2);
    lua_pushvalue(L, -1);
    slot->ref = luaL_ref(L, LUA_REGISTRYINDEX);
    slot->table = lua_topointer(L, -1);
}

static void install(lua_State *L)
{
    (void)L; /* each context has a metatable of its own */
}

static void lend(lua_State *co, vm_run *run)
{
    ctx_slot *slot = &run->ctx;
    ctx_decide(run);
    if (slot->once && slot->ref != LUA_NOREF) {
        /* One that served before: nobody holds it, as far as we know; let it go. */
        luaL_unref(co, LUA_REGISTRYINDEX, slot->ref);
        slot->ref = LUA_NOREF;
    }
    if (slot->ref == LUA_NOREF)
        push_new(co, run);
    else
        lua_rawgeti(co, LUA_REGISTRYINDEX, slot->ref);
}

/* Empty the table at the top. Returns: false when it has too many keys to be worth it. */
static bool sweep(lua_State *L)
{
    lua_pushnil(L);
    for (int keys = 0; lua_next(L, -2); keys++) {
        lua_pop(L, 1);
        if (keys == KEYS_SWEPT_MAX) {
            lua_pop(L, 1);
            return false;
        }
        lua_pushvalue(L, -1);
        lua_pushnil(L);
        lua_rawset(L, -4);
    }
    return true;
}

static bool has_own_metatable(lua_State *L, const ctx_slot *slot)
{
    if (!lua_getmetatable(L, -1))
        return false;
    bool own = lua_topointer(L, -1) == slot->mt;
    lua_pop(L, 1);
    return own;
}

static void end(lua_State *L, vm_run *run)
{
    ctx_slot *slot = &run->ctx;
    if (slot->ref == LUA_NOREF)
        return;
    ctx_forget_memo(L, run);
    if (slot->once || run->spawned) {
        ctx_discard(L, run);
        return;
    }
    lua_rawgeti(L, LUA_REGISTRYINDEX, slot->ref);
    bool clean = has_own_metatable(L, slot) && sweep(L);
    lua_pop(L, 1);
    if (!clean)
        ctx_discard(L, run);
}

const ctx_strategy ctx_recycled = {"recycled", true, install, lend, end};
