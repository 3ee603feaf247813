/* limit: ending a handler that takes too much time or memory.
 *
 * Time. Another thread sees that a handler is over its limit and has a signal sent to the thread that runs
 * it. The signal's handler calls vm_interrupt, which arms a hook on the coroutine that runs just now: at its
 * next instruction, and at each one after it, the hook raises an error. So a pcall that catches one is left
 * by the next, whatever the app does. It never yields. What it takes for that is known here: which coroutine
 * runs (coroutine.resume and close tell), that debug.sethook puts nothing in the hook's place, and that no
 * message handler of the app's is called for such an error, because Lua runs those without hooks. Finalizers
 * run without hooks too, so those written in Lua get a coroutine of their own. C functions are not
 * interrupted.
 *
 * Memory. The allocator refuses to let the VM grow beyond what the run may have; Lua collects, tries again,
 * and raises "not enough memory".
 *
 * Threads: whoever holds the VM; vm_interrupt by that thread too, in a signal handler. */
#ifndef VM_LIMIT_H
#define VM_LIMIT_H

#include "vm/internal.h"

/* Replace coroutine.resume, coroutine.close and debug.sethook. Stack: [-0, +0, m] */
void limit_install(lua_State *L);

/* Has what runs in the VM met a limit of time? */
static inline bool limit_is_met(const vm *v)
{
    return atomic_load_explicit(&v->limit_met, memory_order_relaxed) != VM_LIMIT_NONE;
}

/* May the request of a run be read? Not after its end. And not while it waits and what runs in its place has
 * met a limit: the thread may be lost, and the request answered and freed by another. */
static inline bool limit_lets_read(const vm_run *run)
{
    return run->live && (run == run->vm->running || !limit_is_met(run->vm));
}

/* Forget which limit the run before has met. */
static inline void limit_clear(vm *v)
{
    v->limit_raised = v->refused = false;
    v->memory_refusals = 0;
    atomic_store_explicit(&v->limit_met, VM_LIMIT_NONE, memory_order_relaxed);
}

/* The app's code is about to run in `co` for a request, or is not any more. */
static inline void limit_begin(vm *v, lua_State *co, size_t memory_bytes)
{
    size_t most = v->config.memory_bytes ? v->config.memory_bytes : VM_BYTES_MAX;
    if (memory_bytes && v->heap.bytes + memory_bytes < most)
        most = v->heap.bytes + memory_bytes;
    v->bytes_most = most;
    v->memory_most = memory_bytes             ? memory_bytes
                     : v->config.memory_bytes ? v->config.memory_bytes
                                              : VM_BYTES_MAX;
    limit_clear(v);
    atomic_store_explicit(&v->current, co, memory_order_relaxed);
}

static inline void limit_end(vm *v)
{
    atomic_store_explicit(&v->current, v->L, memory_order_relaxed);
    v->bytes_most = VM_BYTES_MAX;
}

/* Did the allocator refuse what Lua did not even collect for? `status`: of the call that failed. */
static inline bool limit_is_out_of_memory(const vm *v, int status)
{
    return status == LUA_ERRMEM && v->refused && !v->memory_refusals;
}

/* What follows is the server's own, and must not fail for want of memory. */
void limit_lift_memory(vm *v);

/* The slow path of the allocator: is a block not to grow so? */
bool limit_refuses(vm *v, size_t had, size_t size);

/* The metatable at index 2 may bring a finalizer: let it run where it can be interrupted. Stack: [-0, +0, m]
 */
void limit_guard_finalizer(lua_State *L);

/* Push what the log says of the limit that was felt. Stack: [-0, +1, m] */
void limit_push_text(lua_State *L);

#endif
