#include "vm/undeclared.h"

#include <lauxlib.h>

enum { LEVEL_WARN = 1 };

/* "app.lua:12: ", of the innermost function in Lua: rawset and table.insert are called by one. */
static void push_place(lua_State *L)
{
    lua_Debug ar;
    for (int level = 0; lua_getstack(L, level, &ar); level++) {
        lua_getinfo(L, "Sl", &ar);
        if (ar.currentline > 0) {
            lua_pushfstring(L, "%s:%d: ", ar.short_src, ar.currentline);
            return;
        }
    }
    lua_pushliteral(L, "");
}

static void tell(lua_State *L, vm *v)
{
    size_t n;
    const char *text = lua_tolstring(L, -1, &n);
    enum once_answer answer = v->config.told ? once_tell(v->config.told, text, n) : ONCE_NEW;
    if (answer != ONCE_KNOWN)
        vm_log(v, LEVEL_WARN, text, n);
    static const char last[] = "globals set by handlers: these were so many that no more are told";
    if (answer == ONCE_LAST)
        vm_log(v, LEVEL_WARN, last, sizeof(last) - 1);
}

void undeclared_judge(lua_State *L, int name, const char *fate)
{
    vm *v = vm_of(L);
    if (v->config.globals == VM_GLOBALS_ALLOW)
        return;
    name = lua_absindex(L, name);
    const char *text = luaL_tolstring(L, name, NULL);
    push_place(L);
    if (v->config.globals == VM_GLOBALS_ERROR) {
        lua_pushfstring(L, "%sthe handler sets the global '%s': make it local, or set it while the app loads",
                        lua_tostring(L, -1), text);
        lua_error(L);
    }
    lua_pushfstring(L, "%sthe handler sets the global '%s', which %s; make it local", lua_tostring(L, -1),
                    text, fate);
    tell(L, v);
    lua_pop(L, 3);
}

/* __newindex of the globals: table, name, value. */
static int on_new_global(lua_State *L)
{
    lua_settop(L, 3);
    if (vm_of(L)->running)
        undeclared_judge(L, 2, "stays for later requests in this VM");
    lua_rawset(L, 1);
    return 0;
}

void undeclared_install(lua_State *L)
{
    if (vm_of(L)->config.globals == VM_GLOBALS_ALLOW)
        return;
    lua_pushglobaltable(L);
    if (!lua_getmetatable(L, -1)) {
        lua_createtable(L, 0, 1);
        lua_pushvalue(L, -1);
        lua_setmetatable(L, -3);
    }
    lua_pushliteral(L, "__newindex");
    if (lua_rawget(L, -2) == LUA_TNIL) {
        lua_pushliteral(L, "__newindex");
        lua_pushcfunction(L, on_new_global);
        lua_rawset(L, -4);
    }
    lua_pop(L, 3);
}
