#include "vm/ratelimit.h"

#include <lauxlib.h>
#include <time.h>

#include "queue/address.h"
#include "queue/bucket.h"
#include "queue/siphash.h"
#include "vm/internal.h"
#include "vm/load.h"
#include "vm/reply.h"

#define NS_PER_S UINT64_C(1000000000)

/* Whoever has one has the 2^64 addresses of it (RFC 4291, 2.5.1). */
enum { V6_CLIENT_BITS = 64 };

typedef struct limiter {
    uint64_t by_key, by_address; /* its two sets of buckets: no text of a client's is another's address */
    bucket_rule rule;
} limiter;

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

/* Push nil when the request may pass, else the whole seconds after which one may. */
static int take(lua_State *L, uint64_t set, str key, const bucket_rule *rule)
{
    buckets *all = vm_of(L)->config.buckets;
    uint64_t wait_ns = all ? buckets_take(all, set, key, rule, now_ns()) : 0;
    if (wait_ns)
        lua_pushinteger(L, (lua_Integer)((wait_ns + NS_PER_S - 1) / NS_PER_S));
    else
        lua_pushnil(L);
    return 1;
}

/* With the debug library an app finds these functions, too. */
static const limiter *check_limiter(lua_State *L)
{
    bool is = lua_type(L, 1) == LUA_TUSERDATA && lua_rawlen(L, 1) == sizeof(limiter);
    luaL_argexpected(L, is, 1, "limiter");
    return lua_touserdata(L, 1);
}

/* take_key(limiter, text) */
static int on_take_key(lua_State *L)
{
    const limiter *one = check_limiter(L);
    str key;
    key.p = luaL_checklstring(L, 2, &key.n);
    return take(L, one->by_key, key, &one->rule);
}

/* take_address(limiter, ip): those without an address, on Unix sockets, share a bucket. */
static int on_take_address(lua_State *L)
{
    const limiter *one = check_limiter(L);
    str text = {0}, key = STR("");
    ip_address a;
    text.p = lua_tolstring(L, 2, &text.n);
    if (address_parse(text, &a)) {
        if (!address_is_v4(&a))
            address_mask(&a, V6_CLIENT_BITS);
        key = (str){(const char *)a.bytes, sizeof(a.bytes)};
    }
    return take(L, one->by_address, key, &one->rule);
}

/* limiter(id, rate, burst): the same id is the same one in every VM, and after a reload. Nil while a request
 * is answered. */
static int on_limiter(lua_State *L)
{
    static const siphash_key no_key;
    str id;
    id.p = luaL_checklstring(L, 1, &id.n);
    double rate = luaL_checknumber(L, 2);
    lua_Integer burst = luaL_checkinteger(L, 3);
    if (vm_of(L)->running)
        return 0;
    limiter *one = lua_newuserdatauv(L, sizeof(*one), 0);
    one->by_key = siphash(&no_key, id.p, id.n);
    one->by_address = ~one->by_key;
    one->rule = (bucket_rule){.interval_ns = (uint64_t)(1e9 / rate + 0.5), .burst = (uint64_t)burst};
    return 1;
}

static int on_open(lua_State *L)
{
    static const luaL_Reg native[] = {
        {"limiter", on_limiter}, {"take_key", on_take_key}, {"take_address", on_take_address}, {NULL, NULL}};
    load_chunk(L, "limit", 1);
    luaL_newlib(L, native);
    reply_push_helpers(L);
    lua_getfield(L, LUA_REGISTRYINDEX, LOAD_WHERE);
    lua_call(L, 3, 1);
    return 1;
}

void ratelimit_install(lua_State *L)
{
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
    lua_pushcfunction(L, on_open);
    lua_setfield(L, -2, "poolsrv.limit");
    lua_pop(L, 1);
}
