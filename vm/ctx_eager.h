/* ctx_eager: a new table for each request, with everything in it from the start.
 *
 * What one writes first. method and path are set, and four functions, headers, query, params and body, each a
 * closure of its own that knows its request, are made whether they are used or not. Using them costs nothing
 * more. The fields that are rarely wanted come through a metatable that all contexts share:
 *
 *     ctx { method, path, headers, query, params, body } -> the metatable .__index -> C
 *
 * The table has its full size from the start, and the names are at hand as Lua strings. Reads of method and
 * path are seen by nobody, so both count as read in every request. */
#ifndef VM_CTX_EAGER_H
#define VM_CTX_EAGER_H

#include "vm/ctx.h"

extern const ctx_strategy ctx_eager;

#endif
