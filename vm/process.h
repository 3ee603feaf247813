/* process: os.execute and io.popen, for programs that inherit nothing from the server.
 *
 * As in the manual, but that the child has the descriptors 0, 1 and 2 and no others, blocks no signal and
 * treats every one by default, whatever the thread that starts it does. Threads: whoever holds the VM. */
#ifndef VM_PROCESS_H
#define VM_PROCESS_H

#include <lua.h>

/* Replace both. Stack: [-0, +0, m] */
void process_install(lua_State *L);

#endif
