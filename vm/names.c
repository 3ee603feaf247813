#include "vm/names.h"

#include <lauxlib.h>
#include <stdbool.h>

enum { NAME_BYTES_MAX = 27, METHOD_PLACES = 16 };

typedef struct entry {
    char raw[NAME_BYTES_MAX]; /* as a client spelled it */
    uint8_t bytes;            /* 0: nobody is here */
    int ref;                  /* registry: the string */
} entry;

struct names {
    entry headers[NAMES_PLACES];
    entry methods[METHOD_PLACES];
};

static void make_room(lua_State *L, entry *entries, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        lua_pushboolean(L, false);
        entries[i].ref = luaL_ref(L, LUA_REGISTRYINDEX);
    }
}

names *names_new(lua_State *L)
{
    names *n = lua_newuserdatauv(L, sizeof(*n), 0);
    memset(n, 0, sizeof(*n));
    luaL_ref(L, LUA_REGISTRYINDEX);
    make_room(L, n->headers, NAMES_PLACES);
    make_room(L, n->methods, METHOD_PLACES);
    return n;
}

/* Push the entry's string, if it is of that name. */
static bool push_known(lua_State *L, const entry *e, str name)
{
    if (e->bytes != name.n || memcmp(e->raw, name.p, name.n) != 0)
        return false;
    lua_rawgeti(L, LUA_REGISTRYINDEX, e->ref);
    return true;
}

/* The entry is from now on for that name, whose string is at the top. */
static void learn(lua_State *L, entry *e, str name)
{
    lua_pushvalue(L, -1);
    lua_rawseti(L, LUA_REGISTRYINDEX, e->ref);
    memcpy(e->raw, name.p, name.n);
    e->bytes = (uint8_t)name.n;
}

void names_push_method(lua_State *L, names *n, str method)
{
    /* No two methods that reach a handler have the same place. */
    entry *e = &n->methods[(method.n * 2 + (method.n && method.p[0] == 'P')) % METHOD_PLACES];
    if (method.n && push_known(L, e, method))
        return;
    lua_pushlstring(L, method.p, method.n);
    if (method.n <= NAME_BYTES_MAX)
        learn(L, e, method);
}

static void lower(str name, char *out)
{
    for (size_t i = 0; i < name.n; i++)
        out[i] = name.p[i] >= 'A' && name.p[i] <= 'Z' ? (char)(name.p[i] + ('a' - 'A')) : name.p[i];
}

static void push_long(lua_State *L, str name)
{
    luaL_Buffer b;
    lower(name, luaL_buffinitsize(L, &b, name.n));
    luaL_pushresultsize(&b, name.n);
}

/* The byte without the bit that tells upper from lower case: all spellings of a name have one place. */
static unsigned folded(char c)
{
    return (unsigned char)c | 0x20u;
}

/* The factors keep the usual headers apart. */
static unsigned place_of(str name)
{
    const char *p = name.p;
    size_t n = name.n;
    return ((unsigned)n * 24 + folded(p[0]) + folded(p[n / 2]) * 17 + folded(p[n - 1]) * 3) % NAMES_PLACES;
}

uint64_t names_push_lower(lua_State *L, names *n, str name)
{
    char text[NAME_BYTES_MAX];
    if (name.n == 0 || name.n > NAME_BYTES_MAX) {
        push_long(L, name);
        return UINT64_C(1) << NAMES_PLACES;
    }
    unsigned place = place_of(name);
    entry *e = &n->headers[place];
    if (!push_known(L, e, name)) {
        lower(name, text);
        lua_pushlstring(L, text, name.n);
        learn(L, e, name);
    }
    return UINT64_C(1) << place;
}
