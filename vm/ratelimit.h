/* ratelimit: the module "poolsrv.limit", whose buckets all VMs of a server share (queue/bucket).
 *
 * What an app sees of it is api/lua/limit.lua; here is how that gets at the buckets. Threads: whoever holds
 * the VM. */
#ifndef VM_RATELIMIT_H
#define VM_RATELIMIT_H

#include <lua.h>

/* Make it known to `require`. Stack: [-0, +0, m] */
void ratelimit_install(lua_State *L);

#endif
