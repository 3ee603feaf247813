/* reply: what a handler returns, and how it becomes a status, headers and a body.
 *
 * A reply object holds the value it was made of, and is turned into bytes when it is returned; so one that
 * was made while the app loaded, or kept from an earlier request, can be returned as often as one likes.
 * Threads: whoever holds the VM. */
#ifndef VM_REPLY_H
#define VM_REPLY_H

#include <lua.h>

#include "vm/request.h"

/* Make the metatable of replies. Stack: [-0, +0, m] */
void reply_install(lua_State *L);

/* Push the table of constructors: json, text, html, redirect, error, status, and for hooks.lua reply,
 * is_reply, log. Stack: [-0, +1, m] */
void reply_push_helpers(lua_State *L);

/* Whether the value is a reply object. */
bool reply_is(lua_State *L, int index);

/* Turn what a handler returned, `n` values from `first` up, into the answer of the request. Raises an error
 * that names what is wrong with the values. Stack: [-?, +?, e] */
void reply_from_values(lua_State *L, int first, int n, vm_request *r);

/* Raise api.error(status, message). */
int reply_raise(lua_State *L, int status, const char *message);

#endif
