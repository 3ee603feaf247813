/* audit: finding handlers that keep their context after the request has ended.
 *
 * A handler that stores `ctx` in a global or an upvalue would see a later request in it, since contexts are
 * recycled. With --dev every context is new and fails at the first late use. Otherwise now and then a request
 * of each route, its first among them, gets a new context that is made useless afterwards and only held
 * weakly. If it is still there after two full collections somebody holds it: the log names the route, and its
 * contexts are not recycled any more in this VM.
 *
 * While the VM is small (AUDIT_COLLECT_BYTES) a route's first audit, and every 16th after it, collects at
 * once: that finds a handler that keeps only its latest context, which would let go of the watched one at the
 * next request.
 *
 * Strategies that never recycle are audited all the same. There a kept context cannot show another request's
 * fields: what it holds itself is its own request's, and whatever it would have to look up raises. But it
 * keeps memory, and the handler that uses it is wrong; once the route is known, every late use raises, as
 * elsewhere.
 *
 * The window that remains: until the audit has found such a route, a late use of a kept context can read
 * another request's fields; a handler that keeps its context only on rare paths is found only when an audited
 * request takes one; and in a large VM one that keeps only the latest is not found. Threads: whoever holds
 * the VM. */
#ifndef VM_AUDIT_H
#define VM_AUDIT_H

#include <lua.h>

#include "vm/internal.h"

enum { AUDIT_EVERY = 1024, AUDIT_COLLECT_EVERY = 16, AUDIT_COLLECT_BYTES = 2 << 20 };

/* Stack: [-0, +0, m] */
void audit_install(lua_State *L);

/* Decide what audit_begin cannot pass over. */
void audit_decide(vm_run *run);

/* A request begins: set whether its context is for it alone (run->ctx.once), and whether it is watched
 * (run->ctx.audited). */
static inline void audit_begin(vm_run *run)
{
    audit_route *a = &run->vm->audits[run->request.route];
    run->ctx.once = run->ctx.audited = false;
    if (a->quiet > 0)
        a->quiet--;
    else
        audit_decide(run);
}

/* An audited request has ended, its context is poisoned and on the shelf: watch it. Raises nothing. */
void audit_end(lua_State *L, vm_run *run);

/* The context has left the shelf: collect at once, if it is time for that. Raises nothing. */
void audit_collect(lua_State *L, vm_run *run);

#endif
