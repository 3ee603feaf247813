/* guards: functions of Lua's libraries that break the process by some of their arguments only, and those that
 * must not reach the VM's own C code. They raise for these, and are as in the manual for the rest.
 * Threads: whoever holds the VM. */
#ifndef VM_GUARDS_H
#define VM_GUARDS_H

#include <lua.h>

/* Replace collectgarbage, load, loadfile, dofile, and in debug setlocal, setmetatable and setupvalue.
 * Stack: [-0, +0, m] */
void guards_install(lua_State *L);

#endif
