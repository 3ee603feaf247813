#include "vm/json_path.h"

#include <stdbool.h>
#include <string.h>

#include <lauxlib.h>

#include "vm/json_scan.h"

enum {
    HEAD_KEYS = 16, /* shown of a long path, and... */
    TAIL_KEYS = 4,  /* ...these at its end */
    KEY_BYTES = 64,
};

static bool is_name(const char *s, size_t n)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789";
    return n > 0 && n <= KEY_BYTES && !(*s >= '0' && *s <= '9') && strspn(s, letters) == n;
}

static void add_string_key(luaL_Buffer *b, const char *s, size_t n)
{
    if (is_name(s, n)) {
        luaL_addchar(b, '.');
        luaL_addlstring(b, s, n);
        return;
    }
    luaL_addstring(b, "[\"");
    for (size_t i = 0; i < n && i < KEY_BYTES; i++) /* the message must be readable in a log */
        luaL_addchar(b, json_scan_is_plain((unsigned char)s[i]) ? s[i] : '?');
    luaL_addstring(b, n > KEY_BYTES ? "...\"]" : "\"]");
}

static void add_other_key(lua_State *L, luaL_Buffer *b, int index)
{
    luaL_addchar(b, '[');
    if (lua_type(L, index) == LUA_TNUMBER) {
        lua_pushvalue(L, index); /* a copy: reading it as a string would change the key itself */
        luaL_addvalue(b);
    } else if (lua_type(L, index) == LUA_TBOOLEAN) {
        luaL_addstring(b, lua_toboolean(L, index) ? "true" : "false");
    } else {
        luaL_addstring(b, luaL_typename(L, index));
    }
    luaL_addchar(b, ']');
}

static void add_key(lua_State *L, luaL_Buffer *b, int index)
{
    if (lua_type(L, index) == LUA_TSTRING) {
        size_t n;
        const char *s = lua_tolstring(L, index, &n);
        add_string_key(b, s, n);
    } else {
        add_other_key(L, b, index);
    }
}

const char *json_path_push(lua_State *L, int first, int keys)
{
    if (keys == 0)
        return lua_pushliteral(L, "the top level");
    luaL_Buffer b;
    luaL_buffinit(L, &b);
    for (int i = 0; i < keys; i++) {
        if (i == HEAD_KEYS && keys > HEAD_KEYS + TAIL_KEYS) {
            luaL_addstring(&b, "...");
            i = keys - TAIL_KEYS;
        }
        add_key(L, &b, first + 2 * i);
    }
    luaL_pushresult(&b);
    return lua_tostring(L, -1);
}
