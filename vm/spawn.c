#include "vm/spawn.h"

#include <errno.h>
#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>

#include "queue/cron.h"
#include "vm/jobs.h"
#include "vm/json.h"
#include "vm/lengths.h"
#include "vm/load.h"
#include "vm/wait.h"

#define SPAWN_TITLE_BYTES 128

static const vm_host *host_of(lua_State *L, const char *title)
{
    const vm_host *host = vm_of(L)->config.host;
    if (!host || !vm_of(L)->running)
        load_raise(L, "%s: only in a handler or a job: there is nothing to do it after or beside", title);
    return host;
}

static int fail_spawn(lua_State *L, int err)
{
    if (err == -EAGAIN)
        return load_raise(L, "task.spawn: too many spawned functions wait or run already");
    return load_no_memory(L);
}

/* --- functions of this VM --- */

static double limit_at(lua_State *L, int arg)
{
    return lua_isnoneornil(L, arg) ? -1 : luaL_checknumber(L, arg);
}

/* "app.lua:12": where the function at an index is written. */
static void describe(lua_State *L, int index, char *to, size_t size)
{
    lua_Debug ar;
    lua_pushvalue(L, index);
    lua_getinfo(L, ">S", &ar);
    snprintf(to, size, "spawned %s:%d", ar.short_src, ar.linedefined);
}

static job *new_spawn_job(const char *title)
{
    job *j = calloc(1, sizeof(*j) + strlen(title) + 1);
    if (!j)
        return NULL;
    j->kind = JOB_SPAWN;
    j->title = (char *)(j + 1);
    j->name = j->title;
    memcpy(j->title, title, strlen(title) + 1);
    return j;
}

/* spawn(cpu, wall, memory, fn, ...): each limit a number, 0 for none, or nil for the server's. */
static int on_spawn(lua_State *L)
{
    const vm_host *host = host_of(L, "task.spawn");
    vm *v = vm_of(L);
    vm_spawn_limits limits = {limit_at(L, 1), limit_at(L, 2), limit_at(L, 3)};
    luaL_checktype(L, 4, LUA_TFUNCTION);
    char title[SPAWN_TITLE_BYTES];
    describe(L, 4, title, sizeof(title));
    int n = lua_gettop(L) - 3; /* the function and its arguments */
    lua_createtable(L, n, 1);
    lua_insert(L, 4);
    for (int i = n; i >= 1; i--)
        lua_rawseti(L, 4, i);
    lua_pushinteger(L, n);
    lua_setfield(L, 4, "n");
    luaL_checkstack(L, 4, NULL);
    job *j = new_spawn_job(title); /* from here on nothing may be raised until it is given away or back */
    vm_run *run = j ? jobs_keep(L, 4, j) : NULL;
    int err = run ? host->spawn(host->user, v->running->request.host, run, j, &limits) : -ENOMEM;
    if (err && run)
        jobs_let_go(L, run);
    if (err)
        free(j);
    return err ? fail_spawn(L, err) : 0;
}

/* --- functions of other VMs --- */

/* Calls that were asked for together. */
typedef struct calls {
    wait wait; /* first */
    atomic_uint left;
    size_t n;
    struct one {
        job job;
        struct calls *all;
        buf arguments;
        char *name;
    } each[];
} calls;

static void free_calls(await *a)
{
    calls *c = (calls *)a;
    for (size_t i = 0; i < c->n; i++) {
        buf_fini(&c->each[i].arguments);
        buf_fini(&c->each[i].job.result);
        free(c->each[i].name);
    }
    free(c);
}

/* The last one ends the wait. */
static void on_over(job *j)
{
    calls *c = ((struct one *)j)->all;
    if (atomic_fetch_sub_explicit(&c->left, 1, memory_order_acq_rel) == 1)
        wait_over(&c->wait);
}

/* Push for each whether it went well, and what it returned as a list, or why not. */
static int push_calls(lua_State *L, const calls *c)
{
    lua_createtable(L, (int)c->n, 0);
    for (size_t i = 0; i < c->n; i++) {
        const job *j = &c->each[i].job;
        json_error error;
        lua_createtable(L, 2, 0);
        lua_pushboolean(L, !j->failed);
        lua_rawseti(L, -2, 1);
        if (j->failed)
            lua_pushlstring(L, j->result.p ? j->result.p : "not enough memory",
                            j->result.p ? j->result.n : 17);
        else if (json_decode(L, buf_str(&j->result), &error) != 0)
            return luaL_error(L, "a result is no JSON: %s", error.reason);
        lua_rawseti(L, -2, 2);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return 1;
}

static int on_called(lua_State *L, int status, lua_KContext box)
{
    const calls *c = (const calls *)wait_in(L, (int)box);
    (void)status;
    if (!wait_is_over(&c->wait))
        return luaL_error(L, "task.run: the time is over");
    return push_calls(L, c);
}

static void set_call(lua_State *L, calls *c, size_t i, const char *name)
{
    struct one *o = &c->each[i];
    o->all = c;
    o->name = strdup(name);
    o->job = (job){.kind = JOB_CALL, .name = o->name, .title = o->name};
    if (!o->name)
        load_no_memory(L);
    load_encode(L, -1, &o->arguments, "task.run");
    o->job.arguments = buf_str(&o->arguments);
}

/* Those from i on will not be run. Returns: whether all are over by that. */
static bool refuse_rest(calls *c, size_t i)
{
    static const char why[] = "too many wait already, or the server ends";
    unsigned rest = (unsigned)(c->n - i);
    for (; i < c->n; i++) {
        c->each[i].job.failed = true;
        (void)buf_add(&c->each[i].job.result, why, sizeof(why) - 1);
    }
    return atomic_fetch_sub_explicit(&c->left, rest, memory_order_acq_rel) == rest;
}

/* call(name, { arguments... }...): each list of arguments is a call of its own, in any VM. Returns what
 * push_calls makes. */
static int on_call(lua_State *L)
{
    const vm_host *host = host_of(L, "task.run");
    const char *name = luaL_checkstring(L, 1);
    luaL_checktype(L, 2, LUA_TTABLE);
    size_t n = lua_rawlen(L, 2);
    if (!wait_is_possible(L))
        return wait_refuse(L, "task.run");
    lua_settop(L, 2);
    wait_push_box(L);
    calls *c = calloc(1, sizeof(*c) + n * sizeof(c->each[0]));
    if (!c)
        return load_no_memory(L);
    wait_init(&c->wait, vm_of(L), free_calls);
    await_unref(&c->wait.await); /* until the work is begun */
    wait_fill(L, 3, &c->wait);
    c->n = n;
    for (size_t i = 0; i < n; i++) {
        lua_rawgeti(L, 2, (lua_Integer)i + 1);
        set_call(L, c, i, name);
        lua_pop(L, 1);
    }
    if (n == 0)
        return push_calls(L, c);
    atomic_init(&c->left, (unsigned)n);
    await_ref(&c->wait.await);
    for (size_t i = 0; i < n; i++) {
        if (host->call(host->user, &c->each[i].job, on_over) == 0)
            continue;
        if (refuse_rest(c, i))
            wait_over(&c->wait);
        break;
    }
    if (!wait_begins(&c->wait))
        return push_calls(L, c);
    return wait_yield(L, &c->wait, 0, on_called);
}

static int on_stopping(lua_State *L)
{
    const vm_host *host = vm_of(L)->config.host;
    lua_pushboolean(L, host && host->stopping(host->user));
    return 1;
}

/* --- the clock --- */

/* calendar(expression, zone) -> nil, or what is wrong with them */
static int on_calendar(lua_State *L)
{
    char error[256];
    str expression, name;
    cron c;
    zone *z = NULL;
    expression.p = luaL_checklstring(L, 1, &expression.n);
    name.p = luaL_checklstring(L, 2, &name.n);
    int err = zone_load(name, &z, error, sizeof(error));
    if (err == 0)
        err = cron_parse(expression, &c, error, sizeof(error));
    zone_free(z);
    if (err)
        lua_pushstring(L, error);
    else
        lua_pushnil(L);
    return 1;
}

/* --- the module --- */

static int on_open(lua_State *L)
{
    static const luaL_Reg native[] = {{"spawn", on_spawn},
                                      {"call", on_call},
                                      {"stopping", on_stopping},
                                      {"calendar", on_calendar},
                                      {NULL, NULL}};
    load_chunk(L, "task", 1);
    luaL_newlib(L, native);
    jobs_push_define(L);
    lua_setfield(L, -2, "define");
    lua_pushcfunction(L, lengths_read);
    lua_setfield(L, -2, "duration");
    lua_getfield(L, LUA_REGISTRYINDEX, LOAD_WHERE);
    lua_call(L, 2, 1);
    return 1;
}

void spawn_install(lua_State *L)
{
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
    lua_pushcfunction(L, on_open);
    lua_setfield(L, -2, "poolsrv.task");
    lua_pop(L, 1);
}
