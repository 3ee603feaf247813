/* reply_internal: what the files of reply know of a reply object. For vm/reply*.c alone. */
#ifndef VM_REPLY_INTERNAL_H
#define VM_REPLY_INTERNAL_H

#include <lua.h>
#include <stdbool.h>
#include <stdint.h>

#include "vm/reply.h"

enum reply_kind { REPLY_EMPTY, REPLY_JSON, REPLY_TEXT, REPLY_HTML, REPLY_ERROR };

/* User values of a reply: what it was made of, the list {name, value, name, value ...} or nil, and of an
 * error its fields or nil. */
enum { REPLY_VALUE = 1, REPLY_HEADERS = 2, REPLY_FIELDS = 3 };

typedef struct reply {
    int status;
    enum reply_kind kind;
    uint64_t serial; /* of the request it was made in, or 0 */
} reply;

/* The reply at that index, or an error. Stack: [-0, +0, v] */
reply *reply_check(lua_State *L, int index);

/* A reply to be changed, or an error. One that other requests may return too stays as it is: a cookie put on
 * it would go to them all. Stack: [-0, +0, v] */
reply *reply_check_own(lua_State *L, int index);

/* The status at that index, or an error. Stack: [-0, +0, v] */
int reply_check_status(lua_State *L, int index);

/* The status of what a handler returned, `n` values from `first` up: its second value, or `preset`. Stack:
 * [-0, +0, v] */
int reply_status_of(lua_State *L, int first, int n, int preset);

/* Raise: a value of that type is no reply. */
int reply_refuse_type(lua_State *L, int index);

/* Whether it could end a header before its time. */
bool reply_has_control_char(str s);

/* The methods reply:header(name, value) and reply:cookie(name, value [, options]). */
int reply_on_header(lua_State *L);
int reply_on_cookie(lua_State *L);

#endif
