/* ctx: the request context `ctx` as a table, and the interface of the strategies that make it.
 *
 * What a handler can read in it is in vm/ctx_fields.h. A strategy decides how the table is made, filled and
 * ended; what strategies have in common is here. An app cannot tell one strategy from another, but for what
 * `next` and `rawget` find in a context, and for how much a context that it has kept can still tell.
 * Threads: whoever holds the VM. */
#ifndef VM_CTX_H
#define VM_CTX_H

#include <lua.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "vm/request.h"

typedef struct vm_run vm_run; /* see vm/vm.h */

/* What a run keeps of its context. All zero is one that has none yet. */
typedef struct ctx_slot {
    lua_State *shelf;  /* a coroutine that never runs: its stack holds the context and what its functions have
                          returned, and costs less to reach than a table. NULL until it is needed */
    const void *table; /* the context's address; NULL when there is none */
    const void *mt;    /* and its metatable's, where that is its own */
    uint8_t results;   /* on the shelf, and where, by field (0: none) */
    uint8_t places[CTX_FIELD_COUNT];
    bool once;    /* not to be used for another request */
    bool audited; /* and to be watched after its end */
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

/* Set __metatable in the metatable at the top: no app gets hold of it, since requests share it, but its own
 * setmetatable may put another in its place. Stack: [-0, +0, m] */
void ctx_hide_metatable(lua_State *L);

/* Whether the value at that index is the __metatable of one that is hidden so. */
bool ctx_is_marker(lua_State *L, int index);

/* --- the shelf --- */

/* The place of the context; results follow. */
enum { CTX_SHELF_TABLE = 1 };

/* Keep the table at the top as the run's context. Stack: [-0, +0, m] */
void ctx_shelve(lua_State *L, vm_run *run);

/* Push what is at a place: the context, or a result. Stack: [-0, +1, -] */
static inline void ctx_fetch(lua_State *L, const ctx_slot *slot, int place)
{
    lua_pushvalue(slot->shelf, place);
    lua_xmove(slot->shelf, L, 1);
}

/* Keep the value at the top as what the function of that name returns until the request ends. Stack: [-0, +0,
 * m]. Returns: 1, for the function to return */
int ctx_remember(lua_State *L, vm_run *run, enum ctx_field field);

/* Push it again. Stack: [-0, +(0|1), -]. Returns: false when there is none */
static inline bool ctx_recall(lua_State *L, const ctx_slot *slot, enum ctx_field field)
{
    if (!slot->places[field])
        return false;
    ctx_fetch(L, slot, slot->places[field]);
    return true;
}

/* The request has ended: results are not to be seen by the next. Raises nothing. */
static inline void ctx_forget(ctx_slot *slot)
{
    if (!slot->results)
        return;
    lua_settop(slot->shelf, CTX_SHELF_TABLE);
    memset(slot->places, 0, sizeof(slot->places));
    slot->results = 0;
}

/* --- contexts --- */

/* The run whose context is at index 1; raises an error for what is none, or has ended. A closure may have the
 * run as a light userdata in its first upvalue, which saves a search while another request's handler runs. */
vm_run *ctx_check(lua_State *L);

/* Raise "the context of GET /x was used after its request had ended". */
int ctx_raise_stale(lua_State *L, const char *route);

/* Store the value at the top under the key at index 2 into the table at an index below it, unless it is nil,
 * so that the next read finds it there. Stack: [-0, +0, m]. Returns: 1, for a metamethod to return */
int ctx_keep(lua_State *L, int table);

/* Push a metatable that makes a table a context; its __index is left to the strategy. Stack: [-0, +1, m] */
void ctx_push_metatable(lua_State *L);

/* Make the context on the shelf useless to whoever still holds it, and let it go; the audit watches it if
 * that was decided. Raises nothing (short of memory it is only emptied, and the VM soiled). */
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

#endif
