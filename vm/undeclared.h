/* undeclared: globals that a handler makes, which a forgotten `local` does as a rule.
 *
 * Without strict mode such a global stays in the VM, where later requests find it, and others do not, as they
 * run in other VMs. vm_config.globals says whether that is told, once for each place, an error, or nothing.
 * While the app loads, and in its on_start and on_stop functions, globals are its own affair.
 * Threads: whoever holds the VM. */
#ifndef VM_UNDECLARED_H
#define VM_UNDECLARED_H

#include "vm/internal.h"

/* Watch the table of globals. The app has been loaded; where it gave the table a metatable with __newindex,
 * it watches by itself, and that is left so. Stack: [-0, +0, m] */
void undeclared_install(lua_State *L);

/* A handler sets the global whose name is at an index: tell, raise or let it be. `fate` is what comes of it,
 * for the log. Stack: [-0, +0, e] */
void undeclared_judge(lua_State *L, int name, const char *fate);

#endif
