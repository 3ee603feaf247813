/* seal_parts: what the files of seal share: seal (sealed tables), seal_app (sealing an app), seal_globals (a
 * handler's globals). Only these include it. Threads: whoever holds the VM. */
#ifndef VM_SEAL_PARTS_H
#define VM_SEAL_PARTS_H

#include "vm/seal.h"

/* Keys in the metatable of a sealed table, by their addresses. */
extern const char seal_contents_key, seal_original_key, seal_name_key;

/* --- seal: metamethods of sealed tables --- */

/* Table, key. Upvalues: the contents, the original's __index. */
int seal_on_index(lua_State *L);
/* Table, key, value. Upvalues: the contents, the original's __newindex. */
int seal_on_write(lua_State *L);
/* The globals, name, value. Upvalue: the contents. */
int seal_on_global(lua_State *L);
/* Upvalue: the contents. */
int seal_on_len(lua_State *L);
int seal_on_pairs(lua_State *L);

/* Push the raw __metatable of the metatable at the top, and leave it if it is there. */
bool seal_is_protected(lua_State *L);

/* Is the table at an index without anything? An empty metatable stays what it is: json.array_mt is known by
 * its address. */
bool seal_is_empty(lua_State *L, int index);

/* --- seal_app --- */

/* Copy what the table at `from` holds into the one at `to`: all, or only metamethods. Stack: [-0, +0, m] */
void seal_copy(lua_State *L, int from, int to, bool metamethods);

/* Empty the table at an index, without a byte of memory. Returns: how much it held. Stack: [-0, +0, -] */
unsigned seal_clear(lua_State *L, int table);

#endif
