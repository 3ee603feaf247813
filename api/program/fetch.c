#include "api/program/fetch.h"

#include <ctype.h>
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

int fetch_fail(ps_error *err, int code, const char *address, const char *why)
{
    if (err) {
        err->code = code;
        snprintf(err->message, sizeof err->message, "%.200s: %.600s", address, why);
    }
    return code;
}

/* --- the address --- */

static bool copy(char *out, size_t size, const char *p, size_t n)
{
    if (n >= size)
        return false;
    memcpy(out, p, n);
    out[n] = '\0';
    return true;
}

static bool is_port(const char *text)
{
    char *end;
    long port = strtol(text, &end, 10);
    return isdigit((unsigned char)text[0]) && *end == '\0' && port > 0 && port < 65536;
}

/* "HOST:PORT", where an IPv6 address stands in brackets. */
static bool split_host(fetch_target *t, const char *p, size_t n)
{
    const char *colon = memrchr(p, ':', n);
    if (!colon || !copy(t->port, sizeof t->port, colon + 1, (size_t)(p + n - colon) - 1) || !is_port(t->port))
        return false;
    size_t host = (size_t)(colon - p);
    if (host >= 2 && p[0] == '[' && p[host - 1] == ']')
        return copy(t->host, sizeof t->host, p + 1, host - 2);
    return host > 0 && !memchr(p, ':', host) && copy(t->host, sizeof t->host, p, host);
}

/* What goes into the request line: no blanks, nothing that would end the line. */
static bool is_path(const char *p)
{
    for (; *p; p++)
        if (*p <= ' ' || *p == 0x7f)
            return false;
    return true;
}

int fetch_target_read(fetch_target *t, const char *address, ps_error *err)
{
    static const char wanted[] = "is no admin address; HOST:PORT or http://HOST:PORT is wanted";
    const char *p = address;
    *t = (fetch_target){.address = address};
    if (strncmp(p, "https://", 8) == 0)
        return fetch_fail(err, PS_EINVAL, address, "the admin address speaks http, not https");
    if (strncmp(p, "http://", 7) == 0)
        p += 7;
    size_t n = strcspn(p, "/?#");
    const char *path = strcmp(p + n, "/") == 0 ? "" : p + n;
    if (!split_host(t, p, n) || (path[0] && path[0] != '/') || !is_path(path) ||
        !copy(t->path, sizeof t->path, path, strlen(path)))
        return fetch_fail(err, PS_EINVAL, address, wanted);
    return 0;
}

/* --- the exchange --- */

typedef struct bytes {
    char *p;
    size_t n, cap;
} bytes;

static long long now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (long long)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Wait until the socket is ready for `events`. Returns: 0, or -1 with errno. */
static int wait_for(int fd, short events, long long deadline_ms)
{
    for (;;) {
        long long left = deadline_ms - now_ms();
        struct pollfd one = {.fd = fd, .events = events};
        int n = left > 0 ? poll(&one, 1, (int)left) : 0;
        if (n > 0)
            return 0;
        if (n == 0)
            errno = ETIMEDOUT;
        if (n == 0 || errno != EINTR)
            return -1;
    }
}

/* Returns: a connected socket that does not block, or -1 with errno. */
static int connect_one(const struct addrinfo *at, long long deadline_ms)
{
    int problem = 0;
    socklen_t size = sizeof problem;
    int fd = socket(at->ai_family, at->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, at->ai_protocol);
    if (fd < 0)
        return -1;
    if (connect(fd, at->ai_addr, at->ai_addrlen) == 0)
        return fd;
    if (errno == EINPROGRESS && wait_for(fd, POLLOUT, deadline_ms) == 0 &&
        getsockopt(fd, SOL_SOCKET, SO_ERROR, &problem, &size) == 0) {
        if (problem == 0)
            return fd;
        errno = problem;
    }
    problem = errno;
    close(fd);
    errno = problem;
    return -1;
}

static int connect_to(const fetch_target *t, long long deadline_ms, int *ret_fd, ps_error *err)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV}, *list = NULL;
    int fd = -1, code = getaddrinfo(t->host, t->port, &hints, &list);
    if (code != 0)
        return fetch_fail(err, PS_ESYSTEM, t->address, gai_strerror(code));
    for (const struct addrinfo *at = list; at && fd < 0; at = at->ai_next)
        fd = connect_one(at, deadline_ms);
    freeaddrinfo(list);
    if (fd < 0)
        return fetch_fail(err, PS_ESYSTEM, t->address, strerror(errno));
    *ret_fd = fd;
    return 0;
}

static int send_all(int fd, const char *p, size_t n, long long deadline_ms)
{
    while (n > 0) {
        ssize_t sent = send(fd, p, n, MSG_NOSIGNAL);
        if (sent > 0) {
            p += sent;
            n -= (size_t)sent;
        } else if (errno != EINTR && (errno != EAGAIN || wait_for(fd, POLLOUT, deadline_ms) < 0)) {
            return -1;
        }
    }
    return 0;
}

static int make_more_room(bytes *b)
{
    size_t cap = b->cap ? b->cap * 2 : 65536;
    char *more = realloc(b->p, cap);
    if (!more)
        return -1;
    b->p = more;
    b->cap = cap;
    return 0;
}

/* Read until the other side closes. Returns: 0, or -1 with errno; EFBIG when it does not end. */
static int receive_all(int fd, bytes *b, long long deadline_ms)
{
    for (;;) {
        if (b->n == b->cap && make_more_room(b) < 0)
            return -1;
        ssize_t n = recv(fd, b->p + b->n, b->cap - b->n, 0);
        if (n == 0)
            return 0;
        if (n > 0)
            b->n += (size_t)n;
        else if (errno != EINTR && (errno != EAGAIN || wait_for(fd, POLLIN, deadline_ms) < 0))
            return -1;
        if (b->n > FETCH_BYTES_MAX) {
            errno = EFBIG;
            return -1;
        }
    }
}

/* HTTP/1.0, so that the body ends with the connection and comes in one piece. The header of a POST says that
 * no web page has sent it. */
static int exchange(const fetch_target *t, const char *method, const char *path, int fd, bytes *b,
                    long long deadline_ms, ps_error *err)
{
    char request[2048];
    bool v6 = strchr(t->host, ':') != NULL;
    bool is_post = strcmp(method, "POST") == 0;
    int n =
        snprintf(request, sizeof request, "%s %s HTTP/1.0\r\nHost: %s%s%s:%s\r\nConnection: close\r\n%s\r\n",
                 method, path, v6 ? "[" : "", t->host, v6 ? "]" : "", t->port,
                 is_post ? "X-Poolsrv: 1\r\nContent-Length: 0\r\n" : "");
    if (n >= (int)sizeof request)
        return fetch_fail(err, PS_EINVAL, t->address, "the path is too long");
    if (send_all(fd, request, (size_t)n, deadline_ms) == 0 && receive_all(fd, b, deadline_ms) == 0)
        return 0;
    return fetch_fail(err, PS_ESYSTEM, t->address,
                      errno == EFBIG ? "the reply does not end" : strerror(errno));
}

/* The length that the head announces, or -1. The head is closed by NUL. */
static long long content_length(const char *head)
{
    for (const char *line = head; (line = strchr(line, '\n')) != NULL;) {
        line++;
        if (strncasecmp(line, "content-length:", 15) == 0)
            return strtoll(line + 15, NULL, 10);
    }
    return -1;
}

/* Split head and body. Returns: where the body begins, or 0. */
static size_t split_reply(bytes *b)
{
    char *end = b->n ? memmem(b->p, b->n, "\r\n\r\n", 4) : NULL;
    if (!end || b->n < 12 || strncmp(b->p, "HTTP/1.", 7) != 0)
        return 0;
    end[2] = '\0';
    return (size_t)(end - b->p) + 4;
}

/* On success the bytes are the reply's. */
static int read_reply(const fetch_target *t, bytes *b, fetch_reply *ret, ps_error *err)
{
    size_t head = split_reply(b);
    if (!head)
        return fetch_fail(err, PS_ESYSTEM, t->address, "the reply is not HTTP");
    long long length = content_length(b->p);
    if (length >= 0 && (unsigned long long)length != b->n - head)
        return fetch_fail(err, PS_ESYSTEM, t->address, "the reply was cut off");
    if (b->n == b->cap && make_more_room(b) < 0)
        return fetch_fail(err, PS_ENOMEM, t->address, ps_strerror(PS_ENOMEM));
    b->p[b->n] = '\0';
    *ret = (fetch_reply){
        .status = (int)strtol(b->p + 8, NULL, 10), .body = b->p + head, .n = b->n - head, .all = b->p};
    *b = (bytes){0};
    return 0;
}

int fetch(const fetch_target *t, const char *method, const char *path, int timeout_ms, fetch_reply *ret,
          ps_error *err)
{
    bytes b = {0};
    int fd = -1;
    long long deadline_ms = now_ms() + timeout_ms;
    int code = connect_to(t, deadline_ms, &fd, err);
    if (code == 0)
        code = exchange(t, method, path, fd, &b, deadline_ms, err);
    if (code == 0)
        code = read_reply(t, &b, ret, err);
    if (fd >= 0)
        close(fd);
    free(b.p);
    return code;
}

void fetch_reply_fini(fetch_reply *r)
{
    free(r->all);
    *r = (fetch_reply){0};
}
