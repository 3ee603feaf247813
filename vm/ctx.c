#include "vm/ctx.h"

#include <lauxlib.h>
#include <stdio.h>
#include <stdlib.h>

#include "queue/percent.h"
#include "vm/audit.h"
#include "vm/cookie.h"
#include "vm/ctx_eager.h"
#include "vm/ctx_lazy.h"
#include "vm/ctx_preregistered.h"
#include "vm/ctx_recycled.h"
#include "vm/internal.h"
#include "vm/json.h"
#include "vm/query.h"
#include "vm/reply.h"

const char *const ctx_field_names[CTX_FIELD_COUNT] = {
#define X(name, text) text,
    CTX_FIELDS(X)
#undef X
};

const ctx_strategy *ctx_strategy_named(const char *name)
{
    static const ctx_strategy *const all[] = {&ctx_eager, &ctx_lazy, &ctx_preregistered, &ctx_recycled};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        if (strcmp(all[i]->name, name) == 0)
            return all[i];
    return NULL;
}

/* --- what makes a table a context --- */

/* Its address is the value of __metatable in every context's metatable, and the key of what tells more: a
 * route's name once the context has ended, true before that. */
static const char marker;

bool ctx_is_marker(lua_State *L, int index)
{
    return lua_touserdata(L, index) == &marker;
}

/* Push a metatable with room for so many fields more. */
static void push_marked(lua_State *L, int fields)
{
    lua_createtable(L, 0, 3 + fields);
    lua_pushlightuserdata(L, (void *)(uintptr_t)&marker);
    lua_setfield(L, -2, "__metatable");
    lua_pushliteral(L, "context");
    lua_setfield(L, -2, "__name");
}

void ctx_push_metatable(lua_State *L)
{
    push_marked(L, 1);
    lua_pushboolean(L, true);
    lua_rawsetp(L, -2, &marker);
}

int ctx_raise_stale(lua_State *L, const char *route)
{
    return luaL_error(L, "the context of %s was used after its request had ended; copy what you need from it",
                      route ? route : "a request");
}

/* --- which request --- */

/* The table at index 1 is no context under way. */
static void raise_not_live(lua_State *L)
{
    if (lua_getmetatable(L, 1) && lua_rawgetp(L, -1, &marker) != LUA_TNIL)
        ctx_raise_stale(L, lua_tostring(L, -1));
    luaL_error(L, "the first argument is no context: call it with a colon, as in ctx:headers()");
}

/* The context at index 1 is not that of the request which runs: search for its own. Rare. */
static vm_run *search(lua_State *L)
{
    const void *table = lua_topointer(L, 1);
    if (lua_type(L, 1) != LUA_TTABLE)
        luaL_error(L, "the context is missing: call it with a colon, as in ctx:headers()");
    vm_run *run = vm_of(L)->runs;
    while (run && run->ctx.table != table)
        run = run->next;
    if (!run)
        raise_not_live(L);
    else if (!run->live)
        ctx_raise_stale(L, run->request.route_name);
    return run;
}

vm_run *ctx_check(lua_State *L)
{
    const void *table = lua_topointer(L, 1);
    vm_run *run = lua_touserdata(L, lua_upvalueindex(1));
    if (!run)
        run = vm_of(L)->running;
    if (run && table && run->live && run->ctx.table == table)
        return run;
    return search(L);
}

/* Count the read; push what an earlier call returned, if there was one. */
static bool push_memo(lua_State *L, vm_run *run, enum ctx_field field)
{
    run->request.fields_read |= 1u << field;
    if (!(run->ctx.memo & (1u << field)))
        return false;
    lua_rawgeti(L, LUA_REGISTRYINDEX, run->ctx.memo_ref);
    lua_rawgeti(L, -1, (lua_Integer)field + 1);
    return true;
}

/* Keep the value at the top for the next call. Returns: 1. */
static int keep_memo(lua_State *L, vm_run *run, enum ctx_field field)
{
    if (run->ctx.memo_ref == LUA_NOREF) {
        lua_createtable(L, CTX_FIELD_COUNT, 0);
        run->ctx.memo_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    }
    lua_rawgeti(L, LUA_REGISTRYINDEX, run->ctx.memo_ref);
    lua_pushvalue(L, -2);
    lua_rawseti(L, -2, (lua_Integer)field + 1);
    run->ctx.memo |= 1u << field;
    lua_pop(L, 1);
    return 1;
}

void ctx_forget_memo(lua_State *L, vm_run *run)
{
    if (!run->ctx.memo)
        return;
    lua_rawgeti(L, LUA_REGISTRYINDEX, run->ctx.memo_ref);
    for (int field = 0; field < CTX_FIELD_COUNT; field++) {
        if (run->ctx.memo & (1u << field)) {
            lua_pushnil(L);
            lua_rawseti(L, -2, field + 1);
        }
    }
    lua_pop(L, 1);
    run->ctx.memo = 0;
}

/* --- headers --- */

static void push_lower(lua_State *L, const char *p, size_t n)
{
    luaL_Buffer b;
    char *out = luaL_buffinitsize(L, &b, n);
    for (size_t i = 0; i < n; i++)
        out[i] = p[i] >= 'A' && p[i] <= 'Z' ? (char)(p[i] + ('a' - 'A')) : p[i];
    luaL_pushresultsize(&b, n);
}

static const char *separator(const char *name, size_t n)
{
    return str_eq_nocase((str){name, n}, STR("cookie")) ? "; " : ", ";
}

static int on_headers(lua_State *L)
{
    vm_run *run = ctx_check(L);
    const vm_request *r = &run->request;
    if (push_memo(L, run, CTX_HEADERS))
        return 1;
    lua_createtable(L, 0, (int)r->header_count);
    for (uint32_t i = 0; i < r->header_count; i++) {
        const str_pair *h = &r->headers[i];
        push_lower(L, h->name, h->name_bytes);
        lua_pushvalue(L, -1);
        if (lua_rawget(L, -3) == LUA_TNIL) {
            lua_pop(L, 1);
            lua_pushlstring(L, h->value, h->value_bytes);
        } else {
            lua_pushstring(L, separator(h->name, h->name_bytes));
            lua_pushlstring(L, h->value, h->value_bytes);
            lua_concat(L, 3);
        }
        lua_rawset(L, -3);
    }
    lua_rawgeti(L, LUA_REGISTRYINDEX, run->vm->lower_mt_ref);
    lua_setmetatable(L, -2);
    return keep_memo(L, run, CTX_HEADERS);
}

/* A miss in the table of headers is tried again in lower case. */
static int on_headers_miss(lua_State *L)
{
    if (lua_type(L, 2) != LUA_TSTRING)
        return 0;
    size_t n;
    const char *p = lua_tolstring(L, 2, &n);
    push_lower(L, p, n);
    lua_rawget(L, 1);
    return 1;
}

static int on_header(lua_State *L)
{
    vm_run *run = ctx_check(L);
    const vm_request *r = &run->request;
    str name;
    name.p = luaL_checklstring(L, 2, &name.n);
    run->request.fields_read |= 1u << CTX_HEADER;
    int found = 0;
    for (uint32_t i = 0; i < r->header_count; i++) {
        const str_pair *h = &r->headers[i];
        if (!str_eq_nocase((str){h->name, h->name_bytes}, name))
            continue;
        if (found++)
            lua_pushstring(L, separator(name.p, name.n));
        lua_pushlstring(L, h->value, h->value_bytes);
        if (found > 1)
            lua_concat(L, 3);
    }
    if (!found)
        lua_pushnil(L); /* a value, so that tostring(ctx:header(name)) works */
    return 1;
}

static int on_cookies(lua_State *L)
{
    vm_run *run = ctx_check(L);
    const vm_request *r = &run->request;
    str name, value;
    if (push_memo(L, run, CTX_COOKIES))
        return 1;
    lua_newtable(L);
    for (uint32_t i = 0; i < r->header_count; i++) {
        const str_pair *h = &r->headers[i];
        if (!str_eq_nocase((str){h->name, h->name_bytes}, STR("cookie")))
            continue;
        cookie_iter it = cookie_start((str){h->value, h->value_bytes});
        while (cookie_next(&it, &name, &value)) {
            lua_pushlstring(L, name.p, name.n);
            lua_pushvalue(L, -1);
            if (lua_rawget(L, -3) == LUA_TNIL) { /* the first of a name */
                lua_pop(L, 1);
                lua_pushlstring(L, value.p, value.n);
                lua_rawset(L, -3);
            } else {
                lua_pop(L, 2);
            }
        }
    }
    return keep_memo(L, run, CTX_COOKIES);
}

/* --- query and parameters --- */

static int on_query(lua_State *L)
{
    vm_run *run = ctx_check(L);
    str raw = run->request.query, name, value;
    if (push_memo(L, run, CTX_QUERY))
        return 1;
    lua_newtable(L);
    if (raw.n) {
        char *scratch = lua_newuserdatauv(L, raw.n, 0);
        query_iter it = query_start(raw);
        while (query_next(&it, scratch, &name, &value)) {
            lua_pushlstring(L, name.p, name.n);
            lua_pushvalue(L, -1);
            if (lua_rawget(L, -4) == LUA_TNIL) {
                lua_pop(L, 1);
                lua_pushlstring(L, value.p, value.n);
                lua_rawset(L, -4);
            } else {
                lua_pop(L, 2);
            }
        }
        lua_pop(L, 1);
    }
    return keep_memo(L, run, CTX_QUERY);
}

/* Append the value at the top to the list all[name]; name is below it, all at `all`. */
static void add_to_list(lua_State *L, int all)
{
    lua_pushvalue(L, -2);
    if (lua_rawget(L, all) == LUA_TNIL) {
        lua_pop(L, 1);
        lua_createtable(L, 1, 0);
        lua_pushvalue(L, -3);
        lua_pushvalue(L, -2);
        lua_rawset(L, all);
    }
    lua_pushvalue(L, -2);
    lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
    lua_pop(L, 1);
}

static int on_query_all(lua_State *L)
{
    vm_run *run = ctx_check(L);
    str raw = run->request.query, name, value;
    if (push_memo(L, run, CTX_QUERY_ALL))
        return 1;
    lua_newtable(L);
    int all = lua_gettop(L);
    if (raw.n) {
        char *scratch = lua_newuserdatauv(L, raw.n, 0);
        query_iter it = query_start(raw);
        for (lua_Integer i = 1; query_next(&it, scratch, &name, &value); i++) {
            lua_pushlstring(L, name.p, name.n);
            lua_pushlstring(L, value.p, value.n);
            lua_createtable(L, 2, 0);
            lua_pushvalue(L, -3);
            lua_rawseti(L, -2, 1);
            lua_pushvalue(L, -2);
            lua_rawseti(L, -2, 2);
            lua_rawseti(L, all, i);
            add_to_list(L, all);
            lua_pop(L, 2);
        }
        lua_pop(L, 1);
    }
    return keep_memo(L, run, CTX_QUERY_ALL);
}

static void push_decoded(lua_State *L, str raw)
{
    if (!percent_path_needs(raw)) {
        lua_pushlstring(L, raw.p, raw.n);
        return;
    }
    luaL_Buffer b;
    char *out = luaL_buffinitsize(L, &b, raw.n);
    ssize_t n = percent_path_decode(raw, out);
    luaL_pushresultsize(&b, n < 0 ? 0 : (size_t)n);
}

static int on_params(lua_State *L)
{
    vm_run *run = ctx_check(L);
    const vm_request *r = &run->request;
    if (push_memo(L, run, CTX_PARAMS))
        return 1;
    lua_createtable(L, 0, (int)r->param_count);
    for (size_t i = 0; i < r->param_count; i++) {
        lua_pushlstring(L, r->param_names[i].p, r->param_names[i].n);
        push_decoded(L, r->param_values[i]);
        lua_rawset(L, -3);
    }
    return keep_memo(L, run, CTX_PARAMS);
}

/* --- body --- */

static int on_body(lua_State *L)
{
    vm_run *run = ctx_check(L);
    if (push_memo(L, run, CTX_BODY))
        return 1;
    lua_pushlstring(L, run->request.body.p, run->request.body.n);
    return keep_memo(L, run, CTX_BODY);
}

static str header_of(const vm_request *r, str name)
{
    for (uint32_t i = 0; i < r->header_count; i++) {
        const str_pair *h = &r->headers[i];
        if (str_eq_nocase((str){h->name, h->name_bytes}, name))
            return (str){h->value, h->value_bytes};
    }
    return (str){0};
}

/* No type, application/json, and anything that ends in +json. */
static bool is_json_type(str type)
{
    const char *end = memchr(type.p, ';', type.n);
    size_t n = end ? (size_t)(end - type.p) : type.n;
    while (n && (type.p[n - 1] == ' ' || type.p[n - 1] == '\t'))
        n--;
    str bare = {type.p, n};
    return str_eq_nocase(bare, STR("application/json")) ||
           (n > 5 && str_eq_nocase((str){type.p + n - 5, 5}, STR("+json")));
}

static int on_json(lua_State *L)
{
    vm_run *run = ctx_check(L);
    const vm_request *r = &run->request;
    json_error why;
    char message[256];
    if (push_memo(L, run, CTX_JSON))
        return 1;
    str type = header_of(r, STR("content-type"));
    if (type.p && !is_json_type(type)) {
        snprintf(message, sizeof(message), "JSON is wanted, not %.*s", type.n > 100 ? 100 : (int)type.n,
                 type.p);
        return reply_raise(L, 415, message);
    }
    if (r->body.n == 0)
        return reply_raise(L, 400, "the body is empty; JSON is wanted");
    if (json_decode(L, r->body, &why) < 0) {
        snprintf(message, sizeof(message), "the body is not JSON: %s at byte %zu", why.reason,
                 why.position + 1);
        return reply_raise(L, 400, message);
    }
    return keep_memo(L, run, CTX_JSON);
}

/* --- values --- */

void ctx_push_value(lua_State *L, vm_run *run, enum ctx_field field)
{
    vm_request *r = &run->request;
    str text;
    r->fields_read |= 1u << field;
    switch (field) {
    case CTX_PATH:
        push_decoded(L, r->path);
        return;
    case CTX_IP:
        lua_pushstring(L, r->ip); /* nil for NULL */
        return;
    case CTX_ID:
        text = r->id(r->host);
        break;
    default:
        text = field == CTX_METHOD ? r->method : r->target;
    }
    lua_pushlstring(L, text.p, text.n);
}

int ctx_keep(lua_State *L, int table)
{
    if (lua_isnil(L, -1))
        return 1;
    lua_pushvalue(L, 2);
    lua_pushvalue(L, -2);
    lua_rawset(L, table);
    return 1;
}

/* --- fields by name --- */

lua_CFunction ctx_function(enum ctx_field field)
{
    static const lua_CFunction functions[CTX_FIELD_COUNT] = {
        [CTX_HEADERS] = on_headers,     [CTX_HEADER] = on_header,   [CTX_QUERY] = on_query,
        [CTX_QUERY_ALL] = on_query_all, [CTX_PARAMS] = on_params,   [CTX_BODY] = on_body,
        [CTX_JSON] = on_json,           [CTX_COOKIES] = on_cookies,
    };
    return functions[field];
}

/* The one field that a name of that length and beginning can be, or -1. */
static int likely_field(const char *name, size_t n)
{
    switch (n) {
    case 2:
        return name[1] == 'p' ? CTX_IP : CTX_ID;
    case 4:
        return name[0] == 'p' ? CTX_PATH : name[0] == 'b' ? CTX_BODY : CTX_JSON;
    case 5:
        return CTX_QUERY;
    case 6:
        return name[0] == 'm'   ? CTX_METHOD
               : name[0] == 'p' ? CTX_PARAMS
               : name[0] == 'h' ? CTX_HEADER
                                : CTX_TARGET;
    case 7:
        return name[0] == 'h' ? CTX_HEADERS : CTX_COOKIES;
    case 9:
        return CTX_QUERY_ALL;
    default:
        return -1;
    }
}

int ctx_field_at(lua_State *L, int index)
{
    size_t n;
    if (lua_type(L, index) != LUA_TSTRING)
        return -1;
    const char *name = lua_tolstring(L, index, &n);
    int field = likely_field(name, n);
    return field >= 0 && memcmp(name, ctx_field_names[field], n) == 0 ? field : -1;
}

void ctx_push_name(lua_State *L, vm_run *run, enum ctx_field field)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, run->vm->field_refs[field]);
}

void ctx_install(lua_State *L)
{
    vm *v = vm_of(L);
    for (int field = 0; field < CTX_FIELD_COUNT; field++) {
        lua_pushstring(L, ctx_field_names[field]);
        v->field_refs[field] = luaL_ref(L, LUA_REGISTRYINDEX);
    }
    /* All requests share it: hidden, like a context's. */
    lua_createtable(L, 0, 2);
    lua_pushcfunction(L, on_headers_miss);
    lua_setfield(L, -2, "__index");
    lua_pushlightuserdata(L, (void *)(uintptr_t)&marker);
    lua_setfield(L, -2, "__metatable");
    v->lower_mt_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    v->strategy->install(L);
}

/* --- the end of a context --- */

void ctx_decide(vm_run *run)
{
    ctx_slot *slot = &run->ctx;
    slot->once = run->vm->config.dev;
    slot->audited = audit_begin(run->vm, run->request.route, &slot->once);
    slot->once |= slot->audited;
}

static int on_stale(lua_State *L)
{
    return ctx_raise_stale(L, lua_tostring(L, lua_upvalueindex(1)));
}

/* Push the metatable that makes every use of a context of that route an error. */
static void push_poison(lua_State *L, vm *v, unsigned route)
{
    if (v->poison_refs[route] != LUA_NOREF) {
        lua_rawgeti(L, LUA_REGISTRYINDEX, v->poison_refs[route]);
        return;
    }
    static const char *const events[] = {"__index", "__newindex", "__pairs", "__len", "__call"};
    push_marked(L, 5);
    lua_pushstring(L, v->route_names[route]);
    lua_pushvalue(L, -1);
    lua_rawsetp(L, -3, &marker);
    lua_pushcclosure(L, on_stale, 1);
    for (size_t i = 0; i < sizeof(events) / sizeof(events[0]); i++) {
        lua_pushvalue(L, -1);
        lua_setfield(L, -3, events[i]);
    }
    lua_pop(L, 1);
    lua_pushvalue(L, -1);
    v->poison_refs[route] = luaL_ref(L, LUA_REGISTRYINDEX);
}

static int poison(lua_State *L)
{
    vm_run *run = lua_touserdata(L, 1);
    lua_rawgeti(L, LUA_REGISTRYINDEX, run->ctx.ref);
    lua_pushnil(L);
    while (lua_next(L, 2)) {
        lua_pop(L, 1);
        lua_pushvalue(L, -1);
        lua_pushnil(L);
        lua_rawset(L, 2);
    }
    push_poison(L, run->vm, run->request.route);
    lua_setmetatable(L, 2);
    return 0;
}

void ctx_discard(lua_State *L, vm_run *run)
{
    ctx_slot *slot = &run->ctx;
    lua_pushcfunction(L, poison);
    lua_pushlightuserdata(L, run);
    if (lua_pcall(L, 1, 0, 0) != LUA_OK) {
        lua_pop(L, 1);
        run->vm->soiled = true;
    }
    if (slot->audited)
        audit_end(L, run);
    luaL_unref(L, LUA_REGISTRYINDEX, slot->ref);
    slot->ref = LUA_NOREF;
    slot->table = NULL;
    if (slot->audited)
        audit_collect(L, run);
}

/* --- a new table for each request --- */

int ctx_on_index(lua_State *L)
{
    vm_run *run = ctx_check(L);
    int field = ctx_field_at(L, 2);
    if (field < 0)
        return 0;
    lua_CFunction function = ctx_function((enum ctx_field)field);
    if (function)
        lua_pushcfunction(L, function);
    else
        ctx_push_value(L, run, (enum ctx_field)field);
    return 1;
}

void ctx_share_metatable(lua_State *L, lua_CFunction index)
{
    ctx_push_metatable(L);
    lua_pushcfunction(L, index);
    lua_setfield(L, -2, "__index");
    vm_of(L)->ctx_mt_ref = luaL_ref(L, LUA_REGISTRYINDEX);
}

void ctx_begin_new(lua_State *co, vm_run *run)
{
    ctx_slot *slot = &run->ctx;
    slot->table = lua_topointer(co, -1);
    lua_rawgeti(co, LUA_REGISTRYINDEX, run->vm->ctx_mt_ref);
    lua_setmetatable(co, -2);
    ctx_decide(run);
    if (slot->once) {
        lua_pushvalue(co, -1);
        slot->ref = luaL_ref(co, LUA_REGISTRYINDEX);
    }
}

void ctx_end_new(lua_State *L, vm_run *run)
{
    ctx_forget_memo(L, run);
    if (run->ctx.ref != LUA_NOREF)
        ctx_discard(L, run);
    run->ctx.table = NULL;
}
