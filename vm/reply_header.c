/* What is put on a reply after it was made: headers, cookies. */
#include <errno.h>
#include <lauxlib.h>

#include "vm/cookie.h"
#include "vm/reply_internal.h"
#include "vm/seal.h"

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

bool reply_has_control_char(str s)
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
    if (lua_getiuservalue(L, index, REPLY_HEADERS) == LUA_TTABLE)
        return;
    lua_pop(L, 1);
    lua_newtable(L);
    lua_pushvalue(L, -1);
    lua_setiuservalue(L, index, REPLY_HEADERS);
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
int reply_on_header(lua_State *L)
{
    reply_check_own(L, 1);
    str name = check_name(L, 2);
    str value;
    value.p = luaL_checklstring(L, 3, &value.n);
    if (reply_has_control_char(value))
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
int reply_on_cookie(lua_State *L)
{
    str name, value;
    cookie_options o = {0};
    const char *why = NULL;
    reply_check_own(L, 1);
    name.p = luaL_checklstring(L, 2, &name.n);
    value.p = luaL_checklstring(L, 3, &value.n);
    lua_settop(L, 4);
    if (!lua_isnil(L, 4)) {
        luaL_checktype(L, 4, LUA_TTABLE);
        seal_open(L, 4);
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
    lua_pushcfunction(L, reply_on_header);
    lua_pushvalue(L, 1);
    lua_pushliteral(L, "Set-Cookie");
    lua_pushlstring(L, b->p, b->n);
    lua_call(L, 3, 1);
    return 1;
}
