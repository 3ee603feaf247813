#include "vm/sandbox.h"

#include <lauxlib.h>

#include "vm/internal.h"
#include "vm/sandbox_names.h"

typedef struct listed {
    const char *library, *name;
    enum sandbox_who who;
    const char *why;
} listed;

static const listed names_listed[] = {
#define X(library, name, who, why) {library, name, who, why},
    SANDBOX_NAMES(X)
#undef X
};

enum { COUNT = sizeof(names_listed) / sizeof(names_listed[0]) };

static const listed *look_up(const char *library, const char *name)
{
    for (size_t i = 0; i < COUNT; i++)
        if (strcmp(names_listed[i].library, library) == 0 && strcmp(names_listed[i].name, name) == 0)
            return &names_listed[i];
    return NULL;
}

static bool is_granted(const vm *v, const listed *l)
{
    return l->who == SANDBOX_ALL || (l->who == SANDBOX_DEFAULT && !v->config.strict);
}

/* Upvalue: the text. */
static int on_refused(lua_State *L)
{
    return luaL_error(L, "%s", lua_tostring(L, lua_upvalueindex(1)));
}

/* Push what stands in the place of a name's function: one that raises. */
static void push_refusal(lua_State *L, const char *library, const listed *l)
{
    bool is_global = strcmp(library, "_G") == 0;
    lua_pushfstring(L, "%s%s%s: %s", is_global ? "" : library, is_global ? "" : ".", l->name, l->why);
    lua_pushcclosure(L, on_refused, 1);
}

/* Stack: the library at the top. Fields that are there may be changed while one goes through them. */
static void cut_library(lua_State *L, const char *library)
{
    const vm *v = vm_of(L);
    for (lua_pushnil(L); lua_next(L, -2); lua_pop(L, 1)) {
        const listed *l = lua_type(L, -2) == LUA_TSTRING ? look_up(library, lua_tostring(L, -2)) : NULL;
        if (l && is_granted(v, l))
            continue;
        bool explain = l && lua_isfunction(L, -1);
        lua_pushvalue(L, -2);
        if (explain)
            push_refusal(L, library, l);
        else
            lua_pushnil(L);
        lua_rawset(L, -5);
    }
}

static bool is_first_of(size_t i)
{
    return i == 0 || strcmp(names_listed[i].library, names_listed[i - 1].library) != 0;
}

/* io.stdout and the like are no functions, but to be explained too. */
static int on_no_stream(lua_State *L)
{
    return luaL_error(L, "io.%s: %s", luaL_tolstring(L, 2, NULL), SANDBOX_FILES);
}

static void explain_streams(lua_State *L)
{
    lua_getglobal(L, "io");
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, on_no_stream);
    lua_setfield(L, -2, "__index");
    lua_setmetatable(L, -2);
    lua_pop(L, 1);
}

/* The searchers of what is registered and of Lua files stay. */
static void cut_searchers(lua_State *L)
{
    lua_getglobal(L, "package");
    lua_pushliteral(L, "");
    lua_setfield(L, -2, "cpath");
    lua_getfield(L, -1, "searchers");
    for (lua_Integer i = (lua_Integer)lua_rawlen(L, -1); i > 2; i--) {
        lua_pushnil(L);
        lua_rawseti(L, -2, i);
    }
    lua_pop(L, 2);
}

void sandbox_cut(lua_State *L)
{
    for (size_t i = 0; i < COUNT; i++) {
        if (!is_first_of(i))
            continue;
        lua_pushglobaltable(L);
        if (strcmp(names_listed[i].library, "_G") != 0) {
            lua_getfield(L, -1, names_listed[i].library);
            lua_remove(L, -2);
        }
        cut_library(L, names_listed[i].library);
        lua_pop(L, 1);
    }
    if (vm_of(L)->config.strict) {
        explain_streams(L);
        cut_searchers(L);
    }
}
