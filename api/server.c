/* The life of a server: new, load, listen, run, stop, free. See poolsrv.h. */
#include "api/server.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "api/descriptors.h"
#include "api/lua_sources.h"
#include "api/notify.h"
#include "api/options.h"

enum { MAX_HEAVY_LEAST = 16, MAX_HEAVY_MOST = 1024, HEAVY_IDLE_S = 10 };
enum { NS_PER_MS = 1000000, STOP_POLL_MS = 50, FORCED_WAIT_MS = 1000, ERROR_BYTES = 1024 };

#define SOURCE(name)                                                                                         \
    {                                                                                                        \
#name, lua_##name, &lua_##name##_size                                                                \
    }

static const vm_source sources[] = {
    SOURCE(where),  SOURCE(suggest), SOURCE(path),  SOURCE(places),     SOURCE(definition),
    SOURCE(freeze), SOURCE(tree),    SOURCE(hooks), SOURCE(coroutines),
};

/* --- new and free --- */

int ps_server_new(const ps_options *opt, ps_server **ret_srv, ps_error *err)
{
    if (!opt || !ret_srv)
        return error_set(err, PS_EINVAL,
                         "ps_server_new: the options and the place for the server must be given");
    ps_server *srv = calloc(1, sizeof(*srv));
    if (!srv)
        return error_set(err, PS_ENOMEM, "out of memory");
    pthread_mutex_init(&srv->bridge.lock, NULL);
    atomic_init(&srv->grace_ms, -1);
    srv->stop_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    int bad = srv->stop_fd < 0 ? error_set(err, PS_ESYSTEM, "cannot make an eventfd: %s", strerror(errno))
                               : options_copy(opt, &srv->opt, err);
    if (bad) {
        ps_server_free(srv);
        return bad;
    }
    *ret_srv = srv;
    return 0;
}

void ps_server_free(ps_server *srv)
{
    if (!srv || srv->lost)
        return;
    if (srv->first)
        vm_close(srv->first);
    vms_fini(&srv->vms);
    app_free_all(srv->apps);
    listen_close(&srv->listening);
    listen_close(&srv->admin_listening);
    log_free(srv->log);
    options_fini(&srv->opt);
    for (size_t i = 0; i < srv->module_count; i++)
        free((char *)(uintptr_t)srv->modules[i].name);
    for (size_t i = 0; i < srv->route_name_count; i++)
        free(srv->route_names[i]);
    free(srv->route_names);
    free(srv->modules);
    pthread_mutex_destroy(&srv->bridge.lock);
    if (srv->stop_fd >= 0)
        close(srv->stop_fd);
    free(srv);
}

int ps_server_register(ps_server *srv, const char *name, int (*open)(struct lua_State *L))
{
    if (!srv || !name || !open)
        return PS_EINVAL;
    if (atomic_load(&srv->state) != SERVER_NEW)
        return PS_ESTATE;
    vm_module *more = realloc(srv->modules, (srv->module_count + 1) * sizeof(*more));
    char *copy = strdup(name);
    if (more)
        srv->modules = more;
    if (!more || !copy) {
        free(copy);
        return PS_ENOMEM;
    }
    srv->modules[srv->module_count++] = (vm_module){copy, open};
    return 0;
}

/* --- load --- */

lane_policy server_lane_policy(const ps_server *srv)
{
    if (strcmp(srv->opt.lane, "light") == 0)
        return LANE_ALL_LIGHT;
    return strcmp(srv->opt.lane, "heavy") == 0 ? LANE_ALL_HEAVY : LANE_AUTO;
}

static log_level level_of(const char *word)
{
    static const char *const words[] = {
#define X(name, text) text,
        LOG_LEVELS(X)
#undef X
    };
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (strcmp(words[i], word) == 0)
            return (log_level)i;
    return LOG_LEVEL_INFO;
}

static void on_vm_log(void *user, int level, str request_id, str text)
{
    ps_server *srv = user;
    log_text(srv->log, (log_level)level, request_id, text);
}

static void on_vm_trouble(void *user, const char *message)
{
    ps_server *srv = user;
    log_write(srv->log, LOG_LEVEL_ERROR, (str){0}, "%s", message);
}

typedef struct config_reader {
    ps_server *srv;
    ps_error *err;
    int result;
} config_reader;

static void on_config(void *user, const char *name, const char *value, const char *where)
{
    config_reader *r = user;
    ps_error why;
    if (r->result)
        return;
    r->result = options_config(&r->srv->opt, name, value, &why);
    if (r->result)
        error_set(r->err, r->result, "%s: api.config: %s", where, why.message);
}

static unsigned cores(void)
{
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n < 1 ? 1 : (unsigned)n;
}

static int max_heavy_for(int heavy_threads)
{
    int n = heavy_threads < MAX_HEAVY_LEAST / 4 ? MAX_HEAVY_LEAST : 4 * heavy_threads;
    return n < MAX_HEAVY_MOST ? n : MAX_HEAVY_MOST;
}

static void settle_threads(ps_options *opt)
{
    if (opt->threads == 0)
        opt->threads = (int)cores();
    if (opt->heavy_threads == 0)
        opt->heavy_threads = cores() < 2 ? 2 : (int)cores();
    if (opt->max_heavy == 0)
        opt->max_heavy = max_heavy_for(opt->heavy_threads);
    if (opt->heavy_threads > opt->max_heavy)
        opt->heavy_threads = opt->max_heavy; /* it was not given: options_check */
}

static int load_first(ps_server *srv, const char *path, ps_error *err)
{
    char error[ERROR_BYTES] = "";
    srv->vm_config = (vm_config){
        .dev = srv->opt.dev,
        .context = srv->opt.context,
        .sources = sources,
        .source_count = sizeof(sources) / sizeof(sources[0]),
        .modules = srv->modules,
        .module_count = srv->module_count,
        .log_user = srv,
        .log = on_vm_log,
    };
    if (log_new(level_of(srv->opt.log_level), strcmp(srv->opt.log_format, "json") == 0, STDERR_FILENO,
                &srv->log) < 0 ||
        vms_init(&srv->vms, &srv->vm_config, path, on_vm_trouble, srv) < 0)
        return error_set(err, PS_ENOMEM, "out of memory");
    if (vms_load(&srv->vms, &srv->first, error, sizeof(error)) < 0)
        return error_set(err, PS_EAPP, "%s", error);
    return 0;
}

/* The VM was made before api.config{} could say how: make it again if that matters. */
static int remake_first(ps_server *srv, ps_error *err)
{
    char error[ERROR_BYTES] = "";
    vm_config *c = &srv->vms.config;
    if (c->dev == (srv->opt.dev != 0) && strcmp(c->context, srv->opt.context) == 0)
        return 0;
    c->dev = srv->opt.dev;
    c->context = srv->opt.context;
    vm_close(srv->first);
    srv->first = NULL;
    if (vms_load(&srv->vms, &srv->first, error, sizeof(error)) < 0)
        return error_set(err, PS_EAPP, "%s", error);
    return 0;
}

/* The log was made before api.config{} could say how it should look. */
static int remake_log(ps_server *srv, ps_error *err)
{
    log_free(srv->log);
    srv->log = NULL;
    if (log_new(level_of(srv->opt.log_level), strcmp(srv->opt.log_format, "json") == 0, STDERR_FILENO,
                &srv->log) < 0)
        return error_set(err, PS_ENOMEM, "out of memory");
    return 0;
}

static int build_routes(ps_server *srv, ps_error *err)
{
    char error[ERROR_BYTES] = "";
    if (app_new(srv->first, (unsigned)srv->opt.threads, server_lane_policy(srv), &srv->apps, error,
                sizeof(error)) < 0)
        return error_set(err, PS_EAPP, "%s", error);
    vms_set_current(&srv->vms, srv->apps, NULL);
    size_t n = route_tree_count(srv->apps->routes);
    srv->route_names = calloc(n ? n : 1, sizeof(char *));
    if (!srv->route_names)
        return error_set(err, PS_ENOMEM, "out of memory");
    for (; srv->route_name_count < n; srv->route_name_count++) {
        const route *r = route_tree_at(srv->apps->routes, srv->route_name_count);
        char name[1024];
        snprintf(name, sizeof(name), "%s %s", method_name(r->method), r->pattern);
        if (!(srv->route_names[srv->route_name_count] = strdup(name)))
            return error_set(err, PS_ENOMEM, "out of memory");
    }
    return 0;
}

int ps_server_load_file(ps_server *srv, const char *path, ps_error *err)
{
    if (!srv || !path)
        return error_set(err, PS_EINVAL, "ps_server_load_file: a server and a path must be given");
    if (atomic_load(&srv->state) != SERVER_NEW || srv->vms.path)
        return error_set(err, PS_ESTATE, "ps_server_load_file: the server has an app already");
    int bad = load_first(srv, path, err);
    if (bad)
        return bad;
    config_reader reader = {srv, err, 0};
    vm_config_each(srv->first, on_config, &reader);
    if (reader.result == 0)
        reader.result = options_check(&srv->opt, err);
    if (reader.result)
        return reader.result;
    settle_threads(&srv->opt);
    bad = remake_log(srv, err);
    if (bad == 0)
        bad = remake_first(srv, err);
    if (bad == 0)
        bad = build_routes(srv, err);
    if (bad == 0)
        atomic_store(&srv->state, SERVER_LOADED);
    return bad;
}

const char *ps_server_route(const ps_server *srv, size_t i, const char **ret_where)
{
    if (!srv || i >= srv->route_name_count)
        return NULL;
    app *oldest = srv->apps;
    while (oldest->older)
        oldest = oldest->older;
    if (ret_where)
        *ret_where = route_tree_at(oldest->routes, i)->where;
    return srv->route_names[i];
}

const ps_options *ps_server_options(const ps_server *srv)
{
    return srv ? &srv->opt : NULL;
}

/* --- listen --- */

static int bind_main(ps_server *srv, const char *host, int port, char *error)
{
    unsigned n = (unsigned)srv->opt.threads;
    if (host)
        return listen_bind_tcp(&srv->listening, n, host, port, error, ERROR_BYTES);
    int inherited = listen_inherit(&srv->listening, n, error, ERROR_BYTES);
    if (inherited <= 0)
        return inherited;
    if (srv->opt.unix_path)
        return listen_bind_unix(&srv->listening, n, srv->opt.unix_path, error, ERROR_BYTES);
    return listen_bind_tcp(&srv->listening, n, srv->opt.host, srv->opt.port, error, ERROR_BYTES);
}

/* "127.0.0.1:9000", "[::1]:9000" or ":9000". */
static int bind_admin(ps_server *srv, char *error)
{
    char host[128];
    const char *text = srv->opt.admin;
    if (!text)
        return 0;
    const char *colon = strrchr(text, ':');
    char *end = NULL;
    long port = colon ? strtol(colon + 1, &end, 10) : -1;
    size_t n = colon ? (size_t)(colon - text) : 0;
    if (!colon || end == colon + 1 || *end || port < 0 || port > 65535 || n >= sizeof(host)) {
        snprintf(error, ERROR_BYTES, "--admin %s: HOST:PORT is wanted, such as 127.0.0.1:9000", text);
        return -EINVAL;
    }
    if (n >= 2 && text[0] == '[' && text[n - 1] == ']') {
        text++;
        n -= 2;
    }
    memcpy(host, text, n);
    host[n] = '\0';
    return listen_bind_tcp(&srv->admin_listening, 1, n ? host : "127.0.0.1", (int)port, error, ERROR_BYTES);
}

int ps_server_listen(ps_server *srv, const char *host, int port, ps_error *err)
{
    char error[ERROR_BYTES] = "";
    if (!srv)
        return error_set(err, PS_EINVAL, "ps_server_listen: a server must be given");
    if (port < 0 || port > 65535)
        return error_set(err, PS_EINVAL, "ps_server_listen: port %d is not between 0 and 65535", port);
    if (atomic_load(&srv->state) != SERVER_LOADED)
        return error_set(err, PS_ESTATE, "ps_server_listen: load an app first, and listen once");
    if (bind_main(srv, host, port, error) < 0 || bind_admin(srv, error) < 0) {
        listen_close(&srv->listening);
        listen_close(&srv->admin_listening);
        return error_set(err, PS_ELISTEN, "%s", error);
    }
    atomic_store(&srv->state, SERVER_BOUND);
    return 0;
}

const char *ps_server_address(const ps_server *srv, size_t i)
{
    if (!srv || i > 1)
        return NULL;
    const listen_set *s = i == 0 ? &srv->listening : &srv->admin_listening;
    return s->count ? s->name : NULL;
}

/* --- run --- */

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

static bool on_admin_ready(void *user)
{
    ps_server *srv = user;
    return atomic_load(&srv->state) == SERVER_RUNNING && !atomic_load(&srv->draining);
}

static int on_admin_metrics(void *user, buf *out)
{
    return report_metrics(user, out);
}

static int start_admin(ps_server *srv, char *error)
{
    if (!srv->admin_listening.count)
        return 0;
    admin_source source = {.user = srv, .ready = on_admin_ready, .metrics = on_admin_metrics};
    if (listen_start(&srv->admin_listening, error, ERROR_BYTES) < 0)
        return PS_ELISTEN;
    if (admin_start(srv->admin_listening.fds[0], &source, srv->log, &srv->admin) < 0) {
        snprintf(error, ERROR_BYTES, "cannot start the admin thread");
        return PS_ESYSTEM;
    }
    return 0;
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
    pool_config config = {
        .workers = (unsigned)o->threads,
        .heavies = (unsigned)o->heavy_threads,
        .max_heavies = (unsigned)o->max_heavy,
        .cores = cores(),
        .heavy_idle_ns = (uint64_t)HEAVY_IDLE_S * 1000000000u,
        .max_connections = room,
        .max_queue = (unsigned)o->max_queue,
        .max_wait_ns = (uint64_t)(o->max_wait * 1e9),
        .handler_timeout_ns = (uint64_t)(o->handler_timeout * 1e9),
        .http = {.header_room = (size_t)o->header_room,
                 .max_body = o->max_body,
                 .idle_timeout_s = (unsigned)(o->idle_timeout + 0.999),
                 .send_request_id = o->request_id},
        .listen_fds = srv->listening.fds,
        .own_listeners = srv->listening.own,
    };
    int err = pool_new(&config, &srv->runner, &srv->pool);
    if (err) {
        snprintf(error, ERROR_BYTES, "cannot make the threads: %s", strerror(-err));
        return PS_ESYSTEM;
    }
    return 0;
}

/* on_start hooks, sockets, VMs and threads, in the order in which each is needed. */
static int start(ps_server *srv, char *error)
{
    if (vm_on_start(srv->first, false, error, ERROR_BYTES) != 0)
        return PS_EAPP;
    vm *first = srv->first;
    srv->first = NULL;
    seat *s = vms_seat(&srv->vms, first, srv->apps, error, ERROR_BYTES);
    if (!s)
        return PS_EAPP;
    vms_give(&srv->vms, s);
    srv->bridge.vms = &srv->vms;
    srv->bridge.log = srv->log;
    srv->bridge.access_log = options_access_log(&srv->opt);
    bridge_runner(&srv->bridge, &srv->runner);
    if (listen_start(&srv->listening, error, ERROR_BYTES) < 0)
        return PS_ELISTEN;
    if (vms_start(&srv->vms) < 0) {
        snprintf(error, ERROR_BYTES, "cannot start a thread");
        return PS_ESYSTEM;
    }
    int bad = make_pool(srv, error);
    if (bad)
        return bad;
    /* Before the threads: what fails from here on leaves none of them running. */
    bad = start_admin(srv, error);
    if (bad)
        return bad;
    int err = pool_start(srv->pool);
    if (err) {
        snprintf(error, ERROR_BYTES, "%s", srv->bridge.error[0] ? srv->bridge.error : strerror(-err));
        return srv->bridge.error[0] ? PS_EAPP : PS_ESYSTEM;
    }
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
    if (err == 0 && (err = uv_poll_init(&loop, &poll, srv->stop_fd)) == 0)
        err = uv_poll_start(&poll, UV_READABLE, on_stop_fd);
    if (err == 0 && srv->opt.dev)
        err = watch_start(srv, &loop, &w);
    if (err) {
        snprintf(error, ERROR_BYTES, "cannot run the main loop: %s", strerror(-err));
    } else {
        if (srv->ready)
            srv->ready(srv, srv->ready_user);
        notify_service_manager("READY=1");
        if (atomic_load(&srv->stops) == 0)
            uv_run(&loop, UV_RUN_DEFAULT);
    }
    watch_stop(w);
    uv_walk(&loop, close_any, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    uv_loop_close(&loop);
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

static int stop_app(ps_server *srv, char *error)
{
    seat *s = vms_take(&srv->vms, error, ERROR_BYTES);
    if (!s)
        return PS_EAPP;
    int err = vm_on_stop(s->vm, false, error, ERROR_BYTES);
    vms_give(&srv->vms, s);
    return err ? PS_EAPP : 0;
}

int ps_server_run(ps_server *srv, ps_error *err)
{
    char error[ERROR_BYTES] = "";
    if (!srv || atomic_load(&srv->state) != SERVER_BOUND)
        return error_set(err, PS_ESTATE, "ps_server_run: call ps_server_listen first, and run once");
    int result = start(srv, error);
    if (result == 0) {
        atomic_store(&srv->state, SERVER_RUNNING);
        result = wait_for_stop(srv, error);
    }
    if (srv->pool && atomic_load(&srv->state) == SERVER_RUNNING) {
        int cut = drain(srv);
        if (cut)
            result =
                error_set(err, cut, "the grace period of %llu ms ended before all requests did%s",
                          (unsigned long long)grace_of(srv), srv->lost ? "; a handler is still running" : "");
    }
    atomic_store(&srv->state, SERVER_STOPPED);
    admin_stop(srv->admin);
    srv->admin = NULL;
    if (srv->lost)
        return result;
    pool_free(srv->pool);
    srv->pool = NULL;
    if (result == 0 || result == PS_EGRACE) {
        int stopped = stop_app(srv, error);
        result = result ? result : stopped;
    }
    if (result && result != PS_EGRACE)
        error_set(err, result, "%s", error);
    return result;
}
