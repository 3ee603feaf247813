/* Turning what a handler returned into the bytes of an answer. */
#include <lauxlib.h>

#include "vm/internal.h"
#include "vm/json.h"
#include "vm/reason.h"
#include "vm/reply_internal.h"

static const char JSON_TYPE[] = "application/json";
static const char TEXT_TYPE[] = "text/plain; charset=utf-8";
static const char HTML_TYPE[] = "text/html; charset=utf-8";

static void add(lua_State *L, buf *b, const char *p, size_t n)
{
    if (buf_add(b, p, n) < 0)
        luaL_error(L, "not enough memory for the reply");
}

static void encode(lua_State *L, int index, vm_request *r)
{
    json_encode(L, index, r->body_out, JSON_REPLACE_BAD_UTF8);
    r->content_type = JSON_TYPE;
}

static void encode_literal(lua_State *L, vm_request *r, const char *p)
{
    add(L, r->body_out, p, strlen(p));
}

/* {"error": message, "status": n, "request_id": id, "fields": {...}}; the message and the fields are on the
 * stack. Without a message the status says what it means. */
static void encode_error(lua_State *L, int message, int fields, vm_request *r)
{
    str id = r->id(r->host);
    if (lua_isnil(L, message)) {
        lua_pushstring(L, reason_phrase(r->status));
        lua_replace(L, message);
    }
    encode_literal(L, r, "{\"error\":");
    encode(L, message, r);
    encode_literal(L, r, ",\"status\":");
    lua_pushinteger(L, r->status);
    encode(L, -1, r);
    encode_literal(L, r, ",\"request_id\":");
    lua_pushlstring(L, id.p, id.n);
    encode(L, -1, r);
    lua_pop(L, 2);
    if (!lua_isnil(L, fields)) {
        encode_literal(L, r, ",\"fields\":");
        encode(L, fields, r);
    }
    encode_literal(L, r, "}");
}

/* Only the debug library can put something else there. */
static str text_at(lua_State *L, int index)
{
    str s;
    s.p = lua_tolstring(L, index, &s.n);
    if (!s.p)
        luaL_error(L, "this reply holds a %s where a text belongs", luaL_typename(L, index));
    return s;
}

static void finish_text(lua_State *L, int index, const char *type, vm_request *r)
{
    str text = text_at(L, index);
    add(L, r->body_out, text.p, text.n);
    r->content_type = type;
}

static void finish_headers(lua_State *L, int index, vm_request *r)
{
    if (lua_getiuservalue(L, index, REPLY_HEADERS) == LUA_TTABLE) {
        lua_Integer n = (lua_Integer)lua_rawlen(L, -1);
        for (lua_Integer i = 1; i <= n; i++) {
            lua_rawgeti(L, -1, i);
            str text = text_at(L, -1);
            if (i % 2 == 1 && str_eq_nocase(text, STR("content-type")))
                r->content_type = NULL;
            add(L, r->head_out, text.p, text.n + 1);
            lua_pop(L, 1);
        }
    }
    lua_pop(L, 1);
}

static bool has_no_body(int status)
{
    return status == 204 || status == 304;
}

/* r->status is the one to send, which need not be the reply's. */
static void finish(lua_State *L, int index, vm_request *r)
{
    const reply *from = lua_touserdata(L, index);
    luaL_checkstack(L, 8, "reply");
    r->content_type = NULL;
    if (!has_no_body(r->status) && from->kind != REPLY_EMPTY) {
        lua_getiuservalue(L, index, REPLY_VALUE);
        int value = lua_gettop(L);
        switch (from->kind) {
        case REPLY_JSON:
            encode(L, value, r);
            break;
        case REPLY_TEXT:
            finish_text(L, value, TEXT_TYPE, r);
            break;
        case REPLY_HTML:
            finish_text(L, value, HTML_TYPE, r);
            break;
        default:
            lua_getiuservalue(L, index, REPLY_FIELDS);
            encode_error(L, value, value + 1, r);
            break;
        }
        lua_settop(L, value - 1);
    }
    finish_headers(L, index, r);
}

void reply_from_values(lua_State *L, int first, int n, vm_request *r)
{
    r->body_out->n = r->head_out->n = 0;
    r->content_type = NULL;
    if (n == 0 || lua_isnil(L, first)) {
        r->status = reply_status_of(L, first, n, 204);
        return;
    }
    if (reply_is(L, first)) {
        const reply *from = lua_touserdata(L, first);
        r->status = reply_status_of(L, first, n, from->status);
        finish(L, first, r);
        return;
    }
    r->status = reply_status_of(L, first, n, 200);
    if (has_no_body(r->status))
        return;
    switch (lua_type(L, first)) {
    case LUA_TSTRING:
        finish_text(L, first, TEXT_TYPE, r);
        return;
    case LUA_TTABLE:
    case LUA_TBOOLEAN:
    case LUA_TNUMBER:
    case LUA_TLIGHTUSERDATA: /* json.null, json.empty_array */
        encode(L, first, r);
        return;
    default:
        reply_refuse_type(L, first);
    }
}
