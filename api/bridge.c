#include "api/bridge.h"

#include <assert.h>
#include <stdio.h>

#include "runtime/canned.h"

/* --- VMs --- */

static void *on_enter(void *user)
{
    bridge *b = user;
    char error[sizeof(b->error)];
    seat *s = vms_take(b->vms, error, sizeof(error));
    if (s)
        return s;
    pthread_mutex_lock(&b->lock);
    if (!b->error[0])
        snprintf(b->error, sizeof(b->error), "%s", error);
    pthread_mutex_unlock(&b->lock);
    return NULL;
}

static void on_leave(void *user, void *held)
{
    bridge *b = user;
    vms_give(b->vms, held);
}

static void on_dismiss(void *user, void *held)
{
    bridge *b = user;
    vms_dismiss(b->vms, held);
}

static void *on_refresh(void *user, void *held)
{
    bridge *b = user;
    return vms_refresh(b->vms, held);
}

static void on_seated(void *user, const inbox *to)
{
    bridge *b = user;
    changes_seated(b->changes, to);
}

static void on_idle(void *held)
{
    seat *s = held;
    vm_idle(s->vm);
    vms_weigh(s);
}

static size_t on_bytes(void *held)
{
    seat *s = held;
    return s->bytes;
}

/* --- routing --- */

static void done(HttpTask *t)
{
    task_move(t, TASK_DONE);
}

static void refuse(HttpTask *t, int status, const char *message)
{
    canned_error(t, status, message);
    done(t);
}

static void answer_allow(HttpTask *t, unsigned allowed)
{
    char text[METHOD_ALLOW_BYTES];
    method_allow_text(allowed, text, sizeof(text));
    if (t->method_id == METHOD_OPTIONS)
        canned_empty(t, 204);
    else
        canned_error(t, 405, "This path does not have that method");
    canned_header(t, "Allow", text);
    done(t);
}

/* "http://host/path" asks for "/path" on that host, whatever the header says (RFC 9112, 3.2.2). */
static void strip_authority(HttpTask *t)
{
    static const str schemes[] = {{"http://", 7}, {"https://", 8}};
    for (size_t i = 0; i < 2; i++) {
        str scheme = schemes[i];
        if (t->path.n < scheme.n || !str_eq_nocase((str){t->path.p, scheme.n}, scheme))
            continue;
        const char *host = t->path.p + scheme.n;
        const char *slash = memchr(host, '/', t->path.n - scheme.n);
        if (!t->host.p)
            t->host = (str){host, slash ? (size_t)(slash - host) : t->path.n - scheme.n};
        t->path = slash ? (str){slash, t->path.n - (size_t)(slash - t->path.p)} : STR("/");
        return;
    }
}

static void on_route(void *user, HttpTask *t)
{
    bridge *b = user;
    app *a = atomic_load_explicit(&b->vms->current, memory_order_acquire);
    route_matched m;
    t->app = a;
    if (t->method_id < 0) {
        refuse(t, 501, "This method is not known here");
        return;
    }
    if (t->path.n && t->path.p[0] != '/')
        strip_authority(t);
    if (t->method_id == METHOD_OPTIONS && str_eq(t->path, STR("*"))) {
        answer_allow(t, (1u << METHOD_COUNT) - 1);
        return;
    }
    switch (route_match(a->routes, (enum http_method)t->method_id, t->path, &m)) {
    case ROUTE_FOUND:
        t->route = m.route;
        t->lane = &a->lanes[m.route->index];
        t->limits = &a->limits[m.route->index];
        for (size_t i = 0; i < m.route->nparams; i++)
            t->params[i] = m.values[i];
        return;
    case ROUTE_NOT_FOUND:
        refuse(t, 404, "Not Found");
        return;
    case ROUTE_METHOD_NOT_ALLOWED:
        answer_allow(t, m.allowed);
        return;
    case ROUTE_BAD_PATH:
        refuse(t, 400, "The path is not well encoded");
        return;
    }
}

/* --- handlers --- */

static str on_id(void *host)
{
    return task_id(host);
}

static void fill(vm_request *r, HttpTask *t)
{
    *r = (vm_request){
        .host = t,
        .id = on_id,
        .method = t->method,
        .target = t->target,
        .path = t->path,
        .query = t->query,
        .body = {t->request_body.p ? t->request_body.p : "", t->request_body.n},
        .ip = t->ip,
        .scheme = t->scheme,
        .authority = t->host,
        .headers = t->headers,
        .header_count = t->header_count,
        .param_names = t->route->params,
        .param_values = t->params,
        .param_count = t->route->nparams,
        .route = t->route->index,
        .inbox = t->inbox,
        .memory_bytes = t->limits->memory_bytes,
        .body_out = &t->body,
        .head_out = &t->head,
    };
}

static void fill_job(vm_request *r, HttpTask *t)
{
    *r = (vm_request){
        .host = t,
        .id = on_id,
        .job = t->job,
        .inbox = t->inbox,
        .route_name = t->job->title,
        .memory_bytes = t->limits->memory_bytes,
    };
}

/* What it waits for besides the time: the task has a reference, so it can let go when the VM is another's. */
static void take_await(HttpTask *t, vm_request *r)
{
    t->await = r->await;
    if (t->await)
        await_ref(t->await);
    r->await = NULL;
}

static runner_result conclude(seat *s, HttpTask *t, vm_run *run, enum vm_result result)
{
    vm_request *r = vm_run_request(run);
    t->fields_read = r->fields_read;
    if (result == VM_PARKED) {
        t->wake_ns = r->park_ns;
        t->vm = s;
        t->run = run;
        take_await(t, r);
        return RUNNER_PARKED;
    }
    t->status = r->status;
    t->content_type = r->content_type;
    t->limit = (run_limit)r->limit;
    t->outcome = r->failed ? TASK_OUTCOME_ERROR : TASK_OUTCOME_REPLY;
    t->run = NULL;
    vm_run_give(s->vm, run);
    return RUNNER_DONE;
}

/* A task that was routed before a reload goes through the routes there are now. */
static bool route_again(const seat *s, HttpTask *t)
{
    route_matched m;
    if (route_match(s->app->routes, (enum http_method)t->method_id, t->path, &m) != ROUTE_FOUND) {
        canned_busy(t, "The application is being reloaded");
        return false;
    }
    t->app = s->app;
    t->route = m.route;
    t->lane = &s->app->lanes[m.route->index];
    t->limits = &s->app->limits[m.route->index];
    for (size_t i = 0; i < m.route->nparams; i++)
        t->params[i] = m.values[i];
    return true;
}

static bool defines(const seat *s, const job *j)
{
    vm_job_def def;
    for (size_t i = 0; vm_job_at(s->vm, i, &def); i++)
        if (def.kind == j->kind && strcmp(def.name, j->name) == 0)
            return true;
    return false;
}

/* After a reload this VM may be of another generation than what wants the job done: then it is given back. */
static bool knows_job(const seat *s, HttpTask *t)
{
    bool by_name = t->job->kind == JOB_CONSUME || t->job->kind == JOB_CLOCK;
    const app *now = atomic_load_explicit(&s->all->current, memory_order_acquire);
    if (!by_name || !now->older || defines(s, t->job))
        return true;
    canned_busy(t, "The application is being reloaded");
    return false;
}

static bool on_prepare(void *held, HttpTask *t)
{
    const seat *s = held;
    if (t->job)
        return knows_job(s, t);
    return t->app == s->app || route_again(s, t);
}

static runner_result on_start(void *held, HttpTask *t)
{
    seat *s = held;
    vm_run *run = vm_run_take(s->vm);
    if (!run) {
        canned_error(t, 500, "The server is out of memory");
        return RUNNER_DONE;
    }
    t->vm = s;
    if (t->job)
        fill_job(vm_run_request(run), t);
    else
        fill(vm_run_request(run), t);
    return conclude(s, t, run, vm_start(s->vm, run));
}

static runner_result on_resume(HttpTask *t)
{
    seat *s = t->vm;
    return conclude(s, t, t->run, vm_resume(s->vm, t->run));
}

static void on_cancel(HttpTask *t)
{
    seat *s = t->vm;
    vm_cancel(s->vm, t->run);
    vm_run_give(s->vm, t->run);
    t->run = NULL;
}

static void on_ended(void *held)
{
    vms_ended(held);
}

static void on_abandon(void *user, void *held)
{
    bridge *b = user;
    vms_abandon(b->vms, held);
}

static_assert((int)VM_LIMIT_CPU == RUN_LIMIT_CPU && (int)VM_LIMIT_WALL == RUN_LIMIT_WALL &&
                  (int)VM_LIMIT_MEMORY == RUN_LIMIT_MEMORY,
              "a limit has one number");

/* In a signal handler. */
static void on_interrupt(void *held, run_limit limit, uint64_t used_ns, uint64_t most_ns)
{
    seat *s = held;
    vm_interrupt(s->vm, (vm_limit)limit, used_ns, most_ns);
}

static void on_describe(void *held, void (*put)(void *user, const char *text, size_t n), void *user)
{
    seat *s = held;
    vm_describe(s->vm, put, user);
}

/* --- afterwards --- */

static void on_sent(void *user, unsigned thread, HttpTask *t, uint64_t now_ns)
{
    bridge *b = user;
    app *a = t->app ? t->app : atomic_load_explicit(&b->vms->current, memory_order_acquire);
    metrics_count(a->counts[thread], t, now_ns);
    if (b->access_log)
        log_access(b->log, t, now_ns - t->received_ns);
}

static void on_trouble(void *user, const char *message)
{
    bridge *b = user;
    log_write(b->log, LOG_LEVEL_WARN, (str){0}, "%s", message);
}

void bridge_runner(bridge *b, runner *ret_runner)
{
    *ret_runner = (runner){
        .user = b,
        .enter = on_enter,
        .leave = on_leave,
        .dismiss = on_dismiss,
        .refresh = on_refresh,
        .seated = on_seated,
        .route = on_route,
        .prepare = on_prepare,
        .start = on_start,
        .resume = on_resume,
        .cancel = on_cancel,
        .ended = on_ended,
        .abandon = on_abandon,
        .interrupt = on_interrupt,
        .describe = on_describe,
        .idle = on_idle,
        .bytes = on_bytes,
        .sent = on_sent,
        .trouble = on_trouble,
    };
}
