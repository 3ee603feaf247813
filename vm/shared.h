/* shared: the module "poolsrv.shared": dictionaries and locks that all VMs of a server share (queue/dicts).
 *
 * What an app sees of it is api/lua/shared.lua; here is how that gets at them. What is read is copied out
 * into bytes of the VM's own, and only then made into Lua values: so an error in Lua finds no lock held and
 * no reader's section open. Threads: whoever holds the VM. */
#ifndef VM_SHARED_H
#define VM_SHARED_H

#include <lua.h>

typedef struct shared shared;

/* Make it known to `require`. Stack: [-0, +0, m] */
void shared_install(lua_State *L);

/* What a VM has of it, when its Lua state is closed. NULL is fine. */
void shared_free(shared *s);

#endif
