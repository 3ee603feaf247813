#include "vm/ctx_eager.h"

#include "vm/ctx_fields.h"

enum { FIELDS = 6 };

static void set_value(lua_State *co, vm_run *run, enum ctx_field field)
{
    ctx_field_push_name(co, run, field);
    ctx_field_push_value(co, run, field);
    lua_rawset(co, -3);
}

static void set_closure(lua_State *co, vm_run *run, enum ctx_field field)
{
    ctx_field_push_name(co, run, field);
    lua_pushlightuserdata(co, run);
    lua_pushcclosure(co, ctx_field_function(field), 1);
    lua_rawset(co, -3);
}

static void lend(lua_State *co, vm_run *run)
{
    lua_createtable(co, 0, FIELDS);
    set_value(co, run, CTX_METHOD);
    set_value(co, run, CTX_PATH);
    set_closure(co, run, CTX_HEADERS);
    set_closure(co, run, CTX_QUERY);
    set_closure(co, run, CTX_PARAMS);
    set_closure(co, run, CTX_BODY);
    ctx_begin_new(co, run);
}

static void install(lua_State *L)
{
    ctx_share_metatable(L, ctx_on_index);
}

const ctx_strategy ctx_eager = {"eager", false, install, lend, ctx_end_new};
