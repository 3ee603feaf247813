/* sandbox: what of Lua's libraries an app may have. The list is vm/sandbox_names.h.
 *
 * A name that is not to be had is still there where it was a function, and raises an error that says why not
 * and what to do instead. What can break the process by some arguments only has a guard (vm/guards.h).
 * Threads: whoever holds the VM. */
#ifndef VM_SANDBOX_H
#define VM_SANDBOX_H

#include <lua.h>

/* Take from the libraries what the list does not grant. After the server's own chunks, which keep what they
 * use, and before the app's. Stack: [-0, +0, m] */
void sandbox_cut(lua_State *L);

#endif
