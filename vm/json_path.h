/* json_path: says for people where in a table a value is: .items[3].price */
#ifndef VM_JSON_PATH_H
#define VM_JSON_PATH_H

#include <lua.h>

/* Push the path that the keys at the absolute stack indices first, first + 2, first + 4... make, as lua_next
 * leaves them. What is not a name stands in brackets; long keys are cut, and long paths lose their middle.
 * Returns: the pushed string.
 * Stack:   [-0, +1, m], and needs LUA_MINSTACK slots for a while */
const char *json_path_push(lua_State *L, int first, int keys);

#endif
