#include "vm/ctx_recycled.h"

#include <lauxlib.h>

#include "vm/audit.h"
#include "vm/ctx_fields.h"
#include "vm/internal.h"
#include "vm/limit.h"

enum { KEYS_SWEPT_MAX = 32 };

/* Reading a value that is not in the context. A field that is read a second time is left there; most are read
 * once, and to store and clear one costs as much as to read it again. Upvalues: the run, the context. */
static int on_read(lua_State *L)
{
    vm_run *run = lua_touserdata(L, lua_upvalueindex(1));
    if (!limit_lets_read(run))
        return ctx_raise_stale(L, run->request.route_name);
    int field = ctx_field_at(L, 2, run->vm);
    if (field < 0)
        return 0;
    bool again = run->request.fields_read & 1u << field;
    ctx_field_push_value(L, run, (enum ctx_field)field);
    return again ? ctx_keep(L, lua_upvalueindex(2)) : 1;
}

/* Push the table of functions with what stands behind it. The context is at that index. */
static void push_base(lua_State *L, vm_run *run, int context)
{
    lua_createtable(L, 0, CTX_FUNCTION_COUNT);
    for (int field = CTX_VALUE_COUNT; field < CTX_FIELD_COUNT; field++) {
        ctx_field_push_name(L, run, (enum ctx_field)field);
        lua_pushcfunction(L, ctx_field_function((enum ctx_field)field));
        lua_rawset(L, -3);
    }
    lua_createtable(L, 0, 1);
    lua_pushlightuserdata(L, run);
    lua_pushvalue(L, context);
    lua_pushcclosure(L, on_read, 2);
    lua_setfield(L, -2, "__index");
    lua_setmetatable(L, -2);
}

/* Push a new context and put it on the shelf, in the place of one that served before: nobody holds that, as
 * far as we know. */
static void push_new(lua_State *L, vm_run *run)
{
    lua_newtable(L);
    ctx_push_metatable(L);
    push_base(L, run, lua_gettop(L) - 1);
    lua_setfield(L, -2, "__index");
    run->ctx.mt = lua_topointer(L, -1);
    lua_setmetatable(L, -2);
    ctx_shelve(L, run);
}

static void install(lua_State *L)
{
    (void)L; /* each context has a metatable of its own */
}

static void lend(lua_State *co, vm_run *run)
{
    audit_begin(run);
    if (run->ctx.once || !run->ctx.table)
        push_new(co, run);
    else
        ctx_fetch(co, &run->ctx, CTX_SHELF_TABLE);
}

/* Push the metatable of the context at index 1. Returns: whether it is the one that it was made with. */
static bool has_own_metatable(lua_State *shelf, const ctx_slot *slot)
{
    return lua_getmetatable(shelf, CTX_SHELF_TABLE) && lua_topointer(shelf, -1) == slot->mt;
}

/* Empty the context. Returns: false when it has too many keys to be worth it. */
static bool sweep(lua_State *shelf)
{
    lua_pushnil(shelf);
    for (int keys = 0; lua_next(shelf, CTX_SHELF_TABLE); keys++) {
        if (keys == KEYS_SWEPT_MAX)
            return false;
        lua_pop(shelf, 1);
        lua_pushvalue(shelf, -1);
        lua_pushnil(shelf);
        lua_rawset(shelf, CTX_SHELF_TABLE);
    }
    return true;
}

static void end(lua_State *L, vm_run *run)
{
    ctx_slot *slot = &run->ctx;
    if (!slot->table)
        return;
    ctx_forget(slot);
    bool again = !slot->once && !run->spawned && has_own_metatable(slot->shelf, slot) && sweep(slot->shelf);
    lua_settop(slot->shelf, CTX_SHELF_TABLE);
    if (!again)
        ctx_discard(L, run);
}

const ctx_strategy ctx_recycled = {"recycled", true, install, lend, end};
