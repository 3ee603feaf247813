#include <errno.h>
#include <stdint.h>
#include <string.h>

#include <lauxlib.h>

#include "vm/json.h"
#include "vm/json_internal.h"
#include "vm/json_number.h"
#include "vm/json_scan.h"
#include "vm/json_utf8.h"

enum {
    ARRAY_BATCH = 64,  /* elements, or... */
    OBJECT_BATCH = 32, /* ...pairs that wait on the Lua stack until the table can be made of the right size */
    SCRATCH_KEEP_BYTES = 64 * 1024,
};

typedef struct decoder {
    lua_State *L;
    const char *start, *p, *end;
    int depth;
    int array_mt; /* where it lies on the Lua stack */
    const char *fault_at, *fault;
} decoder;

static bool fail_at(decoder *d, const char *at, const char *reason)
{
    d->fault_at = at;
    d->fault = reason;
    return false;
}

static bool fail(decoder *d, const char *reason)
{
    return fail_at(d, d->p, d->p < d->end ? reason : "unexpected end of the text");
}

static inline bool is_space(int c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

/* Skip white space. Returns: the byte behind it, or -1 at the end. */
static inline int skip_space(decoder *d)
{
    while (d->p < d->end) {
        unsigned char c = (unsigned char)*d->p;
        if (!is_space(c))
            return c;
        d->p++;
    }
    return -1;
}

/* Strings. */

/* Move behind the string's closing quote, checking its bytes; the escapes are judged later.
 * Returns: whether there is one and all before it is well-formed; *ret_escaped tells if a backslash was seen.
 */
static bool find_quote(decoder *d, bool *ret_escaped)
{
    const char *p = d->p;
    for (;;) {
        p = json_scan_plain(p, d->end);
        if (p == d->end)
            return fail_at(d, p, "unexpected end of the text");
        unsigned char c = (unsigned char)*p;
        if (c == '"') {
            d->p = p + 1;
            return true;
        }
        if (c == '\\') {
            *ret_escaped = true;
            p += d->end - p > 1 && (p[1] == '"' || p[1] == '\\') ? 2 : 1;
        } else if (c < 0x20) {
            return fail_at(d, p, "control character in a string");
        } else {
            int width = json_utf8_measure(p, d->end);
            if (width < 0)
                return fail_at(d, p, "invalid UTF-8");
            p += width;
        }
    }
}

/* Returns: the value of four hex digits, or UINT32_MAX. */
static uint32_t read_hex4(const char *p, const char *end)
{
    if (end - p < 4)
        return UINT32_MAX;
    uint32_t v = 0;
    for (int i = 0; i < 4; i++) {
        unsigned char c = (unsigned char)p[i], letter = c | 0x20;
        if (c >= '0' && c <= '9')
            v = v << 4 | (uint32_t)(c - '0');
        else if (letter >= 'a' && letter <= 'f')
            v = v << 4 | (uint32_t)(letter - 'a' + 10);
        else
            return UINT32_MAX;
    }
    return v;
}

/* The escape \uXXXX at p, and the second one that a high surrogate needs, as UTF-8 to *out.
 * Returns: the first byte behind it, or NULL. */
static const char *unescape_unicode(decoder *d, const char *p, const char *end, char **out)
{
    const char *start = p;
    uint32_t c = read_hex4(p + 2, end);
    if (c == UINT32_MAX) {
        fail_at(d, start, "malformed \\u escape");
        return NULL;
    }
    p += 6;
    if (c >= 0xD800 && c <= 0xDFFF) {
        bool pair = c < 0xDC00 && end - p >= 6 && p[0] == '\\' && p[1] == 'u';
        uint32_t low = pair ? read_hex4(p + 2, end) : 0;
        if (low < 0xDC00 || low > 0xDFFF) {
            fail_at(d, start, "lone surrogate in a \\u escape");
            return NULL;
        }
        c = 0x10000 + ((c - 0xD800) << 10) + (low - 0xDC00);
        p += 6;
    }
    *out += json_utf8_put(*out, c);
    return p;
}

/* Returns: the byte that a backslash and c stand for, or NUL for none. */
static char unescape_letter(char c)
{
    switch (c) {
    case '"':
    case '\\':
    case '/':
        return c;
    case 'b':
        return '\b';
    case 'f':
        return '\f';
    case 'n':
        return '\n';
    case 'r':
        return '\r';
    case 't':
        return '\t';
    default:
        return '\0';
    }
}

/* The escape at p, to *out. Returns: the first byte behind it, or NULL. */
static const char *unescape(decoder *d, const char *p, const char *end, char **out)
{
    if (p[1] == 'u')
        return unescape_unicode(d, p, end, out);
    char c = unescape_letter(p[1]);
    if (c == '\0') {
        fail_at(d, p, "unknown escape");
        return NULL;
    }
    *(*out)++ = c;
    return p + 2;
}

/* Push what [p, end) stands for, the inside of a string with escapes. It never grows by this. */
static bool push_escaped(decoder *d, const char *p, const char *end)
{
    buf *scratch = json_internal_scratch(d->L);
    scratch->n = 0;
    if (buf_reserve(scratch, (size_t)(end - p)) != 0)
        luaL_error(d->L, "json: not enough memory");
    char *out = scratch->p;
    for (const char *run = p; p < end; run = p) {
        while (p < end && *p != '\\') /* what else is not plain here is part of a character */
            p = json_scan_plain(p + 1, end);
        memcpy(out, run, (size_t)(p - run));
        out += p - run;
        if (p < end && !(p = unescape(d, p, end, &out)))
            return false;
    }
    lua_pushlstring(d->L, scratch->p, (size_t)(out - scratch->p));
    return true;
}

/* Push the string whose opening quote is at d->p. */
static bool decode_string(decoder *d)
{
    const char *start = ++d->p;
    bool escaped = false;
    if (!find_quote(d, &escaped))
        return false;
    if (escaped)
        return push_escaped(d, start, d->p - 1);
    lua_pushlstring(d->L, start, (size_t)(d->p - 1 - start));
    return true;
}

/* Arrays and objects. A table that is filled key by key is resized at 1, 2, 4, 8...: so the first batch waits
 * on the stack, above a slot for the table, and most tables are made once, of the right size. */

static bool enter(decoder *d)
{
    if (d->depth == JSON_DEPTH_MAX)
        return fail(d, "nested too deep");
    d->depth++;
    d->p++;
    return true;
}

static void leave(decoder *d)
{
    d->depth--;
    d->p++;
}

/* Behind an element: Returns: 1 if another follows (d->p behind the comma), 0 at the closing bracket, -1 for
 * anything else. */
static int next_element(decoder *d, int close)
{
    int c = skip_space(d);
    if (c == close)
        return 0;
    if (c != ',') {
        fail(d, close == ']' ? "a comma or ']' is missing" : "a comma or '}' is missing");
        return -1;
    }
    d->p++;
    return 1;
}

/* Make the array of the n elements above `slot`, which are popped. */
static void make_array(lua_State *L, int slot, int n)
{
    lua_createtable(L, n, 0);
    lua_replace(L, slot);
    for (int i = n; i > 0; i--)
        lua_rawseti(L, slot, i);
}

/* Make the object of the n pairs above `slot`, which are popped; in order, so that the last of two equal keys
 * wins. */
static void make_object(lua_State *L, int slot, int n)
{
    lua_createtable(L, 0, n);
    lua_replace(L, slot);
    for (int i = 1; i < 2 * n; i += 2) {
        lua_pushvalue(L, slot + i);
        lua_pushvalue(L, slot + i + 1);
        lua_rawset(L, slot);
    }
    lua_settop(L, slot);
}

static bool decode_value(decoder *d);

static bool decode_array(decoder *d)
{
    lua_State *L = d->L;
    if (!enter(d))
        return false;
    lua_pushnil(L);
    int slot = lua_gettop(L);
    lua_Integer n = 0;
    int more = skip_space(d) != ']';
    for (; more > 0; more = next_element(d, ']')) {
        luaL_checkstack(L, 4, "json: no room on the Lua stack");
        if (!decode_value(d))
            return false;
        n++;
        if (n == ARRAY_BATCH)
            make_array(L, slot, ARRAY_BATCH);
        else if (n > ARRAY_BATCH)
            lua_rawseti(L, slot, n);
    }
    if (more < 0)
        return false;
    if (n < ARRAY_BATCH)
        make_array(L, slot, (int)n);
    lua_pushvalue(L, d->array_mt);
    lua_setmetatable(L, slot);
    leave(d);
    return true;
}

/* Push the key and the value at d->p, white space before them skipped. */
static bool decode_pair(decoder *d)
{
    if (skip_space(d) != '"')
        return fail(d, "a key in quotes is missing");
    if (!decode_string(d))
        return false;
    if (skip_space(d) != ':')
        return fail(d, "a ':' is missing");
    d->p++;
    return decode_value(d);
}

static bool decode_object(decoder *d)
{
    lua_State *L = d->L;
    if (!enter(d))
        return false;
    lua_pushnil(L);
    int slot = lua_gettop(L);
    lua_Integer n = 0;
    int more = skip_space(d) != '}';
    for (; more > 0; more = next_element(d, '}')) {
        luaL_checkstack(L, 5, "json: no room on the Lua stack");
        if (!decode_pair(d))
            return false;
        n++;
        if (n == OBJECT_BATCH)
            make_object(L, slot, OBJECT_BATCH);
        else if (n > OBJECT_BATCH)
            lua_rawset(L, slot);
    }
    if (more < 0)
        return false;
    if (n < OBJECT_BATCH)
        make_object(L, slot, (int)n);
    leave(d);
    return true;
}

/* Values. */

/* Move behind the word at d->p. */
static bool skip_word(decoder *d, const char *word, size_t n)
{
    if ((size_t)(d->end - d->p) < n || memcmp(d->p, word, n) != 0)
        return fail(d, "not a JSON value");
    d->p += n;
    return true;
}

static bool decode_number(decoder *d)
{
    json_number v;
    const char *at, *reason;
    const char *behind = json_number_read(d->p, d->end, &v, &at, &reason);
    if (!behind)
        return fail_at(d, at, reason);
    if (v.is_integer)
        lua_pushinteger(d->L, v.integer);
    else
        lua_pushnumber(d->L, v.real);
    d->p = behind;
    return true;
}

/* Push the value at d->p, white space before it skipped. Recursion ends at JSON_DEPTH_MAX. */
static bool decode_value(decoder *d)
{
    int c = skip_space(d);
    switch (c) {
    case '"':
        return decode_string(d);
    case '{':
        return decode_object(d);
    case '[':
        return decode_array(d);
    case 't':
        lua_pushboolean(d->L, 1);
        return skip_word(d, "true", 4);
    case 'f':
        lua_pushboolean(d->L, 0);
        return skip_word(d, "false", 5);
    case 'n':
        lua_pushlightuserdata(d->L, NULL);
        return skip_word(d, "null", 4);
    default:
        if (c == '-' || (c >= '0' && c <= '9'))
            return decode_number(d);
        return fail(d, "not a JSON value");
    }
}

static bool decode_text(decoder *d)
{
    if (!decode_value(d))
        return false;
    if (skip_space(d) != -1)
        return fail(d, "more text behind the value");
    return true;
}

static void trim_scratch(lua_State *L)
{
    buf *scratch = json_internal_scratch(L);
    if (scratch->cap > SCRATCH_KEEP_BYTES)
        buf_fini(scratch);
}

int json_decode(lua_State *L, str text, json_error *ret_error)
{
    int top = lua_gettop(L);
    luaL_checkstack(L, 5, NULL);
    json_internal_push_array_mt(L);
    const char *start = text.n > 0 ? text.p : "";
    decoder d = {.L = L, .start = start, .p = start, .end = start + text.n, .array_mt = top + 1};
    bool ok = decode_text(&d);
    if (text.n > SCRATCH_KEEP_BYTES)
        trim_scratch(L);
    if (!ok) {
        lua_settop(L, top);
        *ret_error = (json_error){(size_t)(d.fault_at - d.start), d.fault};
        return -EINVAL;
    }
    lua_replace(L, d.array_mt);
    return 0;
}
