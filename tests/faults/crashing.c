/* crashing: a Lua module whose functions crash the process, each in a way of its own. */
#include <lauxlib.h>
#include <lua.h>
#include <stdint.h>
#include <stdlib.h>

static int read_address(lua_State *L)
{
    const volatile int *p = (const volatile int *)(uintptr_t)luaL_checkinteger(L, 1);
    lua_pushinteger(L, *p);
    return 1;
}

static int call_abort(lua_State *L)
{
    (void)L;
    abort();
}

static volatile int for_ever = 1;

static int overflow(lua_State *L)
{
    volatile char bytes[4096];
    bytes[0] = 1;
    return for_ever ? overflow(L) + bytes[0] : 0;
}

__attribute__((visibility("default"))) int luaopen_crashing(lua_State *L);

int luaopen_crashing(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"read", read_address}, {"abort", call_abort}, {"overflow", overflow}, {NULL, NULL}};
    luaL_newlib(L, functions);
    return 1;
}
