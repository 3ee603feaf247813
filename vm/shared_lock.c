/* Named locks: entries of a dictionary of their own, whose versions are the tokens. */
#include <errno.h>
#include <lauxlib.h>

#include "vm/shared_parts.h"

static dict_port *locks_of(lua_State *L)
{
    shared *s = shared_of(L);
    if (!s->locks)
        s->locks = dict_port_new(dicts_locks(s->dicts));
    if (!s->locks)
        luaL_error(L, "shared.lock: not enough memory");
    return s->locks;
}

int shared_on_lock(lua_State *L)
{
    dict_port *locks = locks_of(L);
    str name = shared_check_key(L, 1, "shared.lock");
    dict_change how = {.when = DICT_IF_ABSENT, .ttl_ns = shared_check_ttl(L, 2, "shared.lock")};
    uint64_t token = 0;
    int err = dict_put(locks, name, &(dict_value){.type = DICT_TRUE}, &how, &token);
    if (err == -EEXIST)
        return 0;
    if (err)
        return shared_fail(L, err, "shared.lock", 0);
    lua_pushinteger(L, (lua_Integer)token);
    return 1;
}

int shared_on_unlock(lua_State *L)
{
    dict_change how = {.when = DICT_IF_VERSION, .version = (uint64_t)luaL_checkinteger(L, 2)};
    lua_pushboolean(L, dict_delete(locks_of(L), shared_check_key(L, 1, "lock:unlock"), &how) == 0);
    return 1;
}

int shared_on_extend(lua_State *L)
{
    dict_change how = {.when = DICT_IF_VERSION,
                       .version = (uint64_t)luaL_checkinteger(L, 2),
                       .ttl_ns = shared_check_ttl(L, 3, "lock:extend")};
    lua_pushboolean(L, dict_touch(locks_of(L), shared_check_key(L, 1, "lock:extend"), &how) == 0);
    return 1;
}
