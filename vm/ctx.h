/* ctx: the request context `ctx`, as a handler sees it, and the interface of the strategies that make it.
 *
 * What a handler can read:
 *   ctx.method ctx.path ctx.target ctx.ip ctx.id      values
 *   ctx:headers() ctx:header(name) ctx:query() ctx:query_all() ctx:params() ctx:body() ctx:json()
 * ctx:cookies() query_all() gives both orders: all[i] is {name, value}, the i-th pair; all[name] is the list
 * of a name's values. Each table is made when it is first asked for, and is the same one until the request
 * ends.
 *
 * A strategy decides how the table `ctx` is made, filled and ended; what they have in common, and all reading
 * of the request, is here. An app cannot tell one strategy from another, but for what `next` and `rawget`
 * find in a context. Threads: whoever holds the VM. */
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
    const void *table; /* its address; NULL once it has ended for good */
    const void *mt;    /* and its metatable's */
    int memo_ref;      /* registry: results of the functions, one slot a field */
    uint32_t memo;     /* which of them are there */
    bool once;         /* not to be used for another request */
    bool audited;      /* and to be watched after its end */
} ctx_slot;

typedef struct ctx_strategy {
    const char *name;
    bool recycles; /* one table serves many requests */
    /* The VM is being made. Stack: [-0, +0, m] */
    void (*install)(lua_State *L);
    /* Push the context of a request that begins. Stack: [-0, +1, e], of the coroutine */
    void (*lend)(lua_State *co, vm_run *run);
    /* The request has ended: nothing of it may be seen by the next. Raises nothing. */
    void (*end)(lua_State *L, vm_run *run);
} ctx_strategy;

/* NULL when there is none of that name. */
const ctx_strategy *ctx_strategy_named(const char *name);

/* What all contexts share, and then what the VM's strategy does. Stack: [-0, +0, m] */
void ctx_install(lua_State *L);

/* The name of a field, for metrics. */
extern const char *const ctx_field_names[CTX_FIELD_COUNT];

/* --- for strategies: reading --- */

/* The field whose name stands at that index, or -1. */
int ctx_field_at(lua_State *L, int index);

/* The function behind ctx:name(), NULL for a field that is a value. As a closure it has the run as a light
 * userdata in its first upvalue; without one it finds the run by its argument. */
lua_CFunction ctx_function(enum ctx_field field);

/* Push the value of a field that is one, and count the read. Stack: [-0, +1, e] */
void ctx_push_value(lua_State *L, vm_run *run, enum ctx_field field);

/* Push the field's name. Stack: [-0, +1, -] */
void ctx_push_name(lua_State *L, vm_run *run, enum ctx_field field);

/* The run whose context is at index 1; raises an error for what is none, or has ended. The first upvalue of
 * the function that runs may name it. */
vm_run *ctx_check(lua_State *L);

/* Store the value at the top under the key at index 2 into the table at an index below it, unless it is nil,
 * so that the next read needs no metatable. Stack: [-0, +0, m]. Returns: 1 */
int ctx_keep(lua_State *L, int table);

/* Raise "the context of GET /x was used after its request had ended". */
int ctx_raise_stale(lua_State *L, const char *route);

/* --- for strategies: contexts --- */

/* Push a metatable that makes a table a context; __index is left to the strategy. Stack: [-0, +1, m] */
void ctx_push_metatable(lua_State *L);

/* A request begins: decide whether its context is for it alone, and watched. */
void ctx_decide(vm_run *run);

/* The request has ended: forget what the functions returned. Raises nothing. */
void ctx_forget_memo(lua_State *L, vm_run *run);

/* Make the run's context, which is in the registry, useless to whoever still holds it, and let it go; the
 * audit watches it if that was decided. Raises nothing (short of memory it is only emptied, and the VM
 * soiled). */
void ctx_discard(lua_State *L, vm_run *run);

/* --- for strategies that make a new table for each request --- */

/* An __index that knows every field: the function, which all contexts share, or the value. */
int ctx_on_index(lua_State *L);

/* Make the metatable that all contexts of the VM will have. Stack: [-0, +0, m] */
void ctx_share_metatable(lua_State *L, lua_CFunction index);

/* Make the table at the top the context of a request that begins. Stack: [-0, +0, m] */
void ctx_begin_new(lua_State *co, vm_run *run);

/* A ctx_strategy's end for them. */
void ctx_end_new(lua_State *L, vm_run *run);

/* --- for setmetatable --- */

/* Whether the value of a __metatable says that it is a context's. */
bool ctx_is_marker(lua_State *L, int index);

#endif
