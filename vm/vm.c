#include "vm/vm.h"

#include <errno.h>
#include <lauxlib.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>

#include "vm/audit.h"
#include "vm/internal.h"
#include "vm/json.h"
#include "vm/reply.h"

const char vm_park_mark = 0;

static void *allocate(void *user, void *p, size_t old, size_t size)
{
    vm *v = user;
    size_t had = p ? old : 0;
    if (size == 0) {
        free(p);
        v->bytes -= had;
        return NULL;
    }
    void *more = realloc(p, size);
    if (more)
        v->bytes += size - had;
    return more;
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
    reply_install(L);
    ctx_install(L);
    audit_install(L);
    globals_install(L);
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
    v->L = lua_newstate(allocate, v);
    if (!v->strategy || !v->L) {
        bool known = v->strategy != NULL;
        if (!known)
            snprintf(error, size, "no context strategy is called \"%s\"", config->context);
        if (v->L)
            lua_close(v->L);
        free(v);
        return known ? -ENOMEM : -EINVAL;
    }
    *(vm **)lua_getextraspace(v->L) = v;
    lua_pushcfunction(v->L, set_up);
    int err = vm_call(v, 0, 0, error, size);
    if (err)
        vm_close(v);
    else
        *ret_vm = v;
    return err;
}

void vm_close(vm *v)
{
    if (!v)
        return;
    v->closing = true;
    lua_close(v->L);
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
    free(v->signature);
    free(v->path);
    free(v);
}

static int add_traceback(lua_State *L)
{
    const char *text = lua_tostring(L, 1);
    if (!text)
        text = luaL_tolstring(L, 1, NULL);
    luaL_traceback(L, L, text, 1);
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
    return v->bytes;
}

void vm_idle(vm *v)
{
    lua_gc(v->L, LUA_GCSTEP, 0);
}
