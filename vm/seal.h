/* seal: strict mode's wall between requests.
 *
 * When the app is ready to serve, what its handlers could change for others is sealed: the libraries, the
 * globals, the tables of loaded modules, every table that is a metatable, and all tables inside of these. A
 * sealed table stays the same object, but is empty: what it held is in a table of its own, its contents,
 * which no app ever sees; reading goes there by __index, and writing raises. As metamethods are looked up
 * without __index, objects get the contents of their sealed metatable as their metatable; getmetatable and
 * setmetatable translate. next, rawget, rawlen and rawset look through too, so that all is as before but for
 * writing.
 *
 * A handler's globals are kept apart: they lie in the table of globals itself, in front of its contents, as
 * long as the handler runs. While it waits they are put away, and when it ends they are gone.
 *
 * What remains: local variables of a file, and the tables in them that nothing above leads to, are shared by
 * the requests of one VM. Threads: whoever holds the VM. */
#ifndef VM_SEAL_H
#define VM_SEAL_H

#include "vm/internal.h"

/* Replace the functions that look through. For strict mode. Stack: [-0, +0, m] */
void seal_install(lua_State *L);

/* In place of the value at an index, put the contents if it is a sealed table. They are for reading, and not
 * for the app. Returns: whether it is. Stack: [-0, +0, -] */
bool seal_open(lua_State *L, int index);

/* Is the table at an index the metatable of a sealed one? */
bool seal_is_metatable(lua_State *L, int index);

/* Push the metatable that the sealed table at an index had, or nil. */
void seal_push_original(lua_State *L, int index);

/* The handler goes on: its globals come back. Raises nothing. */
void seal_enter(vm *v, vm_run *run);

/* It waits, or has ended: its globals go. Raises nothing. */
void seal_leave(vm *v, vm_run *run, bool waits);

#endif
