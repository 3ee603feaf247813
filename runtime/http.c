#include "runtime/http.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <microhttpd.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "runtime/canned.h"
#include "runtime/forwarded.h"
#include "runtime/http_reply.h"
#include "runtime/judge.h"
#include "runtime/peers.h"

/* MHD answers "not found" in its pool for anything larger than this share of it. */
enum { REPLY_HEAD_SHARE = 3, SWALLOWED_BYTES_MAX = 16 << 20, TROUBLES_A_SECOND = 5, SHED_NS = 100000000 };

struct http {
    struct MHD_Daemon *daemon;
    const http_events *events;
    void *owner;
    http_config config;
    int poll_fd;
    unsigned connections;
    bool room_made;      /* one ended at the limit: only the start of MHD_run lets the daemon accept again */
    bool no_descriptors; /* the daemon could not accept; until it can */
    uint64_t shed_ns;    /* when a connection was closed for that */
    unsigned silent_closes; /* the daemon is about to tell of one that is meant */
    bool closing;
    peers peers;
    uint64_t now_ns; /* as of the last http_run */
    bool misreads_chunks;
    bool leaves_heads; /* where they came in: judge_layout */
    http_replies *replies;
    time_t trouble_second; /* the daemon's messages: of which second, how many, and how many left out */
    unsigned troubles, troubles_left_out;
};

/* --- connections --- */

static void peer_opened(http *h, struct MHD_Connection *connection, void **context)
{
    h->connections++;
    h->no_descriptors = false;
    /* Each answer is good until the next question: libmicrohttpd 1.0 keeps one for all. */
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    int fd = info ? info->connect_fd : -1;
    info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    const struct sockaddr *address = info ? info->client_addr : NULL;
    *context = fd >= 0 ? peers_open(&h->peers, fd, address, h->now_ns) : NULL;
}

/* Closing then would reset the connection, and the client might lose the reply: the daemon's own to a head
 * that is too large, or to a body that it cannot read. */
static bool has_unread(int fd)
{
    int bytes = 0;
    return ioctl(fd, FIONREAD, &bytes) == 0 && bytes > 0;
}

static void peer_closed(http *h, peer *p)
{
    h->room_made |= http_at_limit(h);
    h->connections--;
    if (!p)
        return;
    if (p->linger || (!p->shut && has_unread(p->fd))) {
        int copy = fcntl(p->fd, F_DUPFD_CLOEXEC, 0);
        if (copy >= 0) {
            shutdown(copy, SHUT_WR);
            h->events->linger(h->owner, copy);
        }
    }
    peers_close(&h->peers, p);
}

static void on_connection(void *cls, struct MHD_Connection *connection, void **context,
                          enum MHD_ConnectionNotificationCode code)
{
    if (code == MHD_CONNECTION_NOTIFY_STARTED)
        peer_opened(cls, connection, context);
    else
        peer_closed(cls, *context);
}

static peer *peer_of(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info ? info->socket_context : NULL;
}

static void peer_does(http *h, peer *p, peer_doing doing)
{
    if (p)
        peers_move(&h->peers, p, doing, h->now_ns);
}

/* --- replies --- */

static enum MHD_Result send_reply(http *h, HttpTask *t)
{
    if (t->head.n > h->config.header_room / REPLY_HEAD_SHARE) {
        h->events->trouble(h->owner, "a reply's headers need more than a third of --header-room");
        canned_error(t, 500, "The reply's headers are too large");
    }
    bool send_id = h->config.send_request_id || t->status >= 400;
    if (http_reply_queue(h->replies, t, send_id, t->close || h->closing) < 0)
        return MHD_NO;
    task_move(t, TASK_SENT);
    peer_does(h, t->peer, PEER_READS);
    h->events->sent(h->owner, t);
    return MHD_YES;
}

/* Answer before the body was read. The daemon closes the connection after it. */
static enum MHD_Result send_early(http *h, HttpTask *t, int status, const char *message)
{
    peer *p = t->peer;
    if (p)
        p->linger = true;
    t->close = true;
    canned_error(t, status, message);
    task_move(t, TASK_DONE);
    return send_reply(h, t);
}

/* --- requests --- */

static enum MHD_Result collect_header(void *cls, enum MHD_ValueKind kind, const char *name, size_t name_bytes,
                                      const char *value, size_t value_bytes)
{
    (void)kind;
    str v = {value ? value : "", value ? value_bytes : 0};
    return task_add_header(cls, (str){name, name_bytes}, v) == 0 ? MHD_YES : MHD_NO;
}

/* Whether what the peer says of its own client counts. */
static bool is_trusted(const trust *t, const peer *p)
{
    ip_address a;
    if (!p)
        return false;
    return p->ip[0] ? address_parse(str_from(p->ip), &a) && trust_has(t, &a) : t->unix_peer;
}

/* Returns: whether it can be understood. */
static bool ask_proxy(HttpTask *t, const trust *trusted)
{
    forwarded f = forwarded_read(trusted, t->headers, t->header_count);
    if (f.has_client) {
        address_format(&f.client, t->ip_text);
        t->ip = t->ip_text;
    }
    t->scheme = f.scheme;
    t->host = f.host;
    return !f.unreadable;
}

static enum MHD_Result first_call(http *h, HttpTask *t, const char *method, const char *url, str version)
{
    t->judged = true;
    t->method = str_from(method);
    t->method_id = method_from(t->method);
    peer *p = t->peer;
    t->ip = p && p->ip[0] ? p->ip : NULL;
    int seen = MHD_get_connection_values_n(t->connection, MHD_HEADER_KIND, collect_header, t);
    if (seen < 0 || (uint32_t)seen != t->header_count)
        return MHD_NO;
    bool known = !h->config.trusted || !is_trusted(h->config.trusted, p) || ask_proxy(t, h->config.trusted);
    size_t line_bytes = t->method.n + 1 + t->target.n + 1 + version.n;
    judgement j = judge_size(&h->config.head, line_bytes, t->headers, t->header_count);
    if (!j.status)
        j = judge_target(t->target);
    if (!j.status && h->leaves_heads)
        j = judge_layout(url + t->target.n, version, t->headers, t->header_count);
    if (!j.status)
        j = judge_head(t->headers, t->header_count, version);
    if (j.status)
        return send_early(h, t, j.status, j.reason);
    if (!known)
        return send_early(h, t, 400,
                          "Forwarded and X-Forwarded-... do not tell where the request comes from");
    t->version_minor = version.p[7] == '0' ? 0 : 1;
    t->body_declared = j.length;
    t->close = j.chunked && h->misreads_chunks;
    if (j.length > h->config.max_body)
        return send_early(h, t, 413, "The request's body is larger than the server takes");
    if (j.length || j.chunked)
        peer_does(h, t->peer, PEER_SENDS_BODY);
    h->events->head(h->owner, t);
    return MHD_YES;
}

static int keep_body(http *h, HttpTask *t, const char *data, size_t n)
{
    if (t->request_body.n + n > h->config.max_body)
        return -E2BIG;
    /* Trust a declared length only so far: the bytes have to come first. */
    if (t->request_body.n == 0 && t->body_declared > n && t->body_declared <= TASK_KEPT_BUFFER_BYTES)
        if (buf_reserve(&t->request_body, (size_t)t->body_declared) < 0)
            return -ENOMEM;
    return buf_add(&t->request_body, data, n);
}

static enum MHD_Result body_call(http *h, HttpTask *t, const char *data, size_t *size)
{
    size_t n = *size;
    *size = 0;
    peer *p = t->peer;
    if (p)
        peers_got(p, n);
    h->events->body(h->owner, t);
    if (t->status == 413) {
        /* A reply cannot be queued while the body comes: swallow some of the rest, so that the client reads
         * its 413. */
        t->body_declared += n;
        return t->body_declared > SWALLOWED_BYTES_MAX ? MHD_NO : MHD_YES;
    }
    switch (keep_body(h, t, data, n)) {
    case 0:
        return MHD_YES;
    case -E2BIG:
        buf_fini(&t->request_body);
        t->status = 413;
        t->body_declared = n;
        return MHD_YES;
    default:
        return MHD_NO;
    }
}

static enum MHD_Result last_call(http *h, HttpTask *t)
{
    if (t->status == 413)
        return send_early(h, t, 413, "The request's body is larger than the server takes");
    peer_does(h, t->peer, PEER_WAITS);
    h->events->ready(h->owner, t);
    return t->state == TASK_DONE ? send_reply(h, t) : MHD_YES;
}

static enum MHD_Result on_access(void *cls, struct MHD_Connection *connection, const char *url,
                                 const char *method, const char *version, const char *data, size_t *size,
                                 void **context)
{
    http *h = cls;
    HttpTask *t = *context;
    if (!t)
        return MHD_NO;
    t->connection = connection;
    switch (t->state) {
    case TASK_FILLING:
        if (!t->judged)
            return first_call(h, t, method, url, str_from(version));
        return *size ? body_call(h, t, data, size) : last_call(h, t);
    case TASK_DONE:
        return send_reply(h, t);
    case TASK_QUEUED:
        if (!t->heavy)
            return MHD_YES;
        break;
    case TASK_PARKED:
        break;
    case TASK_LOST:
        h->silent_closes++;
        return MHD_NO;
    default:
        return MHD_YES;
    }
    MHD_suspend_connection(connection);
    t->suspended = true;
    h->events->suspended(h->owner, t);
    return MHD_YES;
}

static void *on_target(void *cls, const char *uri, struct MHD_Connection *connection)
{
    http *h = cls;
    HttpTask *t = h->events->take(h->owner);
    if (!t)
        return NULL;
    t->connection = connection;
    t->peer = peer_of(connection);
    peer_does(h, t->peer, PEER_SENDS_HEAD);
    /* MHD cuts the query up in place: keep a copy. */
    if (task_set_target(t, str_from(uri)) < 0) {
        h->events->gone(h->owner, t);
        return NULL;
    }
    return t;
}

static void on_completed(void *cls, struct MHD_Connection *connection, void **context,
                         enum MHD_RequestTerminationCode code)
{
    http *h = cls;
    HttpTask *t = *context;
    (void)code;
    peer_does(h, t ? t->peer : peer_of(connection), PEER_IDLE);
    *context = NULL;
    if (!t)
        return;
    http_reply_ended(h->replies, t);
    h->events->gone(h->owner, t);
}

/* The path is decoded where it is split, so that %2F stays inside its segment. */
static size_t leave_escaped(void *cls, struct MHD_Connection *connection, char *s)
{
    (void)cls;
    (void)connection;
    return strlen(s);
}

/* Each client that leaves too soon makes the daemon say so: no client shall be able to fill the log. */
static bool may_tell(http *h)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    if (now.tv_sec != h->trouble_second)
        h->troubles = 0;
    h->trouble_second = now.tv_sec;
    if (h->troubles == TROUBLES_A_SECOND) {
        h->troubles_left_out++;
        return false;
    }
    h->troubles++;
    return true;
}

#define DAEMON_CANNOT_ACCEPT "Hit process or system resource limit"
#define DAEMON_WAS_REFUSED   "Application reported internal error"

/* What the daemon says when on_access has told it to close a connection that was answered by hand. */
static bool is_expected(http *h, const char *text)
{
    if (!h->silent_closes || strncmp(text, DAEMON_WAS_REFUSED, sizeof(DAEMON_WAS_REFUSED) - 1) != 0)
        return false;
    h->silent_closes--;
    return true;
}

static void on_trouble(void *cls, const char *format, va_list args)
{
    http *h = cls;
    char text[256];
    /* It does not tell in another way, and it does not try again until a connection has closed. */
    h->no_descriptors |= strncmp(format, DAEMON_CANNOT_ACCEPT, sizeof(DAEMON_CANNOT_ACCEPT) - 1) == 0;
    int n = vsnprintf(text, sizeof(text), format, args);
    if (n < 0 || is_expected(h, text) || !may_tell(h))
        return;
    while (n > 0 && (size_t)n < sizeof(text) && text[n - 1] == '\n')
        text[--n] = '\0';
    if (h->troubles_left_out && (size_t)n < sizeof(text))
        snprintf(text + n, sizeof(text) - (size_t)n, " (%u messages before it were left out)",
                 h->troubles_left_out);
    h->troubles_left_out = 0;
    if (h->owner)
        h->events->trouble(h->owner, text);
}

/* --- life --- */

/* libmicrohttpd 1.0 leaves the end of a chunk's line unread where it has an extension, and can take a trailer
 * for the next request: no request may follow a chunked one there. 1.0.10 reads it rightly. */
static bool misreads_chunks(const char *version)
{
    return strncmp(version, "1.0.", 4) == 0 && strtoul(version + 4, NULL, 10) < 10;
}

static struct MHD_Daemon *start_daemon(http *h)
{
    unsigned flags = MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_SUPPRESS_DATE_NO_CLOCK |
                     MHD_USE_ERROR_LOG | MHD_USE_TURBO;
    return MHD_start_daemon(flags, 0, NULL, NULL, on_access, h, MHD_OPTION_EXTERNAL_LOGGER, on_trouble, h,
                            MHD_OPTION_LISTEN_SOCKET, h->config.listen_fd, MHD_OPTION_CONNECTION_LIMIT,
                            h->config.max_connections, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
                            h->config.header_room, MHD_OPTION_URI_LOG_CALLBACK, on_target, h,
                            MHD_OPTION_UNESCAPE_CALLBACK, leave_escaped, h, MHD_OPTION_NOTIFY_COMPLETED,
                            on_completed, h, MHD_OPTION_NOTIFY_CONNECTION, on_connection, h, MHD_OPTION_END);
}

int http_new(const http_config *config, const http_events *events, void *owner, http **ret_http)
{
    int err = -ENOMEM;
    http *h = calloc(1, sizeof(*h));
    if (!h)
        return err;
    h->config = *config;
    h->events = events;
    h->owner = owner;
    h->misreads_chunks = misreads_chunks(MHD_get_version());
    h->leaves_heads = strncmp(MHD_get_version(), "0.9.", 4) == 0;
    /* The daemon closes what it listens on. */
    h->config.listen_fd = fcntl(config->listen_fd, F_DUPFD_CLOEXEC, 0);
    h->replies = http_replies_new();
    if (h->config.listen_fd < 0)
        err = -errno;
    if (h->config.listen_fd < 0 || !h->replies || peers_init(&h->peers, &config->limits) < 0)
        goto fail;
    h->daemon = start_daemon(h);
    if (!h->daemon) {
        err = errno ? -errno : -EIO;
        goto fail;
    }
    h->poll_fd = MHD_get_daemon_info(h->daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
    *ret_http = h;
    return 0;
fail:
    if (h->config.listen_fd >= 0)
        close(h->config.listen_fd);
    http_replies_free(h->replies);
    peers_fini(&h->peers);
    free(h);
    return err;
}

void http_free(http *h)
{
    if (!h)
        return;
    http_quiesce(h);
    MHD_stop_daemon(h->daemon);
    http_replies_free(h->replies);
    peers_fini(&h->peers);
    free(h);
}

int http_poll_fd(const http *h)
{
    return h->poll_fd;
}

void http_run(http *h, uint64_t now_ns)
{
    h->now_ns = now_ns;
    peers_look(&h->peers, now_ns);
    /* Whoever waits in the accept queue comes before a connection that nothing happens on. */
    if (h->no_descriptors && now_ns - h->shed_ns >= SHED_NS) {
        h->shed_ns = now_ns;
        peers_shut_idlest(&h->peers);
    }
    h->room_made = false;
    MHD_run(h->daemon);
}

int http_timeout_ms(const http *h)
{
    MHD_UNSIGNED_LONG_LONG ms;
    if (h->room_made)
        return 0;
    if (MHD_get_timeout(h->daemon, &ms) == MHD_YES && ms == 0)
        return 0;
    uint64_t look_ns = peers_next_look_ns(&h->peers);
    if (look_ns == UINT64_MAX)
        return -1;
    return look_ns > h->now_ns ? (int)((look_ns - h->now_ns + 999999) / 1000000) : 0;
}

void http_resume(http *h, HttpTask *t)
{
    (void)h;
    assert(t->suspended);
    t->suspended = false;
    MHD_resume_connection(t->connection);
}

/* Nothing of another reply is under way to a client that waits for this one. */
void http_abandon(http *h, HttpTask *t, const HttpTask *reply)
{
    (void)h;
    if (!t->suspended)
        MHD_suspend_connection(t->connection);
    t->suspended = true;
    if (!t->peer)
        return;
    if (reply)
        http_reply_raw(t->peer->fd, reply, t->method_id == METHOD_HEAD);
    shutdown(t->peer->fd, SHUT_WR);
}

uint64_t http_ended(const http *h, peer_late why)
{
    return peers_late(&h->peers, why);
}

unsigned http_connections(const http *h)
{
    return h->connections;
}

bool http_at_limit(const http *h)
{
    return h->connections >= h->config.max_connections || h->no_descriptors;
}

bool http_is_stuck(const http *h)
{
    return h->no_descriptors && h->connections == 0;
}

void http_close_after_replies(http *h)
{
    h->closing = true;
}

bool http_has_queued(const http *h)
{
    struct pollfd p = {.fd = h->config.listen_fd, .events = POLLIN};
    return poll(&p, 1, 0) > 0;
}

void http_quiesce(http *h)
{
    if (h->config.listen_fd < 0)
        return;
    MHD_socket fd = MHD_quiesce_daemon(h->daemon);
    if (fd != MHD_INVALID_SOCKET) {
        if (h->config.own_listener)
            shutdown(fd,
                     SHUT_RDWR); /* the caller holds it too: clients are to be refused, not kept waiting */
        close(fd);
    }
    h->config.listen_fd = -1;
}

void http_close_idle(http *h)
{
    peers_shut_idle(&h->peers);
}

void http_close_all(http *h)
{
    peers_shut_all(&h->peers);
}
