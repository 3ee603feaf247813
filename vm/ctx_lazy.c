#include "vm/ctx_lazy.h"

#include "vm/internal.h"

enum { FIELDS = 4 };

static int on_index(lua_State *L)
{
    vm_run *run = ctx_check(L);
    int field = ctx_field_at(L, 2);
    if (field < 0)
        return 0;
    lua_CFunction function = ctx_function((enum ctx_field)field);
    if (function) {
        lua_pushlightuserdata(L, run);
        lua_pushcclosure(L, function, 1);
    } else {
        ctx_push_value(L, run, (enum ctx_field)field);
    }
    return ctx_keep(L, 1);
}

static void lend(lua_State *co, vm_run *run)
{
    lua_createtable(co, 0, FIELDS);
    ctx_begin_new(co, run);
}

static void install(lua_State *L)
{
    ctx_share_metatable(L, on_index);
}

const ctx_strategy ctx_lazy = {"lazy", false, install, lend, ctx_end_new};
