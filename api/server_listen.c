/* Binding: the sockets of the workers, and the one of the admin address. See poolsrv.h. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/notify.h"
#include "api/server.h"

enum { ERROR_BYTES = 1024 };

/* What a service manager is to call the sockets that it keeps. */
#define KEPT_MAIN  "poolsrv"
#define KEPT_ADMIN "poolsrv-admin"

static int bind_main(ps_server *srv, const char *host, int port, char *error)
{
    unsigned n = (unsigned)srv->opt.threads;
    if (host)
        return listen_bind_tcp(&srv->listening, n, host, port, error, ERROR_BYTES);
    int inherited = listen_inherit(&srv->listening, n, KEPT_MAIN, KEPT_ADMIN, error, ERROR_BYTES);
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
    int inherited = listen_inherit(&srv->admin_listening, 1, KEPT_ADMIN, NULL, error, ERROR_BYTES);
    if (inherited <= 0)
        return inherited;
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

static size_t distinct(const listen_set *s)
{
    size_t n = 1;
    while (n < s->count && s->fds[n] != s->fds[0])
        n++;
    return n;
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
    /* One where all workers hold the same. */
    if (!srv->listening.lent)
        notify_keep(srv->listening.fds, distinct(&srv->listening), KEPT_MAIN);
    if (srv->admin_listening.count)
        notify_keep(srv->admin_listening.fds, 1, KEPT_ADMIN);
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
