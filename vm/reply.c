/* Making replies: api.json and its siblings. */
#include <lauxlib.h>

#include "vm/internal.h"
#include "vm/reply_internal.h"

bool reply_is(lua_State *L, int index)
{
    if (lua_type(L, index) != LUA_TUSERDATA || !lua_getmetatable(L, index))
        return false;
    bool is = lua_topointer(L, -1) == vm_of(L)->reply_mt;
    lua_pop(L, 1);
    return is;
}

reply *reply_check(lua_State *L, int index)
{
    if (!reply_is(L, index))
        luaL_typeerror(L, index, "reply");
    return lua_touserdata(L, index);
}

reply *reply_check_own(lua_State *L, int index)
{
    reply *r = reply_check(L, index);
    const vm_run *run = vm_of(L)->running;
    if (run && r->serial != run->serial)
        luaL_error(L, "this reply was not made in this request, and others may return it too: make a new one "
                      "to change it");
    return r;
}

/* --- making --- */

int reply_check_status(lua_State *L, int index)
{
    int is_integer = 0;
    lua_Integer status = lua_type(L, index) == LUA_TNUMBER ? lua_tointegerx(L, index, &is_integer) : 0;
    if (!is_integer || status < 200 || status > 599)
        luaL_error(L, "a status is a whole number from 200 to 599, not %s", luaL_tolstring(L, index, NULL));
    return (int)status;
}

int reply_status_of(lua_State *L, int first, int n, int preset)
{
    if (n < 2 || lua_isnil(L, first + 1))
        return preset;
    return reply_check_status(L, first + 1);
}

int reply_refuse_type(lua_State *L, int index)
{
    return luaL_error(L, "a handler returns a table, a string, a number, a boolean, nil or a reply, not a %s",
                      luaL_typename(L, index));
}

static int opt_status(lua_State *L, int index, int preset)
{
    return lua_isnoneornil(L, index) ? preset : reply_check_status(L, index);
}

static reply *reply_push_new(lua_State *L, enum reply_kind kind, int status)
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
    reply_push_new(L, kind, opt_status(L, 2, 200));
    lua_pushvalue(L, 1);
    lua_setiuservalue(L, -2, REPLY_VALUE);
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
    reply_push_new(L, REPLY_EMPTY, reply_check_status(L, 1));
    return 1;
}

/* api.error(status [, message [, fields]]) */
static int on_error(lua_State *L)
{
    int status = reply_check_status(L, 1);
    luaL_argcheck(L, status >= 400, 1, "an error has a status from 400 to 599");
    if (!lua_isnoneornil(L, 2))
        luaL_checkstring(L, 2);
    if (!lua_isnoneornil(L, 3))
        luaL_checktype(L, 3, LUA_TTABLE);
    lua_settop(L, 3);
    reply_push_new(L, REPLY_ERROR, status);
    lua_pushvalue(L, 2);
    lua_setiuservalue(L, -2, REPLY_VALUE);
    lua_pushvalue(L, 3);
    lua_setiuservalue(L, -2, REPLY_FIELDS);
    return 1;
}

int reply_raise(lua_State *L, int status, const char *message)
{
    reply_push_new(L, REPLY_ERROR, status);
    lua_pushstring(L, message);
    lua_setiuservalue(L, -2, REPLY_VALUE);
    return lua_error(L);
}

/* api.redirect(url [, status]) */
static int on_redirect(lua_State *L)
{
    str url;
    url.p = luaL_checklstring(L, 1, &url.n);
    int status = opt_status(L, 2, 302);
    luaL_argcheck(L, status >= 300 && status < 400, 2, "a redirect has a status from 300 to 399");
    if (url.n == 0 || reply_has_control_char(url))
        return luaL_error(L, "the target of a redirect, the header Location, is empty or holds a "
                             "control character");
    lua_settop(L, 1);
    lua_pushcfunction(L, reply_on_header);
    reply_push_new(L, REPLY_EMPTY, status);
    lua_pushliteral(L, "Location");
    lua_pushvalue(L, 1);
    lua_call(L, 3, 1);
    return 1;
}

/* reply:status([n]): sets it and returns the reply, or returns it. */
static int on_reply_status(lua_State *L)
{
    if (lua_isnone(L, 2)) {
        lua_pushinteger(L, reply_check(L, 1)->status);
        return 1;
    }
    reply_check_own(L, 1)->status = reply_check_status(L, 2);
    lua_settop(L, 1);
    return 1;
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
    reply_push_new(L, from->kind, from->status);
    lua_getiuservalue(L, index, REPLY_VALUE);
    lua_setiuservalue(L, -2, REPLY_VALUE);
    if (lua_getiuservalue(L, index, REPLY_HEADERS) == LUA_TTABLE)
        copy_list(L);
    lua_setiuservalue(L, -2, REPLY_HEADERS);
    if (from->kind == REPLY_ERROR) {
        lua_getiuservalue(L, index, REPLY_FIELDS);
        lua_setiuservalue(L, -2, REPLY_FIELDS);
    }
}

/* reply(...): what a handler returned, as a reply object that nobody else has. */
static int on_reply(lua_State *L)
{
    int n = lua_gettop(L);
    if (n == 0 || lua_isnil(L, 1)) {
        reply_push_new(L, REPLY_EMPTY, reply_status_of(L, 1, n, 204));
        return 1;
    }
    if (reply_is(L, 1)) {
        push_copy(L, 1);
        reply *r = lua_touserdata(L, -1);
        r->status = reply_status_of(L, 1, n, r->status);
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
        return reply_refuse_type(L, 1);
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
        {"status", on_reply_status}, {"header", reply_on_header}, {"cookie", reply_on_cookie}, {NULL, NULL}};
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
