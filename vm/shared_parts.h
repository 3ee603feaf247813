/* shared_parts: what the files of shared have in common. Only they include it. */
#ifndef VM_SHARED_PARTS_H
#define VM_SHARED_PARTS_H

#include "queue/buf.h"
#include "queue/dicts.h"
#include "queue/remotes.h"
#include "vm/internal.h"
#include "vm/shared.h"

struct shared {
    dicts *dicts;     /* the server's, or `own` */
    dicts *own;       /* of a VM without a server */
    dict_port *locks; /* NULL until one is wanted */
    buf scratch;      /* what is on its way between Lua and a dictionary */
    int dict_mt_ref;  /* registry: the metatable of dictionaries */
    remotes *stores;  /* the server's; NULL: addresses are looked at, and no more */
    const void *remote_mt;
    int remote_mt_ref; /* registry: that of those in a store */
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

/* --- shared_dict: methods, and arguments that those of all dictionaries have --- */

/* Options, or the ttl alone. Returns: it. With `init`, that may be among them; then it is left at the top, or
 * nil. Stack: [-0, +2, e] at most */
uint64_t shared_check_options(lua_State *L, int index, const char *what, bool init);
void shared_check_number(lua_State *L, int index, const char *name, dict_value *ret);
/* keys(max) */
size_t shared_check_most(lua_State *L, int index);
void shared_refuse_nil(lua_State *L, const char *what);

/* Push the table of methods, and make it the dictionaries'. Stack: [-0, +1, m] */
void shared_push_methods(lua_State *L);

/* Push the dictionary. Stack: [-0, +1, m] */
void shared_push_dict(lua_State *L, dict *d);

/* get_versioned and cas, for update */
int shared_on_update_get(lua_State *L);
int shared_on_update_cas(lua_State *L);

/* --- shared_remote: dictionaries and locks in a store (queue/remote) --- */

/* Push the table of methods, and make it those dictionaries'. Stack: [-0, +1, m] */
void shared_push_remote_methods(lua_State *L);

/* dict(name, url) -> a dictionary; false and why not; nil while a request is answered */
int shared_on_remote_dict(lua_State *L);
/* problem(url) -> what is wrong with it, or nil */
int shared_on_remote_problem(lua_State *L);
/* get_versioned and cas, for update */
int shared_on_remote_update_get(lua_State *L);
int shared_on_remote_update_cas(lua_State *L);
/* lock(url, name, ttl) -> token or nil */
int shared_on_remote_lock(lua_State *L);
/* unlock(url, name, token) -> whether it was held; where it cannot wait, true */
int shared_on_remote_unlock(lua_State *L);
/* extend(url, name, token, ttl) -> whether it was held */
int shared_on_remote_extend(lua_State *L);

/* --- shared_lock --- */

/* lock(name, ttl) -> token or nil */
int shared_on_lock(lua_State *L);
/* unlock(name, token) -> whether it was held */
int shared_on_unlock(lua_State *L);
/* extend(name, token, ttl) -> whether it was held */
int shared_on_extend(lua_State *L);

#endif
