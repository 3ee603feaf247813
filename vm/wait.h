/* wait: handlers that wait for something another thread works on (queue/await.h).
 *
 * Whoever works on it may be done before the handler has begun to wait, on the same thread even; then nothing
 * is sent and the handler does not yield. A binding
 *   1. asks wait_is_possible, and makes its wait with two references: its own and the worker's
 *   2. has the work begun; the worker ends it by wait_over, once
 *   3. asks wait_begins: if it does not, the end is there; else it returns wait_yield(...), and the function
 * it gave is called when the end has come, or when the time is over (then wait_is_over says false). Threads:
 * whoever holds the VM; wait_over: any. */
#ifndef VM_WAIT_H
#define VM_WAIT_H

#include <lua.h>

#include "queue/await.h"
#include "vm/internal.h"

typedef struct wait {
    await await; /* first */
    atomic_int stage;
} wait;

/* Can the code that runs wait: is it a handler's, and not inside a callback of a C function? */
bool wait_is_possible(lua_State *L);

/* Raise an error that says why not. `title` is what was called: "queue.push". */
int wait_refuse(lua_State *L, const char *title);

/* With two references. The VM may be NULL for what will not be waited for. */
void wait_init(wait *w, const vm *v, void (*free)(await *a));

/* The work is done, and the worker's reference gone. */
void wait_over(wait *w);

/* Returns: false when it is over already. Its result may be read then, as after wait_is_over. */
bool wait_begins(wait *w);

/* Has the end come? In the function that wait_yield was given. */
static inline bool wait_is_over(const wait *w)
{
    return w->await.over;
}

/* Yield until it is over, for `most_ns` at most (0: no limit of its own), and go on in `k`, whose context is
 * the index of the box at the top, which it is in: wait_in. Stack: [-0, +0, e] */
int wait_yield(lua_State *L, wait *w, uint64_t most_ns, lua_KFunction k);

/* Push a box for a wait, empty; put one in, with its reference; and what is in the box at an index. What is
 * in a box is let go when nothing refers to the box any more. */
void wait_push_box(lua_State *L);
void wait_fill(lua_State *L, int index, wait *w);
wait *wait_in(lua_State *L, int index);

#endif
