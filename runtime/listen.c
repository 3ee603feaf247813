#include "runtime/listen.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { BACKLOG = 4096, INHERITED_FD = 3 };

static int make_room(listen_set *s, unsigned count)
{
    *s = (listen_set){.count = 0};
    s->fds = calloc(count, sizeof(int));
    return s->fds ? 0 : -ENOMEM;
}

void listen_close(listen_set *s)
{
    for (unsigned i = 0; i < s->count; i++) {
        unsigned first = 0;
        while (s->fds[first] != s->fds[i])
            first++;
        if (first == i)
            close(s->fds[i]);
    }
    if (s->unix_path)
        unlink(s->unix_path);
    free(s->unix_path);
    free(s->fds);
    *s = (listen_set){0};
}

/* All workers hold one socket. */
static void share(listen_set *s, unsigned count, int fd)
{
    for (s->count = 0; s->count < count; s->count++)
        s->fds[s->count] = fd;
}

/* --- TCP --- */

static int tcp_socket(const struct addrinfo *a, bool reuse_port)
{
    int one = 1, zero = 0;
    int fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)); /* accepted sockets inherit it */
    if (a->ai_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof(zero));
    if ((reuse_port && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)) < 0) ||
        bind(fd, a->ai_addr, a->ai_addrlen) < 0) {
        int err = -errno;
        close(fd);
        return err;
    }
    return fd;
}

static unsigned short *port_of(struct sockaddr *address)
{
    if (address->sa_family == AF_INET6)
        return &((struct sockaddr_in6 *)(void *)address)->sin6_port;
    return &((struct sockaddr_in *)(void *)address)->sin_port;
}

/* Whether another program owns the port. */
static int probe(const struct addrinfo *a)
{
    if (*port_of(a->ai_addr) == 0)
        return 0;
    int fd = tcp_socket(a, false);
    if (fd < 0)
        return fd;
    /* bind() lets two in as long as neither listens. */
    int err = listen(fd, 1) < 0 ? -errno : 0;
    close(fd);
    return err;
}

static int bind_all(listen_set *s, unsigned count, struct addrinfo *a)
{
    int err = probe(a);
    while (err == 0 && s->count < count) {
        int fd = tcp_socket(a, true);
        if (fd < 0)
            return fd;
        s->fds[s->count++] = fd;
        if (s->count > 1)
            continue;
        /* The others take the port that the first one got. */
        socklen_t size = a->ai_addrlen;
        if (getsockname(fd, a->ai_addr, &size) < 0)
            err = -errno;
    }
    return err;
}

static void name_tcp(listen_set *s, const struct addrinfo *a)
{
    char host[64], port[16];
    if (getnameinfo(a->ai_addr, a->ai_addrlen, host, sizeof(host), port, sizeof(port),
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0)
        return;
    const char *format = a->ai_family == AF_INET6 ? "http://[%s]:%s" : "http://%s:%s";
    snprintf(s->name, sizeof(s->name), format, host, port);
}

static int explain(int err, const char *what, char *error, size_t size)
{
    const char *hint = "";
    if (err == -EADDRINUSE)
        hint = "; another program listens there";
    else if (err == -EACCES)
        hint = "; ports below 1024 need a privilege";
    snprintf(error, size, "cannot listen on %s: %s%s", what, strerror(-err), hint);
    return err;
}

int listen_bind_tcp(listen_set *s, unsigned count, const char *host, int port, char *error, size_t size)
{
    char service[16], what[300];
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *a = NULL;
    snprintf(service, sizeof(service), "%d", port);
    snprintf(what, sizeof(what), "%s port %d", host, port);
    int err = make_room(s, count);
    if (err)
        return explain(err, what, error, size);
    int gai = getaddrinfo(host, service, &hints, &a);
    if (gai) {
        snprintf(error, size, "cannot listen on %s: %s; --host takes an address or a host's name", what,
                 gai_strerror(gai));
        listen_close(s);
        return -EINVAL;
    }
    err = bind_all(s, count, a);
    if (err == 0)
        name_tcp(s, a);
    freeaddrinfo(a);
    if (err) {
        listen_close(s);
        return explain(err, what, error, size);
    }
    s->own = true;
    return 0;
}

/* --- Unix sockets --- */

/* Remove the file of a server that is gone; leave any other file alone. */
static int clear_path(const struct sockaddr_un *address)
{
    struct stat st;
    if (stat(address->sun_path, &st) < 0)
        return 0;
    if (!S_ISSOCK(st.st_mode))
        return -EEXIST;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    int connected = connect(fd, (const struct sockaddr *)address, sizeof(*address));
    int err = connected < 0 && errno == ECONNREFUSED ? 0 : -EADDRINUSE;
    close(fd);
    if (err == 0 && unlink(address->sun_path) < 0)
        err = -errno;
    return err;
}

int listen_bind_unix(listen_set *s, unsigned count, const char *path, char *error, size_t size)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int err = strlen(path) < sizeof(address.sun_path) ? make_room(s, count) : -ENAMETOOLONG;
    if (err)
        return explain(err, path, error, size);
    memcpy(address.sun_path, path, strlen(path) + 1);
    int fd = -1;
    err = clear_path(&address);
    if (err == 0 && (fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)) < 0)
        err = -errno;
    if (err == 0 && bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
        err = -errno;
    if (err) {
        if (fd >= 0)
            close(fd);
        listen_close(s);
        return explain(err, path, error, size);
    }
    share(s, count, fd);
    s->unix_path = strdup(path);
    snprintf(s->name, sizeof(s->name), "unix:%s", path);
    return 0;
}

/* --- inherited --- */

static long environment_number(const char *name)
{
    const char *text = getenv(name);
    return text ? strtol(text, NULL, 10) : 0;
}

static void name_inherited(listen_set *s, const struct sockaddr_storage *address, socklen_t bytes)
{
    struct addrinfo a = {.ai_family = address->ss_family, .ai_addrlen = bytes};
    struct sockaddr_storage copy = *address;
    a.ai_addr = (struct sockaddr *)&copy;
    snprintf(s->name, sizeof(s->name), "inherited socket");
    if (address->ss_family == AF_UNIX)
        snprintf(s->name, sizeof(s->name), "unix:%.108s",
                 ((const struct sockaddr_un *)(const void *)address)->sun_path);
    else if (address->ss_family == AF_INET || address->ss_family == AF_INET6)
        name_tcp(s, &a);
}

/* Which of the descriptors handed down has that name; all, where there are no names. */
static bool has_name(long index, const char *name)
{
    const char *names = getenv("LISTEN_FDNAMES");
    for (; names && index > 0; index--)
        names = (names = strchr(names, ':')) ? names + 1 : NULL;
    size_t n = strlen(name);
    return names && strncmp(names, name, n) == 0 && (names[n] == ':' || names[n] == '\0');
}

static int check_inherited(int fd, struct sockaddr_storage *ret_address, socklen_t *ret_bytes)
{
    int type = 0;
    socklen_t type_bytes = sizeof(type);
    *ret_bytes = sizeof(*ret_address);
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &type_bytes) < 0 ||
        getsockname(fd, (struct sockaddr *)ret_address, ret_bytes) < 0)
        return -errno;
    if (type != SOCK_STREAM)
        return -EPROTOTYPE;
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    return 0;
}

/* A socket that nobody accepts from any more, though whoever handed it down may hold it for ever: clients are
 * to go to the others. */
static void end_listening(int fd)
{
    shutdown(fd, SHUT_RDWR);
    close(fd);
}

/* Those of that name, as many as wanted; the rest ends. Returns: how many there are. */
static unsigned take_named(listen_set *s, unsigned count, long fds, const char *name)
{
    unsigned found = 0;
    for (long i = 0; i < fds; i++) {
        if (!has_name(i, name))
            continue;
        if (found < count)
            s->fds[found] = INHERITED_FD + (int)i;
        else
            end_listening(INHERITED_FD + (int)i);
        found += found < count;
    }
    return found;
}

/* A socket a worker; where a server with fewer workers kept them, the first ones are shared. */
static void spread(listen_set *s, unsigned count, unsigned found)
{
    for (unsigned i = found; i < count; i++)
        s->fds[i] = s->fds[i % found];
    s->count = count;
}

/* The only one that is not called `other`. Returns: how many of these there are. */
static unsigned take_stranger(listen_set *s, long fds, const char *other)
{
    unsigned found = 0;
    for (long i = 0; i < fds; i++) {
        if (has_name(i, other))
            continue;
        s->fds[0] = INHERITED_FD + (int)i;
        found++;
    }
    return found;
}

int listen_inherit(listen_set *s, unsigned count, const char *name, const char *other, char *error,
                   size_t size)
{
    struct sockaddr_storage address = {0};
    socklen_t bytes = 0;
    long fds = environment_number("LISTEN_FDS");
    if (fds < 1 || environment_number("LISTEN_PID") != (long)getpid())
        return 1;
    int err = make_room(s, count);
    if (err)
        return explain(err, "the sockets that were handed down (LISTEN_FDS)", error, size);
    unsigned found = take_named(s, count, fds, name);
    bool kept = found > 0;
    if (!kept && other)
        found = take_stranger(s, fds, other);
    if (found == 0) {
        listen_close(s);
        return 1;
    }
    if (!kept && found > 1) {
        snprintf(error, size, "%u sockets were handed down (LISTEN_FDS): poolsrv takes one", found);
        listen_close(s);
        return -EINVAL;
    }
    for (unsigned i = 0; i < found && err == 0; i++)
        err = check_inherited(s->fds[i], &address, &bytes);
    if (err) {
        listen_close(s);
        return explain(err, "a socket that was handed down (LISTEN_FDS)", error, size);
    }
    spread(s, count, found);
    s->own = kept && found == count && address.ss_family != AF_UNIX;
    s->lent = !kept;
    name_inherited(s, &address, bytes);
    if (kept && address.ss_family == AF_UNIX)
        s->unix_path = strdup(((const struct sockaddr_un *)(const void *)&address)->sun_path);
    return 0;
}

int listen_start(listen_set *s, char *error, size_t size)
{
    for (unsigned i = 0; i < s->count; i++)
        if (listen(s->fds[i], BACKLOG) < 0)
            return explain(-errno, s->name, error, size);
    return 0;
}
