#include "vm/lengths.h"

#include <lauxlib.h>

#include "queue/duration.h"

int lengths_read(lua_State *L)
{
    char error[256];
    int64_t ms;
    str text = {0};
    int err;
    if (lua_type(L, 1) == LUA_TNUMBER) {
        err = duration_from_seconds(lua_tonumber(L, 1), &ms, error, sizeof(error));
    } else {
        text.p = luaL_tolstring(L, 1, &text.n);
        err = duration_parse(text, &ms, error, sizeof(error));
    }
    if (err) {
        lua_pushnil(L);
        lua_pushstring(L, error);
        return 2;
    }
    lua_pushinteger(L, ms);
    return 1;
}
