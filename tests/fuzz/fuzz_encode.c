/* Lua values as JSON. An input is a program that builds a value: whatever a handler could return, NaN, holes,
 * cycles and functions too. What is encoded has to be JSON that reads as the same value; what is not has to
 * be refused by an error that says so. fuzz_json goes the other way. */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <lauxlib.h>
#include <lualib.h>

#include "tests/fuzz/json_grammar.h"

/* A value and what its JSON reads as. A table without keys is an object unless it is marked, one with the
 * keys 1..n an array, and every array that was read is marked. */
static const char compare[] =
    "local json = ...\n"
    "local mt = json.array_mt\n"
    "local function same(a, b)\n"
    "    if a == nil then return b == json.null end\n"
    "    if a == json.empty_array then return type(b) == 'table' and not next(b) and getmetatable(b) == mt "
    "end\n"
    "    if math.type(a) == 'float' then return math.type(b) == 'float' and ('<d'):pack(a) == ('<d'):pack(b) "
    "end\n"
    "    if type(a) ~= 'table' then return a == b and math.type(a) == math.type(b) end\n"
    "    if type(b) ~= 'table' then return false end\n"
    "    local is_array = getmetatable(a) == mt or a[1] ~= nil\n"
    "    if getmetatable(b) ~= (is_array and mt or nil) then return false end\n"
    "    for k, v in next, a do if not same(v, b[k]) then return false end end\n"
    "    for k in next, b do if a[k] == nil then return false end end\n"
    "    return true\n"
    "end\n"
    "return same";

enum { COMPARE = 1, MODULE = 2, BOTTOM = 2, LEVELS_MAX = JSON_DEPTH_MAX + 20 };

/* What builds a value: a byte, then what belongs to it. */
enum op {
    OP_NULL,
    OP_TRUE,
    OP_FALSE,
    OP_BYTE,    /* an integer of one byte */
    OP_INTEGER, /* eight bytes */
    OP_FLOAT,   /* eight bytes */
    OP_STRING,  /* its length in a byte, the bytes */
    OP_LIST,    /* values up to OP_END */
    OP_MARKED,  /* likewise, with the array mark */
    OP_OBJECT,  /* strings as of OP_STRING and values, up to OP_END */
    OP_TABLE,   /* any values as keys, and values, up to OP_END */
    OP_EMPTY_ARRAY,
    OP_AGAIN,    /* a table that is being built, so many levels up: a cycle */
    OP_FUNCTION, /* no JSON */
    OP_END
};

typedef struct builder {
    const uint8_t *p, *end;
    int tables[LEVELS_MAX]; /* their places on the stack */
    int levels;
} builder;

static void must(bool truth)
{
    if (!truth)
        abort();
}

static uint8_t next(builder *b)
{
    return b->p < b->end ? *b->p++ : OP_END;
}

/* Eight bytes, or as many as there are. */
static uint64_t next_word(builder *b)
{
    uint64_t word = 0;
    size_t left = (size_t)(b->end - b->p), n = left < sizeof word ? left : sizeof word;
    memcpy(&word, b->p, n);
    b->p += n;
    return word;
}

static void push_string(lua_State *L, builder *b)
{
    size_t left, n = next(b);
    left = (size_t)(b->end - b->p);
    n = n < left ? n : left;
    lua_pushlstring(L, (const char *)b->p, n);
    b->p += n;
}

static bool push_value(lua_State *L, builder *b);

/* Store the value at the top; what cannot be a key goes nowhere. */
static void store(lua_State *L, int table)
{
    bool is_nan = lua_type(L, -2) == LUA_TNUMBER && lua_tonumber(L, -2) != lua_tonumber(L, -2);
    if (lua_isnil(L, -2) || is_nan)
        lua_pop(L, 2);
    else
        lua_rawset(L, table);
}

static void fill(lua_State *L, builder *b, enum op op, int table)
{
    lua_Integer n = 0;
    while (b->p < b->end) {
        if (*b->p % (OP_END + 1) == OP_END) {
            b->p++;
            return;
        }
        if (op == OP_OBJECT)
            push_string(L, b);
        else if (op != OP_TABLE)
            lua_pushinteger(L, ++n);
        else if (!push_value(L, b))
            return;
        if (!push_value(L, b)) {
            lua_pop(L, 1);
            return;
        }
        store(L, table);
    }
}

static void push_table(lua_State *L, builder *b, enum op op)
{
    luaL_checkstack(L, 8, NULL);
    lua_newtable(L);
    if (op == OP_MARKED) {
        lua_getfield(L, MODULE, "array_mt");
        lua_setmetatable(L, -2);
    }
    if (b->levels == LEVELS_MAX)
        return;
    b->tables[b->levels++] = lua_gettop(L);
    fill(L, b, op, lua_gettop(L));
    b->levels--;
}

/* Returns: whether there was one. */
static bool push_value(lua_State *L, builder *b)
{
    double number;
    uint64_t word;
    enum op op = (enum op)(next(b) % (OP_END + 1));
    switch (op) {
    case OP_NULL:
        lua_pushlightuserdata(L, NULL);
        break;
    case OP_TRUE:
    case OP_FALSE:
        lua_pushboolean(L, op == OP_TRUE);
        break;
    case OP_BYTE:
        lua_pushinteger(L, next(b));
        break;
    case OP_INTEGER:
        lua_pushinteger(L, (lua_Integer)next_word(b));
        break;
    case OP_FLOAT:
        word = next_word(b);
        memcpy(&number, &word, sizeof number);
        lua_pushnumber(L, number);
        break;
    case OP_STRING:
        push_string(L, b);
        break;
    case OP_LIST:
    case OP_MARKED:
    case OP_OBJECT:
    case OP_TABLE:
        push_table(L, b, op);
        break;
    case OP_EMPTY_ARRAY:
        lua_getfield(L, MODULE, "empty_array");
        break;
    case OP_AGAIN:
        if (b->levels > 0)
            lua_pushvalue(L, b->tables[next(b) % b->levels]);
        else
            lua_pushnil(L);
        break;
    case OP_FUNCTION:
        lua_getfield(L, MODULE, "encode");
        break;
    case OP_END:
        return false;
    }
    return true;
}

/* --- trying it --- */

typedef struct encoding {
    buf text;
    unsigned flags;
} encoding;

/* Arguments: the value, the encoding. */
static int encode(lua_State *L)
{
    encoding *e = lua_touserdata(L, 2);
    json_encode(L, 1, &e->text, e->flags);
    return 0;
}

static void check(lua_State *L, int value, unsigned flags)
{
    json_error error;
    encoding e = {.flags = flags};
    lua_pushcfunction(L, encode);
    lua_pushvalue(L, value);
    lua_pushlightuserdata(L, &e);
    if (lua_pcall(L, 2, 0, 0) != LUA_OK) {
        must(strncmp(lua_tostring(L, -1), "json: ", 6) == 0);
    } else {
        must(json_grammar_accepts(buf_str(&e.text)));
        lua_pushvalue(L, COMPARE);
        lua_pushvalue(L, value);
        must(json_decode(L, buf_str(&e.text), &error) == 0);
        lua_call(L, 2, 1);
        must(lua_toboolean(L, -1) || flags != 0); /* replaced bytes differ */
    }
    buf_fini(&e.text);
    lua_settop(L, value);
}

static lua_State *open_state(void)
{
    lua_State *L = luaL_newstate();
    must(L != NULL);
    luaL_requiref(L, LUA_GNAME, luaopen_base, 1);
    luaL_requiref(L, LUA_STRLIBNAME, luaopen_string, 1);
    luaL_requiref(L, LUA_MATHLIBNAME, luaopen_math, 1);
    lua_settop(L, 0);
    must(luaL_loadstring(L, compare) == LUA_OK);
    luaL_requiref(L, "json", luaopen_json, 0);
    lua_pushvalue(L, -1);
    lua_insert(L, COMPARE);
    lua_call(L, 1, 1);
    lua_insert(L, COMPARE);
    must(lua_gettop(L) == BOTTOM);
    return L;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static lua_State *L;
    builder b = {.p = data, .end = data + size};
    if (!L)
        L = open_state();
    if (push_value(L, &b)) {
        check(L, BOTTOM + 1, 0);
        check(L, BOTTOM + 1, JSON_REPLACE_BAD_UTF8);
    }
    lua_settop(L, BOTTOM);
    lua_gc(L, LUA_GCCOLLECT); /* or each input looks as if it leaked, and is searched for leaks */
    return 0;
}
