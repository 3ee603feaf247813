/* load: the steps of loading an app that vm_load and vm_check have in common. For vm/ alone.
 * Threads: whoever holds the VM. All but load_keep raise Lua errors. */
#ifndef VM_LOAD_H
#define VM_LOAD_H

#include "queue/buf.h"
#include "vm/internal.h"

/* Run a chunk of the program's own. Stack: [-0, +nresults, e] */
void load_chunk(lua_State *L, const char *name, int nresults);

/* Make the VM ready for the file vm->path: coroutines, hooks, where modules are found. Stack: [-0, +0, e] */
void load_begin(lua_State *L);

/* Push the parts that the tree is made of, a table. Stack: [-0, +1, e] */
void load_parts(lua_State *L);

/* The part `where` in the registry: a chunk that is loaded later has no debug.getinfo in strict mode. */
#define LOAD_WHERE "poolsrv.where"

/* Raise a text, with the line of the app's that is at fault before it: our own chunks between that line and a
 * binding tell its author nothing. The format is as in lua_pushfstring. */
int load_raise(lua_State *L, const char *format, ...) __attribute__((noreturn, format(printf, 2, 3)));

/* Raise "not enough memory". */
int load_no_memory(lua_State *L) __attribute__((noreturn));

/* As json_encode, without flags, but what cannot be encoded is raised with load_raise, named `what`. */
void load_encode(lua_State *L, int index, buf *out, const char *what);

/* Replace the parts by what tree.lua makes of them, and set the global `api`. Stack: [-1, +1, e] */
void load_tree(lua_State *L);

/* Keep the routes of vm->definition_ref for requests, and let go what only the loading needed.
 * Returns: as vm_load. */
int load_keep(vm *v, char *error, size_t size);

#endif
