/* spawn: the module "poolsrv.task": work beside requests, in this VM and in others, and on a clock.
 *
 * What an app sees of it is api/lua/task.lua; here is how that asks the host (vm_host). Threads: whoever
 * holds the VM. */
#ifndef VM_SPAWN_H
#define VM_SPAWN_H

#include <lua.h>

/* Make it known to `require`. Stack: [-0, +0, m] */
void spawn_install(lua_State *L);

#endif
