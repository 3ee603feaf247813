/* Dictionaries and locks in a store (queue/remote): the methods of a local one, with the same arguments and
 * results. A handler waits for the reply; while the app loads and in its hooks the thread does. */
#include <errno.h>
#include <lauxlib.h>
#include <math.h>
#include <stdlib.h>

#include "vm/load.h"
#include "vm/shared_parts.h"
#include "vm/wait.h"

enum { TEXT_BYTES = 512 };

typedef struct object {
    remote *store; /* NULL: there is no server, so nothing is connected */
    char name[REMOTE_NAME_BYTES];
} object;

typedef struct asked asked;
typedef int push_results(lua_State *L, asked *q);

/* An operation that was asked for. */
struct asked {
    wait wait; /* first */
    remote_op op;
    push_results *push;
    const char *what; /* "dict:get" */
    bool versioned;
    char name[REMOTE_NAME_BYTES]; /* of the dictionary; "": a lock */
};

static void free_asked(await *a)
{
    asked *q = (asked *)a;
    buf_fini(&q->op.bytes);
    free(q);
}

/* --- errors: { message, code }, as poolsrv.queue's --- */

static const char *code_of(int err)
{
    switch (err) {
    case -ENOSPC:
        return "no_space";
    case -EIO:
        return "io";
    case -ETIMEDOUT:
    case -ENOTCONN:
    case -EAGAIN:
        return "unavailable";
    case -EACCES:
        return "denied";
    case -ESHUTDOWN:
        return "stopping";
    default:
        return "failed";
    }
}

static int on_tostring(lua_State *L)
{
    lua_settop(L, 1);
    lua_getfield(L, 1, "message");
    return 1;
}

static int raise(lua_State *L, const char *code)
{
    lua_createtable(L, 0, 2);
    lua_insert(L, -2);
    lua_setfield(L, -2, "message");
    lua_pushstring(L, code);
    lua_setfield(L, -2, "code");
    if (luaL_newmetatable(L, "poolsrv.shared error")) {
        lua_pushcfunction(L, on_tostring);
        lua_setfield(L, -2, "__tostring");
    }
    lua_setmetatable(L, -2);
    return lua_error(L);
}

static int fail(lua_State *L, const asked *q)
{
    const remote_op *op = &q->op;
    if (op->err == -EDOM || op->err == -ERANGE)
        return shared_fail(L, op->err, q->what, 0);
    const char *why = *op->error ? op->error : strerror(-op->err);
    if (op->lock)
        lua_pushfstring(L, "%s: %s", q->what, why);
    else
        lua_pushfstring(L, "%s: the dictionary \"%s\": %s", q->what, q->name, why);
    return raise(L, code_of(op->err));
}

/* --- asking --- */

/* Where a handler runs it waits; else the thread does. Push the box for it. */
static bool push_way(lua_State *L, const char *what)
{
    bool can_wait = wait_is_possible(L);
    if (!can_wait && vm_of(L)->running)
        wait_refuse(L, what);
    wait_push_box(L);
    return can_wait;
}

static asked *new_asked(lua_State *L, remote_verb verb, const char *what, push_results *push)
{
    asked *q = calloc(1, sizeof(*q));
    if (!q)
        load_raise(L, "%s: not enough memory", what);
    q->op.verb = verb;
    q->op.init.type = DICT_INTEGER;
    q->op.dict = q->name;
    q->push = push;
    q->what = what;
    wait_init(&q->wait, vm_of(L), free_asked);
    return q;
}

static void on_done(remote_op *op)
{
    wait_over(op->user);
}

static int push_outcome(lua_State *L, asked *q)
{
    int n = q->push(L, q);
    return n < 0 ? fail(L, q) : n;
}

static int on_over(lua_State *L, int status, lua_KContext box)
{
    asked *q = (asked *)wait_in(L, (int)box);
    (void)status;
    if (!wait_is_over(&q->wait))
        return luaL_error(L, "the time is over");
    return push_outcome(L, q);
}

/* Ask for it, wait if need be, and push the outcome. Owns: q. An empty box is at the top. */
static int ask(lua_State *L, remote *s, asked *q, bool can_wait)
{
    wait_fill(L, -1, &q->wait);
    if (!s) {
        await_unref(&q->wait.await); /* the worker's */
        q->op.err = -ENOTCONN;
        snprintf(q->op.error, sizeof(q->op.error), "no store is connected without a server");
        return push_outcome(L, q);
    }
    if (!can_wait) {
        await_unref(&q->wait.await);
        remote_call(s, &q->op);
        shared_trim(shared_of(L));
        return push_outcome(L, q);
    }
    q->op.done = on_done;
    q->op.user = &q->wait;
    remote_submit(s, &q->op);
    shared_trim(shared_of(L));
    return wait_begins(&q->wait) ? wait_yield(L, &q->wait, 0, on_over) : push_outcome(L, q);
}

/* --- dictionaries --- */

static bool is_dict(lua_State *L, int index)
{
    if (lua_type(L, index) != LUA_TUSERDATA || !lua_getmetatable(L, index))
        return false;
    bool is = lua_topointer(L, -1) == shared_of(L)->remote_mt;
    lua_pop(L, 1);
    return is;
}

static const object *check_dict(lua_State *L, const char *what)
{
    if (!is_dict(L, 1))
        luaL_error(L, "%s: expected a dictionary before the colon, not %s", what, luaL_typename(L, 1));
    return lua_touserdata(L, 1);
}

/* What a method has been given: it is checked first, as that may raise. */
typedef struct arguments {
    str key;
    dict_value value, init;
    dict_change how;
    size_t most;
    bool versioned;
} arguments;

static int ask_dict(lua_State *L, remote_verb verb, const char *what, const arguments *given,
                    push_results *push)
{
    const object *o = lua_touserdata(L, 1);
    bool can_wait = push_way(L, what);
    asked *q = new_asked(L, verb, what, push);
    if (!q)
        return 0; /* the compiler does not know that an error does not return */
    memcpy(q->name, o->name, sizeof(q->name));
    q->op.key = given->key;
    q->op.value = given->value;
    q->op.init = given->init;
    q->op.how = given->how;
    q->op.most = given->most;
    q->versioned = given->versioned;
    return ask(L, o->store, q, can_wait);
}

static arguments check_key(lua_State *L, const char *what)
{
    check_dict(L, what);
    return (arguments){.key = shared_check_key(L, 2, what), .init = {.type = DICT_INTEGER}};
}

static int push_got(lua_State *L, asked *q)
{
    if (q->op.err && q->op.err != -ENOENT)
        return -1;
    if (q->op.err)
        lua_pushnil(L);
    else
        shared_push_value(L, &q->op.value);
    if (q->versioned)
        lua_pushinteger(L, (lua_Integer)q->op.version);
    return q->versioned ? 2 : 1;
}

static int on_get(lua_State *L)
{
    arguments a = check_key(L, "dict:get");
    return ask_dict(L, REMOTE_GET, "dict:get", &a, push_got);
}

static int get_versioned(lua_State *L, const char *what)
{
    arguments a = check_key(L, what);
    a.versioned = true;
    return ask_dict(L, REMOTE_GET, what, &a, push_got);
}

static int on_get_versioned(lua_State *L)
{
    return get_versioned(L, "dict:get_versioned");
}

int shared_on_remote_update_get(lua_State *L)
{
    return get_versioned(L, "dict:update");
}

static int push_ttl(lua_State *L, asked *q)
{
    if (q->op.err)
        return -1;
    if (q->op.ttl_ns == 0)
        lua_pushnil(L);
    else
        lua_pushnumber(L, q->op.ttl_ns == UINT64_MAX ? HUGE_VAL : (double)q->op.ttl_ns / 1e9);
    return 1;
}

static int on_ttl(lua_State *L)
{
    arguments a = check_key(L, "dict:ttl");
    return ask_dict(L, REMOTE_TTL, "dict:ttl", &a, push_ttl);
}

/* What comes twice while Redis reorders its keys is in the list once. */
static int push_keys(lua_State *L, asked *q)
{
    const char *at = q->op.bytes.p;
    lua_Integer n = 0;
    if (q->op.err)
        return -1;
    lua_newtable(L);
    lua_newtable(L);
    for (size_t i = 0; i < q->op.count; i++) {
        size_t bytes;
        memcpy(&bytes, at, sizeof(bytes));
        lua_pushlstring(L, at + sizeof(bytes), bytes);
        at += sizeof(bytes) + bytes;
        lua_pushvalue(L, -1);
        bool is_new = lua_rawget(L, -3) == LUA_TNIL;
        lua_pop(L, 1);
        if (is_new) {
            lua_pushvalue(L, -1);
            lua_rawseti(L, -4, ++n);
            lua_pushboolean(L, true);
            lua_rawset(L, -3);
        } else {
            lua_pop(L, 1);
        }
    }
    lua_pop(L, 1);
    return 1;
}

static int on_keys(lua_State *L)
{
    check_dict(L, "dict:keys");
    arguments a = {.most = shared_check_most(L, 2)};
    return ask_dict(L, REMOTE_KEYS, "dict:keys", &a, push_keys);
}

static int push_stats(lua_State *L, asked *q)
{
    if (q->op.err)
        return -1;
    lua_createtable(L, 0, 1);
    lua_pushinteger(L, (lua_Integer)q->op.count);
    lua_setfield(L, -2, "entries");
    return 1;
}

static int on_stats(lua_State *L)
{
    check_dict(L, "dict:stats");
    return ask_dict(L, REMOTE_COUNT, "dict:stats", &(arguments){0}, push_stats);
}

/* --- changing --- */

static bool is_answer(int err)
{
    return err == 0 || err == -EEXIST || err == -ENOENT || err == -ESTALE;
}

static int push_done(lua_State *L, asked *q)
{
    if (!is_answer(q->op.err))
        return -1;
    lua_pushboolean(L, q->op.err == 0);
    return 1;
}

static int push_nothing(lua_State *L, asked *q)
{
    (void)L;
    return is_answer(q->op.err) ? 0 : -1;
}

static int put(lua_State *L, const char *what, int value_index, arguments *a, push_results *push)
{
    a->how.ttl_ns = shared_check_options(L, value_index + 1, what, false);
    shared_check_value(L, value_index, what, &a->value);
    return ask_dict(L, REMOTE_PUT, what, a, push);
}

static int on_delete(lua_State *L)
{
    arguments a = check_key(L, "dict:delete");
    a.how.when = DICT_IF_PRESENT;
    return ask_dict(L, REMOTE_DELETE, "dict:delete", &a, push_done);
}

static int on_set(lua_State *L)
{
    lua_settop(L, 4);
    arguments a = check_key(L, "dict:set");
    if (lua_isnil(L, 3))
        return ask_dict(L, REMOTE_DELETE, "dict:set", &a, push_nothing);
    return put(L, "dict:set", 3, &a, push_nothing);
}

static int on_add(lua_State *L)
{
    lua_settop(L, 4);
    shared_refuse_nil(L, "dict:add");
    arguments a = check_key(L, "dict:add");
    a.how.when = DICT_IF_ABSENT;
    return put(L, "dict:add", 3, &a, push_done);
}

static int on_replace(lua_State *L)
{
    lua_settop(L, 4);
    shared_refuse_nil(L, "dict:replace");
    arguments a = check_key(L, "dict:replace");
    a.how.when = DICT_IF_PRESENT;
    return put(L, "dict:replace", 3, &a, push_done);
}

/* To leave what is absent absent is right, too. */
static int push_cas_nil(lua_State *L, asked *q)
{
    if (!is_answer(q->op.err))
        return -1;
    lua_pushboolean(L, q->op.err == 0 || q->op.err == -ENOENT);
    return 1;
}

static int cas(lua_State *L, const char *what)
{
    lua_settop(L, 5);
    if (!lua_isinteger(L, 3) || lua_tointeger(L, 3) < 0)
        return luaL_error(L, "%s: version: expected the one that get_versioned returned, not %s", what,
                          luaL_tolstring(L, 3, NULL));
    arguments a = check_key(L, what);
    a.how =
        (dict_change){.when = DICT_IF_VERSION, .version = (uint64_t)lua_tointeger(L, 3), .keeps_end = true};
    if (lua_isnil(L, 4))
        return ask_dict(L, REMOTE_DELETE, what, &a, push_cas_nil);
    return put(L, what, 4, &a, push_done);
}

static int on_cas(lua_State *L)
{
    return cas(L, "dict:cas");
}

int shared_on_remote_update_cas(lua_State *L)
{
    return cas(L, "dict:update");
}

static int on_touch(lua_State *L)
{
    lua_settop(L, 3);
    arguments a = check_key(L, "dict:touch");
    a.how.when = DICT_IF_PRESENT;
    a.how.ttl_ns = shared_check_options(L, 3, "dict:touch", false);
    return ask_dict(L, REMOTE_TOUCH, "dict:touch", &a, push_done);
}

static int push_sum(lua_State *L, asked *q)
{
    if (q->op.err)
        return -1;
    shared_push_value(L, &q->op.value);
    return 1;
}

static int on_incr(lua_State *L)
{
    lua_settop(L, 4);
    arguments a = check_key(L, "dict:incr");
    a.value = (dict_value){.type = DICT_INTEGER, .integer = 1};
    if (!lua_isnil(L, 3))
        shared_check_number(L, 3, "by", &a.value);
    a.how.ttl_ns = shared_check_options(L, 4, "dict:incr", true);
    if (lua_istable(L, 4) && lua_getfield(L, 4, "init") != LUA_TNIL)
        shared_check_number(L, lua_gettop(L), "init", &a.init);
    return ask_dict(L, REMOTE_ADD, "dict:incr", &a, push_sum);
}

static int on_flush(lua_State *L)
{
    check_dict(L, "dict:flush");
    return ask_dict(L, REMOTE_FLUSH, "dict:flush", &(arguments){0}, push_nothing);
}

void shared_push_remote_methods(lua_State *L)
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
    lua_createtable(L, 0, 2);
    lua_pushvalue(L, -2);
    lua_setfield(L, -2, "__index");
    lua_pushliteral(L, "poolsrv.dict");
    lua_setfield(L, -2, "__name");
    s->remote_mt = lua_topointer(L, -1);
    s->remote_mt_ref = luaL_ref(L, LUA_REGISTRYINDEX);
}

int shared_on_remote_dict(lua_State *L)
{
    char error[TEXT_BYTES];
    const char *name = luaL_checkstring(L, 1), *url = luaL_checkstring(L, 2);
    shared *s = shared_of(L);
    remote *in = NULL;
    if (vm_of(L)->running)
        return 0;
    int err = s->stores ? remotes_open(s->stores, name, url, &in, error, sizeof(error))
                        : remote_check(url, error, sizeof(error));
    if (err) {
        lua_pushboolean(L, false);
        lua_pushstring(L, error);
        return 2;
    }
    object *o = lua_newuserdatauv(L, sizeof(*o), 0);
    o->store = in;
    snprintf(o->name, sizeof(o->name), "%s", name);
    lua_rawgeti(L, LUA_REGISTRYINDEX, s->remote_mt_ref);
    lua_setmetatable(L, -2);
    return 1;
}

int shared_on_remote_problem(lua_State *L)
{
    char error[TEXT_BYTES];
    if (remote_check(luaL_checkstring(L, 1), error, sizeof(error)) == 0)
        return 0;
    lua_pushstring(L, error);
    return 1;
}

/* --- locks --- */

static remote *check_store(lua_State *L, const char *what)
{
    char error[TEXT_BYTES];
    const char *url = luaL_checkstring(L, 1);
    shared *s = shared_of(L);
    remote *in = NULL;
    int err = s->stores ? remotes_get(s->stores, url, &in, error, sizeof(error))
                        : remote_check(url, error, sizeof(error));
    if (err)
        luaL_error(L, "%s: store: %s", what, error);
    return in;
}

/* With its name at 2. */
static asked *new_lock(lua_State *L, remote_verb verb, const char *what, const dict_change *how,
                       push_results *push)
{
    asked *q = new_asked(L, verb, what, push);
    q->op.lock = true;
    q->op.key.p = lua_tolstring(L, 2, &q->op.key.n);
    q->op.value.type = DICT_TRUE;
    q->op.how = *how;
    return q;
}

static int push_token(lua_State *L, asked *q)
{
    if (q->op.err == -EEXIST)
        return 0;
    if (q->op.err)
        return -1;
    lua_pushinteger(L, (lua_Integer)q->op.version);
    return 1;
}

int shared_on_remote_lock(lua_State *L)
{
    remote *s = check_store(L, "shared.lock");
    shared_check_key(L, 2, "shared.lock");
    dict_change how = {.when = DICT_IF_ABSENT, .ttl_ns = shared_check_ttl(L, 3, "shared.lock")};
    bool can_wait = push_way(L, "shared.lock");
    return ask(L, s, new_lock(L, REMOTE_PUT, "shared.lock", &how, push_token), can_wait);
}

/* A handler that fails is over, and waits no more: the lock is given back behind its back. */
static int unlock_unseen(lua_State *L, remote *s, const dict_change *how)
{
    asked *q = new_lock(L, REMOTE_DELETE, "lock:unlock", how, push_done);
    q->op.done = on_done;
    q->op.user = &q->wait;
    if (s)
        remote_submit(s, &q->op);
    else
        await_unref(&q->wait.await);
    await_unref(&q->wait.await);
    lua_pushboolean(L, true);
    return 1;
}

int shared_on_remote_unlock(lua_State *L)
{
    remote *s = check_store(L, "lock:unlock");
    shared_check_key(L, 2, "lock:unlock");
    dict_change how = {.when = DICT_IF_VERSION, .version = (uint64_t)luaL_checkinteger(L, 3)};
    if (!wait_is_possible(L) && vm_of(L)->running)
        return unlock_unseen(L, s, &how);
    bool can_wait = push_way(L, "lock:unlock");
    return ask(L, s, new_lock(L, REMOTE_DELETE, "lock:unlock", &how, push_done), can_wait);
}

int shared_on_remote_extend(lua_State *L)
{
    remote *s = check_store(L, "lock:extend");
    shared_check_key(L, 2, "lock:extend");
    dict_change how = {.when = DICT_IF_VERSION,
                       .version = (uint64_t)luaL_checkinteger(L, 3),
                       .ttl_ns = shared_check_ttl(L, 4, "lock:extend")};
    bool can_wait = push_way(L, "lock:extend");
    return ask(L, s, new_lock(L, REMOTE_TOUCH, "lock:extend", &how, push_done), can_wait);
}
