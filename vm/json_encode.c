#include <math.h>
#include <string.h>

#include <lauxlib.h>

#include "vm/json.h"
#include "vm/json_internal.h"
#include "vm/json_number.h"
#include "vm/json_path.h"
#include "vm/json_scan.h"
#include "vm/json_utf8.h"
#include "vm/seal.h"

enum {
    LEVELS_AT_ONCE = 8,      /* of tables, for which stack room is asked */
    GUARDED_BYTES = 1 << 20, /* a text is long beyond it */
};

/* The Lua stack holds the value at `root`; inside a table it goes on with key, value, key, value... as
 * lua_next leaves them, one pair a level. So the path to the current value is always on the stack, and costs
 * nothing until an error asks for it. */
typedef struct encoder {
    lua_State *L;
    buf *out;
    unsigned flags;
    int root;
    int depth;            /* tables entered */
    const void *array_mt; /* NULL until the first table with a metatable */
} encoder;

/* Its address: where the guard is in the registry. */
static const char guard_key = 'g';

void json_guard(lua_State *L)
{
    lua_rawsetp(L, LUA_REGISTRYINDEX, &guard_key);
}

/* The text is about to be moved to a larger place. */
static void ask_guard(encoder *e, size_t bytes)
{
    luaL_checkstack(e->L, 2, NULL);
    if (lua_rawgetp(e->L, LUA_REGISTRYINDEX, &guard_key) == LUA_TFUNCTION) {
        lua_pushinteger(e->L, (lua_Integer)bytes);
        lua_call(e->L, 1, 0);
    } else {
        lua_pop(e->L, 1);
    }
}

/* Errors. */

/* Raise an error about the current value. */
static _Noreturn void fail(encoder *e, const char *what)
{
    luaL_checkstack(e->L, LUA_MINSTACK, NULL);
    luaL_error(e->L, "json: cannot encode %s at %s", what, json_path_push(e->L, e->root + 1, e->depth));
    __builtin_unreachable();
}

/* Raise an error about the key of the current value. */
static _Noreturn void fail_bad_key(encoder *e)
{
    int key = lua_absindex(e->L, -2);
    if (lua_isinteger(e->L, key))
        fail(e, "a number key in a table that is not an array");
    fail(e, lua_pushfstring(e->L, "a %s key", luaL_typename(e->L, key)));
}

/* Output. */

static __attribute__((noinline)) void grow(encoder *e, size_t more)
{
    if (e->out->n + more > GUARDED_BYTES)
        ask_guard(e, e->out->n + more);
    if (buf_grow(e->out, more) != 0)
        luaL_error(e->L, "json: not enough memory");
}

/* Room for n bytes, and for one behind them: the comma, colon or bracket that follows needs no check of its
 * own. */
static inline char *room(encoder *e, size_t n)
{
    if (e->out->cap - e->out->n < n + 1)
        grow(e, n + 1);
    return e->out->p + e->out->n;
}

static inline void put(encoder *e, const char *text, size_t n)
{
    memcpy(room(e, n), text, n);
    e->out->n += n;
}

/* memcpy, without the call for what keys and most values are. */
static inline void copy(char *to, const char *from, size_t n)
{
    if (n > 16) {
        memcpy(to, from, n);
    } else if (n >= 8) { /* two runs that may overlap */
        memcpy(to, from, 8);
        memcpy(to + n - 8, from + n - 8, 8);
    } else if (n >= 4) {
        memcpy(to, from, 4);
        memcpy(to + n - 4, from + n - 4, 4);
    } else {
        for (size_t i = 0; i < n; i++)
            to[i] = from[i];
    }
}

static inline void put_separator(encoder *e, char c)
{
    e->out->p[e->out->n++] = c;
}

/* The bracket takes the place of the last comma, so the spare byte was used up: see to the next one. */
static inline void put_close(encoder *e, char c)
{
    e->out->p[e->out->n - 1] = c;
    room(e, 0);
}

static void put_escape(encoder *e, unsigned char c)
{
    static const char hex[] = "0123456789abcdef", shorts[] = "\"\"\\\\\bb\ff\nn\rr\tt";
    for (const char *s = shorts; *s; s += 2) {
        if ((unsigned char)*s == c) {
            put(e, (const char[]){'\\', s[1]}, 2);
            return;
        }
    }
    put(e, (const char[]){'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]}, 6);
}

static _Noreturn void fail_utf8(encoder *e, size_t position, bool is_key)
{
    lua_Integer at = (lua_Integer)position;
    luaL_checkstack(e->L, LUA_MINSTACK, NULL);
    if (is_key)
        fail(e, lua_pushfstring(e->L, "a key with invalid UTF-8 at its byte %I", at));
    fail(e, lua_pushfstring(e->L, "a string with invalid UTF-8 at its byte %I", at));
}

/* The string from its first byte that is not plain on. */
static void put_string_rest(encoder *e, const char *s, size_t n, const char *p, bool is_key)
{
    const char *run = s, *end = s + n; /* [run, p) can be copied as it is */
    put(e, "\"", 1);
    for (; p < end; p = json_scan_plain(p, end)) {
        unsigned char c = (unsigned char)*p;
        int width = json_utf8_measure(p, end);
        if (c >= 0x80 && width > 0) {
            p += width;
            continue;
        }
        if (width < 0 && !(e->flags & JSON_REPLACE_BAD_UTF8))
            fail_utf8(e, (size_t)(p - s), is_key);
        put(e, run, (size_t)(p - run));
        if (width < 0)
            put(e, "\xEF\xBF\xBD", 3);
        else
            put_escape(e, c);
        p += width < 0 ? -width : 1;
        run = p;
    }
    put(e, run, (size_t)(p - run));
    put(e, "\"", 1);
}

static inline void put_string(encoder *e, int index, bool is_key)
{
    size_t n;
    const char *s = lua_tolstring(e->L, index, &n);
    const char *stop = json_scan_plain(s, s + n);
    if (stop != s + n) {
        put_string_rest(e, s, n, stop, is_key);
        return;
    }
    char *p = room(e, n + 2);
    p[0] = '"';
    copy(p + 1, s, n);
    p[n + 1] = '"';
    e->out->n += n + 2;
}

static void put_number(encoder *e)
{
    char *p = room(e, JSON_NUMBER_BYTES);
    if (lua_isinteger(e->L, -1)) {
        e->out->n += json_number_write_integer(p, lua_tointeger(e->L, -1));
        return;
    }
    double v = lua_tonumber(e->L, -1);
    if (!isfinite(v))
        fail(e, isnan(v) ? "NaN" : v < 0 ? "-infinity" : "infinity");
    e->out->n += json_number_write_real(p, v);
}

/* Values. */

static void encode_table(encoder *e);

/* The value on top of the stack, which stays. */
static inline void encode_value(encoder *e)
{
    lua_State *L = e->L;
    switch (lua_type(L, -1)) {
    case LUA_TSTRING:
        put_string(e, -1, false);
        return;
    case LUA_TTABLE:
        encode_table(e);
        return;
    case LUA_TNUMBER:
        put_number(e);
        return;
    case LUA_TBOOLEAN:
        if (lua_toboolean(L, -1))
            put(e, "true", 4);
        else
            put(e, "false", 5);
        return;
    case LUA_TNIL:
        put(e, "null", 4);
        return;
    case LUA_TLIGHTUSERDATA:
        if (lua_touserdata(L, -1) == NULL) {
            put(e, "null", 4);
            return;
        }
        if (lua_touserdata(L, -1) == json_internal_empty_array()) {
            put(e, "[]", 2);
            return;
        }
        break;
    default:
        break;
    }
    luaL_checkstack(L, LUA_MINSTACK, NULL);
    fail(e, lua_pushfstring(L, "a %s", luaL_typename(L, -1)));
}

/* Returns: whether the table on top has the array mark. A sealed one is replaced by its contents. */
static bool is_marked(encoder *e)
{
    lua_State *L = e->L;
    if (!lua_getmetatable(L, -1))
        return false;
    if (seal_is_metatable(L, -1)) {
        lua_pop(L, 1);
        seal_push_original(L, -1);
        seal_open(L, -2);
    }
    const void *mt = lua_topointer(L, -1);
    lua_pop(L, 1);
    if (!e->array_mt) {
        json_internal_push_array_mt(L);
        e->array_mt = lua_topointer(L, -1);
        lua_pop(L, 1);
    }
    return mt == e->array_mt;
}

/* Returns: whether the key of the pair on top is the integer i. */
static inline bool key_is(lua_State *L, lua_Integer i)
{
    return lua_type(L, -2) == LUA_TNUMBER && lua_tointeger(L, -2) == i;
}

/* Returns: the table's number of keys, if all of them are integers from 1 on; raises for any other. */
static lua_Integer count_indices(encoder *e, int table)
{
    lua_State *L = e->L;
    lua_Integer count = 0;
    for (lua_pushnil(L); lua_next(L, table); lua_pop(L, 1)) {
        if (lua_type(L, -2) == LUA_TSTRING)
            fail(e, "a string key in an array");
        if (!lua_isinteger(L, -2) || lua_tointeger(L, -2) < 1)
            fail_bad_key(e);
        count++;
    }
    return count;
}

/* The array's elements from `first` on, when they do not come in order (some live in the table's hash part),
 * or when it has a fault. */
static void encode_scattered(encoder *e, lua_Integer first)
{
    lua_State *L = e->L;
    int table = lua_gettop(L);
    lua_Integer n = count_indices(e, table);
    for (lua_Integer i = first; i <= n;
         i++) { /* n keys, all from 1 on: if one is beyond n, another is missing */
        lua_pushinteger(L, i);
        if (lua_rawgeti(L, table, i) == LUA_TNIL)
            fail(e, "an array with a hole");
        encode_value(e);
        put_separator(e, ',');
        lua_pop(L, 2);
    }
}

/* The pair on top is the table's first. As a rule the keys come as 1, 2, 3..., and then one pass both proves
 * it and encodes. No element is encoded twice, or nested arrays would take exponential time. */
static void encode_array(encoder *e)
{
    lua_State *L = e->L;
    lua_Integer i = 1;
    put(e, "[", 1);
    do {
        if (!key_is(L, i)) {
            lua_pop(L, 2);
            encode_scattered(e, i);
            break;
        }
        encode_value(e);
        put_separator(e, ',');
        lua_pop(L, 1);
        i++;
    } while (lua_next(L, -2));
    put_close(e, ']');
}

/* The pair on top is the table's first, and its key a string. */
static void encode_object(encoder *e)
{
    lua_State *L = e->L;
    put(e, "{", 1);
    for (;;) {
        put_string(e, -2, true);
        put_separator(e, ':');
        encode_value(e);
        put_separator(e, ',');
        lua_pop(L, 1);
        if (!lua_next(L, -2))
            break;
        if (lua_type(L, -2) != LUA_TSTRING)
            fail_bad_key(e);
    }
    put_close(e, '}');
}

/* Each level takes two slots, and a few more are used for a moment. */
static void check_stack(lua_State *L)
{
    luaL_checkstack(L, 2 * LEVELS_AT_ONCE + 4, "json: no room on the Lua stack");
}

/* Recursion ends at JSON_DEPTH_MAX, for cycles too. */
static void encode_table(encoder *e)
{
    lua_State *L = e->L;
    if (e->depth == JSON_DEPTH_MAX)
        fail(e, "a table nested too deep (or one that contains itself)");
    bool marked = is_marked(e);
    lua_pushnil(L);
    if (!lua_next(L, -2)) {
        put(e, marked ? "[]" : "{}", 2);
        return;
    }
    if (++e->depth % LEVELS_AT_ONCE == 0)
        check_stack(L);
    if (!marked && lua_type(L, -2) == LUA_TSTRING)
        encode_object(e);
    else
        encode_array(e);
    e->depth--;
}

void json_encode(lua_State *L, int index, buf *out, unsigned flags)
{
    check_stack(L);
    lua_pushvalue(L, index);
    encoder e = {.L = L, .out = out, .flags = flags, .root = lua_gettop(L)};
    encode_value(&e);
    lua_pop(L, 1);
}
