/* shared_parts: what the files of shared have in common. Only they include it. */
#ifndef VM_SHARED_PARTS_H
#define VM_SHARED_PARTS_H

#include "queue/buf.h"
#include "queue/dicts.h"
#include "vm/internal.h"
#include "vm/shared.h"

struct shared {
    dicts *dicts;     /* the server's, or `own` */
    dicts *own;       /* of a VM without a server */
    dict_port *locks; /* NULL until one is wanted */
    buf scratch;      /* what is on its way between Lua and a dictionary */
    int dict_mt_ref;  /* registry: the metatable of dictionaries */
};

static inline shared *shared_of(lua_State *L)
{
    return vm_of(L)->shared;
}

/* --- shared_value: arguments and values. `what` is the method, for messages: "dict:set". --- */

str shared_check_key(lua_State *L, int index, const char *what);

/* Seconds, or nil. Returns: nanoseconds, 0 for nil. */
uint64_t shared_check_ttl(lua_State *L, int index, const char *what);

/* The value at an index, which is not nil. The bytes are good until the scratch is used again. */
void shared_check_value(lua_State *L, int index, const char *what, dict_value *ret);

/* Stack: [-0, +1, m] */
void shared_push_value(lua_State *L, const dict_value *value);

enum { SHARED_SCRATCH_KEPT_BYTES = 64 * 1024 };

/* Give back what a long value has left in the scratch. */
static inline void shared_trim(shared *s)
{
    if (s->scratch.cap > SHARED_SCRATCH_KEPT_BYTES)
        buf_fini(&s->scratch);
}

/* Raise for an error of queue/dict. */
int shared_fail(lua_State *L, int err, const char *what, size_t max_bytes);

/* --- shared_dict --- */

/* Push the table of methods, and make it the dictionaries'. Stack: [-0, +1, m] */
void shared_push_methods(lua_State *L);

/* Push the dictionary. Stack: [-0, +1, m] */
void shared_push_dict(lua_State *L, dict *d);

/* --- shared_lock --- */

/* lock(name, ttl) -> token or nil */
int shared_on_lock(lua_State *L);
/* unlock(name, token) -> whether it was held */
int shared_on_unlock(lua_State *L);
/* extend(name, token, ttl) -> whether it was held */
int shared_on_extend(lua_State *L);

#endif
