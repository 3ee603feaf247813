#include "vm/ctx_recycled.h"

#include <lauxlib.h>

#include "vm/audit.h"
#include "vm/internal.h"

enum { KEYS_SWEPT_MAX = 32 };

/* Reading a value field for the first time. Upvalue: the run. */
static int on_first_read(lua_State *L)
{
    vm_run *run = lua_touserdata(L, lua_upvalueindex(1));
    size_t n;
    if (!run->live)
        return ctx_raise_stale(L, run->request.route_name);
    if (lua_type(L, 2) != LUA_TSTRING)
        return 0;
    const char *name = lua_tolstring(L, 2, &n);
    if (!ctx_push_value(L, run, name, n))
        return 0;
    lua_rawgeti(L, LUA_REGISTRYINDEX, run->ctx.ref);
    lua_pushvalue(L, 2);
    lua_pushvalue(L, -3);
    lua_rawset(L, -3);
    lua_pop(L, 1);
    return 1;
}

/* Push the table of functions with what stands behind it. */
static void push_base(lua_State *L, vm_run *run)
{
    lua_createtable(L, 0, 8);
    ctx_push_functions(L, lua_gettop(L));
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
    int table = lua_gettop(L);
    lua_createtable(L, 0, 3);
    push_base(L, run);
    lua_setfield(L, -2, "__index");
    ctx_push_marker(L);
    lua_setfield(L, -2, "__metatable");
    lua_pushliteral(L, "context");
    lua_setfield(L, -2, "__name");
    const void *mt = lua_topointer(L, -1);
    lua_setmetatable(L, table);
    lua_rawgeti(L, LUA_REGISTRYINDEX, run->vm->contexts_ref);
    lua_pushvalue(L, table);
    lua_pushlightuserdata(L, run);
    lua_rawset(L, -3);
    lua_pop(L, 1);
    if (slot->memo_ref == LUA_NOREF) {
        lua_createtable(L, CTX_FIELD_COUNT, 0);
        slot->memo_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    }
    lua_pushvalue(L, table);
    slot->ref = luaL_ref(L, LUA_REGISTRYINDEX);
    slot->table = lua_topointer(L, table);
    slot->mt = mt;
}

static void lend(lua_State *co, vm_run *run)
{
    bool once = run->vm->config.dev;
    run->ctx.audited = audit_begin(run->vm, run->request.route, &once);
    if ((once || run->ctx.audited) && run->ctx.ref != LUA_NOREF) {
        /* One that served before: nobody holds it, as far as we know; let it go. */
        luaL_unref(co, LUA_REGISTRYINDEX, run->ctx.ref);
        run->ctx.ref = LUA_NOREF;
    }
    run->ctx.once = once || run->ctx.audited;
    if (run->ctx.ref == LUA_NOREF)
        push_new(co, run);
    else
        lua_rawgeti(co, LUA_REGISTRYINDEX, run->ctx.ref);
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

static void throw_away(lua_State *L, vm_run *run)
{
    ctx_poison(L, run);
    if (run->ctx.audited)
        audit_end(L, run);
    luaL_unref(L, LUA_REGISTRYINDEX, run->ctx.ref);
    run->ctx.ref = LUA_NOREF;
    run->ctx.table = NULL;
    if (run->ctx.audited)
        audit_collect(L, run);
}

static void end(lua_State *L, vm_run *run)
{
    ctx_slot *slot = &run->ctx;
    if (slot->ref == LUA_NOREF)
        return;
    ctx_forget_memo(L, run);
    if (slot->once || run->spawned) {
        throw_away(L, run);
        return;
    }
    lua_rawgeti(L, LUA_REGISTRYINDEX, slot->ref);
    bool clean = has_own_metatable(L, slot) && sweep(L);
    lua_pop(L, 1);
    if (!clean)
        throw_away(L, run);
}

const ctx_strategy ctx_recycled = {"recycled", lend, end};
