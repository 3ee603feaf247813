/* Sealing an app that has been loaded: all that its handlers could change for each other. */
#include <lauxlib.h>
#include <stdio.h>
#include <string.h>

#include "vm/seal_parts.h"

/* --- going through all there is --- */

enum { SEEN = 1, QUEUE, SEALED, LIST, NAMES, SHADOWS, WORK }; /* where tables lie on the stack */

static void append(lua_State *L, int list)
{
    lua_rawseti(L, list, (lua_Integer)lua_rawlen(L, list) + 1);
}

/* Put what is at the top into the queue, once. Pops it. */
static void note(lua_State *L)
{
    int type = lua_type(L, -1);
    bool leads_on =
        type == LUA_TTABLE || type == LUA_TFUNCTION || type == LUA_TUSERDATA || type == LUA_TTHREAD;
    lua_pushvalue(L, -1);
    if (!leads_on || lua_rawget(L, SEEN) != LUA_TNIL) {
        lua_pop(L, 2);
        return;
    }
    lua_pop(L, 1);
    lua_pushvalue(L, -1);
    lua_pushboolean(L, true);
    lua_rawset(L, SEEN);
    append(L, QUEUE);
}

static void note_table(lua_State *L)
{
    for (lua_pushnil(L); lua_next(L, WORK);) {
        note(L);
        lua_pushvalue(L, -1);
        note(L);
    }
}

static void note_from(lua_State *L, lua_State *co)
{
    lua_xmove(co, L, 1);
    note(L);
}

static void note_frame(lua_State *L, lua_State *co, lua_Debug *ar)
{
    lua_getinfo(co, "f", ar);
    note_from(L, co);
    for (int i = 1; lua_getlocal(co, ar, i); i++)
        note_from(L, co);
    for (int i = -1; lua_getlocal(co, ar, i); i--)
        note_from(L, co);
}

/* One that has not begun has no frames, but a function and arguments. */
static void note_thread(lua_State *L, lua_State *co)
{
    lua_Debug ar;
    if (co == L || !lua_checkstack(co, 2))
        return;
    for (int level = 0; lua_getstack(co, level, &ar); level++)
        note_frame(L, co, &ar);
    for (int i = lua_gettop(co); i > 0; i--) {
        lua_pushvalue(co, i);
        note_from(L, co);
    }
}

/* Note all that the value at WORK leads to. */
static void note_work(lua_State *L)
{
    if (lua_getmetatable(L, WORK))
        note(L);
    switch (lua_type(L, WORK)) {
    case LUA_TTABLE:
        note_table(L);
        break;
    case LUA_TFUNCTION:
        for (int i = 1; lua_getupvalue(L, WORK, i); i++)
            note(L);
        break;
    case LUA_TUSERDATA:
        for (int i = 1; lua_getiuservalue(L, WORK, i) != LUA_TNONE; i++)
            note(L);
        lua_pop(L, 1);
        break;
    default:
        note_thread(L, lua_tothread(L, WORK));
    }
}

static void find_all(lua_State *L)
{
    lua_pushvalue(L, LUA_REGISTRYINDEX);
    note(L);
    for (lua_Integer i = 1; lua_rawgeti(L, QUEUE, i) != LUA_TNIL; i++) {
        note_work(L);
        lua_settop(L, WORK - 1);
    }
    lua_settop(L, WORK - 1);
}

/* --- what to seal --- */

/* Is the value at the top a table that C code compares with, or that no app reaches? */
static bool is_ours(lua_State *L)
{
    const void *p = lua_topointer(L, -1);
    return p == vm_of(L)->reply_mt || p == vm_of(L)->unanswered_mt;
}

/* The value at the top is to be sealed if it is a table, under the name. Pops it. */
static void choose(lua_State *L, const char *name)
{
    lua_pushvalue(L, -1);
    if (lua_type(L, -2) != LUA_TTABLE || is_ours(L) || lua_rawget(L, SEALED) != LUA_TNIL) {
        lua_pop(L, 2);
        return;
    }
    lua_pop(L, 1);
    lua_pushvalue(L, -1);
    lua_pushboolean(L, true);
    lua_rawset(L, SEALED);
    append(L, LIST);
    lua_pushstring(L, name);
    append(L, NAMES);
}

/* The metatable at the top, unless it is hidden. Pops it. */
static void choose_metatable(lua_State *L, const char *name)
{
    if (seal_is_protected(L))
        lua_pop(L, 2);
    else
        choose(L, name);
}

/* Choose what the table at the top holds, each under its key. Pops it. */
static void choose_fields(lua_State *L)
{
    int table = lua_gettop(L);
    for (lua_pushnil(L); lua_next(L, table);)
        choose(L, lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "a table");
    lua_pop(L, 1);
}

/* C code knows its userdata by their metatables, which getmetatable does not show. */
static void choose_metatables(lua_State *L)
{
    for (lua_Integer i = 1; lua_rawgeti(L, QUEUE, i) != LUA_TNIL; i++) {
        if (lua_type(L, -1) == LUA_TTABLE && lua_getmetatable(L, -1))
            choose_metatable(L, "a metatable");
        lua_settop(L, WORK - 1);
    }
    lua_settop(L, WORK - 1);
    lua_pushliteral(L, "");
    if (lua_getmetatable(L, -1))
        choose_metatable(L, "the metatable of strings");
    lua_settop(L, WORK - 1);
}

/* All tables inside those chosen. */
static void choose_inner(lua_State *L)
{
    for (lua_Integer i = 1; lua_rawgeti(L, LIST, i) != LUA_TNIL; i++) {
        lua_rawgeti(L, NAMES, i);
        const char *name = lua_tostring(L, -1);
        if (lua_getmetatable(L, WORK))
            choose_metatable(L, name);
        for (lua_pushnil(L); lua_next(L, WORK);) {
            choose(L, name);
            lua_pushvalue(L, -1);
            choose(L, name);
        }
        lua_settop(L, WORK - 1);
    }
    lua_settop(L, WORK - 1);
}

static void choose_all(lua_State *L)
{
    lua_getfield(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
    choose_fields(L);
    lua_pushglobaltable(L);
    choose_fields(L);
    lua_getfield(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
    choose(L, "package.loaded");
    choose_metatables(L);
    choose_inner(L);
}

/* --- sealing --- */

/* Is the string at an index a metamethod's name that the sealed table takes over as it is? */
static bool is_taken_over(lua_State *L, int index)
{
    static const char *const others[] = {"__index", "__newindex", "__metatable", "__mode"};
    const char *name = lua_type(L, index) == LUA_TSTRING ? lua_tostring(L, index) : "";
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
        if (strcmp(name, others[i]) == 0)
            return false;
    return name[0] == '_' && name[1] == '_';
}

/* Copy what the table at `from` holds into the one at `to`: all, or only metamethods. */
void seal_copy(lua_State *L, int from, int to, bool metamethods)
{
    for (lua_pushnil(L); lua_next(L, from); lua_pop(L, 1)) {
        if (metamethods && !is_taken_over(L, -2))
            continue;
        lua_pushvalue(L, -2);
        lua_pushvalue(L, -2);
        lua_rawset(L, to);
    }
}

/* Push field `name` of the original metatable, which may be nil. */
static void push_raw(lua_State *L, int original, const char *name)
{
    lua_pushnil(L);
    if (lua_isnil(L, original))
        return;
    lua_pushstring(L, name);
    lua_rawget(L, original);
    lua_remove(L, -2);
}

static void set_raw(lua_State *L, int table, const char *name)
{
    lua_pushstring(L, name);
    lua_insert(L, -2);
    lua_rawset(L, table);
}

enum { CONTENTS = WORK + 1, ORIGINAL, NEW };

static void add_index(lua_State *L)
{
    lua_pushvalue(L, CONTENTS);
    push_raw(L, ORIGINAL, "__index");
    if (lua_isnil(L, -1))
        lua_pop(L, 1);
    else
        lua_pushcclosure(L, seal_on_index, 2);
    set_raw(L, NEW, "__index");
}

static void add_newindex(lua_State *L)
{
    lua_pushvalue(L, CONTENTS);
    lua_pushglobaltable(L);
    bool globals = lua_rawequal(L, -1, WORK);
    lua_pop(L, 1);
    if (globals) {
        lua_pushcclosure(L, seal_on_global, 1);
    } else {
        push_raw(L, ORIGINAL, "__newindex");
        lua_pushcclosure(L, seal_on_write, 2);
    }
    set_raw(L, NEW, "__newindex");
}

static void add_missing(lua_State *L, const char *name, lua_CFunction fn)
{
    push_raw(L, NEW, name);
    bool missing = lua_isnil(L, -1);
    lua_pop(L, 1);
    if (!missing)
        return;
    lua_pushvalue(L, CONTENTS);
    lua_pushcclosure(L, fn, 1);
    set_raw(L, NEW, name);
}

/* A weak table stays weak, though its metatable's methods are not for the contents. */
static void keep_mode(lua_State *L)
{
    push_raw(L, ORIGINAL, "__mode");
    if (!lua_isnil(L, -1)) {
        lua_createtable(L, 0, 1);
        lua_insert(L, -2);
        set_raw(L, lua_gettop(L) - 1, "__mode");
        lua_setmetatable(L, CONTENTS);
    } else {
        lua_pop(L, 1);
    }
}

/* For the table at WORK, push the contents, the metatable that it has, or nil, and the one that it gets. */
static void prepare(lua_State *L, const char *name)
{
    lua_newtable(L);
    seal_copy(L, WORK, CONTENTS, false);
    if (!lua_getmetatable(L, WORK))
        lua_pushnil(L);
    lua_newtable(L);
    if (!lua_isnil(L, ORIGINAL))
        seal_copy(L, ORIGINAL, NEW, true);
    lua_pushvalue(L, CONTENTS);
    lua_rawsetp(L, NEW, &seal_contents_key);
    lua_pushvalue(L, ORIGINAL);
    lua_rawsetp(L, NEW, &seal_original_key);
    lua_pushstring(L, name);
    lua_rawsetp(L, NEW, &seal_name_key);
    add_index(L);
    add_newindex(L);
    add_missing(L, "__len", seal_on_len);
    add_missing(L, "__pairs", seal_on_pairs);
    lua_pushboolean(L, false);
    set_raw(L, NEW, "__metatable");
    keep_mode(L);
}

static void prepare_all(lua_State *L)
{
    for (lua_Integer i = 1; lua_rawgeti(L, LIST, i) != LUA_TNIL; i++) {
        lua_rawgeti(L, NAMES, i);
        const char *name = lua_tostring(L, -1); /* the list keeps it */
        lua_pop(L, 1);
        prepare(L, name);
        lua_pushvalue(L, WORK);
        lua_pushvalue(L, NEW);
        lua_rawset(L, SEALED);
        lua_pushvalue(L, CONTENTS);
        lua_pushvalue(L, WORK);
        lua_rawset(L, SHADOWS);
        lua_settop(L, WORK - 1);
    }
    lua_settop(L, WORK - 1);
}

/* Empty the table at an index, without a byte of memory. Returns: how much it held. */
unsigned seal_clear(lua_State *L, int table)
{
    unsigned n = 0;
    for (lua_pushnil(L); lua_next(L, table); n++) {
        lua_pop(L, 1);
        lua_pushvalue(L, -1);
        lua_pushnil(L);
        lua_rawset(L, table);
    }
    return n;
}

static void seal_list(lua_State *L)
{
    for (lua_Integer i = 1; lua_rawgeti(L, LIST, i) != LUA_TNIL; i++) {
        seal_clear(L, WORK);
        lua_pushvalue(L, WORK);
        lua_rawget(L, SEALED);
        lua_setmetatable(L, WORK);
        lua_settop(L, WORK - 1);
    }
    lua_settop(L, WORK - 1);
}

/* Give the value at the top, whose metatable was emptied, the contents of that as its metatable. Pops it. */
static void repoint(lua_State *L)
{
    if (lua_getmetatable(L, -1)) {
        if (seal_open(L, -1) && !seal_is_empty(L, -1))
            lua_setmetatable(L, -2);
        else
            lua_pop(L, 1);
    }
    lua_pop(L, 1);
}

static void repoint_all(lua_State *L)
{
    for (lua_Integer i = 1; lua_rawgeti(L, QUEUE, i) != LUA_TNIL; i++) {
        if (lua_type(L, -1) == LUA_TTABLE)
            repoint(L);
        else
            lua_pop(L, 1);
    }
    lua_pop(L, 1);
    lua_pushliteral(L, "");
    repoint(L);
}

/* Loading is over: what it needed is not for handlers. */
static void drop_loaders(lua_State *L)
{
    lua_getglobal(L, "package");
    if (lua_type(L, -1) == LUA_TTABLE) {
        lua_pushnil(L);
        set_raw(L, lua_gettop(L) - 1, "searchers");
        lua_pushnil(L);
        set_raw(L, lua_gettop(L) - 1, "preload");
    }
    lua_settop(L, 0);
}

static int seal(lua_State *L)
{
    vm *v = vm_of(L);
    luaL_checkstack(L, LUA_MINSTACK, NULL);
    drop_loaders(L);
    for (int i = SEEN; i < WORK; i++)
        lua_newtable(L);
    find_all(L);
    choose_all(L);
    prepare_all(L);
    seal_list(L);
    repoint_all(L);
    lua_pushvalue(L, SHADOWS);
    v->sealed_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    v->sealed = true;
    return 0;
}

/* In between, objects would lose their finalizers. */
int vm_seal(vm *v, char *error, size_t size)
{
    if (!v->config.strict || v->sealed)
        return 0;
    lua_gc(v->L, LUA_GCCOLLECT);
    lua_gc(v->L, LUA_GCSTOP);
    lua_pushcfunction(v->L, seal);
    int err = vm_call(v, 0, 0, error, size);
    lua_gc(v->L, LUA_GCRESTART);
    lua_gc(v->L, LUA_GCCOLLECT);
    return err;
}
