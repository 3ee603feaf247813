/* A dictionary's methods. They are called as they are, without a function of Lua's round them: so the
 * arguments are checked here. */
#include <errno.h>
#include <lauxlib.h>
#include <math.h>

#include "vm/load.h"
#include "vm/shared_parts.h"

enum { KEYS_PRESET = 1000 };

typedef struct object {
    const shared *owner; /* the VM's; nobody else's object begins with that address */
    dict *dict;
    dict_port *port; /* NULL: the VM is being closed */
} object;

/* Without a look at the metatable, which would have to be pushed. */
static inline object *to_object(lua_State *L, const shared *s)
{
    object *o = lua_rawlen(L, 1) == sizeof(object) ? lua_touserdata(L, 1) : NULL;
    return o && o->owner == s ? o : NULL;
}

static object *check_dict(lua_State *L, const char *what)
{
    object *o = to_object(L, shared_of(L));
    if (!o)
        load_raise(L, "%s: expected a dictionary before the colon, not %s", what, luaL_typename(L, 1));
    if (!o->port)
        load_raise(L, "%s: the dictionary is closed", what);
    return o;
}

static int on_gc(lua_State *L)
{
    object *o = to_object(L, shared_of(L));
    if (!o)
        return 0;
    dict_port_free(o->port);
    o->port = NULL;
    return 0;
}

void shared_push_dict(lua_State *L, dict *d)
{
    object *o = lua_newuserdatauv(L, sizeof(*o), 0);
    *o = (object){.owner = shared_of(L), .dict = d};
    lua_rawgeti(L, LUA_REGISTRYINDEX, shared_of(L)->dict_mt_ref);
    lua_setmetatable(L, -2);
    o->port = dict_port_new(d);
    if (!o->port)
        luaL_error(L, "shared.dict: not enough memory");
}

/* --- reading --- */

/* Push the value, or nil. Returns: its version, or 0. */
static uint64_t get(lua_State *L, const char *what)
{
    shared *s = shared_of(L);
    object *o = check_dict(L, what);
    str key = shared_check_key(L, 2, what);
    dict_value value;
    uint64_t version;
    int err = dict_get(o->port, key, &s->scratch, &value, &version);
    if (err == -ENOENT)
        lua_pushnil(L);
    else if (err)
        shared_fail(L, err, what, 0);
    else
        shared_push_value(L, &value);
    shared_trim(s);
    return version;
}

/* get(key) -> value or nil. One value, so that a handler can return it: a second one would be a status. */
static int on_get(lua_State *L)
{
    get(L, "dict:get");
    return 1;
}

/* get_versioned(key) -> value, version; nil, 0 */
static int on_get_versioned(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)get(L, "dict:get_versioned"));
    return 2;
}

/* ttl(key) -> seconds, math.huge, or nil */
static int on_ttl(lua_State *L)
{
    object *o = check_dict(L, "dict:ttl");
    uint64_t left_ns = dict_ttl_ns(o->port, shared_check_key(L, 2, "dict:ttl"));
    if (left_ns == 0)
        lua_pushnil(L);
    else
        lua_pushnumber(L, left_ns == UINT64_MAX ? HUGE_VAL : (double)left_ns / 1e9);
    return 1;
}

static void push_keys(lua_State *L, const char *at, size_t n)
{
    lua_createtable(L, (int)n, 0);
    for (size_t i = 1; i <= n; i++) {
        size_t bytes;
        memcpy(&bytes, at, sizeof(bytes));
        lua_pushlstring(L, at + sizeof(bytes), bytes);
        lua_rawseti(L, -2, (lua_Integer)i);
        at += sizeof(bytes) + bytes;
    }
}

size_t shared_check_most(lua_State *L, int index)
{
    lua_Integer most = KEYS_PRESET;
    if (!lua_isnoneornil(L, index) &&
        (!lua_isinteger(L, index) || (most = lua_tointeger(L, index)) < 1 || most > INT_MAX))
        luaL_error(L, "dict:keys: max: expected a whole number from 1 on, not %s",
                   luaL_tolstring(L, index, NULL));
    return (size_t)most;
}

/* keys([max]) -> a list */
static int on_keys(lua_State *L)
{
    shared *s = shared_of(L);
    object *o = check_dict(L, "dict:keys");
    size_t n, most = shared_check_most(L, 2);
    s->scratch.n = 0;
    int err = dict_keys(o->port, most, &s->scratch, &n);
    if (err)
        return shared_fail(L, err, "dict:keys", 0);
    push_keys(L, s->scratch.p, n);
    shared_trim(s);
    return 1;
}

static void set_count(lua_State *L, const char *name, uint64_t n)
{
    lua_pushinteger(L, (lua_Integer)n);
    lua_setfield(L, -2, name);
}

/* stats() -> a table */
static int on_stats(lua_State *L)
{
    object *o = check_dict(L, "dict:stats");
    dict_stats n = dict_stats_of(o->dict);
    lua_createtable(L, 0, 7);
    set_count(L, "bytes", n.bytes);
    set_count(L, "max_bytes", dict_max_bytes(o->dict));
    set_count(L, "entries", n.entries);
    set_count(L, "hits", n.hits);
    set_count(L, "misses", n.misses);
    set_count(L, "evictions", n.evictions);
    set_count(L, "expirations", n.expirations);
    return 1;
}

/* --- changing --- */

static int refuse_option(lua_State *L, const char *what)
{
    return luaL_error(L, "%s: %s: no such option", what, luaL_tolstring(L, -2, NULL));
}

/* Options, or the ttl alone. With `init`, that may be among them. */
uint64_t shared_check_options(lua_State *L, int index, const char *what, bool init)
{
    if (lua_type(L, index) != LUA_TTABLE)
        return shared_check_ttl(L, index, what);
    for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) {
        const char *name = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "";
        if (strcmp(name, "ttl") != 0 && !(init && strcmp(name, "init") == 0))
            refuse_option(L, what);
    }
    lua_getfield(L, index, "ttl");
    return shared_check_ttl(L, lua_gettop(L), what);
}

/* Store the value at 3 under the key at 2, with the options at 4. Returns: as dict_put, for those errors that
 * are answers; the others are raised. */
static int put(lua_State *L, const char *what, int value_index, dict_change *how)
{
    object *o = check_dict(L, what);
    str key = shared_check_key(L, 2, what);
    dict_value value;
    how->ttl_ns = shared_check_options(L, value_index + 1, what, false);
    shared_check_value(L, value_index, what, &value);
    int err = dict_put(o->port, key, &value, how, NULL);
    if (err && err != -EEXIST && err != -ENOENT && err != -ESTALE)
        return shared_fail(L, err, what, dict_max_bytes(o->dict));
    shared_trim(shared_of(L));
    return err;
}

static int push_done(lua_State *L, int err)
{
    lua_pushboolean(L, err == 0);
    return 1;
}

void shared_refuse_nil(lua_State *L, const char *what)
{
    if (lua_isnoneornil(L, 3))
        luaL_error(L, "%s: value: expected one, not nil; json.null is kept as a value", what);
}

/* delete(key) -> whether it was there */
static int on_delete(lua_State *L)
{
    object *o = check_dict(L, "dict:delete");
    str key = shared_check_key(L, 2, "dict:delete");
    lua_pushboolean(L, dict_delete(o->port, key, &(dict_change){DICT_IF_PRESENT, 0, 0, false}) == 0);
    return 1;
}

/* set(key, value [, options]). Nil removes. */
static int on_set(lua_State *L)
{
    dict_change how = {.when = DICT_ALWAYS};
    lua_settop(L, 4);
    if (lua_isnil(L, 3)) {
        object *o = check_dict(L, "dict:set");
        dict_delete(o->port, shared_check_key(L, 2, "dict:set"), &how);
        return 0;
    }
    put(L, "dict:set", 3, &how);
    return 0;
}

/* add(key, value [, options]) -> whether it was done */
static int on_add(lua_State *L)
{
    dict_change how = {.when = DICT_IF_ABSENT};
    lua_settop(L, 4);
    shared_refuse_nil(L, "dict:add");
    return push_done(L, put(L, "dict:add", 3, &how));
}

/* replace(key, value [, options]) -> whether it was done */
static int on_replace(lua_State *L)
{
    dict_change how = {.when = DICT_IF_PRESENT};
    lua_settop(L, 4);
    shared_refuse_nil(L, "dict:replace");
    return push_done(L, put(L, "dict:replace", 3, &how));
}

/* Remove it if it has that version; to leave what is absent absent is right, too. */
static int cas_nil(lua_State *L, const char *what, const dict_change *how)
{
    object *o = check_dict(L, what);
    str key = shared_check_key(L, 2, what);
    int err = dict_delete(o->port, key, how);
    return push_done(L, err == -ENOENT ? 0 : err);
}

static int cas(lua_State *L, const char *what)
{
    dict_change how = {.when = DICT_IF_VERSION, .keeps_end = true};
    lua_settop(L, 5);
    if (!lua_isinteger(L, 3) || lua_tointeger(L, 3) < 0)
        return luaL_error(L, "%s: version: expected the one that get_versioned returned, not %s", what,
                          luaL_tolstring(L, 3, NULL));
    how.version = (uint64_t)lua_tointeger(L, 3);
    if (lua_isnil(L, 4))
        return cas_nil(L, what, &how);
    return push_done(L, put(L, what, 4, &how));
}

/* cas(key, version, value [, options]) -> whether it was done */
static int on_cas(lua_State *L)
{
    return cas(L, "dict:cas");
}

/* The two steps of update, which is in Lua. */
int shared_on_update_get(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)get(L, "dict:update"));
    return 2;
}

int shared_on_update_cas(lua_State *L)
{
    return cas(L, "dict:update");
}

/* touch(key [, ttl]) -> whether it was there */
static int on_touch(lua_State *L)
{
    object *o = check_dict(L, "dict:touch");
    str key = shared_check_key(L, 2, "dict:touch");
    dict_change how = {.when = DICT_IF_PRESENT};
    lua_settop(L, 3);
    how.ttl_ns = shared_check_options(L, 3, "dict:touch", false);
    lua_pushboolean(L, dict_touch(o->port, key, &how) == 0);
    return 1;
}

void shared_check_number(lua_State *L, int index, const char *name, dict_value *ret)
{
    if (lua_type(L, index) != LUA_TNUMBER)
        luaL_error(L, "dict:incr: %s: expected a number, not %s", name, luaL_typename(L, index));
    shared_check_value(L, index, "dict:incr", ret);
}

/* incr(key [, by [, options]]) -> the sum */
static int on_incr(lua_State *L)
{
    object *o = check_dict(L, "dict:incr");
    str key = shared_check_key(L, 2, "dict:incr");
    dict_value value = {.type = DICT_INTEGER, .integer = 1}, init = {.type = DICT_INTEGER};
    lua_settop(L, 4);
    if (!lua_isnil(L, 3))
        shared_check_number(L, 3, "by", &value);
    uint64_t ttl_ns = shared_check_options(L, 4, "dict:incr", true);
    if (lua_istable(L, 4) && lua_getfield(L, 4, "init") != LUA_TNIL)
        shared_check_number(L, lua_gettop(L), "init", &init);
    int err = dict_add(o->port, key, &value, &init, ttl_ns, NULL);
    if (err)
        return shared_fail(L, err, "dict:incr", dict_max_bytes(o->dict));
    shared_push_value(L, &value);
    return 1;
}

/* flush() */
static int on_flush(lua_State *L)
{
    object *o = check_dict(L, "dict:flush");
    int err = dict_flush(o->port);
    return err ? shared_fail(L, err, "dict:flush", 0) : 0;
}

void shared_push_methods(lua_State *L)
{
    static const luaL_Reg methods[] = {{"get", on_get},       {"get_versioned", on_get_versioned},
                                       {"ttl", on_ttl},       {"keys", on_keys},
                                       {"stats", on_stats},   {"set", on_set},
                                       {"add", on_add},       {"cas", on_cas},
                                       {"incr", on_incr},     {"replace", on_replace},
                                       {"touch", on_touch},   {"flush", on_flush},
                                       {"delete", on_delete}, {NULL, NULL}};
    shared *s = shared_of(L);
    luaL_newlib(L, methods);
    lua_createtable(L, 0, 4);
    lua_pushvalue(L, -2);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, on_gc);
    lua_setfield(L, -2, "__gc");
    lua_pushliteral(L, "poolsrv.dict");
    lua_setfield(L, -2, "__name");
    s->dict_mt_ref = luaL_ref(L, LUA_REGISTRYINDEX);
}
