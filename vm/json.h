/* json: Lua values to JSON text and back (RFC 8259).
 *
 * It exists because the packaged encoder reads every integer as a float and prints 14 digits. Here integers
 * are exact over int64, floats take the shortest text that reads back as the same float (3.0 is written
 * "3.0", so it stays a float), and the C locale has no say in it.
 *
 * How values map:
 *   nil, json.null (lightuserdata NULL)  null; decoded as json.null, so that a key is not lost
 *   table without keys                   {}, or [] with the array mark; json.empty_array is always []
 *   table with the keys 1..n             array, whatever their order inside the table
 *   table with string keys               object; any other mix of keys, or a hole, is an error that names it
 *   [...]                                table with the array mark (metatable json.array_mt)
 *   integer text beyond int64, "-0"      float; a number too large for a float is refused
 *   duplicate keys                       the last one wins
 *
 * Strings are UTF-8 and may hold NUL. The decoder refuses invalid UTF-8, lone surrogates (also as escapes)
 * and a byte order mark. Metamethods are not honoured: all access is raw, and no Lua code runs in here.
 *
 * Threads: none of its own; whichever thread runs the lua_State. All memory belongs to the lua_State, so a
 * Lua error leaks nothing. */
#ifndef VM_JSON_H
#define VM_JSON_H

#include <stddef.h>

#include <lua.h>

#include "queue/buf.h"
#include "queue/str.h"

enum {
    JSON_DEPTH_MAX = 512, /* nested arrays and objects, both ways, so that what was decoded can be encoded */
};

/* Flags of json_encode. */
enum {
    JSON_REPLACE_BAD_UTF8 = 1, /* each maximal ill-formed part becomes U+FFFD (as WHATWG decoders do) */
};

typedef struct json_error {
    size_t position;    /* byte offset into the text, from 0 */
    const char *reason; /* static text, e.g. "a comma or ']' is missing" */
} json_error;

/* Append the value at `index` as JSON. Call it from any function that runs protected.
 * Owns:   out stays the caller's, also after an error; it may then hold part of the text.
 * Raises: a Lua error that names the place, e.g. "json: cannot encode NaN at .items[3].price"; also for more
 * than JSON_DEPTH_MAX levels (which is how cycles end) and out of memory. Stack:  [-0, +0, v] */
void json_encode(lua_State *L, int index, buf *out, unsigned flags);

/* Call the C function at the top, with the number of bytes, before a long text becomes longer; it may raise
 * an error. Stack: [-1, +0, m] */
void json_guard(lua_State *L);

/* Push the value that text holds; it must be all of text, but for white space.
 * Returns: 0, or -EINVAL with *ret_error filled and the stack as it was.
 * Raises:  out of memory only.
 * Stack:   [-0, +(0|1), m] */
int json_decode(lua_State *L, str text, json_error *ret_error);

/* Push the module: {encode, decode, array, null, empty_array, array_mt}. It also prepares the lua_State: call
 * it before json_encode or json_decode (calling it again pushes a new table that shares the same marks).
 *   json.encode(value)  text; raises as json_encode
 *   json.decode(text)   value; raises "json: <reason> at byte N", N counted from 0
 *   json.array([t])     t (or a new table) with the array mark; raises if t has another metatable
 * Stack: [-0, +1, m] */
int luaopen_json(lua_State *L);

#endif
