/* json_internal: what the parts of json share in a lua_State. Included by vm/json_*.c only. */
#ifndef VM_JSON_INTERNAL_H
#define VM_JSON_INTERNAL_H

#include <lua.h>

#include "queue/buf.h"

/* Push the array mark, the metatable of tables that are arrays even when empty. Stack: [-0, +1, -] */
void json_internal_push_array_mt(lua_State *L);

/* The lua_State's scratch bytes; whoever uses them does so without calling Lua in between.
 * Stack: [-0, +0, -] */
buf *json_internal_scratch(lua_State *L);

/* The address that stands for json.empty_array, as a lightuserdata. */
const void *json_internal_empty_array(void);

#endif
