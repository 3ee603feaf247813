#include "vm/vm.h"

#include <errno.h>
#include <lauxlib.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>

#include "vm/audit.h"
#include "vm/internal.h"
#include "vm/jobs.h"
#include "vm/json.h"
#include "vm/limit.h"
#include "vm/mqueue.h"
#include "vm/ratelimit.h"
#include "vm/reply.h"
#include "vm/shared.h"
#include "vm/spawn.h"
#include "vm/warning.h"

enum { IDLE_GARBAGE_BYTES = 32768 };

const char vm_park_mark = 0;

#ifdef POOLSRV_DEBUG
static _Thread_local size_t growths_left, failures_left, failures_met;

void vm_fail_allocations(size_t after, size_t count)
{
    growths_left = after;
    failures_left = count;
    failures_met = 0;
}

size_t vm_failed_allocations(void)
{
    return failures_met;
}

static bool is_to_fail(size_t had, size_t size)
{
    if (size <= had || failures_left == 0)
        return false;
    if (growths_left > 0) {
        growths_left--;
        return false;
    }
    failures_left--;
    failures_met++;
    return true;
}
#else
static bool is_to_fail(size_t had, size_t size)
{
    (void)had;
    (void)size;
    return false;
}
#endif

/* Beyond the limit. Apart, so that all others are a jump on. */
__attribute__((noinline)) static void *allocate_over(vm *v, void *p, size_t had, size_t size)
{
    if (limit_refuses(v, had, size) || is_to_fail(had, size))
        return NULL;
    return heap_resize(&v->heap, p, had, size);
}

static void *allocate(void *user, void *p, size_t old, size_t size)
{
    vm *v = user;
    size_t had = p ? old : 0;
    /* As signed numbers: a block that shrinks passes, unless the heap is over the limit already. */
    if ((ptrdiff_t)(size - had) > (ptrdiff_t)(v->bytes_most - v->heap.bytes))
        return allocate_over(v, p, had, size);
    if (is_to_fail(had, size))
        return NULL;
    return heap_resize(&v->heap, p, had, size);
}

/* Everything that may raise while the state is made. */
static int set_up(lua_State *L)
{
    vm *v = vm_of(L);
    luaL_openlibs(L);
    luaopen_json(L);
    lua_setglobal(L, "json");
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
    for (size_t i = 0; i < v->config.module_count; i++) {
        lua_pushcfunction(L, v->config.modules[i].open);
        lua_setfield(L, -2, v->config.modules[i].name);
    }
    lua_pop(L, 1);
    jobs_install(L);
    mqueue_install(L);
    spawn_install(L);
    ratelimit_install(L);
    reply_install(L);
    ctx_install(L);
    audit_install(L);
    limit_install(L);
    globals_install(L);
    shared_install(L);
    return 0;
}

int vm_open(const vm_config *config, vm **ret_vm, char *error, size_t size)
{
    snprintf(error, size, "out of memory");
    vm *v = calloc(1, sizeof(*v));
    if (!v)
        return -ENOMEM;
    v->config = *config;
    v->strategy = ctx_strategy_named(config->context);
    v->definition_ref = LUA_NOREF;
    v->bytes_most = VM_BYTES_MAX;
    v->L = lua_newstate(allocate, v);
    if (!v->strategy || !v->L) {
        bool known = v->strategy != NULL;
        if (!known)
            snprintf(error, size, "no context strategy is called \"%s\"", config->context);
        if (v->L)
            lua_close(v->L);
        heap_fini(&v->heap);
        free(v);
        return known ? -ENOMEM : -EINVAL;
    }
    *(vm **)lua_getextraspace(v->L) = v;
    atomic_store_explicit(&v->current, v->L, memory_order_relaxed);
    warning_install(v);
    lua_pushcfunction(v->L, set_up);
    int err = vm_call(v, 0, 0, error, size);
    if (err)
        vm_close(v);
    else
        *ret_vm = v;
    return err;
}

void vm_forget(vm *v)
{
    for (vm_run *run = v->runs; run; run = run->next)
        if (run->live)
            vm_run_give(v, run);
}

void vm_close(vm *v)
{
    if (!v)
        return;
    v->closing = true;
    for (vm_run *run = v->runs; run; run = run->next)
        if (run->live)
            vm_cancel(v, run);
    lua_close(v->L);
    shared_free(v->shared);
    while (v->runs) {
        vm_run *next = v->runs->next;
        free(v->runs);
        v->runs = next;
    }
    for (size_t i = 0; i < v->route_count && v->route_names; i++)
        free(v->route_names[i]);
    free(v->route_names);
    free(v->handler_refs);
    free(v->poison_refs);
    free(v->audits);
    buf_fini(&v->warning);
    buf_fini(&v->limit_trace);
    free(v->signature);
    free(v->path);
    heap_fini(&v->heap);
    free(v);
}

/* The innermost level that runs code of the app, or -1. Our own chunks tell its author nothing. */
static int app_level(lua_State *L)
{
    lua_Debug ar;
    for (int level = 1; lua_getstack(L, level, &ar); level++) {
        lua_getinfo(L, "S", &ar);
        if (strcmp(ar.what, "C") != 0 && strncmp(ar.source, "=poolsrv/", 9) != 0)
            return level;
    }
    return -1;
}

/* A trace of one function says no more than the message, which has its file and line. */
static bool is_short(const char *trace)
{
    int lines = 0;
    for (const char *p = trace; (p = strchr(p, '\n')); p++)
        lines++;
    return lines <= 2;
}

/* Does the first line name one, as in "app.lua:12: "? */
static bool has_place(const char *text)
{
    for (const char *p = text; *p && *p != '\n'; p++) {
        size_t digits = *p == ':' ? strspn(p + 1, "0123456789") : 0;
        if (digits && p[1 + digits] == ':')
            return true;
    }
    return false;
}

/* Push the text of the error at 1, which need not be a text. */
static const char *push_text(lua_State *L)
{
    if (lua_isstring(L, 1) || luaL_getmetafield(L, 1, "__tostring") != LUA_TNIL)
        return luaL_tolstring(L, 1, NULL);
    if (luaL_getmetafield(L, 1, "__name") != LUA_TSTRING)
        lua_pushstring(L, luaL_typename(L, 1));
    return lua_pushfstring(L, "error object is a %s", lua_tostring(L, -1));
}

/* A file that cannot be read or compiled has no traceback. */
static int add_traceback(lua_State *L)
{
    lua_Debug ar;
    int level = app_level(L);
    lua_settop(L, 1);
    const char *text = push_text(L);
    if (level < 0)
        return 1;
    if (!has_place(text) && lua_getstack(L, level, &ar) && lua_getinfo(L, "Sl", &ar))
        text = lua_pushfstring(L, "%s:%d: %s", ar.short_src, ar.currentline, text);
    luaL_traceback(L, L, NULL, level);
    if (is_short(lua_tostring(L, -1)))
        lua_pop(L, 1);
    else
        lua_pushfstring(L, "%s\n%s", text, lua_tostring(L, -1));
    return 1;
}

int vm_call(vm *v, int nargs, int nresults, char *error, size_t size)
{
    lua_State *L = v->L;
    int handler = lua_gettop(L) - nargs;
    lua_pushcfunction(L, add_traceback);
    lua_insert(L, handler);
    int status = lua_pcall(L, nargs, nresults, handler);
    lua_remove(L, handler);
    if (status == LUA_OK)
        return 0;
    const char *text = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : NULL;
    snprintf(error, size, "%s", text ? text : "out of memory");
    lua_pop(L, 1);
    return status == LUA_ERRMEM ? -ENOMEM : -EINVAL;
}

void vm_limit_memory(vm *v, size_t bytes)
{
    v->config.memory_bytes = bytes;
}

void vm_log(vm *v, int level, const char *text, size_t n)
{
    vm_run *run = v->running;
    str id = run ? run->request.id(run->request.host) : (str){0};
    v->config.log(v->config.log_user, level, id, (str){text, n});
}

unsigned vm_running(const vm *v)
{
    return v->taken;
}

bool vm_soiled(const vm *v)
{
    return v->soiled;
}

size_t vm_bytes(const vm *v)
{
    return v->heap.bytes;
}

/* A step goes over a hundred thousand values: as much work as a hundred requests. It is worth that when there
 * is garbage in proportion to what lives, and a bit before Lua would begin by itself, inside a handler. */
void vm_idle(vm *v)
{
    if (v->heap.bytes < v->idle_bytes)
        v->idle_bytes = v->heap.bytes;
    size_t garbage = v->heap.bytes - v->idle_bytes;
    if (garbage < IDLE_GARBAGE_BYTES || garbage < v->idle_bytes / 2)
        return;
    lua_gc(v->L, LUA_GCSTEP, 0);
    v->idle_bytes = v->heap.bytes;
}
