#include "vm/limit.h"

#include <lauxlib.h>
#include <stdio.h>

#include "vm/json.h"

enum {
    SILENCED_LEVELS = 2000, /* so deep a message handler is looked for; the search is quadratic */
    MEMORY_TRACE_LEVELS = 16
};

static const char finalizer_place; /* its address: where v->finalizers is in the registry */

/* --- time --- */

/* Message handler in place of the app's. */
static int pass(lua_State *L)
{
    lua_settop(L, 1);
    return 1;
}

/* The innermost xpcall keeps its message handler at index 2 of its frame; Lua takes it from there. Without
 * that it would be called for the error of the hook, with hooks turned off. */
static void silence(lua_State *L)
{
    lua_Debug ar;
    lua_CFunction xpcall = vm_of(L)->lua_xpcall;
    for (int level = 0; level < SILENCED_LEVELS && lua_getstack(L, level, &ar); level++) {
        lua_getinfo(L, "f", &ar);
        bool found = lua_tocfunction(L, -1) == xpcall;
        lua_pop(L, 1);
        if (!found)
            continue;
        lua_pushcfunction(L, pass);
        if (!lua_setlocal(L, &ar, 2))
            lua_pop(L, 1);
        return;
    }
}

static void keep_trace(lua_State *L)
{
    vm *v = vm_of(L);
    v->limit_trace.n = 0;
    luaL_traceback(L, L, NULL, 0);
    size_t n;
    const char *text = lua_tolstring(L, -1, &n);
    (void)buf_add(&v->limit_trace, text, n); /* short of memory: a log line without it */
    lua_pop(L, 1);
}

static _Noreturn void raise(lua_State *L)
{
    vm *v = vm_of(L);
    limit_lift_memory(v);
    if (!v->limit_raised) {
        v->limit_raised = true;
        keep_trace(L);
    }
    silence(L);
    luaL_where(L, 0);
    lua_pushliteral(L, "the handler has taken too long");
    lua_concat(L, 2);
    lua_error(L);
    __builtin_unreachable();
}

/* One that fires when no limit is met is left over from an earlier run. */
static void on_hook(lua_State *L, lua_Debug *ar)
{
    (void)ar;
    if (limit_is_met(vm_of(L)))
        raise(L);
    lua_sethook(L, NULL, 0, 0);
}

/* The main state runs nothing of the app's but finalizers, which have hooks turned off. */
static void arm(const vm *v, lua_State *co)
{
    if (co != v->L)
        lua_sethook(co, on_hook, LUA_MASKCOUNT, 1);
}

void vm_interrupt(vm *v, vm_limit limit, uint64_t used_ns, uint64_t limit_ns)
{
    if (!limit_is_met(v)) {
        v->limit_used_ns = used_ns;
        v->limit_ns = limit_ns;
        atomic_store_explicit(&v->limit_met, limit, memory_order_relaxed);
    }
    arm(v, atomic_load_explicit(&v->current, memory_order_relaxed));
}

/* For json_guard: what is encoded is not in the VM's memory. A few tables that hold each other can make a
 * text without end, in C. Argument: how many bytes it is. */
static int on_long_text(lua_State *L)
{
    vm *v = vm_of(L);
    size_t bytes = (size_t)lua_tointeger(L, 1);
    if (limit_is_met(v))
        raise(L);
    if (bytes <= v->memory_most)
        return 0;
    v->memory_refusals++;
    v->memory_wanted = bytes;
    keep_trace(L);
    return luaL_error(L, "json: not enough memory");
}

/* --- which coroutine runs --- */

static lua_State *enter(vm *v, lua_State *co)
{
    lua_State *before = atomic_load_explicit(&v->current, memory_order_relaxed);
    atomic_store_explicit(&v->current, co, memory_order_relaxed);
    return before;
}

/* A limit that was met inside holds outside too. `before` is not always L: a C module may resume coroutines
 * by itself, and one of those must not be pointed at when it is gone. */
static void leave(vm *v, lua_State *before, lua_State *L)
{
    atomic_store_explicit(&v->current, before, memory_order_relaxed);
    if (limit_is_met(v))
        arm(v, L);
}

static int tracked_resume(lua_State *L, lua_State *co, int nargs, int *ret_n)
{
    vm *v = vm_of(L);
    lua_State *before = enter(v, co);
    int status = lua_resume(co, L, nargs, ret_n);
    leave(v, before, L);
    return status;
}

static lua_State *check_coroutine(lua_State *L)
{
    lua_State *co = lua_tothread(L, 1);
    luaL_argexpected(L, co, 1, "coroutine");
    return co;
}

/* Is it one that a request runs in, and waiting? Only the server goes on with those. Leaves the message. */
static bool is_requests_own(lua_State *L, lua_State *co)
{
    bool own = lua_rawgetp(L, LUA_REGISTRYINDEX, co) != LUA_TNIL && co != L && lua_status(co) == LUA_YIELD;
    lua_pop(L, 1);
    if (own)
        lua_pushliteral(L, "this coroutine is a request's own, and waits for the server; make one with "
                           "coroutine.create");
    return own;
}

static int failed_resume(lua_State *L)
{
    lua_pushboolean(L, 0);
    lua_insert(L, -2);
    return 2;
}

/* As in the manual. */
static int on_resume(lua_State *L)
{
    lua_State *co = check_coroutine(L);
    int nargs = lua_gettop(L) - 1, n = 0;
    if (is_requests_own(L, co))
        return failed_resume(L);
    if (!lua_checkstack(co, nargs)) {
        lua_pushliteral(L, "too many arguments to resume");
        return failed_resume(L);
    }
    lua_xmove(L, co, nargs);
    int status = tracked_resume(L, co, nargs, &n);
    if (status != LUA_OK && status != LUA_YIELD) {
        lua_xmove(co, L, 1);
        return failed_resume(L);
    }
    if (!lua_checkstack(L, n + 1)) {
        lua_pop(co, n);
        lua_pushliteral(L, "too many results to resume");
        return failed_resume(L);
    }
    lua_pushboolean(L, 1);
    lua_xmove(co, L, n);
    return n + 1;
}

/* Suspended before its start, waiting in a yield, or dead; not running, and not resuming another. */
static bool can_be_closed(lua_State *L, lua_State *co)
{
    lua_Debug ar;
    if (co == L)
        return false;
    return lua_status(co) != LUA_OK || !lua_getstack(co, 0, &ar);
}

/* As in the manual. */
static int on_close(lua_State *L)
{
    lua_State *co = check_coroutine(L);
    vm *v = vm_of(L);
    if (!can_be_closed(L, co))
        return luaL_error(L, "cannot close a %s coroutine", co == L ? "running" : "normal");
    if (is_requests_own(L, co))
        return lua_error(L);
    lua_State *before = enter(v, co);
    int status = lua_resetthread(co);
    leave(v, before, L);
    lua_pushboolean(L, status == LUA_OK);
    if (status == LUA_OK)
        return 1;
    lua_xmove(co, L, 1);
    return 2;
}

/* As in the manual, but that it puts nothing in the place of our hook. */
static int on_sethook(lua_State *L)
{
    vm *v = vm_of(L);
    lua_State *co = lua_isthread(L, 1) ? lua_tothread(L, 1) : L;
    int n = v->lua_sethook(L);
    if (limit_is_met(v))
        arm(v, co);
    return n;
}

/* --- finalizers --- */

/* No continuation: it cannot yield, as no finalizer can. */
static int call_finalizer(lua_State *co)
{
    lua_call(co, 1, 0);
    return 0;
}

/* Push one for a finalizer, which has it to itself: finalizers call each other, and a collection may begin
 * inside one that the app has called. */
static lua_State *take_coroutine(lua_State *L)
{
    vm *v = vm_of(L);
    lua_State *co = v->finalizers;
    v->finalizers = NULL;
    if (!co)
        return lua_newthread(L);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &finalizer_place);
    return co;
}

/* The one at an index has ended well: keep it for the next, unless another was given meanwhile. */
static void give_coroutine(lua_State *L, int index)
{
    vm *v = vm_of(L);
    if (v->finalizers)
        return;
    lua_pushvalue(L, index);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &finalizer_place);
    v->finalizers = lua_tothread(L, index);
}

/* Upvalue: the app's finalizer. */
static int on_finalizer(lua_State *L)
{
    int n = 0;
    vm *v = vm_of(L);
    lua_settop(L, 1);
    lua_State *co = take_coroutine(L); /* nothing else holds it: it stays on the stack */
    lua_pushcfunction(L, call_finalizer);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_pushvalue(L, 1);
    lua_xmove(L, co, 3);
    v->finalizing++;
    int status = tracked_resume(L, co, 2, &n);
    v->finalizing--;
    if (status == LUA_OK) {
        give_coroutine(L, 2);
        return 0;
    }
    lua_xmove(co, L, 1); /* one that failed is not used again */
    return lua_error(L);
}

void limit_guard_finalizer(lua_State *L)
{
    lua_pushliteral(L, "__gc");
    if (lua_rawget(L, 2) == LUA_TFUNCTION && !lua_iscfunction(L, -1)) {
        lua_pushcclosure(L, on_finalizer, 1);
        lua_pushliteral(L, "__gc");
        lua_insert(L, -2);
        lua_rawset(L, 2);
    } else {
        lua_pop(L, 1);
    }
}

/* --- memory --- */

void limit_lift_memory(vm *v)
{
    v->bytes_most = VM_BYTES_MAX;
    v->refused = false;
}

/* Where the app was, without a byte of memory: this runs inside the allocator. */
static void keep_memory_trace(vm *v)
{
    lua_Debug ar;
    char line[LUA_IDSIZE + 32];
    lua_State *co = atomic_load_explicit(&v->current, memory_order_relaxed);
    v->limit_trace.n = 0;
    (void)buf_add(&v->limit_trace, "stack traceback:", 16);
    for (int level = 0; level < MEMORY_TRACE_LEVELS && lua_getstack(co, level, &ar); level++) {
        if (!vm_can_describe(&ar)) {
            (void)buf_add(&v->limit_trace, "\n\t(in calls that are too deep)", 30);
            return;
        }
        lua_getinfo(co, "Sl", &ar);
        int n = ar.currentline > 0 ? snprintf(line, sizeof(line), "\n\t%s:%d", ar.short_src, ar.currentline)
                                   : snprintf(line, sizeof(line), "\n\t%s", ar.short_src);
        (void)buf_add(&v->limit_trace, line, (size_t)n);
    }
}

/* Lua asks twice: after the first refusal it collects, and raises an error after the second. In between
 * every growth comes here, since there is room for none. Only its string buffers raise at once. */
bool limit_refuses(vm *v, size_t had, size_t size)
{
    if (size <= had)
        return false;
    bool again = v->refused;
    if (again)
        v->bytes_most = v->bytes_most_before;
    v->refused = false;
    if (v->heap.bytes <= v->bytes_most && size - had <= v->bytes_most - v->heap.bytes)
        return false;
    v->memory_wanted = v->heap.bytes + size - had;
    keep_memory_trace(v);
    if (again) {
        v->memory_refusals++;
    } else {
        v->refused = true;
        v->bytes_most_before = v->bytes_most;
        v->bytes_most = 0;
    }
    return true;
}

/* --- the log --- */

static double mib(size_t bytes)
{
    return (double)bytes / 1048576;
}

static void push_time(lua_State *L, const char *which)
{
    char text[160];
    const vm *v = vm_of(L);
    snprintf(text, sizeof(text), "the handler was ended: its %s limit is %.3g s, and it had taken %.3f s",
             which, (double)v->limit_ns / 1e9, (double)v->limit_used_ns / 1e9);
    lua_pushstring(L, text);
}

static void push_memory(lua_State *L)
{
    char text[200];
    const vm *v = vm_of(L);
    snprintf(text, sizeof(text),
             "the handler met its memory limit: it wanted %.1f MiB, and may have %.1f MiB",
             mib(v->memory_wanted), mib(v->memory_most));
    lua_pushstring(L, text);
}

void limit_push_text(lua_State *L)
{
    const vm *v = vm_of(L);
    int limit = atomic_load_explicit(&v->limit_met, memory_order_relaxed);
    if (v->limit_raised)
        push_time(L, limit == VM_LIMIT_CPU ? "CPU" : "wall-time");
    else
        push_memory(L);
    lua_pushliteral(L, "\n");
    lua_pushlstring(L, v->limit_trace.p ? v->limit_trace.p : "", v->limit_trace.n);
    lua_concat(L, 3);
}

void limit_install(lua_State *L)
{
    vm *v = vm_of(L);
    lua_getglobal(L, "xpcall");
    v->lua_xpcall = lua_tocfunction(L, -1);
    lua_getglobal(L, "coroutine");
    lua_pushcfunction(L, on_resume);
    lua_setfield(L, -2, "resume");
    lua_pushcfunction(L, on_close);
    lua_setfield(L, -2, "close");
    lua_getglobal(L, "debug");
    lua_getfield(L, -1, "sethook");
    v->lua_sethook = lua_tocfunction(L, -1);
    lua_pushcfunction(L, on_sethook);
    lua_setfield(L, -3, "sethook");
    lua_pop(L, 4);
    lua_pushcfunction(L, on_long_text);
    json_guard(L);
}
