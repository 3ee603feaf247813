#include <stdint.h>

#include <lauxlib.h>

#include "vm/json.h"
#include "vm/json_internal.h"

enum { KEEP_BYTES = 64 * 1024 }; /* a longer text's bytes are given back at once */

/* Keys of the registry, by their addresses; what they hold is never looked at. */
static const char array_mt_key = 'm', scratch_key = 's';

/* Its address is json.empty_array. */
static const char empty_array = 'e';

void json_internal_push_array_mt(lua_State *L)
{
    lua_rawgetp(L, LUA_REGISTRYINDEX, &array_mt_key);
}

buf *json_internal_scratch(lua_State *L)
{
    lua_rawgetp(L, LUA_REGISTRYINDEX, &scratch_key);
    buf *scratch = lua_touserdata(L, -1);
    lua_pop(L, 1);
    return scratch;
}

const void *json_internal_empty_array(void)
{
    return &empty_array;
}

/* The bytes wait in the lua_State's scratch, so that a Lua error cannot leak them. */
static int encode(lua_State *L)
{
    luaL_checkany(L, 1);
    buf *out = lua_touserdata(L, lua_upvalueindex(1));
    out->n = 0;
    json_encode(L, 1, out, 0);
    lua_pushlstring(L, out->p, out->n);
    if (out->cap > KEEP_BYTES)
        buf_fini(out);
    return 1;
}

static int decode(lua_State *L)
{
    str text;
    text.p = luaL_checklstring(L, 1, &text.n);
    json_error error;
    if (json_decode(L, text, &error) != 0)
        return luaL_error(L, "json: %s at byte %I", error.reason, (lua_Integer)error.position);
    return 1;
}

static int array(lua_State *L)
{
    if (lua_isnoneornil(L, 1)) {
        lua_settop(L, 0);
        lua_newtable(L);
    }
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    json_internal_push_array_mt(L);
    if (lua_getmetatable(L, 1)) {
        luaL_argcheck(L, lua_rawequal(L, -1, -2), 1, "the table has another metatable");
        lua_pop(L, 1);
    }
    lua_setmetatable(L, 1);
    return 1;
}

/* With the debug library an app can call it, too. */
static int scratch_gc(lua_State *L)
{
    buf *scratch = lua_touserdata(L, 1);
    luaL_argcheck(L, scratch && scratch == json_internal_scratch(L), 1,
                  "only the collector calls this function");
    buf_fini(scratch);
    return 0;
}

/* Push a buf that is freed with the lua_State. */
static void push_new_scratch(lua_State *L)
{
    buf *scratch = lua_newuserdatauv(L, sizeof *scratch, 0);
    *scratch = (buf){0};
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, scratch_gc);
    lua_setfield(L, -2, "__gc");
    lua_setmetatable(L, -2);
}

static void prepare(lua_State *L)
{
    if (json_internal_scratch(L))
        return;
    lua_newtable(L);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &array_mt_key);
    push_new_scratch(L);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &scratch_key);
}

int luaopen_json(lua_State *L)
{
    prepare(L);
    lua_createtable(L, 0, 6);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &scratch_key);
    lua_pushcclosure(L, encode, 1);
    lua_setfield(L, -2, "encode");
    lua_pushcfunction(L, decode);
    lua_setfield(L, -2, "decode");
    lua_pushcfunction(L, array);
    lua_setfield(L, -2, "array");
    lua_pushlightuserdata(L, NULL);
    lua_setfield(L, -2, "null");
    lua_pushlightuserdata(L, (void *)(uintptr_t)&empty_array);
    lua_setfield(L, -2, "empty_array");
    json_internal_push_array_mt(L);
    lua_setfield(L, -2, "array_mt");
    return 1;
}
