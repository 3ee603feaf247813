/* A server's beginning and end: new, register, free. See poolsrv.h. */
#include "api/server.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "api/options.h"

int ps_server_new(const ps_options *opt, ps_server **ret_srv, ps_error *err)
{
    if (!opt || !ret_srv)
        return error_set(err, PS_EINVAL,
                         "ps_server_new: the options and the place for the server must be given");
    ps_server *srv = calloc(1, sizeof(*srv));
    if (!srv)
        return error_set(err, PS_ENOMEM, "out of memory");
    pthread_mutex_init(&srv->bridge.lock, NULL);
    pthread_mutex_init(&srv->log_lock, NULL);
    atomic_init(&srv->grace_ms, -1);
    jobs_init(&srv->jobs);
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

/* A lost thread still uses what there is, but for what others see: the sockets, and the log so far. */
static void leave(ps_server *srv)
{
    listen_close(&srv->listening);
    listen_close(&srv->admin_listening);
    dicts_sync(srv->dicts);
    log_settle(srv->log);
}

void ps_server_free(ps_server *srv)
{
    if (srv && srv->lost)
        leave(srv);
    if (!srv || srv->lost)
        return;
    if (srv->first)
        vm_close(srv->first);
    vms_fini(&srv->vms);
    jobs_fini(&srv->jobs);
    app_free_all(srv->apps);
    buckets_free(srv->buckets);
    remotes_free(srv->stores);
    dicts_free(srv->dicts);
    listen_close(&srv->listening);
    listen_close(&srv->admin_listening);
    log_free(srv->log);
    paths_free(srv->paths);
    options_fini(&srv->opt);
    for (size_t i = 0; i < srv->module_count; i++)
        free((char *)(uintptr_t)srv->modules[i].name);
    for (size_t i = 0; i < srv->route_name_count; i++)
        free(srv->route_names[i]);
    free(srv->route_names);
    server_free_jobs(srv);
    free(srv->modules);
    pthread_mutex_destroy(&srv->log_lock);
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
    /* cppcheck-suppress memleak ; the list keeps the copy */
    return 0;
}
