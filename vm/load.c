/* Loading the app: running its file with `api` as the tree, and keeping what it defined. */
#include <errno.h>
#include <lauxlib.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>

#include "vm/jobs.h"
#include "vm/json.h"
#include "vm/limit.h"
#include "vm/load.h"
#include "vm/reply.h"
#include "vm/sandbox.h"
#include "vm/undeclared.h"

enum { STEP_ERROR_BYTES = 1024 };

/* --- the program's own chunks --- */

static const vm_source *source_named(const vm *v, const char *name)
{
    for (size_t i = 0; i < v->config.source_count; i++)
        if (strcmp(v->config.sources[i].name, name) == 0)
            return &v->config.sources[i];
    return NULL;
}

static void run_source(lua_State *L, const vm_source *s, int nresults)
{
    const char *title = lua_pushfstring(L, "=poolsrv/%s.lua", s->name);
    if (luaL_loadbufferx(L, s->text, *s->size, title, "t") != LUA_OK)
        lua_error(L);
    lua_remove(L, -2);
    lua_call(L, 0, nresults);
}

void load_chunk(lua_State *L, const char *name, int nresults)
{
    const vm_source *s = source_named(vm_of(L), name);
    if (!s)
        luaL_error(L, "poolsrv/%s.lua is not built in", name);
    else
        run_source(L, s, nresults);
}

static bool is_part_of_tree(const char *name)
{
    static const char *const others[] = {"tree",  "check", "unknown", "hooks", "coroutines",
                                         "limit", "queue", "pubsub",  "task",  "shared"};
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
        if (strcmp(name, others[i]) == 0)
            return false;
    return true;
}

static int on_spawned(lua_State *L)
{
    vm *v = vm_of(L);
    if (v->running)
        v->running->spawned = true;
    return 0;
}

static void install_coroutines(lua_State *L)
{
    load_chunk(L, "coroutines", 1);
    lua_pushlightuserdata(L, (void *)(uintptr_t)&vm_park_mark);
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, on_spawned);
    lua_setfield(L, -2, "spawned");
    lua_call(L, 2, 0);
}

static void install_hooks(lua_State *L, vm *v)
{
    load_chunk(L, "hooks", 2);
    v->unanswered_mt = lua_topointer(L, -1);
    lua_setfield(L, LUA_REGISTRYINDEX, "poolsrv.unanswered");
    v->compose_ref = luaL_ref(L, LUA_REGISTRYINDEX);
}

void load_parts(lua_State *L)
{
    const vm *v = vm_of(L);
    lua_newtable(L);
    for (size_t i = 0; i < v->config.source_count; i++) {
        if (!is_part_of_tree(v->config.sources[i].name))
            continue;
        run_source(L, &v->config.sources[i], 1);
        lua_setfield(L, -2, v->config.sources[i].name);
    }
    lua_getfield(L, -1, "where");
    lua_setfield(L, LUA_REGISTRYINDEX, LOAD_WHERE);
}

int load_raise(lua_State *L, const char *format, ...)
{
    va_list args;
    lua_getfield(L, LUA_REGISTRYINDEX, LOAD_WHERE);
    lua_getfield(L, -1, "raise");
    va_start(args, format);
    lua_pushvfstring(L, format, args);
    va_end(args);
    lua_call(L, 1, 0);
    abort(); /* never */
}

int load_no_memory(lua_State *L)
{
    luaL_error(L, "not enough memory");
    abort(); /* never */
}

/* Arguments: the value; where the text goes. */
static int encode(lua_State *L)
{
    json_encode(L, 1, lua_touserdata(L, 2), 0);
    return 0;
}

/* The encoder names the line of its caller, which is nobody here. */
void load_encode(lua_State *L, int index, buf *out, const char *what)
{
    luaL_checkstack(L, 4, NULL);
    lua_pushvalue(L, index);
    lua_pushcfunction(L, encode);
    lua_insert(L, -2);
    lua_pushlightuserdata(L, out);
    int status = lua_pcall(L, 2, 0, 0);
    if (status == LUA_OK)
        return;
    if (status != LUA_ERRRUN || limit_is_met(vm_of(L)) || lua_type(L, -1) != LUA_TSTRING)
        lua_error(L);
    load_raise(L, "%s: %s", what, lua_tostring(L, -1));
}

void load_tree(lua_State *L)
{
    load_chunk(L, "tree", 1);
    lua_insert(L, -2);
    reply_push_helpers(L);
    lua_insert(L, -2);
    lua_call(L, 2, 1);
    lua_getfield(L, -1, "root");
    lua_setglobal(L, "api");
}

/* --- the app's file --- */

/* Search the app's own folder before all others. */
static void prepend_path(lua_State *L, const char *field, const char *folder, const char *patterns)
{
    lua_getglobal(L, "package");
    luaL_gsub(L, patterns, "@", folder);
    lua_pushliteral(L, ";");
    lua_getfield(L, -3, field);
    lua_concat(L, 3);
    lua_setfield(L, -2, field);
    lua_pop(L, 1);
}

/* In the current folder, messages name a module's file as they name the app's: without "./". */
static void search_folder_of(lua_State *L, const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!slash) {
        prepend_path(L, "path", "", "?.lua;?/init.lua");
        prepend_path(L, "cpath", ".", "@/?.so");
        return;
    }
    const char *folder = lua_pushlstring(L, path, slash == path ? 1 : (size_t)(slash - path));
    prepend_path(L, "path", folder, "@/?.lua;@/?/init.lua");
    prepend_path(L, "cpath", folder, "@/?.so");
    lua_pop(L, 1);
}

void load_begin(lua_State *L)
{
    vm *v = vm_of(L);
    install_coroutines(L);
    install_hooks(L, v);
    search_folder_of(L, v->path);
}

static int run_app(lua_State *L)
{
    vm *v = vm_of(L);
    load_begin(L);
    load_parts(L);
    load_tree(L);
    sandbox_cut(L);
    vm_tell_file(v, v->path);
    if (luaL_loadfilex(L, v->path, "t") != LUA_OK)
        return lua_error(L);
    lua_call(L, 0, 0);
    lua_getfield(L, -1, "finish");
    lua_call(L, 0, 1);
    lua_getfield(L, -1, "frozen");
    lua_setglobal(L, "api");
    v->definition_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    if (!v->config.strict)
        undeclared_install(L);
    return 0;
}

/* --- what it defined --- */

/* Push definition[name]. */
static void push_definition(lua_State *L, const vm *v, const char *name)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, v->definition_ref);
    lua_getfield(L, -1, name);
    lua_remove(L, -2);
}

static bool is_empty_list(lua_State *L, int route, const char *name)
{
    int type = lua_getfield(L, route, name);
    bool empty = type != LUA_TTABLE || lua_rawlen(L, -1) == 0;
    lua_pop(L, 1);
    return empty;
}

/* Push the function that answers the route at the top: its own, or the chain of its hooks round it. */
static void push_handler(lua_State *L, const vm *v)
{
    int route = lua_gettop(L);
    if (is_empty_list(L, route, "before") && is_empty_list(L, route, "after") &&
        is_empty_list(L, route, "on_error")) {
        lua_getfield(L, route, "fn");
        return;
    }
    lua_rawgeti(L, LUA_REGISTRYINDEX, v->compose_ref);
    lua_getfield(L, route, "fn");
    lua_getfield(L, route, "before");
    lua_getfield(L, route, "after");
    lua_getfield(L, route, "on_error");
    reply_push_helpers(L);
    lua_call(L, 5, 1);
}

/* "/users/:id" of the segments of the route at the top. */
static void add_pattern(lua_State *L, buf *out)
{
    lua_getfield(L, -1, "segments");
    size_t n = lua_rawlen(L, -1);
    int err = n == 0 ? buf_add(out, "/", 1) : 0;
    for (size_t i = 1; i <= n && err == 0; i++) {
        lua_rawgeti(L, -1, (lua_Integer)i);
        lua_getfield(L, -1, "kind");
        lua_getfield(L, -2, "name");
        const char *kind = lua_tostring(L, -2);
        err = buf_addf(out, "/%s%s", kind[0] == 'p' ? ":" : kind[0] == 'r' ? "*" : "", lua_tostring(L, -1));
        lua_pop(L, 3);
    }
    lua_pop(L, 1);
    if (err)
        luaL_error(L, "not enough memory");
}

static void keep_route(lua_State *L, vm *v, size_t i, buf *text)
{
    lua_getfield(L, -1, "method");
    size_t begin = text->n;
    if (buf_addf(text, "%s ", lua_tostring(L, -1)) < 0)
        luaL_error(L, "not enough memory");
    lua_pop(L, 1);
    add_pattern(L, text);
    v->route_names[i] = strndup(text->p + begin, text->n - begin);
    if (!v->route_names[i] || buf_add(text, "\n", 1) < 0)
        luaL_error(L, "not enough memory");
    push_handler(L, v);
    v->handler_refs[i] = luaL_ref(L, LUA_REGISTRYINDEX);
    v->poison_refs[i] = LUA_NOREF;
}

/* Argument: a buf for the signature. */
static int keep_routes(lua_State *L)
{
    vm *v = vm_of(L);
    buf *text = lua_touserdata(L, 1);
    push_definition(L, v, "routes");
    size_t n = lua_rawlen(L, -1);
    v->handler_refs = calloc(n + 1, sizeof(int));
    v->poison_refs = calloc(n + 1, sizeof(int));
    v->route_names = calloc(n + 1, sizeof(char *));
    v->audits = calloc(n + 1, sizeof(audit_route));
    if (!v->handler_refs || !v->poison_refs || !v->route_names || !v->audits)
        return luaL_error(L, "not enough memory");
    v->route_count = n;
    for (size_t i = 0; i < n; i++) {
        lua_rawgeti(L, -1, (lua_Integer)i + 1);
        keep_route(L, v, i, text);
        lua_pop(L, 1);
    }
    if (jobs_sign(L, text) < 0 || buf_add(text, "", 1) < 0)
        return luaL_error(L, "not enough memory");
    return 0;
}

int load_keep(vm *v, char *error, size_t size)
{
    buf text = {0};
    lua_pushcfunction(v->L, keep_routes);
    lua_pushlightuserdata(v->L, &text);
    int err = vm_call(v, 1, 0, error, size);
    if (err)
        buf_fini(&text);
    v->signature = text.p;
    lua_gc(v->L, LUA_GCCOLLECT); /* what only the loading needed */
    return err;
}

int vm_load(vm *v, const char *path, char *error, size_t size)
{
    v->path = strdup(path);
    if (!v->path) {
        snprintf(error, size, "out of memory");
        return -ENOMEM;
    }
    lua_pushcfunction(v->L, run_app);
    int err = vm_call(v, 0, 0, error, size);
    return err ? err : load_keep(v, error, size);
}

size_t vm_route_count(const vm *v)
{
    return v->route_count;
}

const char *vm_signature(const vm *v)
{
    return v->signature;
}

static const char *text_of(lua_State *L, int index, const char *name, size_t *ret_n)
{
    lua_getfield(L, index, name);
    const char *text = lua_tolstring(L, -1, ret_n);
    lua_pop(L, 1); /* the definition keeps it */
    return text;
}

/* A limit of the table at the top. */
static double limit_of(lua_State *L, const char *name)
{
    double limit = lua_getfield(L, -1, name) == LUA_TNUMBER ? lua_tonumber(L, -1) : -1;
    lua_pop(L, 1);
    return limit;
}

/* Arguments: the place for the answer, the route's number from 1. */
static int read_route(lua_State *L)
{
    vm *v = vm_of(L);
    vm_route_def *def = lua_touserdata(L, 1);
    push_definition(L, v, "routes");
    lua_rawgeti(L, -1, lua_tointeger(L, 2));
    int route = lua_gettop(L);
    def->method.p = text_of(L, route, "method", &def->method.n);
    def->where = text_of(L, route, "where", NULL);
    lua_getfield(L, route, "heavy");
    def->heavy = lua_toboolean(L, -1);
    lua_getfield(L, route, "limits");
    def->cpu_s = limit_of(L, "cpu");
    def->wall_s = limit_of(L, "wall");
    def->memory_bytes = limit_of(L, "memory");
    lua_getfield(L, route, "segments");
    int segments = lua_gettop(L);
    def->segment_count = lua_rawlen(L, segments);
    for (size_t i = 0; i < def->segment_count && i < VM_SEGMENTS_MAX; i++) {
        lua_rawgeti(L, segments, (lua_Integer)i + 1);
        const char *kind = text_of(L, -1, "kind", NULL);
        vm_segment *s = &def->segments[i];
        s->kind = kind[0] == 'p' ? VM_SEGMENT_PARAM : kind[0] == 'r' ? VM_SEGMENT_REST : VM_SEGMENT_LITERAL;
        s->name.p = text_of(L, -1, "name", &s->name.n);
        lua_pop(L, 1);
    }
    return 0;
}

int vm_route_at(vm *v, size_t i, vm_route_def *ret)
{
    char error[256];
    lua_pushcfunction(v->L, read_route);
    lua_pushlightuserdata(v->L, ret);
    lua_pushinteger(v->L, (lua_Integer)i + 1);
    return vm_call(v, 2, 0, error, sizeof(error));
}

/* --- options --- */

typedef struct config_call {
    void (*each)(void *user, const char *name, const char *value, const char *where);
    void *user;
} config_call;

static int read_config(lua_State *L)
{
    vm *v = vm_of(L);
    config_call *call = lua_touserdata(L, 1);
    push_definition(L, v, "config_where");
    int where = lua_gettop(L);
    push_definition(L, v, "config");
    if (!lua_istable(L, -1))
        return 0;
    lua_pushnil(L);
    while (lua_next(L, -2)) {
        const char *name = lua_tostring(L, -2);
        lua_getfield(L, where, name);
        int type = lua_type(L, -2);
        bool plain = type == LUA_TSTRING || type == LUA_TNUMBER || type == LUA_TBOOLEAN;
        const char *text = luaL_tolstring(L, -2, NULL), *value = plain ? text : NULL;
        call->each(call->user, name, value, luaL_optstring(L, -2, v->path));
        lua_pop(L, 3);
    }
    return 0;
}

void vm_config_each(vm *v, void (*each)(void *user, const char *name, const char *value, const char *where),
                    void *user)
{
    char error[256];
    config_call call = {each, user};
    lua_pushcfunction(v->L, read_config);
    lua_pushlightuserdata(v->L, &call);
    vm_call(v, 1, 0, error, sizeof(error));
}

/* --- on_start, on_stop --- */

/* Arguments, as light userdata, which cost no memory: the list's name. */
static int count_steps(lua_State *L)
{
    push_definition(L, vm_of(L), lua_touserdata(L, 1));
    lua_pushinteger(L, lua_istable(L, -1) ? (lua_Integer)lua_rawlen(L, -1) : 0);
    return 1;
}

/* Arguments: the list's name, "vm" or "process", and which of the list: it is run if it is for that. */
static int run_step(lua_State *L)
{
    push_definition(L, vm_of(L), lua_touserdata(L, 1));
    lua_rawgeti(L, -1, lua_tointeger(L, 3));
    lua_getfield(L, -1, "each");
    if (strcmp(luaL_optstring(L, -1, "process"), lua_touserdata(L, 2)) == 0) {
        lua_getfield(L, -2, "fn");
        lua_call(L, 0, 0);
    }
    return 0;
}

/* Returns: how many functions a list has, or -errno with `error` filled. */
static lua_Integer begin_steps(vm *v, const char *list, char *error, size_t size)
{
    lua_pushcfunction(v->L, count_steps);
    lua_pushlightuserdata(v->L, (void *)(uintptr_t)list);
    int err = vm_call(v, 1, 1, error, size);
    if (err)
        return err;
    lua_Integer n = lua_tointeger(v->L, -1);
    lua_pop(v->L, 1);
    return n;
}

static int call_step(vm *v, const char *list, bool each_vm, lua_Integer i, char *error, size_t size)
{
    lua_pushcfunction(v->L, run_step);
    lua_pushlightuserdata(v->L, (void *)(uintptr_t)list);
    lua_pushlightuserdata(v->L, (void *)(uintptr_t)(each_vm ? "vm" : "process"));
    lua_pushinteger(v->L, i);
    return vm_call(v, 3, 0, error, size);
}

int vm_on_start(vm *v, bool each_vm, char *error, size_t size)
{
    lua_Integer n = begin_steps(v, "on_start", error, size);
    int err = n < 0 ? (int)n : 0;
    for (lua_Integer i = 1; i <= n && err == 0; i++)
        err = call_step(v, "on_start", each_vm, i, error, size);
    return err;
}

static void log_failed_stop(vm *v, const char *why)
{
    char text[STEP_ERROR_BYTES + 64];
    int n = snprintf(text, sizeof(text), "an on_stop function failed: %s", why);
    v->config.log(v->config.log_user, 0, (str){0}, (str){text, (size_t)n});
}

/* What one leaves undone is no reason to leave the others undone too. */
int vm_on_stop(vm *v, bool each_vm, char *error, size_t size)
{
    lua_Integer n = begin_steps(v, "on_stop", error, size);
    int first = n < 0 ? (int)n : 0;
    for (lua_Integer i = 1; i <= n; i++) {
        char why[STEP_ERROR_BYTES];
        int err = call_step(v, "on_stop", each_vm, i, why, sizeof(why));
        if (!err)
            continue;
        log_failed_stop(v, why);
        if (!first)
            snprintf(error, size, "%s", why);
        first = first ? first : err;
    }
    return first;
}
