/* Loading an app: the first VM, the options that the app sets, the routes. See poolsrv.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/lua_sources.h"
#include "api/options.h"
#include "api/server.h"

enum { ERROR_BYTES = 1024, MAX_HEAVY_LEAST = 16, MAX_HEAVY_MOST = 1024 };

static const vm_source sources[] = {
#define X(name) {#name, lua_##name, &lua_##name##_size},
    LUA_SOURCES(X)
#undef X
};

lane_policy server_lane_policy(const ps_server *srv)
{
    if (strcmp(srv->opt.lane, "light") == 0)
        return LANE_ALL_LIGHT;
    return strcmp(srv->opt.lane, "heavy") == 0 ? LANE_ALL_HEAVY : LANE_AUTO;
}

run_limits server_limits(const ps_server *srv)
{
    const ps_options *o = &srv->opt;
    return (run_limits){.cpu_ns = (uint64_t)(o->cpu_limit * 1e9),
                        .wall_ns = (uint64_t)(o->handler_timeout * 1e9),
                        .memory_bytes = (size_t)o->memory_limit};
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

/* From threads of what VMs share, also while the log is made again. */
static void tell_shared(ps_server *srv, log_level level, const char *of, const char *text)
{
    pthread_mutex_lock(&srv->log_lock);
    if (srv->log)
        log_write(srv->log, level, (str){0}, "%s%s", of, text);
    pthread_mutex_unlock(&srv->log_lock);
}

static void on_store_trouble(void *user, int level, const char *text)
{
    static const log_level levels[] = {LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO};
    tell_shared(user, levels[level], "a store: ", text);
}

static void on_shared_trouble(void *user, int level, const char *text)
{
    tell_shared(user, (log_level)level, "", text);
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

static void on_vm_file(void *user, const char *path)
{
    ps_server *srv = user;
    if (srv->opt.dev)
        (void)paths_add(srv->paths, path); /* short of memory: not watched */
}

unsigned server_cores(void)
{
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n < 1 ? 1 : (unsigned)n;
}

static vm_globals globals_of(const char *word)
{
    if (strcmp(word, "error") == 0)
        return VM_GLOBALS_ERROR;
    return strcmp(word, "allow") == 0 ? VM_GLOBALS_ALLOW : VM_GLOBALS_WARN;
}

static bool is_strict(const ps_options *opt)
{
    return strcmp(opt->sandbox, "strict") == 0;
}

static int max_heavy_for(int heavy_threads)
{
    int n = heavy_threads < MAX_HEAVY_LEAST / 4 ? MAX_HEAVY_LEAST : 4 * heavy_threads;
    return n < MAX_HEAVY_MOST ? n : MAX_HEAVY_MOST;
}

static void settle_threads(ps_options *opt)
{
    if (opt->threads == 0)
        opt->threads = (int)server_cores();
    if (opt->heavy_threads == 0)
        opt->heavy_threads = server_cores() < 2 ? 2 : (int)server_cores();
    if (opt->max_heavy == 0)
        opt->max_heavy = max_heavy_for(opt->heavy_threads);
    if (opt->heavy_threads > opt->max_heavy)
        opt->heavy_threads = opt->max_heavy; /* it was not given: options_check */
}

vm_config server_vm_config(ps_server *srv)
{
    return (vm_config){
        .dev = srv->opt.dev,
        .strict = is_strict(&srv->opt),
        .globals = globals_of(srv->opt.globals),
        .told = &srv->told,
        .context = srv->opt.context,
        .sources = sources,
        .source_count = sizeof(sources) / sizeof(sources[0]),
        .buckets = srv->buckets,
        .host = &srv->jobs.host,
        .dicts = srv->dicts,
        .stores = srv->stores,
        .modules = srv->modules,
        .module_count = srv->module_count,
        .log_user = srv,
        .log = on_vm_log,
    };
}

static int make_log(ps_server *srv, ps_error *err)
{
    int bad = log_new(level_of(srv->opt.log_level), strcmp(srv->opt.log_format, "json") == 0, STDERR_FILENO,
                      &srv->log);
    if (bad == -ENOMEM)
        return error_set(err, PS_ENOMEM, "out of memory");
    return bad ? error_set(err, PS_ESYSTEM, "cannot start the thread that writes the log: %s", strerror(-bad))
               : 0;
}

static int load_first(ps_server *srv, const char *path, ps_error *err)
{
    char error[ERROR_BYTES] = "";
    srv->buckets = buckets_new();
    srv->dicts = dicts_new(&(dicts_config){.persists = true, .tell = on_shared_trouble, .user = srv});
    srv->stores = remotes_new(on_store_trouble, srv);
    if (!srv->buckets || !srv->dicts || !srv->stores)
        return error_set(err, PS_ENOMEM, "out of memory");
    srv->vm_config = server_vm_config(srv);
    srv->vm_config.file_user = srv;
    srv->vm_config.file = on_vm_file;
    srv->paths = paths_new();
    int bad = make_log(srv, err);
    if (bad)
        return bad;
    if (!srv->paths || vms_init(&srv->vms, &srv->vm_config, path, on_vm_trouble, srv) < 0)
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
    c->memory_bytes = (size_t)srv->opt.vm_memory_limit;
    vm_limit_memory(srv->first, c->memory_bytes);
    vm_config wanted = server_vm_config(srv);
    if (c->dev == wanted.dev && c->strict == wanted.strict && c->globals == wanted.globals &&
        strcmp(c->context, srv->opt.context) == 0)
        return 0;
    c->strict = wanted.strict;
    c->globals = wanted.globals;
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
    pthread_mutex_lock(&srv->log_lock);
    log_free(srv->log);
    srv->log = NULL;
    int bad = make_log(srv, err);
    pthread_mutex_unlock(&srv->log_lock);
    return bad;
}

static int build_routes(ps_server *srv, ps_error *err)
{
    char error[ERROR_BYTES] = "";
    run_limits limits = server_limits(srv);
    if (app_new(srv->first, (unsigned)srv->opt.threads, server_lane_policy(srv), &limits, &srv->apps, error,
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
    return server_list_jobs(srv, srv->first) == 0 ? 0 : error_set(err, PS_ENOMEM, "out of memory");
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
    if (bad == 0 && dicts_start(srv->dicts) < 0)
        bad = error_set(err, PS_ESYSTEM, "cannot start the thread that writes a shared dictionary");
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
