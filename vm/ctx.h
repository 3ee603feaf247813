/* ctx: the request context `ctx`, as a handler sees it, and the interface of the strategies that make it.
 *
 * What a handler can read:
 *   ctx.method ctx.path ctx.target ctx.ip ctx.id      values
 *   ctx:headers() ctx:header(name) ctx:query() ctx:query_all() ctx:params() ctx:body() ctx:json()
 * ctx:cookies() query_all() gives both orders: all[i] is {name, value}, the i-th pair; all[name] is the list
 * of a name's values. Each table is made when it is first asked for, and is the same one until the request
 * ends.
 *
 * A strategy decides how the table `ctx` is made, filled and ended; the functions here read the request.
 * Threads: whoever holds the VM. */
#ifndef VM_CTX_H
#define VM_CTX_H

#include <lua.h>
#include <stdbool.h>
#include <stdint.h>

#include "vm/request.h"

typedef struct vm_run vm_run; /* see vm/vm.h */

/* What a run keeps of its context. */
typedef struct ctx_slot {
    int ref;           /* registry: the table, or LUA_NOREF */
    const void *table; /* its address */
    const void *mt;    /* and its metatable's */
    int memo_ref;      /* registry: results of the functions, one slot a field */
    uint32_t memo;     /* which of them are there */
    bool once;         /* not to be used for another request */
    bool audited;      /* and to be watched after its end */
} ctx_slot;

typedef struct ctx_strategy {
    const char *name;
    /* Push the context of a request that begins. Stack: [-0, +1, e], of the coroutine */
    void (*lend)(lua_State *co, vm_run *run);
    /* The request has ended: nothing of it may be seen by the next. Raises nothing. */
    void (*end)(lua_State *L, vm_run *run);
} ctx_strategy;

/* NULL when there is none of that name. */
const ctx_strategy *ctx_strategy_named(const char *name);

/* Stack: [-0, +0, m] */
void ctx_install(lua_State *L);

/* Push the function behind ctx:name(), or a value field; nil for an unknown name. What every strategy shares.
 * Stack: [-0, +1, e] */
void ctx_push_functions(lua_State *L, int table);
bool ctx_push_value(lua_State *L, vm_run *run, const char *name, size_t n);

/* Forget what the functions returned. Raises nothing. */
void ctx_forget_memo(lua_State *L, vm_run *run);

/* The value of __metatable in every context's metatable. */
void ctx_push_marker(lua_State *L);
bool ctx_is_marker(lua_State *L, int index);

/* Raise "the context of GET /x was used after its request had ended". */
int ctx_raise_stale(lua_State *L, const char *route);

/* Make the run's context useless to whoever still holds it: empty, and an error on every use. Raises nothing
 * (short of memory it is only emptied, and the VM soiled). */
void ctx_poison(lua_State *L, vm_run *run);

/* The name of a field, for metrics. */
extern const char *const ctx_field_names[CTX_FIELD_COUNT];

#endif
