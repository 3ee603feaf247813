/* The context profile inside the VM: what a request costs round vm_run_take ... vm_run_give, without sockets.
 *
 *     load_profile_context [options]
 *       --folder DIR      where context.lua and context_requests.lua are (load/apps)
 *       --order A,B,...   context strategies, in the order in which each case is run with them (all there
 * are)
 *       --cases A,B,...   cases of context_requests.lua (all)
 *       --requests N      a sample (20000); a tenth more goes before it
 *       --count           count allocations in place of time
 *       --list            print the strategies and the cases, and end
 *
 * Prints a line a sample: "time CASE STRATEGY NS", the thread's CPU time a request, or "count CASE STRATEGY
 * ALLOCATIONS BYTES", what Lua asked its allocator for a request, blocks that grew included. Every case is
 * asked once and its reply compared before it is timed; a wrong one ends the program with 1. The strategy
 * "without" hands nil to the handler: the floor for cases that read nothing. load/profile_context_creation.sh
 * runs this program once a round, so that each round has a memory layout of its own. One thread. */
#include <lauxlib.h>
#include <lualib.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "api/lua_sources.h"
#include "api/poolsrv.h"
#include "vm/internal.h"

enum {
    STRATEGIES_MAX = 8,
    CASES_MAX = 64,
    HEADERS_MAX = 32,
    BATCH = 64, /* requests between two idle steps of the VM, as in a worker with that many connections */
    NAME_BYTES = 32
};

static const char without_name[] = "without";

typedef struct ask {
    const char *name, *title, *route, *text;
    int status;
    vm_request request; /* what each run is filled with */
} ask;

/* One strategy's VM. */
typedef struct seat {
    char name[NAME_BYTES];
    vm_config config;
    vm *vm;
} seat;

typedef struct profile {
    const char *folder, *order, *wanted;
    long requests;
    bool count, list;
    lua_State *data; /* context_requests.lua; its strings live as long as it */
    str_pair headers[HEADERS_MAX];
    uint32_t header_count;
    ask asks[CASES_MAX];
    size_t ask_count;
    str id_names[1], id_values[1];
    seat seats[STRATEGIES_MAX];
    size_t seat_count;
    buf body, head;
} profile;

static _Noreturn void die(const char *what, const char *why)
{
    fprintf(stderr, "load_profile_context: %s: %s\n", what, why);
    exit(1);
}

/* --- the requests --- */

/* A string member of the table at the top, or NULL; it stays alive in its table. */
static const char *text_of(lua_State *L, const char *name)
{
    lua_getfield(L, -1, name);
    const char *text = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : NULL;
    lua_pop(L, 1);
    return text;
}

static void read_headers(profile *p)
{
    lua_State *L = p->data;
    lua_getfield(L, 1, "headers");
    for (p->header_count = 0; p->header_count < HEADERS_MAX; p->header_count++) {
        if (lua_rawgeti(L, -1, (lua_Integer)p->header_count + 1) == LUA_TNIL)
            break;
        lua_rawgeti(L, -1, 1);
        lua_rawgeti(L, -2, 2);
        const char *name = lua_tostring(L, -2), *value = lua_tostring(L, -1);
        p->headers[p->header_count] =
            (str_pair){name, value, (uint32_t)strlen(name), (uint32_t)strlen(value)};
        lua_pop(L, 3);
    }
    lua_settop(L, 1);
}

static str on_id(void *host)
{
    (void)host;
    return STR("0123456789abcdef");
}

/* The case at the top. The route's index is found later, in a VM. */
static void read_ask(profile *p, ask *a)
{
    lua_State *L = p->data;
    const char *target = text_of(L, "target"), *id = text_of(L, "id");
    if (!target)
        die("a request of the list", "has no target");
    size_t path_bytes = strcspn(target, "?");
    lua_getfield(L, -1, "status");
    int status = (int)lua_tointeger(L, -1);
    lua_pop(L, 1);
    *a = (ask){
        .name = text_of(L, "name"),
        .title = text_of(L, "title"),
        .route = text_of(L, "route"),
        .text = text_of(L, "text"),
        .status = status,
        .request =
            {
                .id = on_id,
                .method = str_from(text_of(L, "method")),
                .target = str_from(target),
                .path = {target, path_bytes},
                .query = str_from(target[path_bytes] ? target + path_bytes + 1 : NULL),
                .body = str_from(text_of(L, "body")),
                .ip = "127.0.0.1",
                .headers = p->headers,
                .header_count = p->header_count,
                .param_names = p->id_names,
                .param_values = p->id_values,
                .param_count = id ? 1 : 0,
                .body_out = &p->body,
                .head_out = &p->head,
            },
    };
    if (id)
        p->id_values[0] = str_from(id);
}

static void read_requests(profile *p)
{
    char path[512];
    snprintf(path, sizeof(path), "%s/context_requests.lua", p->folder);
    lua_State *L = p->data = luaL_newstate();
    luaL_openlibs(L);
    if (luaL_dofile(L, path))
        die(path, lua_tostring(L, -1));
    p->id_names[0] = STR("id");
    read_headers(p);
    lua_getfield(L, 1, "cases");
    while (p->ask_count < CASES_MAX && lua_rawgeti(L, 2, (lua_Integer)p->ask_count + 1) != LUA_TNIL) {
        read_ask(p, &p->asks[p->ask_count++]);
        lua_pop(L, 1);
    }
    lua_settop(L, 1);
}

/* --- the VMs --- */

static void lend_nothing(lua_State *co, vm_run *run)
{
    (void)run;
    lua_pushnil(co);
}

static void end_nothing(lua_State *L, vm_run *run)
{
    (void)L;
    (void)run;
}

static const ctx_strategy without = {.name = without_name, .lend = lend_nothing, .end = end_nothing};

static void on_log(void *user, int level, str id, str text)
{
    (void)user, (void)level, (void)id;
    fprintf(stderr, "%.*s\n", (int)text.n, text.p);
}

/* The strategies that poolsrv has, "eager|lazy", as its option lists them. */
static const char *all_strategies(void)
{
    size_t n = 0;
    const ps_option_info *list = ps_option_list(&n);
    for (size_t i = 0; i < n; i++)
        if (strcmp(list[i].flag, "context") == 0)
            return list[i].argument;
    return "";
}

static void open_seat(profile *p, seat *s)
{
    static const vm_source sources[] = {
#define X(name) {#name, lua_##name, &lua_##name##_size},
        LUA_SOURCES(X)
#undef X
    };
    char path[512], error[1024];
    bool is_without = strcmp(s->name, without_name) == 0;
    snprintf(path, sizeof(path), "%s/context.lua", p->folder);
    s->config = (vm_config){
        .context = is_without ? "recycled" : s->name,
        .sources = sources,
        .source_count = sizeof(sources) / sizeof(*sources),
        .log = on_log,
    };
    if (vm_open(&s->config, &s->vm, error, sizeof(error)) != 0 ||
        vm_load(s->vm, path, error, sizeof(error)) != 0)
        die(s->name, error);
    if (is_without)
        s->vm->strategy = &without;
}

/* Call back for every word of a list "a,b" or "a|b". */
static void each_word(const char *list, void (*each)(profile *p, const char *word, size_t n), profile *p)
{
    for (size_t n; *list; list += n + (list[n] != '\0')) {
        n = strcspn(list, ",|");
        if (n)
            each(p, list, n);
    }
}

static void add_seat(profile *p, const char *name, size_t n)
{
    if (p->seat_count == STRATEGIES_MAX || n >= NAME_BYTES)
        die("--order", "too many, or too long");
    seat *s = &p->seats[p->seat_count++];
    memcpy(s->name, name, n);
    s->name[n] = '\0';
}

static bool has_word(const char *list, const char *word)
{
    size_t n = strlen(word);
    for (const char *p = list; (p = strstr(p, word)) != NULL; p += n)
        if ((p == list || p[-1] == ',') && (p[n] == '\0' || p[n] == ','))
            return true;
    return false;
}

static unsigned route_index(vm *v, const char *route)
{
    size_t n = strlen(route);
    unsigned index = 0;
    for (const char *line = vm_signature(v); *line; line = strchr(line, '\n') + 1, index++)
        if (strncmp(line, route, n) == 0 && line[n] == '\n')
            return index;
    die(route, "context.lua has no such route");
}

/* --- asking --- */

/* One request. Returns: its status. */
static inline int run_one(profile *p, vm *v, const ask *a)
{
    vm_run *run = vm_run_take(v);
    vm_request *r = vm_run_request(run);
    p->body.n = p->head.n = 0;
    *r = a->request;
    vm_result result = vm_start(v, run);
    int status = result == VM_DONE ? r->status : 0;
    if (result == VM_PARKED)
        vm_cancel(v, run);
    vm_run_give(v, run);
    return status;
}

/* Returns: how many were answered with another status than they should be. */
static long run_many(profile *p, vm *v, const ask *a, long n)
{
    long wrong = 0;
    for (long i = 1; i <= n; i++) {
        wrong += run_one(p, v, a) != a->status;
        if (i % BATCH == 0)
            vm_idle(v);
    }
    return wrong;
}

static void check_reply(profile *p, const seat *s, const ask *a)
{
    char why[512];
    int status = run_one(p, s->vm, a);
    if (status == a->status && str_eq(buf_str(&p->body), str_from(a->text)))
        return;
    snprintf(why, sizeof(why), "%s answered %d %.*s", s->name, status, (int)p->body.n, p->body.p);
    die(a->name, why);
}

/* --- measuring --- */

static double cpu_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static void measure_time(profile *p, const seat *s, const ask *a)
{
    double begin = cpu_ns();
    long wrong = run_many(p, s->vm, a, p->requests);
    double took = cpu_ns() - begin;
    if (wrong)
        die(a->name, "wrong replies while it was timed");
    printf("time %s %s %.2f\n", a->name, s->name, took / (double)p->requests);
}

/* Lua's allocator with a tally in front. */
typedef struct tally {
    lua_Alloc f;
    void *user;
    size_t allocations, bytes;
} tally;

static void *counting(void *user, void *block, size_t old, size_t size)
{
    tally *t = user;
    size_t had = block ? old : 0;
    if (size > had) {
        t->allocations++;
        t->bytes += size - had;
    }
    return t->f(t->user, block, old, size);
}

static void measure_allocations(profile *p, const seat *s, const ask *a)
{
    tally t = {0};
    lua_State *L = s->vm->L;
    t.f = lua_getallocf(L, &t.user);
    lua_setallocf(L, counting, &t);
    long wrong = run_many(p, s->vm, a, p->requests);
    lua_setallocf(L, t.f, t.user);
    if (wrong)
        die(a->name, "wrong replies while they were counted");
    printf("count %s %s %.3f %.1f\n", a->name, s->name, (double)t.allocations / (double)p->requests,
           (double)t.bytes / (double)p->requests);
}

/* Without a context only what reads none can run. */
static bool can_run(const seat *s, const ask *a)
{
    return strcmp(s->name, without_name) != 0 || strcmp(a->name, "none") == 0 ||
           strcmp(a->name, "field/none") == 0;
}

static void measure(profile *p, const seat *s, ask *a)
{
    if (!can_run(s, a))
        return;
    a->request.route = route_index(s->vm, a->route);
    check_reply(p, s, a);
    run_many(p, s->vm, a, p->requests / 10 + 1);
    if (p->count)
        measure_allocations(p, s, a);
    else
        measure_time(p, s, a);
    check_reply(p, s, a);
}

static void measure_all(profile *p)
{
    for (size_t i = 0; i < p->seat_count; i++)
        open_seat(p, &p->seats[i]);
    for (size_t i = 0; i < p->ask_count; i++)
        for (size_t j = 0; j < p->seat_count; j++)
            if (!p->wanted || has_word(p->wanted, p->asks[i].name))
                measure(p, &p->seats[j], &p->asks[i]);
}

/* --- the program --- */

static void print_list(const profile *p)
{
    for (size_t i = 0; i < p->seat_count; i++)
        printf("strategy\t%s\n", p->seats[i].name);
    for (size_t i = 0; i < p->ask_count; i++)
        printf("case\t%s\t%s\n", p->asks[i].name, p->asks[i].title);
}

static void read_arguments(profile *p, char **argv)
{
    for (; *argv; argv++) {
        const char *value = argv[1];
        if (strcmp(*argv, "--count") == 0 || strcmp(*argv, "--list") == 0) {
            *(strcmp(*argv, "--list") == 0 ? &p->list : &p->count) = true;
            continue;
        }
        if (!value)
            die(*argv, "no such option, or its value is missing");
        if (strcmp(*argv, "--folder") == 0)
            p->folder = value;
        else if (strcmp(*argv, "--order") == 0)
            p->order = value;
        else if (strcmp(*argv, "--cases") == 0)
            p->wanted = value;
        else if (strcmp(*argv, "--requests") == 0)
            p->requests = strtol(value, NULL, 10);
        else
            die(*argv, "no such option");
        argv++;
    }
    if (p->requests <= 0)
        die("--requests", "a number is wanted");
}

static void clean_up(profile *p)
{
    for (size_t i = 0; i < p->seat_count; i++)
        vm_close(p->seats[i].vm);
    lua_close(p->data);
    buf_fini(&p->body);
    buf_fini(&p->head);
}

int main(int argc, char **argv)
{
    static profile p = {.folder = "load/apps", .requests = 20000};
    if (argc > 0)
        read_arguments(&p, argv + 1);
    read_requests(&p);
    each_word(p.order ? p.order : all_strategies(), add_seat, &p);
    if (p.list)
        print_list(&p);
    else
        measure_all(&p);
    clean_up(&p);
    return 0;
}
