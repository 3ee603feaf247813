/* Running handlers: the one place where the app's code is entered for a request.
 *
 * A handler runs in its run's coroutine, so that it can wait; lua_resume is the protected call. The arguments
 * are made, and the answer encoded, inside it too. */
#include <lauxlib.h>
#include <stdlib.h>

#include "vm/internal.h"
#include "vm/json.h"
#include "vm/reply.h"

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
    v->strategy->end(v->L, run);
    run->live = false;
    run->spawned = false;
    run->next_free = v->free_runs;
    v->free_runs = run;
    v->taken--;
}

/* --- entering --- */

/* The handler has returned: its values stand above the run. */
static int on_returned(lua_State *co, int status, lua_KContext context)
{
    vm_run *run = (vm_run *)context;
    (void)status;
    reply_from_values(co, 2, lua_gettop(co) - 1, &run->request);
    return 0;
}

/* The coroutine's body. Argument: the run. */
static int enter(lua_State *co)
{
    vm_run *run = lua_touserdata(co, 1);
    lua_rawgeti(co, LUA_REGISTRYINDEX, run->vm->handler_refs[run->request.route]);
    run->vm->strategy->lend(co, run);
    lua_callk(co, 1, LUA_MULTRET, (lua_KContext)run, on_returned);
    return on_returned(co, LUA_OK, (lua_KContext)run);
}

static int make_coroutine(lua_State *L)
{
    vm_run *run = lua_touserdata(L, 1);
    lua_State *co = lua_newthread(L);
    run->co_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    run->co = co;
    return 0;
}

/* --- failing --- */

static void answer_plain_500(vm_request *r)
{
    static const char text[] = "{\"error\":\"Internal Server Error\",\"status\":500}";
    r->failed = true;
    r->status = 500;
    r->body_out->n = r->head_out->n = 0;
    r->content_type = buf_add(r->body_out, text, sizeof(text) - 1) == 0 ? "application/json" : NULL;
}

/* What stands for the error of a handler that yielded to nobody: its text is made where it may fail. */
static const char foreign_yield;

/* Push the text for the log: the error with where it came from. The error is at index 2. */
static void push_trace(lua_State *L, lua_State *co, vm *v)
{
    if (lua_getmetatable(L, 2)) {
        bool unanswered = lua_topointer(L, -1) == v->unanswered_mt;
        lua_pop(L, 1);
        if (unanswered) {
            lua_getfield(L, 2, "traceback");
            return;
        }
    }
    if (lua_touserdata(L, 2) == &foreign_yield)
        lua_pushliteral(L, "a handler yielded; only sleep and the like may wait here");
    else
        luaL_tolstring(L, 2, NULL);
    luaL_traceback(L, co, lua_tostring(L, -1), 0);
}

/* Answer for a coroutine that has failed. Arguments: the run, the error. Runs protected, on the main state.
 */
static int report(lua_State *L)
{
    vm_run *run = lua_touserdata(L, 1);
    vm_request *r = &run->request;
    vm *v = run->vm;
    size_t n;
    if (reply_is(L, 2)) {
        reply_from_values(L, 2, 1, r);
        return 0;
    }
    push_trace(L, run->co, v);
    int trace = lua_gettop(L);
    lua_pushfstring(L, "%s: %s", r->route_name, lua_tostring(L, trace));
    const char *text = lua_tolstring(L, -1, &n);
    str id = r->id(r->host);
    v->config.log(v->config.log_user, 0, id, (str){text, n});
    r->failed = true;
    r->status = 500;
    r->content_type = "application/json";
    r->body_out->n = r->head_out->n = 0;
    lua_createtable(L, 0, 4);
    lua_pushliteral(L, "Internal Server Error");
    lua_setfield(L, -2, "error");
    lua_pushinteger(L, 500);
    lua_setfield(L, -2, "status");
    lua_pushlstring(L, id.p, id.n);
    lua_setfield(L, -2, "request_id");
    if (v->config.dev) {
        lua_pushvalue(L, trace);
        lua_setfield(L, -2, "traceback");
    }
    json_encode(L, -1, r->body_out, JSON_REPLACE_BAD_UTF8);
    return 0;
}

/* Arguments: the run, the error. Runs protected, on the main state. */
static int report_unclosed(lua_State *L)
{
    vm_run *run = lua_touserdata(L, 1);
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
        answer_plain_500(&run->request);
    drop_coroutine(v, run, true);
    lua_settop(L, top);
}

/* --- the way in --- */

static vm_result go(vm *v, vm_run *run, int nargs)
{
    int n = 0;
    v->running = run;
    int status = lua_resume(run->co, v->L, nargs, &n);
    if (status == LUA_YIELD && n == 1 && lua_touserdata(run->co, -1) == &vm_park_mark) {
        lua_pop(run->co, 1);
        v->running = NULL;
        return VM_PARKED;
    }
    if (status == LUA_OK) {
        lua_settop(run->co, 0);
    } else {
        if (status == LUA_YIELD) {
            lua_settop(run->co, 0);
            lua_pushlightuserdata(run->co, (void *)(uintptr_t)&foreign_yield);
            status = LUA_ERRRUN;
        }
        fail(v, run, status);
    }
    v->running = NULL;
    return VM_DONE;
}

vm_result vm_start(vm *v, vm_run *run)
{
    vm_request *r = &run->request;
    r->route_name = v->route_names[r->route];
    run->live = true;
    run->serial = ++v->requests;
    if (!run->co) {
        lua_pushcfunction(v->L, make_coroutine);
        lua_pushlightuserdata(v->L, run);
        if (lua_pcall(v->L, 1, 0, 0) != LUA_OK) {
            lua_pop(v->L, 1);
            v->soiled = true;
            answer_plain_500(r);
            return VM_DONE;
        }
    }
    lua_pushcfunction(run->co, enter);
    lua_pushlightuserdata(run->co, run);
    return go(v, run, 1);
}

vm_result vm_resume(vm *v, vm_run *run)
{
    return go(v, run, 0);
}

void vm_cancel(vm *v, vm_run *run)
{
    v->running = run;
    drop_coroutine(v, run, false);
    v->running = NULL;
}
