#include "vm/jobs.h"

#include <errno.h>
#include <lauxlib.h>
#include <stdio.h>

#include "vm/json.h"
#include "vm/load.h"

/* In the registry: { list = { { kind =, name =, where =, ... } ... }, consume = { name -> fn }, clock = the
 * same, notice = { name -> { fn... } }, spawn = { light userdata of the run -> { n =, fn, arguments... } } }
 */
#define JOBS     "poolsrv.jobs"
#define JOB_MT   "poolsrv.job" /* of the tables that consumers see; vm/mqueue.c fills it */
#define MS_PER_S 1000.0

/* --- definitions --- */

/* Push JOBS[name]. */
static void push_part(lua_State *L, const char *name)
{
    lua_getfield(L, LUA_REGISTRYINDEX, JOBS);
    lua_getfield(L, -1, name);
    lua_remove(L, -2);
}

void jobs_install(lua_State *L)
{
    static const char *const parts[] = {"list", "consume", "clock", "notice", "spawn"};
    luaL_getsubtable(L, LUA_REGISTRYINDEX, JOBS);
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        luaL_getsubtable(L, -1, parts[i]);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
}

/* Push where the function of that name was defined, or nil. */
static void push_place_of(lua_State *L, const char *kind, const char *name)
{
    push_part(L, "list");
    int list = lua_gettop(L);
    for (lua_Integer i = 1; lua_rawgeti(L, list, i) == LUA_TTABLE; i++) {
        lua_getfield(L, -1, "kind");
        lua_getfield(L, -2, "name");
        bool is = strcmp(lua_tostring(L, -2), kind) == 0 && strcmp(lua_tostring(L, -1), name) == 0;
        lua_pop(L, 2);
        if (is) {
            lua_getfield(L, -1, "where");
            return;
        }
        lua_pop(L, 1);
    }
}

/* Put the function at 3 at the end of what there is under the name. */
static void add_listener(lua_State *L)
{
    push_part(L, "notice");
    luaL_getsubtable(L, -1, lua_tostring(L, 2));
    lua_pushvalue(L, 3);
    lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
}

static void add_function(lua_State *L, const char *kind)
{
    push_part(L, kind);
    lua_pushvalue(L, 2);
    lua_pushvalue(L, 3);
    lua_rawset(L, -3);
}

/* define(kind, name, fn, options) */
static int on_define(lua_State *L)
{
    static const char *const kinds[] = {"consume", "clock", "notice", NULL};
    const char *kind = kinds[luaL_checkoption(L, 1, NULL, kinds)], *name = luaL_checkstring(L, 2);
    luaL_checktype(L, 3, LUA_TFUNCTION);
    luaL_checktype(L, 4, LUA_TTABLE);
    bool many = strcmp(kind, "notice") == 0;
    if (vm_of(L)->running || vm_of(L)->signature)
        return load_raise(L, "consumers and the like are defined while the app loads, not by a handler");
    if (!many) {
        push_place_of(L, kind, name);
        if (!lua_isnil(L, -1))
            return 1;
    }
    lua_settop(L, 4);
    if (many)
        add_listener(L);
    else
        add_function(L, kind);
    lua_pushvalue(L, 1);
    lua_setfield(L, 4, "kind");
    lua_pushvalue(L, 2);
    lua_setfield(L, 4, "name");
    push_part(L, "list");
    lua_pushvalue(L, 4);
    lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
    return 0;
}

void jobs_push_define(lua_State *L)
{
    lua_pushcfunction(L, on_define);
}

int jobs_sign(lua_State *L, buf *text)
{
    int err = 0;
    push_part(L, "list");
    for (lua_Integer i = 1; lua_rawgeti(L, -1, i) == LUA_TTABLE && err == 0; i++) {
        lua_getfield(L, -1, "kind");
        lua_getfield(L, -2, "name");
        err = buf_addf(text, "%s %s\n", lua_tostring(L, -2), lua_tostring(L, -1));
        lua_pop(L, 3);
    }
    lua_pop(L, 2);
    return err;
}

/* Arguments, as light userdata: the place for the answer; the number from 1. */
static int read_job(lua_State *L)
{
    vm_job_def *def = lua_touserdata(L, 1);
    push_part(L, "list");
    if (lua_rawgeti(L, -1, lua_tointeger(L, 2)) != LUA_TTABLE)
        return 0;
    lua_getfield(L, -1, "kind");
    lua_getfield(L, -2, "name");
    lua_getfield(L, -3, "where");
    const char *kind = lua_tostring(L, -3);
    def->kind = *kind == 'n' ? JOB_NOTICE : kind[1] == 'o' ? JOB_CONSUME : JOB_CLOCK;
    def->name = lua_tostring(L, -2);
    def->where = lua_tostring(L, -1);
    return 0;
}

bool vm_job_at(vm *v, size_t i, vm_job_def *ret)
{
    char error[64];
    *ret = (vm_job_def){0};
    lua_pushcfunction(v->L, read_job);
    lua_pushlightuserdata(v->L, ret);
    lua_pushinteger(v->L, (lua_Integer)i + 1);
    return vm_call(v, 2, 0, error, sizeof(error)) == 0 && ret->name;
}

/* Arguments: the number from 1, the option's name. Returns its value. */
static int read_option(lua_State *L)
{
    push_part(L, "list");
    lua_rawgeti(L, -1, lua_tointeger(L, 1));
    lua_pushstring(L, lua_touserdata(L, 2));
    lua_rawget(L, -2);
    return 1;
}

static bool push_option(vm *v, size_t i, const char *name)
{
    char error[64];
    lua_pushcfunction(v->L, read_option);
    lua_pushinteger(v->L, (lua_Integer)i + 1);
    lua_pushlightuserdata(v->L, (void *)(uintptr_t)name);
    return vm_call(v, 2, 1, error, sizeof(error)) == 0;
}

double vm_job_number(vm *v, size_t i, const char *option, double preset)
{
    if (!push_option(v, i, option))
        return preset;
    double value = lua_type(v->L, -1) == LUA_TNUMBER ? lua_tonumber(v->L, -1) : preset;
    lua_pop(v->L, 1);
    return value;
}

const char *vm_job_text(vm *v, size_t i, const char *option)
{
    if (!push_option(v, i, option))
        return NULL;
    const char *text = lua_type(v->L, -1) == LUA_TSTRING ? lua_tostring(v->L, -1) : NULL;
    lua_pop(v->L, 1); /* the list keeps it */
    return text;
}

/* --- what a consumer sees --- */

static void set_text(lua_State *L, const char *name, const char *text)
{
    lua_pushstring(L, text);
    lua_setfield(L, -2, name);
}

static void push_job_table(lua_State *L, const mq_message *m)
{
    lua_createtable(L, 0, 5);
    set_text(L, "id", m->id);
    lua_pushinteger(L, (lua_Integer)m->attempt);
    lua_setfield(L, -2, "attempt");
    lua_pushnumber(L, (double)m->pushed_ms / MS_PER_S);
    lua_setfield(L, -2, "enqueued_at");
    lua_pushinteger(L, m->priority);
    lua_setfield(L, -2, "priority");
    if (*m->from)
        set_text(L, "from", m->from);
    luaL_getmetatable(L, JOB_MT);
    lua_setmetatable(L, -2);
}

/* __index of a batch's jobs: they are made when they are asked for. Only while the batch is run. */
static int on_index_batch(lua_State *L)
{
    const vm_run *run = vm_of(L)->running;
    const job *j = run ? run->request.job : NULL;
    int isnum;
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_Integer i = lua_tointegerx(L, 2, &isnum);
    if (!j || !isnum || lua_touserdata(L, lua_upvalueindex(1)) != j)
        return 0;
    const mq_message *m = j->messages;
    for (lua_Integer at = 1; m && at < i; at++)
        m = m->next;
    if (!m || i < 1)
        return 0;
    push_job_table(L, m);
    lua_pushvalue(L, -1);
    lua_rawseti(L, 1, i);
    return 1;
}

static int on_len_batch(lua_State *L)
{
    lua_pushvalue(L, lua_upvalueindex(1));
    return 1;
}

static void push_batch_jobs(lua_State *L, const job *j, lua_Integer n)
{
    lua_newtable(L);
    lua_createtable(L, 0, 2);
    lua_pushlightuserdata(L, (void *)(uintptr_t)j);
    lua_pushcclosure(L, on_index_batch, 1);
    lua_setfield(L, -2, "__index");
    lua_pushinteger(L, n);
    lua_pushcclosure(L, on_len_batch, 1);
    lua_setfield(L, -2, "__len");
    lua_setmetatable(L, -2);
}

/* --- running --- */

static void push_json(lua_State *L, str text, const char *what)
{
    json_error error;
    if (json_decode(L, text, &error) != 0)
        luaL_error(L, "%s is no JSON: %s at byte %I", what, error.reason, (lua_Integer)error.position);
}

/* Push the message, or the list of them, and what belongs to it. Returns: how many values that are. */
static int push_messages(lua_State *L, const job *j)
{
    if (!j->batch) {
        push_json(L, j->messages->body, "the message");
        push_job_table(L, j->messages);
        return 2;
    }
    lua_Integer n = 0;
    lua_newtable(L);
    for (const mq_message *m = j->messages; m; m = m->next) {
        push_json(L, m->body, "a message");
        lua_rawseti(L, -2, ++n);
    }
    push_batch_jobs(L, j, n);
    return 2;
}

/* Push the elements of the JSON array that are the arguments. Returns: how many there are. */
static int push_arguments(lua_State *L, const job *j)
{
    if (!j->arguments.n)
        return 0;
    push_json(L, j->arguments, "the arguments");
    int list = lua_gettop(L), n = (int)lua_rawlen(L, list);
    luaL_checkstack(L, n, "too many arguments");
    for (int i = 1; i <= n; i++)
        if (lua_rawgeti(L, list, i) == LUA_TLIGHTUSERDATA && !lua_touserdata(L, -1)) {
            lua_pop(L, 1);
            lua_pushnil(L);
        }
    lua_remove(L, list);
    return n;
}

/* Push the function of that name of that kind. */
static void push_function(lua_State *L, const char *kind, const job *j)
{
    push_part(L, kind);
    if (lua_getfield(L, -1, j->name) == LUA_TNIL)
        luaL_error(L, "%s: this VM's app does not define it", j->title);
    lua_remove(L, -2);
}

/* Push the function "module.function", loading the module if need be. */
static void push_module_function(lua_State *L, const job *j)
{
    const char *dot = strrchr(j->name, '.');
    if (!dot || dot == j->name || !dot[1])
        luaL_error(L, "\"%s\": the name of a module's function is wanted, as in \"thumbnails.make\"",
                   j->name);
    lua_getglobal(L, "require");
    lua_pushlstring(L, j->name, (size_t)(dot - j->name));
    lua_call(L, 1, 1);
    if (!lua_istable(L, -1) || lua_getfield(L, -1, dot + 1) != LUA_TFUNCTION)
        luaL_error(L, "the module \"%s\" has no function \"%s\"",
                   lua_pushlstring(L, j->name, (size_t)(dot - j->name)), dot + 1);
    lua_remove(L, -2);
}

/* Push what was kept by the run, and forget it there. Returns: how many arguments. */
static int push_kept(lua_State *L, const vm_run *run)
{
    push_part(L, "spawn");
    int spawn = lua_gettop(L);
    lua_rawgetp(L, spawn, run);
    lua_pushnil(L);
    lua_rawsetp(L, spawn, run);
    int list = lua_gettop(L);
    lua_getfield(L, list, "n");
    int n = (int)lua_tointeger(L, -1);
    lua_pop(L, 1);
    luaL_checkstack(L, n + 1, "too many arguments");
    for (int i = 1; i <= n; i++)
        lua_rawgeti(L, list, i);
    lua_remove(L, list);
    lua_remove(L, spawn);
    return n - 1;
}

static int on_returned(lua_State *L, int status, lua_KContext before)
{
    (void)status;
    return lua_gettop(L) - (int)before;
}

/* Call the listeners one after the other: the list is at 2, the arguments behind it, which is called next is
 * the context. One that fails ends the job. */
static int call_listeners(lua_State *L, int status, lua_KContext i)
{
    (void)status;
    int top = (int)lua_tointeger(L, 3);
    lua_settop(L, top);
    for (; lua_rawgeti(L, 2, i) == LUA_TFUNCTION; i++) {
        for (int argument = 4; argument <= top; argument++)
            lua_pushvalue(L, argument);
        lua_callk(L, top - 3, 0, i + 1, call_listeners);
    }
    return 0;
}

static int run_listeners(lua_State *L, const job *j)
{
    push_part(L, "notice");
    if (lua_getfield(L, -1, j->name) != LUA_TTABLE)
        return 0;
    lua_replace(L, 2); /* in the place of the part */
    lua_pushinteger(L, 0);
    int n = push_arguments(L, j);
    lua_pushinteger(L, 3 + n);
    lua_replace(L, 3);
    return call_listeners(L, LUA_OK, 1);
}

/* Argument: the run. */
static int run_job(lua_State *L)
{
    vm_run *run = lua_touserdata(L, 1);
    if (!run || run != vm_of(L)->running)
        return luaL_error(L, "only the server calls this function");
    const job *j = run->request.job;
    int n = 0;
    switch (j->kind) {
    case JOB_CONSUME:
        push_function(L, "consume", j);
        n = push_messages(L, j);
        break;
    case JOB_CALL:
        push_module_function(L, j);
        n = push_arguments(L, j);
        break;
    case JOB_CLOCK:
        push_function(L, "clock", j);
        lua_pushnumber(L, j->due_s);
        n = 1;
        break;
    case JOB_SPAWN:
        n = push_kept(L, run);
        break;
    case JOB_NOTICE:
        return run_listeners(L, j);
    }
    lua_callk(L, n, LUA_MULTRET, 1, on_returned);
    return on_returned(L, LUA_OK, 1);
}

void jobs_push(lua_State *co, vm_run *run)
{
    lua_pushcfunction(co, run_job);
    lua_pushlightuserdata(co, run);
}

/* --- spawning --- */

/* Arguments: the list, the run. */
static int keep(lua_State *L)
{
    vm_run *run = lua_touserdata(L, 2);
    call_prepare(L, run);
    push_part(L, "spawn");
    lua_pushvalue(L, 1);
    lua_rawsetp(L, -2, run);
    return 0;
}

vm_run *jobs_keep(lua_State *L, int list, job *j)
{
    vm *v = vm_of(L);
    vm_run *run = vm_run_take(v);
    if (!run)
        return NULL;
    run->request = (vm_request){.id = v->running->request.id, .job = j};
    lua_pushvalue(L, list);
    lua_pushcfunction(L, keep);
    lua_insert(L, -2);
    lua_pushlightuserdata(L, run);
    if (lua_pcall(L, 2, 0, 0) == LUA_OK)
        return run;
    lua_pop(L, 1);
    jobs_let_go(L, run);
    return NULL;
}

void jobs_forget(lua_State *L, const vm_run *run)
{
    push_part(L, "spawn");
    lua_pushnil(L);
    lua_rawsetp(L, -2, run);
    lua_pop(L, 1);
}

void jobs_let_go(lua_State *L, vm_run *run)
{
    jobs_forget(L, run);
    if (run->co)
        lua_settop(run->co, 0);
    vm_run_give(vm_of(L), run);
}

/* --- outcomes --- */

static void encode_results(lua_State *co, int first, int n, buf *out)
{
    if (buf_add(out, "[", 1) < 0)
        load_no_memory(co);
    for (int i = 0; i < n; i++) {
        if (i && buf_add(out, ",", 1) < 0)
            load_no_memory(co);
        json_encode(co, first + i, out, 0);
    }
    if (buf_add(out, "]", 1) < 0)
        load_no_memory(co);
}

void jobs_returned(lua_State *co, int first, int n, vm_run *run)
{
    job *j = run->request.job;
    run->request.status = 200;
    j->result.n = 0;
    if (j->kind == JOB_CALL)
        encode_results(co, first, n, &j->result);
}

static void set_failed(vm_run *run, const char *text, size_t n)
{
    job *j = run->request.job;
    run->request.status = 500;
    run->request.failed = j->failed = true;
    j->result.n = 0;
    (void)buf_add(&j->result, text, n); /* short of memory: it failed without a word */
}

void jobs_failed(lua_State *L, int text, vm_run *run)
{
    size_t n;
    const char *p = lua_tolstring(L, text, &n);
    set_failed(run, p, n);
}

void jobs_failed_plainly(vm_run *run)
{
    static const char text[] = "not enough memory";
    set_failed(run, text, sizeof(text) - 1);
}
