/* Serving: the start of the threads, the wait for the stop, the drain. See poolsrv.h. */
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "api/descriptors.h"
#include "api/notify.h"
#include "api/options.h"
#include "api/server.h"
#include "runtime/exec.h"

enum {
    NS_PER_MS = 1000000,
    STOP_POLL_MS = 50,
    FORCED_WAIT_MS = 1000,
    FORCED_READ_MS = 300, /* less than FORCED_WAIT_MS: then the process gives up */
    ERROR_BYTES = 1024,
    HEAVY_IDLE_S = 10
};

void ps_server_on_ready(ps_server *srv, void (*ready)(ps_server *srv, void *user), void *user)
{
    srv->ready = ready;
    srv->ready_user = user;
}

void ps_server_stop(ps_server *srv, int grace_ms)
{
    uint64_t one = 1;
    int saved = errno; /* this may run in a signal handler */
    atomic_store(&srv->grace_ms, grace_ms);
    atomic_fetch_add(&srv->stops, 1);
    while (write(srv->stop_fd, &one, sizeof(one)) < 0 && errno == EINTR)
        ;
    errno = saved;
}

bool server_is_ready(ps_server *srv)
{
    return atomic_load(&srv->state) == SERVER_RUNNING && !atomic_load(&srv->draining);
}

static bool on_admin_ready(void *user)
{
    return server_is_ready(user);
}

static int on_admin_metrics(void *user, buf *out)
{
    return report_metrics(user, out);
}

static bool on_admin_refresh(void *user, void (*done)(void *with), void *with)
{
    jobs *j = &((ps_server *)user)->jobs;
    return queue_stats_ask(&j->stats, j->queues, done, with);
}

static mq *on_admin_queues(void *user)
{
    return ((const ps_server *)user)->jobs.queues;
}

static void on_admin_consumers(void *user, void (*each)(void *to, const consumer *c), void *to)
{
    const jobs *j = &((const ps_server *)user)->jobs;
    const duties *d = jobs_duties(j);
    for (size_t i = 0; i < d->consumer_count; i++)
        each(to, d->consumers[i]);
}

static int start_admin(ps_server *srv, char *error)
{
    if (!srv->admin_listening.count)
        return 0;
    admin_source source = {.user = srv,
                           .ready = on_admin_ready,
                           .metrics = on_admin_metrics,
                           .refresh = on_admin_refresh,
                           .queues = on_admin_queues,
                           .consumers = on_admin_consumers};
    if (listen_start(&srv->admin_listening, error, ERROR_BYTES) < 0)
        return PS_ELISTEN;
    if (admin_start(srv->admin_listening.fds[0], &source, srv->log, &srv->admin) < 0) {
        snprintf(error, ERROR_BYTES, "cannot start the admin thread");
        return PS_ESYSTEM;
    }
    return 0;
}

static uint64_t ns_of(double seconds)
{
    return (uint64_t)(seconds * 1e9);
}

static peer_limits peer_limits_of(const ps_server *srv)
{
    const ps_options *o = &srv->opt;
    return (peer_limits){
        .idle_ns = ns_of(o->idle_timeout),
        .head_ns = ns_of(o->head_timeout),
        .body_ns = ns_of(o->body_timeout),
        .body_rate = o->body_min_rate,
        .reading_ns = ns_of(o->send_timeout),
        .reading_rate = o->send_min_rate,
        .crowd = srv->crowd,
    };
}

static int make_crowd(ps_server *srv, char *error)
{
    unsigned each = (unsigned)srv->opt.max_connections_per_address;
    int err = each ? crowd_new(each, (unsigned)srv->opt.max_connections, &srv->crowd) : 0;
    if (err)
        snprintf(error, ERROR_BYTES, "cannot limit the connections of an address: %s", strerror(-err));
    return err ? PS_ESYSTEM : 0;
}

static int make_pool(ps_server *srv, char *error)
{
    unsigned long have, need;
    const ps_options *o = &srv->opt;
    unsigned threads = (unsigned)(o->threads + o->max_heavy);
    unsigned room = descriptors_make_room((unsigned)o->max_connections, threads, &have, &need);
    if (!room) {
        snprintf(error, ERROR_BYTES,
                 "too few descriptors: %lu are allowed, %lu are needed; raise the limit (ulimit -n) or ask "
                 "for fewer "
                 "--threads or --max-connections",
                 have, need);
        return PS_ESYSTEM;
    }
    if (room < (unsigned)o->max_connections)
        log_write(srv->log, LOG_LEVEL_WARN, (str){0},
                  "only %u connections at a time, not %d: the limit of descriptors is %lu (ulimit -n)", room,
                  o->max_connections, have);
    run_limits limits = server_limits(srv);
    if (o->trust_proxy)
        (void)trust_parse(str_from(o->trust_proxy), &srv->trusted); /* options_check has */
    pool_config config = {
        .workers = (unsigned)o->threads,
        .heavies = (unsigned)o->heavy_threads,
        .max_heavies = (unsigned)o->max_heavy,
        .cores = server_cores(),
        .heavy_idle_ns = (uint64_t)HEAVY_IDLE_S * 1000000000u,
        .max_connections = room,
        .max_queue = (unsigned)o->max_queue,
        .max_wait_ns = (uint64_t)(o->max_wait * 1e9),
        .handler_timeout_ns = limits.wall_ns,
        .cpu_limit_ns = limits.cpu_ns,
        .least_limit_ns = jobs_least_limit_ns(&srv->jobs, srv->apps->least_limit_ns),
        .forced_read_ns = (uint64_t)FORCED_READ_MS * NS_PER_MS,
        .http = {.header_room = (size_t)o->header_room,
                 .max_body = o->max_body,
                 .head = {.line_bytes = (size_t)o->max_request_line,
                          .header_bytes = (size_t)o->max_header_size,
                          .headers = (uint32_t)o->max_headers},
                 .limits = peer_limits_of(srv),
                 .send_request_id = o->request_id,
                 .trusted = o->trust_proxy ? &srv->trusted : NULL},
        .listen_fds = srv->listening.fds,
        .own_listeners = srv->listening.own,
    };
    int err = pool_new(&config, &srv->runner, &srv->pool);
    if (err) {
        const char *why =
            err == -EBUSY ? "SIGRTMIN+5, which limits of time need, has another handler" : strerror(-err);
        snprintf(error, ERROR_BYTES, "cannot make the threads: %s", why);
        return PS_ESYSTEM;
    }
    return 0;
}

/* on_start hooks, sockets, VMs and threads, in the order in which each is needed. */
static int start(ps_server *srv, char *error)
{
    run_limits limits = server_limits(srv);
    if (jobs_open(&srv->jobs, srv->opt.queue, srv->dicts, srv->stores, srv->log, &limits, error,
                  ERROR_BYTES) < 0)
        return PS_ESYSTEM;
    if (vm_on_start(srv->first, false, error, ERROR_BYTES) != 0)
        return PS_EAPP;
    vm *first = srv->first;
    srv->first = NULL;
    seat *s = vms_seat(&srv->vms, first, srv->apps, error, ERROR_BYTES);
    if (!s)
        return PS_EAPP;
    int bad = jobs_define(&srv->jobs, s->vm, error, ERROR_BYTES) < 0 ? PS_ESYSTEM : 0;
    vms_give(&srv->vms, s);
    if (bad)
        return bad;
    srv->bridge.vms = &srv->vms;
    srv->bridge.log = srv->log;
    srv->bridge.changes = &srv->jobs.changes;
    srv->bridge.access_log = options_access_log(&srv->opt);
    bridge_runner(&srv->bridge, &srv->runner);
    if (listen_start(&srv->listening, error, ERROR_BYTES) < 0)
        return PS_ELISTEN;
    if (vms_start(&srv->vms) < 0) {
        snprintf(error, ERROR_BYTES, "cannot start the thread that makes VMs");
        return PS_ESYSTEM;
    }
    bad = make_crowd(srv, error);
    if (bad == 0)
        bad = make_pool(srv, error);
    if (bad)
        return bad;
    /* Before the threads: what fails from here on leaves none of them running. */
    bad = start_admin(srv, error);
    if (bad)
        return bad;
    jobs_use(&srv->jobs, srv->pool);
    int err = pool_start(srv->pool);
    if (err) {
        if (srv->bridge.error[0])
            snprintf(error, ERROR_BYTES, "%s", srv->bridge.error);
        else
            snprintf(error, ERROR_BYTES, "cannot start the threads: %s", strerror(-err));
        return srv->bridge.error[0] ? PS_EAPP : PS_ESYSTEM;
    }
    jobs_start(&srv->jobs);
    return 0;
}

static void on_stop_fd(uv_poll_t *poll, int status, int events)
{
    (void)status;
    (void)events;
    uv_stop(poll->loop);
}

static void close_any(uv_handle_t *handle, void *arg)
{
    (void)arg;
    if (!uv_is_closing(handle))
        uv_close(handle, NULL);
}

/* Until ps_server_stop. This thread has nothing else to do but to watch files, with --dev. */
static int wait_for_stop(ps_server *srv, char *error)
{
    uv_loop_t loop;
    uv_poll_t poll;
    watch *w = NULL;
    int err = uv_loop_init(&loop);
    bool has_loop = err == 0;
    if (has_loop && (err = uv_poll_init(&loop, &poll, srv->stop_fd)) == 0)
        err = uv_poll_start(&poll, UV_READABLE, on_stop_fd);
    if (err == 0 && srv->opt.dev)
        err = watch_start(srv, &loop, &w);
    if (err) {
        snprintf(error, ERROR_BYTES, "cannot run the main loop: %s", strerror(-err));
    } else {
        /* First: a crash caused by whoever hears of it from the callback is no failed start. */
        notify_service_manager("READY=1");
        if (srv->ready)
            srv->ready(srv, srv->ready_user);
        if (atomic_load(&srv->stops) == 0)
            uv_run(&loop, UV_RUN_DEFAULT);
    }
    watch_stop(w);
    if (has_loop) {
        uv_walk(&loop, close_any, NULL);
        uv_run(&loop, UV_RUN_DEFAULT);
        uv_loop_close(&loop);
    }
    return err ? PS_ESYSTEM : 0;
}

static uint64_t grace_of(const ps_server *srv)
{
    int ms = atomic_load(&srv->grace_ms);
    return ms >= 0 ? (uint64_t)ms : (uint64_t)(srv->opt.grace * 1000);
}

/* Returns: 0, or PS_EGRACE when requests had to be cut off. */
static int drain(ps_server *srv)
{
    uint64_t waited_ms = 0;
    atomic_store(&srv->draining, true);
    /* Both are sequentially consistent: a ps_request sees `draining`, or it is waited for here. */
    while (atomic_load(&srv->callers))
        sched_yield();
    notify_service_manager("STOPPING=1");
    jobs_drain(&srv->jobs);
    pool_set_stage(srv->pool, POOL_DRAINING);
    do {
        if (pool_wait(srv->pool, STOP_POLL_MS * (uint64_t)NS_PER_MS))
            return 0;
        waited_ms += STOP_POLL_MS;
    } while (atomic_load(&srv->stops) < 2 && waited_ms < grace_of(srv));
    pool_set_stage(srv->pool, POOL_FORCED);
    srv->lost = !pool_wait(srv->pool, FORCED_WAIT_MS * (uint64_t)NS_PER_MS);
    return srv->lost || atomic_load(&srv->pool->cut_off) ? PS_EGRACE : 0;
}

static int tell_cut(ps_server *srv, int cut, ps_error *err)
{
    const char *rest = srv->lost ? "; a handler is still running" : "";
    if (grace_of(srv) == 0)
        return error_set(err, cut, "the stop was forced before all requests ended%s", rest);
    return error_set(err, cut, "the grace period of %llu ms ended before all requests did%s",
                     (unsigned long long)grace_of(srv), rest);
}

static int stop_app(ps_server *srv, char *error)
{
    seat *s = vms_take(&srv->vms, error, ERROR_BYTES);
    if (!s)
        return PS_EAPP;
    int err = vm_on_stop(s->vm, false, error, ERROR_BYTES);
    vms_give(&srv->vms, s);
    return err ? PS_EAPP : 0;
}

/* VMs use the queues in their last functions, and the queues the pool's threads as an address. */
static void end(ps_server *srv)
{
    vms_fini(&srv->vms);
    jobs_fini(&srv->jobs);
    remotes_settle(srv->stores); /* what ends there is told to a thread's inbox */
    pool_free(srv->pool);
    srv->pool = NULL;
    crowd_free(srv->crowd);
    srv->crowd = NULL;
}

int ps_server_run(ps_server *srv, ps_error *err)
{
    char error[ERROR_BYTES] = "";
    if (!srv || atomic_load(&srv->state) != SERVER_BOUND)
        return error_set(err, PS_ESTATE, "ps_server_run: call ps_server_listen first, and run once");
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    srv->started_s = (double)now.tv_sec + (double)now.tv_nsec / 1e9;
    int result = start(srv, error);
    if (result == 0) {
        atomic_store(&srv->state, SERVER_RUNNING);
        result = wait_for_stop(srv, error);
    }
    if (srv->pool && atomic_load(&srv->state) == SERVER_RUNNING) {
        int cut = drain(srv);
        if (cut)
            result = tell_cut(srv, cut, err);
    }
    atomic_store(&srv->state, SERVER_STOPPED);
    admin_stop(srv->admin);
    srv->admin = NULL;
    if (srv->lost)
        return result;
    srv->lost = srv->pool && lost_any(&srv->pool->lost);
    if (!srv->lost)
        jobs_settle(&srv->jobs);
    if (result == 0 || result == PS_EGRACE) {
        int stopped = stop_app(srv, error);
        result = result ? result : stopped;
    }
    if (!srv->lost)
        end(srv);
    if (result && result != PS_EGRACE)
        error_set(err, result, "%s", error);
    return result;
}

static void write_to(void *user, const char *text, size_t n)
{
    ssize_t written = write(*(const int *)user, text, n);
    (void)written; /* nobody is left to be told */
}

void ps_describe_thread(int fd)
{
    hold_describe(write_to, &fd);
}
