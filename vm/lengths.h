/* lengths: lengths of time as apps write them: a number of seconds, or a text such as "5m" (queue/duration).
 * Threads: whoever holds the VM. */
#ifndef VM_LENGTHS_H
#define VM_LENGTHS_H

#include <lua.h>

/* A Lua function: duration(value) -> milliseconds; or nil and what is wrong. */
int lengths_read(lua_State *L);

#endif
