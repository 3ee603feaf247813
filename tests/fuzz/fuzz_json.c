/* Any bytes as JSON. What RFC 8259 calls JSON is accepted, nothing else is, and it must survive encoding and
 * decoding, unchanged. fuzz_encode goes the other way. */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#include <lauxlib.h>
#include <lualib.h>

#include "tests/fuzz/json_grammar.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The order of keys, and so the text of an object, may differ: the values are compared, down to the type of a
 * number, the sign of a zero and the mark of an array. */
static const char compare[] =
    "local function same(a, b)\n"
    "    if math.type(a) == 'float' then return math.type(b) == 'float' and ('<d'):pack(a) == ('<d'):pack(b) "
    "end\n"
    "    if type(a) ~= 'table' then return a == b and math.type(a) == math.type(b) end\n"
    "    if type(b) ~= 'table' or getmetatable(a) ~= getmetatable(b) then return false end\n"
    "    for k, v in next, a do if not same(v, b[k]) then return false end end\n"
    "    for k in next, b do if a[k] == nil then return false end end\n"
    "    return true\n"
    "end\n"
    "return same";

enum { COMPARE = 1, VALUE = 2, AGAIN = 3 };

static void must(bool truth)
{
    if (!truth)
        abort();
}

static lua_State *open_state(void)
{
    lua_State *L = luaL_newstate();
    must(L != NULL);
    luaL_openlibs(L);
    luaL_requiref(L, "json", luaopen_json, 0);
    lua_settop(L, 0);
    must(luaL_dostring(L, compare) == LUA_OK);
    return L;
}

static void check_accepted(lua_State *L)
{
    buf first = {0}, second = {0};
    json_error error;
    json_encode(L, VALUE, &first, 0);
    must(json_grammar_accepts(buf_str(&first)));
    must(json_decode(L, buf_str(&first), &error) == 0);
    json_encode(L, AGAIN, &second, 0);
    must(first.n == second.n);
    lua_pushvalue(L, COMPARE);
    lua_pushvalue(L, VALUE);
    lua_pushvalue(L, AGAIN);
    lua_call(L, 2, 1);
    must(lua_toboolean(L, -1));
    buf_fini(&first);
    buf_fini(&second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static lua_State *L;
    json_error error;
    if (!L)
        L = open_state();
    str text_in = {(const char *)data, size};
    bool accepted = json_decode(L, text_in, &error) == 0;
    must(accepted == json_grammar_accepts(text_in));
    if (accepted) {
        check_accepted(L);
    } else {
        must(error.position <= size && error.reason != NULL && lua_gettop(L) == COMPARE);
    }
    /* The same bytes as a Lua string, whatever they are: replaced where they must be, the text reads back. */
    buf text = {0};
    lua_settop(L, COMPARE);
    lua_pushlstring(L, (const char *)data, size);
    json_encode(L, VALUE, &text, JSON_REPLACE_BAD_UTF8);
    must(json_decode(L, buf_str(&text), &error) == 0 && lua_type(L, AGAIN) == LUA_TSTRING);
    buf_fini(&text);
    lua_settop(L, COMPARE);
    return 0;
}
