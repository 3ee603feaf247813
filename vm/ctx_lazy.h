/* ctx_lazy: a new table for each request, filled as it is used.
 *
 * The first use of a field goes through a metatable that all contexts share. It makes what was asked for, a
 * closure that knows the request or the value, and leaves it in the table, where the next use finds it:
 *
 *     ctx { what was used } -> the metatable .__index -> C, makes it and keeps it
 *
 * The table is made with room for a few fields: growing it as they come would cost more. */
#ifndef VM_CTX_LAZY_H
#define VM_CTX_LAZY_H

#include "vm/ctx.h"

extern const ctx_strategy ctx_lazy;

#endif
