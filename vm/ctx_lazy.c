#include "vm/ctx_lazy.h"

#include "vm/ctx_fields.h"
#include "vm/internal.h"

static int on_index(lua_State *L)
{
    vm_run *run = ctx_check(L);
    int field = ctx_field_at(L, 2, run->vm);
    if (field < 0)
        return 0;
    lua_CFunction function = ctx_field_function((enum ctx_field)field);
    if (function) {
        lua_pushlightuserdata(L, run);
        lua_pushcclosure(L, function, 1);
    } else {
        ctx_field_push_value(L, run, (enum ctx_field)field);
    }
    return ctx_keep(L, 1);
}

static audit_route *route_of(vm_run *run)
{
    return &run->vm->audits[run->request.route];
}

static void lend(lua_State *co, vm_run *run)
{
    lua_createtable(co, 0, route_of(run)->fields);
    ctx_begin_new(co, run);
}

static void end(lua_State *L, vm_run *run)
{
    route_of(run)->fields = (uint8_t)__builtin_popcount(run->request.fields_read);
    ctx_end_new(L, run);
}

static void install(lua_State *L)
{
    ctx_share_metatable(L, on_index);
}

const ctx_strategy ctx_lazy = {"lazy", false, install, lend, end};
