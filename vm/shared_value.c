/* Values on their way between Lua and a dictionary: small ones as they are, tables as JSON. */
#include <errno.h>
#include <lauxlib.h>

#include "vm/json.h"
#include "vm/shared_parts.h"

#define TTL_MOST_S 1e9

str shared_check_key(lua_State *L, int index, const char *what)
{
    str key = {0};
    if (lua_type(L, index) == LUA_TSTRING || lua_isinteger(L, index))
        key.p = lua_tolstring(L, index, &key.n);
    if (!key.p)
        luaL_error(L, "%s: key: expected a text or a whole number, not %s", what, luaL_typename(L, index));
    if (key.n > DICT_KEY_BYTES_MAX)
        luaL_error(L, "%s: key: it has %I bytes; at most %d are possible", what, (lua_Integer)key.n,
                   DICT_KEY_BYTES_MAX);
    return key;
}

uint64_t shared_check_ttl(lua_State *L, int index, const char *what)
{
    if (lua_isnoneornil(L, index))
        return 0;
    double seconds = lua_type(L, index) == LUA_TNUMBER ? lua_tonumber(L, index) : 0;
    if (!(seconds > 0 && seconds <= TTL_MOST_S))
        luaL_error(L, "%s: ttl: expected seconds, more than 0 and at most 1e9, not %s", what,
                   luaL_tolstring(L, index, NULL));
    uint64_t ns = (uint64_t)(seconds * 1e9);
    return ns ? ns : 1;
}

static int on_encode(lua_State *L)
{
    buf *scratch = &shared_of(L)->scratch;
    scratch->n = 0;
    json_encode(L, 1, scratch, 0);
    return 0;
}

static void encode(lua_State *L, int index, const char *what, dict_value *ret)
{
    buf *scratch = &shared_of(L)->scratch;
    index = lua_absindex(L, index);
    lua_pushcfunction(L, on_encode);
    lua_pushvalue(L, index);
    int status = lua_pcall(L, 1, 0, 0);
    if (status != LUA_OK)
        shared_trim(shared_of(L));
    if (status == LUA_ERRRUN && lua_type(L, -1) == LUA_TSTRING)
        luaL_error(L, "%s: value: %s", what, lua_tostring(L, -1));
    if (status != LUA_OK)
        lua_error(L);
    ret->type = DICT_OTHER;
    ret->bytes = buf_str(scratch);
}

static void check_number(lua_State *L, int index, dict_value *ret)
{
    if (lua_isinteger(L, index)) {
        ret->type = DICT_INTEGER;
        ret->integer = lua_tointeger(L, index);
    } else {
        ret->type = DICT_FLOAT;
        ret->number = lua_tonumber(L, index);
    }
}

void shared_check_value(lua_State *L, int index, const char *what, dict_value *ret)
{
    switch (lua_type(L, index)) {
    case LUA_TSTRING:
        ret->type = DICT_STRING;
        ret->bytes.p = lua_tolstring(L, index, &ret->bytes.n);
        return;
    case LUA_TNUMBER:
        check_number(L, index, ret);
        return;
    case LUA_TBOOLEAN:
        ret->type = lua_toboolean(L, index) ? DICT_TRUE : DICT_FALSE;
        return;
    case LUA_TLIGHTUSERDATA:
        if (!lua_touserdata(L, index)) {
            ret->type = DICT_NULL;
            return;
        }
        /* fall through */
    case LUA_TTABLE:
        encode(L, index, what, ret);
        return;
    default:
        luaL_error(L, "%s: value: a %s cannot be kept; expected what JSON can hold", what,
                   luaL_typename(L, index));
    }
}

static void push_json(lua_State *L, str text)
{
    json_error error;
    if (json_decode(L, text, &error) < 0)
        luaL_error(L, "poolsrv.shared: a value that is not JSON: %s", error.reason);
}

void shared_push_value(lua_State *L, const dict_value *value)
{
    switch (value->type) {
    case DICT_STRING:
        lua_pushlstring(L, value->bytes.p, value->bytes.n);
        return;
    case DICT_INTEGER:
        lua_pushinteger(L, value->integer);
        return;
    case DICT_FLOAT:
        lua_pushnumber(L, value->number);
        return;
    case DICT_OTHER:
        push_json(L, value->bytes);
        return;
    case DICT_NULL:
        lua_pushlightuserdata(L, NULL);
        return;
    default:
        lua_pushboolean(L, value->type == DICT_TRUE);
    }
}

int shared_fail(lua_State *L, int err, const char *what, size_t max_bytes)
{
    shared_trim(shared_of(L));
    if (err == -EFBIG)
        return luaL_error(L, "%s: value: it is larger than the whole dictionary (max_bytes = %I)", what,
                          (lua_Integer)max_bytes);
    if (err == -EDOM)
        return luaL_error(L, "%s: key: its value is not a number", what);
    if (err == -ERANGE)
        return luaL_error(L, "%s: by: the sum is beyond what an integer holds", what);
    if (err == -ENOSPC)
        return luaL_error(L, "%s: too many locks are held", what);
    return luaL_error(L, "%s: not enough memory", what);
}
