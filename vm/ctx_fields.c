#include "vm/ctx_fields.h"

#include <lauxlib.h>
#include <stdio.h>

#include "queue/percent.h"
#include "vm/cookie.h"
#include "vm/internal.h"
#include "vm/json.h"
#include "vm/names.h"
#include "vm/query.h"
#include "vm/reply.h"

enum { SCRATCH_BYTES = 512, PAIRS_FORESEEN_MAX = 64 };

const char *const ctx_field_names[CTX_FIELD_COUNT] = {
#define X(name, text) text,
    CTX_FIELDS(X)
#undef X
};

/* Count the read; push what an earlier call returned, if there was one. */
static bool push_again(lua_State *L, vm_run *run, enum ctx_field field)
{
    run->request.fields_read |= 1u << field;
    return ctx_recall(L, &run->ctx, field);
}

/* --- headers --- */

static const char *separator(const char *name, size_t n)
{
    return str_eq_nocase((str){name, n}, STR("cookie")) ? "; " : ", ";
}

/* Set the header in the table at index `all`; its name is at the top. One that came before is continued. */
static void join_header(lua_State *L, int all, const str_pair *h)
{
    lua_pushvalue(L, -1);
    if (lua_rawget(L, all) == LUA_TNIL) {
        lua_pop(L, 1);
        lua_pushlstring(L, h->value, h->value_bytes);
    } else {
        lua_pushstring(L, separator(h->name, h->name_bytes));
        lua_pushlstring(L, h->value, h->value_bytes);
        lua_concat(L, 3);
    }
    lua_rawset(L, all);
}

static int on_headers(lua_State *L)
{
    vm_run *run = ctx_check(L);
    const vm_request *r = &run->request;
    uint64_t seen = 0; /* places of names: a name whose place is new is new itself */
    if (push_again(L, run, CTX_HEADERS))
        return 1;
    lua_createtable(L, 0, (int)r->header_count);
    int all = lua_gettop(L);
    for (uint32_t i = 0; i < r->header_count; i++) {
        const str_pair *h = &r->headers[i];
        uint64_t place = names_push_lower(L, run->vm->names, (str){h->name, h->name_bytes});
        if (seen & place) {
            join_header(L, all, h);
        } else {
            lua_pushlstring(L, h->value, h->value_bytes);
            lua_rawset(L, all);
        }
        seen |= place;
    }
    lua_rawgeti(L, LUA_REGISTRYINDEX, run->vm->lower_mt_ref);
    lua_setmetatable(L, all);
    return ctx_remember(L, run, CTX_HEADERS);
}

/* A miss in the table of headers is tried again in lower case. */
static int on_headers_miss(lua_State *L)
{
    str name;
    if (lua_type(L, 2) != LUA_TSTRING)
        return 0;
    name.p = lua_tolstring(L, 2, &name.n);
    names_push_lower(L, vm_of(L)->names, name);
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

/* Set a pair in the table at index `all`, unless the name is there: the first one counts. */
static void set_first(lua_State *L, int all, str name, str value)
{
    lua_pushlstring(L, name.p, name.n);
    lua_pushvalue(L, -1);
    if (lua_rawget(L, all) != LUA_TNIL) {
        lua_pop(L, 2);
        return;
    }
    lua_pop(L, 1);
    lua_pushlstring(L, value.p, value.n);
    lua_rawset(L, all);
}

static int on_cookies(lua_State *L)
{
    vm_run *run = ctx_check(L);
    const vm_request *r = &run->request;
    str name, value;
    if (push_again(L, run, CTX_COOKIES))
        return 1;
    lua_newtable(L);
    int all = lua_gettop(L);
    for (uint32_t i = 0; i < r->header_count; i++) {
        const str_pair *h = &r->headers[i];
        if (!str_eq_nocase((str){h->name, h->name_bytes}, STR("cookie")))
            continue;
        cookie_iter it = cookie_start((str){h->value, h->value_bytes});
        while (cookie_next(&it, &name, &value))
            set_first(L, all, name, value);
    }
    return ctx_remember(L, run, CTX_COOKIES);
}

/* --- query and parameters --- */

/* How many pairs a query has, about: what a table has room for need not grow. */
static int foresee_pairs(str raw)
{
    int n = raw.n > 0;
    for (size_t i = 0; i < raw.n && n < PAIRS_FORESEEN_MAX; i++)
        n += raw.p[i] == '&';
    return n;
}

/* Room for n bytes: the caller's if they fit, else one more value on the stack. */
static char *scratch_of(lua_State *L, char *own, size_t n)
{
    return n <= SCRATCH_BYTES ? own : lua_newuserdatauv(L, n, 0);
}

static int on_query(lua_State *L)
{
    vm_run *run = ctx_check(L);
    str raw = run->request.query, name, value;
    char own[SCRATCH_BYTES];
    if (push_again(L, run, CTX_QUERY))
        return 1;
    char *scratch = scratch_of(L, own, raw.n);
    lua_createtable(L, 0, foresee_pairs(raw));
    int all = lua_gettop(L);
    query_iter it = query_start(raw);
    while (query_next(&it, scratch, &name, &value))
        set_first(L, all, name, value);
    return ctx_remember(L, run, CTX_QUERY);
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
    char own[SCRATCH_BYTES];
    if (push_again(L, run, CTX_QUERY_ALL))
        return 1;
    char *scratch = scratch_of(L, own, raw.n);
    int pairs = foresee_pairs(raw);
    lua_createtable(L, pairs, pairs);
    int all = lua_gettop(L);
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
    return ctx_remember(L, run, CTX_QUERY_ALL);
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
    if (push_again(L, run, CTX_PARAMS))
        return 1;
    lua_createtable(L, 0, (int)r->param_count);
    for (size_t i = 0; i < r->param_count; i++) {
        lua_pushlstring(L, r->param_names[i].p, r->param_names[i].n);
        push_decoded(L, r->param_values[i]);
        lua_rawset(L, -3);
    }
    return ctx_remember(L, run, CTX_PARAMS);
}

/* --- body --- */

static int on_body(lua_State *L)
{
    vm_run *run = ctx_check(L);
    if (push_again(L, run, CTX_BODY))
        return 1;
    lua_pushlstring(L, run->request.body.p, run->request.body.n);
    return ctx_remember(L, run, CTX_BODY);
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
    if (push_again(L, run, CTX_JSON))
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
    return ctx_remember(L, run, CTX_JSON);
}

/* --- values --- */

void ctx_field_push_value(lua_State *L, vm_run *run, enum ctx_field field)
{
    vm_request *r = &run->request;
    str text;
    r->fields_read |= 1u << field;
    switch (field) {
    case CTX_METHOD:
        names_push_method(L, run->vm->names, r->method);
        return;
    case CTX_PATH:
        push_decoded(L, r->path);
        return;
    case CTX_IP:
        lua_pushstring(L, r->ip); /* nil for NULL */
        return;
    case CTX_SCHEME:
        text = r->scheme ? str_from(r->scheme) : STR("http");
        break;
    case CTX_HOST:
        text = r->authority.p ? r->authority : header_of(r, STR("host"));
        if (!text.p) {
            lua_pushnil(L);
            return;
        }
        break;
    case CTX_ID:
        text = r->id(r->host);
        break;
    default:
        text = r->target;
    }
    lua_pushlstring(L, text.p, text.n);
}

/* --- fields by name --- */

lua_CFunction ctx_field_function(enum ctx_field field)
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
        return name[0] == 'p' ? CTX_PATH : name[0] == 'b' ? CTX_BODY : name[0] == 'h' ? CTX_HOST : CTX_JSON;
    case 5:
        return CTX_QUERY;
    case 6:
        return name[0] == 'm'   ? CTX_METHOD
               : name[0] == 'p' ? CTX_PARAMS
               : name[0] == 'h' ? CTX_HEADER
               : name[0] == 's' ? CTX_SCHEME
                                : CTX_TARGET;
    case 7:
        return name[0] == 'h' ? CTX_HEADERS : CTX_COOKIES;
    case 9:
        return CTX_QUERY_ALL;
    default:
        return -1;
    }
}

int ctx_field_at(lua_State *L, int index, const vm *v)
{
    size_t n;
    const char *name = lua_tolstring(L, index, &n); /* a number's text is no field's name */
    int field = name ? likely_field(name, n) : -1;
    return field >= 0 && name == v->field_texts[field] ? field : -1;
}

void ctx_field_push_name(lua_State *L, vm_run *run, enum ctx_field field)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, run->vm->field_refs[field]);
}

void ctx_fields_install(lua_State *L)
{
    vm *v = vm_of(L);
    v->names = names_new(L);
    for (int field = 0; field < CTX_FIELD_COUNT; field++) {
        v->field_texts[field] = lua_pushstring(L, ctx_field_names[field]);
        v->field_refs[field] = luaL_ref(L, LUA_REGISTRYINDEX);
    }
    lua_createtable(L, 0, 2);
    lua_pushcfunction(L, on_headers_miss);
    lua_setfield(L, -2, "__index");
    ctx_hide_metatable(L);
    v->lower_mt_ref = luaL_ref(L, LUA_REGISTRYINDEX);
}
