/* ctx_fields: what a handler can read of its request through `ctx`.
 *
 *   ctx.method ctx.path ctx.target ctx.ip ctx.id ctx.scheme ctx.host
 *                                                     values
 *   ctx:headers() ctx:header(name) ctx:query() ctx:query_all() ctx:params() ctx:body() ctx:json()
 *   ctx:cookies()                                     functions
 *
 * query_all() gives both orders: all[i] is {name, value}, the i-th pair; all[name] is the list of a name's
 * values. Each table is made when it is first asked for, and is the same one until the request ends.
 * Threads: whoever holds the VM. */
#ifndef VM_CTX_FIELDS_H
#define VM_CTX_FIELDS_H

#include "vm/ctx.h"
#include "vm/vm.h"

/* The values stand before the functions in CTX_FIELDS. */
enum { CTX_VALUE_COUNT = CTX_HOST + 1, CTX_FUNCTION_COUNT = CTX_FIELD_COUNT - CTX_VALUE_COUNT };

/* Their names, for metrics. */
extern const char *const ctx_field_names[CTX_FIELD_COUNT];

/* The field whose name stands at that index, or -1. Short strings of the same text are one string. */
int ctx_field_at(lua_State *L, int index, const vm *v);

/* The function behind ctx:name(), NULL for a field that is a value. It finds its request by its argument. */
lua_CFunction ctx_field_function(enum ctx_field field);

/* Push the value of a field that is one, and count the read. Stack: [-0, +1, e] */
void ctx_field_push_value(lua_State *L, vm_run *run, enum ctx_field field);

/* Push the field's name. Stack: [-0, +1, -] */
void ctx_field_push_name(lua_State *L, vm_run *run, enum ctx_field field);

/* Stack: [-0, +0, m] */
void ctx_fields_install(lua_State *L);

#endif
