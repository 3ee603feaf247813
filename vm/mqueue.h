/* mqueue: the modules "poolsrv.queue" and "poolsrv.pubsub", an app's way to the server's queues and channels
 * (queue/mq).
 *
 * What an app sees of them is api/lua/queue.lua and pubsub.lua; here is how that gets at them. Threads:
 * whoever holds the VM.
 */
#ifndef VM_MQUEUE_H
#define VM_MQUEUE_H

#include <lua.h>

/* Make it known to `require`. Stack: [-0, +0, m] */
void mqueue_install(lua_State *L);

#endif
