/* Running handlers: the one place where the app's code is entered for a request.
 *
 * A handler runs in its run's coroutine, so that it can wait; lua_resume is the protected call. The arguments
 * are made, and the answer encoded, inside it too. */
#include <lauxlib.h>
#include <stdlib.h>

#include "vm/internal.h"
#include "vm/jobs.h"
#include "vm/json.h"
#include "vm/limit.h"
#include "vm/reason.h"
#include "vm/reply.h"
#include "vm/seal.h"

/* --- runs --- */

vm_run *vm_run_take(vm *v)
{
    vm_run *run = v->free_runs;
    if (run) {
        v->free_runs = run->next_free;
    } else {
        run = calloc(1, sizeof(*run));
        if (!run)
            return NULL;
        run->vm = v;
        run->co_ref = LUA_NOREF;
        run->next = v->runs;
        v->runs = run;
    }
    v->taken++;
    return run;
}

vm_request *vm_run_request(vm_run *run)
{
    return &run->request;
}

void vm_run_give(vm *v, vm_run *run)
{
    if (!run->request.job)
        v->strategy->end(v->L, run);
    run->live = false;
    run->spawned = false;
    run->next_free = v->free_runs;
    v->free_runs = run;
    v->taken--;
}

/* --- entering --- */

static int make_coroutine(lua_State *L)
{
    vm_run *run = lua_touserdata(L, 1);
    lua_State *co = lua_newthread(L);
    lua_pushboolean(L, true);
    lua_rawsetp(L, LUA_REGISTRYINDEX, co); /* no other request may go on with it: vm/limit.c */
    run->co_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    run->co = co;
    return 0;
}

/* The run at index 1. debug.getinfo gives an app the functions below it on the stack: it can call them. */
static vm_run *run_of(lua_State *L)
{
    vm_run *run = lua_touserdata(L, 1);
    if (!run || run != vm_of(L)->running)
        luaL_error(L, "only the server calls this function");
    return run;
}

/* --- failing --- */

static void answer_plain_500(vm_run *run)
{
    static const char text[] = "{\"error\":\"Internal Server Error\",\"status\":500}";
    vm_request *r = &run->request;
    if (r->job) {
        jobs_failed_plainly(run);
        return;
    }
    r->failed = true;
    r->status = 500;
    r->body_out->n = r->head_out->n = 0;
    r->content_type = buf_add(r->body_out, text, sizeof(text) - 1) == 0 ? "application/json" : NULL;
}

/* What stands for the error of a handler that yielded to nobody: its text is made where it may fail. */
static const char foreign_yield;

/* Push the text of the error at an index, without calling anything of the app's for it if that has failed
 * before. */
static void push_text(lua_State *L, int index, bool plainly)
{
    if (lua_touserdata(L, index) == &foreign_yield)
        lua_pushliteral(L, "a handler yielded; only sleep and the like may wait here");
    else if (plainly && !lua_isstring(L, index))
        lua_pushfstring(L, "error object is a %s", luaL_typename(L, index));
    else
        luaL_tolstring(L, index, NULL);
}

/* Does the error at an index know its traceback? */
static bool is_unanswered(lua_State *L, int index, const vm *v)
{
    if (lua_type(L, index) != LUA_TTABLE || !lua_getmetatable(L, index))
        return false;
    bool unanswered = lua_topointer(L, -1) == v->unanswered_mt;
    lua_pop(L, 1);
    return unanswered;
}

/* Push the text for the log: the error at an index with where it came from, in `co` from a level on. */
static void push_trace(lua_State *L, int index, lua_State *co, int level, bool plainly)
{
    if (is_unanswered(L, index, vm_of(L))) {
        lua_getfield(L, index, "traceback");
        return;
    }
    push_text(L, index, plainly);
    luaL_traceback(L, co, lua_tostring(L, -1), level);
}

/* Make the answer {"error":, "status":, "request_id":}, and the traceback at an index with --dev. */
static void answer_status(lua_State *L, vm_run *run, int status, int trace)
{
    vm_request *r = &run->request;
    if (r->job) {
        jobs_failed(L, trace, run);
        return;
    }
    str id = r->id(r->host);
    r->failed = true;
    r->status = status;
    r->content_type = "application/json";
    r->body_out->n = r->head_out->n = 0;
    lua_createtable(L, 0, 4);
    lua_pushstring(L, reason_phrase(status));
    lua_setfield(L, -2, "error");
    lua_pushinteger(L, status);
    lua_setfield(L, -2, "status");
    lua_pushlstring(L, id.p, id.n);
    lua_setfield(L, -2, "request_id");
    if (run->vm->config.dev) {
        lua_pushvalue(L, trace);
        lua_setfield(L, -2, "traceback");
    }
    json_encode(L, -1, r->body_out, JSON_REPLACE_BAD_UTF8);
}

/* Log the text at an index with the route's name in front. */
static void log_trace(lua_State *L, vm_run *run, int trace)
{
    size_t n;
    lua_pushfstring(L, "%s: %s", run->request.route_name, lua_tostring(L, trace));
    const char *text = lua_tolstring(L, -1, &n);
    vm_log(run->vm, 0, text, n);
    lua_pop(L, 1);
}

/* Answer for a handler that has failed with the error at an index: a reply that was raised, or the text for
 * the log. What has met its memory limit is logged as that, later. */
static void answer_error(lua_State *L, int index, vm_run *run)
{
    if (reply_is(L, index) && !run->request.job) {
        reply_from_values(L, index, 1, &run->request);
        return;
    }
    luaL_tolstring(L, index, NULL);
    int trace = lua_gettop(L);
    if (!run->vm->memory_refusals)
        log_trace(L, run, trace);
    answer_status(L, run, 500, trace);
}

/* An error is under way that nothing of the app's will catch. What this returns reaches on_ended, if no
 * to-be-closed variable raises another on the way: then the first is the one that counts, and the others are
 * told here. Argument: the error. */
static int on_error(lua_State *L)
{
    vm *v = vm_of(L);
    vm_run *run = v->running;
    bool is_first = !run->raised, plainly = run->explaining;
    if (v->limit_raised)
        return 1;
    if (!reply_is(L, 1)) {
        run->explaining = true;
        push_trace(L, 1, L, 1, plainly);
        run->explaining = false;
    }
    if (!is_first && !plainly) {
        lua_pushfstring(L, "while its variables were closed: %s", luaL_tolstring(L, -1, NULL));
        log_trace(L, run, lua_gettop(L));
        return 1;
    }
    run->raised = true;
    lua_pushvalue(L, -1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, run);
    return 1;
}

/* Put the first error of the run in the place of the one at the top. */
static void take_first_error(lua_State *co, vm_run *run)
{
    if (!run->raised)
        return;
    lua_rawgetp(co, LUA_REGISTRYINDEX, run);
    lua_replace(co, -2);
    lua_pushboolean(co, 0);
    lua_rawsetp(co, LUA_REGISTRYINDEX, run);
}

/* Answer for a coroutine that has failed. Arguments: the run, the error. Runs protected, on the main state.
 */
static int report(lua_State *L)
{
    vm_run *run = run_of(L);
    if (!reply_is(L, 2)) {
        push_trace(L, 2, run->co, 0, true);
        lua_replace(L, 2);
    }
    answer_error(L, 2, run);
    return 0;
}

/* Arguments: the run, the error. Runs protected, on the main state. */
static int report_unclosed(lua_State *L)
{
    vm_run *run = run_of(L);
    size_t n;
    lua_pushfstring(L, "%s: while its variables were closed: %s", run->request.route_name,
                    luaL_tolstring(L, 2, NULL));
    const char *text = lua_tolstring(L, -1, &n);
    vm_log(run->vm, 0, text, n);
    return 0;
}

/* Close what the coroutine has to close. An error in that is logged, as nobody else hears of it; the one that
 * ended the handler, at the coroutine's top if it failed, has been told. */
static void close_variables(vm *v, vm_run *run, bool failed)
{
    lua_State *L = v->L, *co = run->co;
    int top = lua_gettop(L);
    if (!lua_checkstack(L, 5) || !lua_checkstack(co, 1)) {
        lua_resetthread(co);
        return;
    }
    lua_pushcfunction(L, report_unclosed);
    lua_pushlightuserdata(L, run);
    if (failed)
        lua_pushvalue(co, -1);
    else
        lua_pushnil(co);
    lua_xmove(co, L, 1);
    if (lua_resetthread(co) != LUA_OK) {
        lua_xmove(co, L, 1);
        if (!lua_rawequal(L, -1, -2)) {
            lua_remove(L, -2);
            (void)lua_pcall(L, 2, 0, 0); /* its text cannot be made: nothing to tell */
        }
    }
    lua_settop(L, top);
}

static void drop_coroutine(vm *v, vm_run *run, bool failed)
{
    if (run->co) {
        close_variables(v, run, failed);
        lua_pushnil(v->L);
        lua_rawsetp(v->L, LUA_REGISTRYINDEX, run->co);
        luaL_unref(v->L, LUA_REGISTRYINDEX, run->co_ref);
    }
    run->co = NULL;
    run->co_ref = LUA_NOREF;
}

/* Report the error at the top of L, which is left in its place if that fails. Returns: Lua's status. */
static int try_report(lua_State *L, vm_run *run)
{
    lua_pushcfunction(L, report);
    lua_insert(L, -2);
    lua_pushlightuserdata(L, run);
    lua_insert(L, -2);
    return lua_pcall(L, 2, 0, 0);
}

/* The coroutine ended with `status` and the error at its top. It is not used again. */
static void fail(vm *v, vm_run *run, int status)
{
    lua_State *L = v->L;
    int top = lua_gettop(L);
    int failed = LUA_ERRMEM;
    if (status == LUA_ERRMEM || status == LUA_ERRERR)
        v->soiled = true;
    if (lua_checkstack(L, 4) && lua_checkstack(run->co, 1)) {
        lua_pushvalue(run->co, -1); /* the original stays for the traceback */
        lua_xmove(run->co, L, 1);
        failed = try_report(L, run);
        /* A raised reply that cannot be encoded, a __tostring that fails: that error is to be told instead.
         */
        if (failed == LUA_ERRRUN)
            failed = try_report(L, run);
        if (failed == LUA_ERRMEM)
            v->soiled = true;
    }
    if (failed)
        answer_plain_500(run);
    drop_coroutine(v, run, true);
    lua_settop(L, top);
}

/* --- limits --- */

/* Answer for a handler that was ended by a limit. Argument: the run. Runs protected, on the main state. */
static int report_limit(lua_State *L)
{
    vm_run *run = lua_touserdata(L, 1);
    limit_push_text(L);
    log_trace(L, run, 2);
    if (run->vm->limit_raised)
        answer_status(L, run, 504, 2);
    return 0;
}

static void answer_limit(vm *v, vm_run *run)
{
    bool was_ended = v->limit_raised;
    lua_pushcfunction(v->L, report_limit);
    lua_pushlightuserdata(v->L, run);
    if (lua_pcall(v->L, 1, 0, 0) == LUA_OK)
        return;
    lua_pop(v->L, 1);
    v->soiled = true;
    if (was_ended)
        answer_plain_500(run);
}

/* A handler that has used up its time is not asked any more: nothing of it runs again. */
static void end_late(vm *v, vm_run *run)
{
    run->request.limit = (vm_limit)atomic_load_explicit(&v->limit_met, memory_order_relaxed);
    drop_coroutine(v, run, false);
    answer_limit(v, run);
}

/* One that has met its memory limit may have caught the error and gone on. */
static void end_large(vm *v, vm_run *run)
{
    run->request.limit = VM_LIMIT_MEMORY;
    if (run->request.failed)
        v->soiled = true;
    answer_limit(v, run);
}

/* --- the way in --- */

/* The handler has returned, or failed: its values, or the error, stand above the run and the message handler.
 */
static int on_ended(lua_State *co, int status, lua_KContext context)
{
    vm_run *run = (vm_run *)context;
    vm *v = run->vm;
    if (status == LUA_OK || status == LUA_YIELD) {
        if (run->request.job)
            jobs_returned(co, 3, lua_gettop(co) - 2, run);
        else
            reply_from_values(co, 3, lua_gettop(co) - 2, &run->request);
        return 0;
    }
    if (v->limit_raised)
        return 0; /* whatever the error is: end_late answers */
    if (status == LUA_ERRMEM || status == LUA_ERRERR)
        v->soiled = true;
    if (limit_is_out_of_memory(v, status))
        v->memory_refusals++;
    limit_lift_memory(v);
    take_first_error(co, run);
    answer_error(co, lua_gettop(co), run);
    return 0;
}

/* The coroutine's body. Argument: the run. The protected call is in here, and not left to lua_resume: it ends
 * with the coroutine fit for another request, and with hooks as they were before the error, so that variables
 * can be closed under the eyes of a watchdog. */
static int enter(lua_State *co)
{
    vm_run *run = run_of(co);
    lua_pushcfunction(co, on_error);
    if (run->request.job) {
        jobs_push(co, run);
    } else {
        lua_rawgeti(co, LUA_REGISTRYINDEX, run->vm->handler_refs[run->request.route]);
        run->vm->strategy->lend(co, run);
    }
    int status = lua_pcallk(co, 1, LUA_MULTRET, 2, (lua_KContext)run, on_ended);
    return on_ended(co, status, (lua_KContext)run);
}

/* The coroutine came back with `status`. */
static vm_result settle(vm *v, vm_run *run, int status, int n)
{
    if (status == LUA_OK) {
        lua_settop(run->co, 0);
        if (lua_gethook(run->co)) /* the app's, or ours that came late: not for the next request */
            lua_sethook(run->co, NULL, 0, 0);
        return VM_DONE;
    }
    if (status == LUA_YIELD && n == 1 && lua_touserdata(run->co, -1) == &vm_park_mark) {
        lua_pop(run->co, 1);
        return VM_PARKED;
    }
    if (status == LUA_YIELD) {
        lua_settop(run->co, 0);
        lua_pushlightuserdata(run->co, (void *)(uintptr_t)&foreign_yield);
        status = LUA_ERRRUN;
    }
    fail(v, run, status);
    return VM_DONE;
}

static vm_result go(vm *v, vm_run *run, int nargs)
{
    int n = 0;
    vm_result result = VM_DONE;
    v->running = run;
    if (run->globals_away)
        seal_enter(v, run);
    limit_begin(v, run->co, run->request.memory_bytes);
    int status = lua_resume(run->co, v->L, nargs, &n);
    limit_end(v);
    if (v->limit_raised) {
        end_late(v, run);
    } else {
        result = settle(v, run, status, n);
        if (v->memory_refusals)
            end_large(v, run);
    }
    limit_clear(v); /* or it would end a finalizer of the next collection */
    if (v->overlaid)
        seal_leave(v, run, result == VM_PARKED);
    v->running = NULL;
    return result;
}

static void begin_run(vm *v, vm_run *run)
{
    run->live = true;
    run->serial = ++v->requests;
    run->raised = run->explaining = false;
}

void call_prepare(lua_State *L, vm_run *run)
{
    if (!run->co) {
        lua_pushcfunction(L, make_coroutine);
        lua_pushlightuserdata(L, run);
        lua_call(L, 1, 0);
    }
    begin_run(vm_of(L), run);
    lua_pushcfunction(run->co, enter);
    lua_pushlightuserdata(run->co, run);
}

vm_result vm_start(vm *v, vm_run *run)
{
    vm_request *r = &run->request;
    if (!r->job)
        r->route_name = v->route_names[r->route];
    begin_run(v, run);
    if (!run->co) {
        lua_pushcfunction(v->L, make_coroutine);
        lua_pushlightuserdata(v->L, run);
        if (lua_pcall(v->L, 1, 0, 0) != LUA_OK) {
            lua_pop(v->L, 1);
            v->soiled = true;
            answer_plain_500(run);
            return VM_DONE;
        }
    }
    lua_pushcfunction(run->co, enter);
    lua_pushlightuserdata(run->co, run);
    return go(v, run, 1);
}

/* One that was spawned is begun: its argument waits on its stack. */
vm_result vm_resume(vm *v, vm_run *run)
{
    return go(v, run, lua_status(run->co) == LUA_OK);
}

void vm_cancel(vm *v, vm_run *run)
{
    v->running = run;
    if (run->globals_away)
        seal_enter(v, run);
    if (run->request.job && run->request.job->kind == JOB_SPAWN && lua_status(run->co) == LUA_OK)
        jobs_forget(v->L, run);
    limit_begin(v, run->co, run->request.memory_bytes);
    drop_coroutine(v, run, false);
    limit_end(v);
    limit_clear(v);
    if (v->overlaid)
        seal_leave(v, run, false);
    v->running = NULL;
}
