/* names: the names of headers as Lua strings in lower case, remembered from request to request.
 *
 * Clients send the same few names again and again. A name that was met before is one comparison; otherwise it
 * is put into lower case and interned, character by character twice. There are NAMES_PLACES places, found by
 * a few of a name's bytes, and a newcomer takes the place of who was there: what clients send cannot make it
 * grow, only slow.
 * Threads: whoever holds the VM. */
#ifndef VM_NAMES_H
#define VM_NAMES_H

#include <lua.h>
#include <stdint.h>

#include "queue/str.h"

enum { NAMES_PLACES = 63 };

typedef struct names names;

/* Made of the VM's memory, and gone with it. Stack: [-0, +0, m] */
names *names_new(lua_State *L);

/* Push the name of a method. Stack: [-0, +1, m] */
void names_push_method(lua_State *L, names *n, str method);

/* Push the name in lower case. Stack: [-0, +1, m]
 * Returns: a bit for its place. Names with different bits differ; all that are too long share one. */
uint64_t names_push_lower(lua_State *L, names *n, str name);

#endif
