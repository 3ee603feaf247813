/* vm_fixture: a VM made of an app's text, and requests to it as plain C values. For the suites of vm/.
 *
 * The app and its modules are files in a folder of their own, which goes with the fixture. What the VM logs
 * is kept as lines "level [id] text". Threads: one test, one thread. */
#ifndef TESTS_VM_FIXTURE_H
#define TESTS_VM_FIXTURE_H

#include <check.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/lua_sources.h"
#include "queue/buf.h"
#include "vm/vm.h"

enum { FIXTURE_PAIRS_MAX = 16 };

typedef struct vm_fixture {
    vm_config config;
    vm *vm;
    char folder[64];
    char path[96]; /* the app's */
    char error[1024];
    buf log;
} vm_fixture;

/* A request. All zero but for the route is one that has nothing. */
typedef struct ask {
    const char *route;                      /* as in the signature: "GET /users/:id" */
    const char *method;                     /* NULL: the route's */
    const char *path, *target, *ip, *id;    /* NULL: "/", "/", none, "req-1" */
    const char *scheme, *authority;         /* NULL: nobody said */
    const char *query;                      /* raw */
    size_t memory_bytes;                    /* 0: no limit */
    str body;                               /* bytes */
    const char *headers[FIXTURE_PAIRS_MAX]; /* name, value, name, value ... */
    const char *params[FIXTURE_PAIRS_MAX];  /* likewise; values raw */
} ask;

/* One request under way, and its answer. */
typedef struct call {
    vm_run *run;
    vm_request *request;
    vm_result result;
    const char *id;
    unsigned ids_made;
    char method[16];
    str_pair headers[FIXTURE_PAIRS_MAX / 2];
    str param_names[FIXTURE_PAIRS_MAX / 2], param_values[FIXTURE_PAIRS_MAX / 2];
    buf body_out, head_out;
} call;

/* --- the app --- */

static inline void fixture_log(void *user, int level, str id, str text)
{
    vm_fixture *fx = user;
    ck_assert_int_eq(
        buf_addf(&fx->log, "%d [%.*s] %.*s\n", level, (int)id.n, id.p ? id.p : "", (int)text.n, text.p), 0);
}

/* What was logged since the last call of fixture_forget_log. */
static inline const char *fixture_logged(vm_fixture *fx)
{
    ck_assert_int_eq(buf_reserve(&fx->log, 1), 0);
    fx->log.p[fx->log.n] = '\0';
    return fx->log.p;
}

static inline void fixture_forget_log(vm_fixture *fx)
{
    fx->log.n = 0;
}

/* Prepare a fixture without a VM. */
static inline void fixture_init(vm_fixture *fx, const char *context, bool dev)
{
    static const vm_source sources[] = {
#define X(name) {#name, lua_##name, &lua_##name##_size},
        LUA_SOURCES(X)
#undef X
    };
    *fx = (vm_fixture){.folder = "/tmp/poolsrv-vm-XXXXXX"};
    ck_assert_ptr_nonnull(mkdtemp(fx->folder));
    snprintf(fx->path, sizeof(fx->path), "%s/app.lua", fx->folder);
    fx->config = (vm_config){
        .dev = dev,
        .context = context,
        .sources = sources,
        .source_count = sizeof(sources) / sizeof(sources[0]),
        .log_user = fx,
        .log = fixture_log,
    };
}

static inline void fixture_write(vm_fixture *fx, const char *name, const char *text, size_t n)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/%s", fx->folder, name);
    FILE *f = fopen(path, "wb");
    ck_assert_ptr_nonnull(f);
    ck_assert_uint_eq(fwrite(text, 1, n, f), n);
    ck_assert_int_eq(fclose(f), 0);
}

/* Open a VM and load that app. Returns: as vm_load, with fx->error filled. */
static inline int fixture_load(vm_fixture *fx, const char *app)
{
    fixture_write(fx, "app.lua", app, strlen(app));
    int err = vm_open(&fx->config, &fx->vm, fx->error, sizeof(fx->error));
    return err ? err : vm_load(fx->vm, fx->path, fx->error, sizeof(fx->error));
}

static inline void fixture_open(vm_fixture *fx, const char *context, bool dev, const char *app)
{
    fixture_init(fx, context, dev);
    int err = fixture_load(fx, app);
    ck_assert_msg(err == 0, "the app does not load: %s", fx->error);
}

static inline void fixture_remove_folder(const vm_fixture *fx)
{
    char path[400];
    DIR *d = opendir(fx->folder);
    ck_assert_ptr_nonnull(d);
    for (struct dirent *e; (e = readdir(d));) {
        snprintf(path, sizeof(path), "%s/%s", fx->folder, e->d_name);
        if (e->d_name[0] != '.')
            unlink(path);
    }
    closedir(d);
    rmdir(fx->folder);
}

/* Close the VM; the log can still be read. */
static inline void fixture_close_vm(vm_fixture *fx)
{
    vm_close(fx->vm);
    fx->vm = NULL;
}

static inline void fixture_close(vm_fixture *fx)
{
    fixture_close_vm(fx);
    fixture_remove_folder(fx);
    buf_fini(&fx->log);
}

/* --- requests --- */

static inline unsigned fixture_route(const vm_fixture *fx, const char *name)
{
    size_t n = strlen(name);
    unsigned index = 0;
    for (const char *line = vm_signature(fx->vm); *line; line = strchr(line, '\n') + 1, index++)
        if (strncmp(line, name, n) == 0 && line[n] == '\n')
            return index;
    ck_abort_msg("the app has no route %s", name);
}

static inline str fixture_make_id(void *host)
{
    call *c = host;
    c->ids_made++;
    return str_from(c->id);
}

static inline uint32_t fixture_headers(call *c, const ask *a)
{
    uint32_t n = 0;
    for (; a->headers[2 * n]; n++) {
        const char *name = a->headers[2 * n], *value = a->headers[2 * n + 1];
        c->headers[n] = (str_pair){name, value, (uint32_t)strlen(name), (uint32_t)strlen(value)};
    }
    return n;
}

static inline size_t fixture_params(call *c, const ask *a)
{
    size_t n = 0;
    for (; a->params[2 * n]; n++) {
        c->param_names[n] = str_from(a->params[2 * n]);
        c->param_values[n] = str_from(a->params[2 * n + 1]);
    }
    return n;
}

/* Begin a request; it is done, or waits. *c must stay where it is until call_end. */
static inline void call_begin(vm_fixture *fx, call *c, const ask *a)
{
    *c = (call){.id = a->id ? a->id : "req-1"};
    snprintf(c->method, sizeof(c->method), "%.*s", (int)strcspn(a->route, " "), a->route);
    c->run = vm_run_take(fx->vm);
    ck_assert_ptr_nonnull(c->run);
    c->request = vm_run_request(c->run);
    *c->request = (vm_request){
        .host = c,
        .id = fixture_make_id,
        .method = str_from(a->method ? a->method : c->method),
        .target = str_from(a->target ? a->target : "/"),
        .path = str_from(a->path ? a->path : "/"),
        .query = str_from(a->query),
        .body = a->body,
        .ip = a->ip,
        .scheme = a->scheme,
        .authority = {a->authority, a->authority ? strlen(a->authority) : 0},
        .headers = c->headers,
        .header_count = fixture_headers(c, a),
        .param_names = c->param_names,
        .param_values = c->param_values,
        .param_count = fixture_params(c, a),
        .route = fixture_route(fx, a->route),
        .memory_bytes = a->memory_bytes,
        .body_out = &c->body_out,
        .head_out = &c->head_out,
    };
    c->result = vm_start(fx->vm, c->run);
}

static inline void call_resume(vm_fixture *fx, call *c)
{
    ck_assert_int_eq(c->result, VM_PARKED);
    c->result = vm_resume(fx->vm, c->run);
}

/* Give the run back, and what the answer was written into. */
static inline void call_end(vm_fixture *fx, call *c)
{
    vm_run_give(fx->vm, c->run);
    buf_fini(&c->body_out);
    buf_fini(&c->head_out);
}

/* The body as a string, good until call_end. */
static inline const char *call_body(call *c)
{
    ck_assert_int_eq(buf_reserve(&c->body_out, 1), 0);
    c->body_out.p[c->body_out.n] = '\0';
    return c->body_out.p;
}

/* The value of the i-th header of that name (from 0), or NULL. */
static inline const char *call_header(const call *c, const char *name, unsigned i)
{
    const char *p = c->head_out.p, *end = p ? p + c->head_out.n : p;
    while (p < end) {
        const char *value = p + strlen(p) + 1;
        if (strcasecmp(p, name) == 0 && i-- == 0)
            return value;
        p = value + strlen(value) + 1;
    }
    return NULL;
}

/* Run a request to its end, past all its waits. */
static inline void call_run(vm_fixture *fx, call *c, const ask *a)
{
    call_begin(fx, c, a);
    while (c->result == VM_PARKED)
        call_resume(fx, c);
}

/* A whole request, its answer as "200 text/plain|body" (no type is ""), good until the next.
 */
static inline const char *fixture_ask(vm_fixture *fx, const ask *a)
{
    static char text[16384];
    call c;
    call_run(fx, &c, a);
    const char *type = c.request->content_type ? c.request->content_type : "";
    snprintf(text, sizeof(text), "%d %.*s|%s", c.request->status, (int)strcspn(type, ";"), type,
             call_body(&c));
    call_end(fx, &c);
    return text;
}

/* The same for a request that has nothing but its route. */
static inline const char *fixture_get(vm_fixture *fx, const char *route)
{
    return fixture_ask(fx, &(ask){.route = route});
}

#define ck_assert_contains(text, part) ck_assert_msg(strstr(text, part), "\"%s\" is not in:\n%s", part, text)
#define ck_assert_lacks(text, part)    ck_assert_msg(!strstr(text, part), "\"%s\" is in:\n%s", part, text)

#endif
