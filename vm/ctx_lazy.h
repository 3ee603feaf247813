/* ctx_lazy: a new table for each request, filled as it is used.
 *
 * The first use of a field goes through a metatable that all contexts share. It makes what was asked for, a
 * closure that knows the request or the value, and leaves it in the table, where the next use finds it:
 *
 *     ctx { what was used } -> the metatable .__index -> C, makes it and keeps it
 *
 * Growing a table costs more than making a larger one, so it is made with room for as many fields as the
 * route's last request has read. */
#ifndef VM_CTX_LAZY_H
#define VM_CTX_LAZY_H

#include "vm/ctx.h"

extern const ctx_strategy ctx_lazy;

#endif
