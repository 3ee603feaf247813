/* ctx_recycled: one table a run, used for request after request.
 *
 * The table is empty when a request begins, so a request that touches nothing allocates nothing. The
 * functions stay in a second table behind it and cost no call to be found. A value costs one, and is left in
 * the table only when it is read a second time:
 *
 *     ctx {} -> its metatable .__index -> { headers, header, query ... } -> its metatable .__index -> C,
 * knows the run
 *
 * Each run has such a chain of its own, so that a context answers for its own request whoever else runs at
 * the moment.
 *
 * At the end the table is swept with lua_next, which is one step when nothing was touched, and which also
 * finds what a handler left there past every metamethod (rawset, a thousand keys). A table with many keys, or
 * another metatable, is thrown away. */
#ifndef VM_CTX_RECYCLED_H
#define VM_CTX_RECYCLED_H

#include "vm/ctx.h"

extern const ctx_strategy ctx_recycled;

#endif
