/* mqueue: the modules "poolsrv.queue" and "poolsrv.pubsub", an app's way to the server's queues and channels
 * (queue/mq).
 *
 * What an app sees of them is api/lua/queue.lua and pubsub.lua; here is how that gets at them. Threads:
 * whoever holds the VM.
 */
#ifndef VM_MQUEUE_H
#define VM_MQUEUE_H

#include <lua.h>

#include "queue/mq.h"

/* Make it known to `require`. Stack: [-0, +0, m] */
void mqueue_install(lua_State *L);

/* --- for vm/push.c --- */

/* The server's queues; raises where there are none yet. */
mq *mqueue_queues(lua_State *L, const char *title);

/* An argument that is a text and good; or an error at the app's line: "TITLE: FIELD = ...: expected WANTED".
 */
str mqueue_check_text(lua_State *L, int arg, const char *title, const char *field, bool (*is_good)(str),
                      const char *wanted);
extern const char mqueue_name_wanted[], mqueue_id_wanted[];

/* A word for an operation's error: "full". */
const char *mqueue_code(int err);

#endif
