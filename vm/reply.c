#include "vm/reply.h"

#include <errno.h>
#include <lauxlib.h>

#include "vm/cookie.h"
#include "vm/internal.h"
#include "vm/json.h"
#include "vm/reason.h"

enum reply_kind { REPLY_EMPTY, REPLY_JSON, REPLY_TEXT, REPLY_HTML, REPLY_ERROR };

/* User values of a reply. */
enum { VALUE = 1, HEADERS = 2, FIELDS = 3 };

typedef struct reply {
    int status;
    enum reply_kind kind;
    uint64_t serial; /* of the request it was made in, or 0 */
} reply;

static const char JSON_TYPE[] = "application/json";
static const char TEXT_TYPE[] = "text/plain; charset=utf-8";
static const char HTML_TYPE[] = "text/html; charset=utf-8";

bool reply_is(lua_State *L, int index)
{
    if (lua_type(L, index) != LUA_TUSERDATA || !lua_getmetatable(L, index))
        return false;
    bool is = lua_topointer(L, -1) == vm_of(L)->reply_mt;
    lua_pop(L, 1);
    return is;
}

static reply *check(lua_State *L, int index)
{
    if (!reply_is(L, index))
        luaL_typeerror(L, index, "reply");
    return lua_touserdata(L, index);
}

/* A reply to be changed. One that other requests may return too stays as it is: a cookie put on it would go
 * to them all. */
static reply *check_own(lua_State *L, int index)
{
    reply *r = check(L, index);
    const vm_run *run = vm_of(L)->running;
    if (run && r->serial != run->serial)
        luaL_error(L, "this reply was not made in this request, and others may return it too: make a new one "
                      "to change it");
    return r;
}

/* --- making --- */

static int check_status(lua_State *L, int index)
{
    int is_integer;
    lua_Integer status = lua_tointegerx(L, index, &is_integer);
    if (!is_integer || status < 200 || status > 599)
        luaL_error(L, "a status is a whole number from 200 to 599, not %s", luaL_tolstring(L, index, NULL));
    return (int)status;
}

static int opt_status(lua_State *L, int index, int preset)
{
    return lua_isnoneornil(L, index) ? preset : check_status(L, index);
}

static reply *push_new(lua_State *L, enum reply_kind kind, int status)
{
    reply *r = lua_newuserdatauv(L, sizeof(*r), kind == REPLY_ERROR ? 3 : 2);
    const vm_run *run = vm_of(L)->running;
    r->kind = kind;
    r->status = status;
    r->serial = run ? run->serial : 0;
    lua_rawgeti(L, LUA_REGISTRYINDEX, vm_of(L)->reply_mt_ref);
    lua_setmetatable(L, -2);
    return r;
}

static int make(lua_State *L, enum reply_kind kind)
{
    push_new(L, kind, opt_status(L, 2, 200));
    lua_pushvalue(L, 1);
    lua_setiuservalue(L, -2, VALUE);
    return 1;
}

/* api.json(value [, status]) */
static int on_json(lua_State *L)
{
    luaL_checkany(L, 1);
    return make(L, REPLY_JSON);
}

/* api.text(text [, status]) */
static int on_text(lua_State *L)
{
    luaL_checkstring(L, 1);
    return make(L, REPLY_TEXT);
}

/* api.html(text [, status]) */
static int on_html(lua_State *L)
{
    luaL_checkstring(L, 1);
    return make(L, REPLY_HTML);
}

/* api.status(status) */
static int on_status(lua_State *L)
{
    push_new(L, REPLY_EMPTY, check_status(L, 1));
    return 1;
}

/* api.error(status [, message [, fields]]) */
static int on_error(lua_State *L)
{
    int status = check_status(L, 1);
    luaL_argcheck(L, status >= 400, 1, "an error has a status from 400 to 599");
    if (!lua_isnoneornil(L, 2))
        luaL_checkstring(L, 2);
    if (!lua_isnoneornil(L, 3))
        luaL_checktype(L, 3, LUA_TTABLE);
    lua_settop(L, 3);
    push_new(L, REPLY_ERROR, status);
    lua_pushvalue(L, 2);
    lua_setiuservalue(L, -2, VALUE);
    lua_pushvalue(L, 3);
    lua_setiuservalue(L, -2, FIELDS);
    return 1;
}

int reply_raise(lua_State *L, int status, const char *message)
{
    push_new(L, REPLY_ERROR, status);
    lua_pushstring(L, message);
    lua_setiuservalue(L, -2, VALUE);
    return lua_error(L);
}

/* --- headers --- */

static bool is_token(str s)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        bool alnum = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!alnum && (c == 0 || !strchr("!#$%&'*+-.^_`|~", c)))
            return false;
    }
    return s.n > 0;
}

static bool has_control_char(str s)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if ((c < ' ' && c != '\t') || c == 0x7f)
            return true;
    }
    return false;
}

static str check_name(lua_State *L, int index)
{
    static const str own[] = {{"content-length", 14}, {"transfer-encoding", 17}, {"connection", 10}};
    str name;
    name.p = luaL_checklstring(L, index, &name.n);
    if (!is_token(name))
        luaL_error(L, "\"%s\" is no name for a header", name.p);
    for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++)
        if (str_eq_nocase(name, own[i]))
            luaL_error(L, "the header %s is set by the server alone", name.p);
    return name;
}

/* Push the reply's list of headers {name, value, name, value ...}, made if there is none. */
static void push_headers(lua_State *L, int index)
{
    if (lua_getiuservalue(L, index, HEADERS) == LUA_TTABLE)
        return;
    lua_pop(L, 1);
    lua_newtable(L);
    lua_pushvalue(L, -1);
    lua_setiuservalue(L, index, HEADERS);
}

/* The place of a header in the list at the top, or the place behind the last. */
static lua_Integer place_of(lua_State *L, str name)
{
    lua_Integer n = (lua_Integer)lua_rawlen(L, -1);
    for (lua_Integer i = 1; i < n; i += 2) {
        str had;
        lua_rawgeti(L, -1, i);
        had.p = lua_tolstring(L, -1, &had.n);
        lua_pop(L, 1);
        if (str_eq_nocase(had, name))
            return i;
    }
    return n + 1;
}

/* reply:header(name, value): replaces; Set-Cookie is added. */
static int on_header(lua_State *L)
{
    check_own(L, 1);
    str name = check_name(L, 2);
    str value;
    value.p = luaL_checklstring(L, 3, &value.n);
    if (has_control_char(value))
        return luaL_error(L, "the value of the header %s holds a control character", name.p);
    lua_settop(L, 3);
    push_headers(L, 1);
    bool append = str_eq_nocase(name, STR("set-cookie"));
    lua_Integer at = append ? (lua_Integer)lua_rawlen(L, -1) + 1 : place_of(L, name);
    lua_pushvalue(L, 2);
    lua_rawseti(L, -2, at);
    lua_pushvalue(L, 3);
    lua_rawseti(L, -2, at + 1);
    lua_settop(L, 1);
    return 1;
}

/* reply:status([n]): sets it and returns the reply, or returns it. */
static int on_reply_status(lua_State *L)
{
    if (lua_isnone(L, 2)) {
        lua_pushinteger(L, check(L, 1)->status);
        return 1;
    }
    check_own(L, 1)->status = check_status(L, 2);
    lua_settop(L, 1);
    return 1;
}

/* --- cookies --- */

static str opt_text(lua_State *L, int table, const char *name)
{
    str s = {0};
    int type = lua_getfield(L, table, name);
    if (type == LUA_TSTRING)
        s.p = lua_tolstring(L, -1, &s.n); /* the table keeps it alive */
    else if (type != LUA_TNIL)
        luaL_error(L, "the cookie option %s is a string, not a %s", name, lua_typename(L, type));
    lua_pop(L, 1);
    return s;
}

static bool opt_integer(lua_State *L, int table, const char *name, int64_t *ret)
{
    int is_integer = 1;
    int type = lua_getfield(L, table, name);
    if (type != LUA_TNIL) {
        *ret = lua_tointegerx(L, -1, &is_integer);
        if (!is_integer)
            luaL_error(L, "the cookie option %s is a whole number", name);
    }
    lua_pop(L, 1);
    return type != LUA_TNIL;
}

static bool opt_flag(lua_State *L, int table, const char *name)
{
    lua_getfield(L, table, name);
    bool flag = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return flag;
}

static enum cookie_same_site opt_same_site(lua_State *L, int table)
{
    str s = opt_text(L, table, "same_site");
    if (s.n == 0)
        return COOKIE_SAME_SITE_UNSET;
    if (str_eq_nocase(s, STR("lax")))
        return COOKIE_SAME_SITE_LAX;
    if (str_eq_nocase(s, STR("strict")))
        return COOKIE_SAME_SITE_STRICT;
    if (!str_eq_nocase(s, STR("none")))
        luaL_error(L, "the cookie option same_site is \"lax\", \"strict\" or \"none\"");
    return COOKIE_SAME_SITE_NONE;
}

static void check_cookie_options(lua_State *L, int table)
{
    static const char *const known[] = {"path",      "domain",    "max_age",     "expires", "secure",
                                        "http_only", "same_site", "partitioned", NULL};
    lua_pushnil(L);
    while (lua_next(L, table)) {
        const char *name = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "?";
        size_t i = 0;
        while (known[i] && strcmp(known[i], name) != 0)
            i++;
        if (!known[i])
            luaL_error(L,
                       "no cookie option is called \"%s\": there are path, domain, max_age, expires, secure, "
                       "http_only, "
                       "same_site, partitioned",
                       name);
        lua_pop(L, 1);
    }
}

/* Memory for a text that is built where errors may be raised: freed by the collector. */
static int free_buf(lua_State *L)
{
    buf_fini(lua_touserdata(L, 1));
    return 0;
}

static buf *push_buf(lua_State *L)
{
    buf *b = lua_newuserdatauv(L, sizeof(*b), 0);
    *b = (buf){0};
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, free_buf);
    lua_setfield(L, -2, "__gc");
    lua_setmetatable(L, -2);
    return b;
}

/* reply:cookie(name, value [, options]) */
static int on_cookie(lua_State *L)
{
    str name, value;
    cookie_options o = {0};
    const char *why = NULL;
    check_own(L, 1);
    name.p = luaL_checklstring(L, 2, &name.n);
    value.p = luaL_checklstring(L, 3, &value.n);
    lua_settop(L, 4);
    if (!lua_isnil(L, 4)) {
        luaL_checktype(L, 4, LUA_TTABLE);
        check_cookie_options(L, 4);
        o.path = opt_text(L, 4, "path");
        o.domain = opt_text(L, 4, "domain");
        o.has_max_age = opt_integer(L, 4, "max_age", &o.max_age_s);
        o.has_expires = opt_integer(L, 4, "expires", &o.expires);
        o.secure = opt_flag(L, 4, "secure");
        o.http_only = opt_flag(L, 4, "http_only");
        o.partitioned = opt_flag(L, 4, "partitioned");
        o.same_site = opt_same_site(L, 4);
    }
    buf *b = push_buf(L);
    int err = cookie_format(b, name, value, &o, &why);
    if (err)
        return luaL_error(L, "the cookie \"%s\": %s", name.p, err == -ENOMEM ? "not enough memory" : why);
    lua_pushcfunction(L, on_header);
    lua_pushvalue(L, 1);
    lua_pushliteral(L, "Set-Cookie");
    lua_pushlstring(L, b->p, b->n);
    lua_call(L, 3, 1);
    return 1;
}

/* api.redirect(url [, status]) */
static int on_redirect(lua_State *L)
{
    str url;
    url.p = luaL_checklstring(L, 1, &url.n);
    int status = opt_status(L, 2, 302);
    luaL_argcheck(L, status >= 300 && status < 400, 2, "a redirect has a status from 300 to 399");
    if (url.n == 0 || has_control_char(url))
        return luaL_error(L, "the target of a redirect is empty or holds a control character");
    lua_settop(L, 1);
    lua_pushcfunction(L, on_header);
    push_new(L, REPLY_EMPTY, status);
    lua_pushliteral(L, "Location");
    lua_pushvalue(L, 1);
    lua_call(L, 3, 1);
    return 1;
}

/* --- finishing --- */

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

static void finish_text(lua_State *L, int index, const char *type, vm_request *r)
{
    size_t n;
    const char *p = lua_tolstring(L, index, &n);
    add(L, r->body_out, p, n);
    r->content_type = type;
}

static void finish_headers(lua_State *L, int index, vm_request *r)
{
    if (lua_getiuservalue(L, index, HEADERS) == LUA_TTABLE) {
        lua_Integer n = (lua_Integer)lua_rawlen(L, -1);
        for (lua_Integer i = 1; i <= n; i++) {
            size_t bytes;
            lua_rawgeti(L, -1, i);
            const char *p = lua_tolstring(L, -1, &bytes);
            if (i % 2 == 1 && str_eq_nocase((str){p, bytes}, STR("content-type")))
                r->content_type = NULL;
            add(L, r->head_out, p, bytes + 1);
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
        lua_getiuservalue(L, index, VALUE);
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
            lua_getiuservalue(L, index, FIELDS);
            encode_error(L, value, value + 1, r);
            break;
        }
        lua_settop(L, value - 1);
    }
    finish_headers(L, index, r);
}

static int status_of_values(lua_State *L, int first, int n, int preset)
{
    if (n < 2 || lua_isnil(L, first + 1))
        return preset;
    return check_status(L, first + 1);
}

static int refuse_type(lua_State *L, int index)
{
    return luaL_error(L, "a handler returns a table, a string, a number, a boolean, nil or a reply, not a %s",
                      luaL_typename(L, index));
}

void reply_from_values(lua_State *L, int first, int n, vm_request *r)
{
    r->body_out->n = r->head_out->n = 0;
    r->content_type = NULL;
    if (n == 0 || lua_isnil(L, first)) {
        r->status = status_of_values(L, first, n, 204);
        return;
    }
    if (reply_is(L, first)) {
        const reply *from = lua_touserdata(L, first);
        r->status = status_of_values(L, first, n, from->status);
        finish(L, first, r);
        return;
    }
    r->status = status_of_values(L, first, n, 200);
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
        refuse_type(L, first);
    }
}

/* --- for hooks.lua --- */

/* Push a list of headers that is equal to the one at the top, in its place. */
static void copy_list(lua_State *L)
{
    lua_Integer n = (lua_Integer)lua_rawlen(L, -1);
    lua_createtable(L, (int)n, 0);
    for (lua_Integer i = 1; i <= n; i++) {
        lua_rawgeti(L, -2, i);
        lua_rawseti(L, -2, i);
    }
    lua_remove(L, -2);
}

/* Hooks get a reply of their own to change: the app may have kept the other for further requests. */
static void push_copy(lua_State *L, int index)
{
    const reply *from = lua_touserdata(L, index);
    push_new(L, from->kind, from->status);
    lua_getiuservalue(L, index, VALUE);
    lua_setiuservalue(L, -2, VALUE);
    if (lua_getiuservalue(L, index, HEADERS) == LUA_TTABLE)
        copy_list(L);
    lua_setiuservalue(L, -2, HEADERS);
    if (from->kind == REPLY_ERROR) {
        lua_getiuservalue(L, index, FIELDS);
        lua_setiuservalue(L, -2, FIELDS);
    }
}

/* reply(...): what a handler returned, as a reply object that nobody else has. */
static int on_reply(lua_State *L)
{
    int n = lua_gettop(L);
    if (n == 0 || lua_isnil(L, 1)) {
        push_new(L, REPLY_EMPTY, status_of_values(L, 1, n, 204));
        return 1;
    }
    if (reply_is(L, 1)) {
        push_copy(L, 1);
        reply *r = lua_touserdata(L, -1);
        r->status = status_of_values(L, 1, n, r->status);
        return 1;
    }
    switch (lua_type(L, 1)) {
    case LUA_TSTRING:
        return make(L, REPLY_TEXT);
    case LUA_TTABLE:
    case LUA_TBOOLEAN:
    case LUA_TNUMBER:
    case LUA_TLIGHTUSERDATA:
        return make(L, REPLY_JSON);
    default:
        return refuse_type(L, 1);
    }
}

static int on_is_reply(lua_State *L)
{
    lua_pushboolean(L, reply_is(L, 1));
    return 1;
}

static int on_log(lua_State *L)
{
    size_t n;
    const char *text = luaL_tolstring(L, 1, &n);
    vm_log(vm_of(L), 0, text, n);
    return 0;
}

void reply_push_helpers(lua_State *L)
{
    static const luaL_Reg helpers[] = {
        {"json", on_json},   {"text", on_text},     {"html", on_html},   {"redirect", on_redirect},
        {"error", on_error}, {"status", on_status}, {"reply", on_reply}, {"is_reply", on_is_reply},
        {"log", on_log},     {NULL, NULL},
    };
    luaL_newlib(L, helpers);
}

void reply_install(lua_State *L)
{
    static const luaL_Reg methods[] = {
        {"status", on_reply_status}, {"header", on_header}, {"cookie", on_cookie}, {NULL, NULL}};
    vm *v = vm_of(L);
    lua_createtable(L, 0, 3);
    luaL_newlib(L, methods);
    lua_setfield(L, -2, "__index");
    lua_pushliteral(L, "reply");
    lua_setfield(L, -2, "__name");
    lua_pushliteral(L, "reply");
    lua_setfield(L, -2, "__metatable");
    v->reply_mt = lua_topointer(L, -1);
    v->reply_mt_ref = luaL_ref(L, LUA_REGISTRYINDEX);
}
