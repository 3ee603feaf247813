/* mqueue: the module "poolsrv.queue", an app's way to the server's queues (queue/mq).
 *
 * What an app sees of it is api/lua/queue.lua; here is how that gets at them. Threads: whoever holds the VM.
 */
#ifndef VM_MQUEUE_H
#define VM_MQUEUE_H

#include <lua.h>

/* Make it known to `require`. Stack: [-0, +0, m] */
void mqueue_install(lua_State *L);

#endif
