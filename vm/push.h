/* push: queue.push and queue.push_all, apart from the other operations because of how often they are called:
 * what one call has needed is used by the next. Threads: whoever holds the VM. */
#ifndef VM_PUSH_H
#define VM_PUSH_H

#include <lua.h>

/* push(queue, value, delay_ms, id or nil, priority, window_ms, wait_ms) -> id, whether it is a duplicate; or
 * nil, why, and a word for it */
int push_on_push(lua_State *L);

/* push_all(queue, values, delay_ms, ids or nil, priority, window_ms, wait_ms) -> a list of ids, how many of
 * them are duplicates; or nil, why the first failed, a word for it, and the list with false in the place of
 * what failed */
int push_on_push_all(lua_State *L);

#endif
