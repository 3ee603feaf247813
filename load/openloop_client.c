#include "openloop_client.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "reply.h"

#define SWEEP_NS    (NS_PER_S / 20) /* how often timeouts and lost connections are looked for */
#define EVENTS_MAX  256
#define INPUT_FIRST 16384
#define REQUEST_MAX (1u << 20)
#define SHOWN_MAX   300 /* bytes of a wrong reply that are printed */

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

/* When request number k is due. */
static uint64_t due_ns(const openloop_client *cl, uint64_t k)
{
    return cl->start_ns + (uint64_t)((double)k * ((double)NS_PER_S / cl->opt.rate));
}

/* ---- connections ---- */

static void idle_push(openloop_client *cl, conn *c)
{
    c->state = CONN_IDLE;
    cl->idle[(cl->idle_head + cl->idle_count++) % cl->opt.connections] = (unsigned)(c - cl->conns);
}

/* The connection that has been idle longest, or NULL. Those that closed while idle are skipped. */
static conn *idle_pop(openloop_client *cl)
{
    while (cl->idle_count > 0) {
        conn *c = &cl->conns[cl->idle[cl->idle_head]];
        cl->idle_head = (cl->idle_head + 1) % cl->opt.connections;
        cl->idle_count--;
        if (c->fd >= 0)
            return c;
        c->state = CONN_CLOSED;
    }
    return NULL;
}

/* Closes the socket. One that is idle keeps its place in the ring until its turn comes, so that the ring
 * never holds a connection twice. */
static void conn_close(openloop_client *cl, conn *c)
{
    close(c->fd);
    c->fd = -1;
    cl->busy -= c->state == CONN_BUSY;
    cl->connecting -= c->state == CONN_CONNECTING;
    if (c->state != CONN_IDLE)
        c->state = CONN_CLOSED;
}

static void conn_open(openloop_client *cl, conn *c)
{
    c->fd = socket(cl->opt.address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0)
        openloop_die(3, "socket: %s", strerror(errno));
    c->state = CONN_CONNECTING;
    c->input_bytes = 0;
    cl->connecting++;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));

    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = c};
    if (epoll_ctl(cl->epoll, EPOLL_CTL_ADD, c->fd, &event))
        openloop_die(3, "epoll_ctl: %s", strerror(errno));
    if (connect(c->fd, (struct sockaddr *)&cl->opt.address, cl->opt.address_bytes) && errno != EINPROGRESS)
        conn_close(cl, c);
}

/* Ends a connection and the request on it, which is counted as an error of the given kind. */
static void conn_fail(openloop_client *cl, conn *c, uint64_t *kind)
{
    if (c->state == CONN_BUSY)
        ++*kind;
    conn_close(cl, c);
}

static void conn_send(openloop_client *cl, conn *c)
{
    while (c->sent_bytes < cl->request_bytes) {
        ssize_t n = send(c->fd, cl->request + c->sent_bytes, cl->request_bytes - c->sent_bytes, MSG_NOSIGNAL);
        if (n < 0) {
            if (errno != EAGAIN && errno != EINTR)
                conn_fail(cl, c, &cl->tally.closed);
            return;
        }
        c->sent_bytes += (size_t)n;
    }
}

static void conn_start(openloop_client *cl, conn *c, uint64_t intended_ns)
{
    c->state = CONN_BUSY;
    c->intended_ns = intended_ns;
    c->sent_bytes = 0;
    cl->busy++;
    cl->tally.sent++;
    conn_send(cl, c);
}

/* ---- replies ---- */

static bool reply_is_right(const openloop_options *opt, const reply *r)
{
    if (opt->status ? r->status != opt->status : r->status / 100 != 2)
        return false;
    if (opt->expect && !memmem(r->body, r->body_bytes, opt->expect, strlen(opt->expect)))
        return false;
    return !opt->expect_exactly || (r->body_bytes == strlen(opt->expect_exactly) &&
                                    memcmp(r->body, opt->expect_exactly, r->body_bytes) == 0);
}

static void show_wrong(const reply *r)
{
    int shown = (int)(r->body_bytes < SHOWN_MAX ? r->body_bytes : SHOWN_MAX);
    fprintf(stderr, "openloop: the first wrong reply: status %d, %zu bytes: %.*s\n", r->status, r->body_bytes,
            shown, r->body);
}

static void conn_finish(openloop_client *cl, conn *c, const reply *r)
{
    cl->last_reply_ns = now_ns();
    histogram_record(&cl->latency, cl->last_reply_ns - c->intended_ns);
    if (reply_is_right(&cl->opt, r))
        cl->tally.ok++;
    else if (cl->tally.wrong++ == 0)
        show_wrong(r);

    /* Bytes behind the reply answer nothing that was asked, and a request that was cut short would garble the
     * next: such a connection is not used again. */
    if (r->closes || r->all_bytes != c->input_bytes || c->sent_bytes < cl->request_bytes) {
        conn_close(cl, c);
        conn_open(cl, c);
        return;
    }
    c->input_bytes = 0;
    cl->busy--;
    idle_push(cl, c);
}

static void input_reserve(conn *c)
{
    if (c->input_bytes < c->input_room)
        return;
    c->input_room = c->input_room ? 2 * c->input_room : INPUT_FIRST;
    c->input = realloc(c->input, c->input_room);
    if (!c->input)
        openloop_die(3, "out of memory");
}

/* Reads what there is; events are edges, so until the socket is empty. */
static void conn_receive(openloop_client *cl, conn *c)
{
    while (c->fd >= 0 && c->state != CONN_CONNECTING) {
        input_reserve(c);
        ssize_t n = recv(c->fd, c->input + c->input_bytes, c->input_room - c->input_bytes, 0);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (n <= 0 || c->state != CONN_BUSY) {
            conn_fail(cl, c, &cl->tally.closed);
            return;
        }
        c->input_bytes += (size_t)n;

        reply r;
        int complete = reply_parse(c->input, c->input_bytes, cl->bodiless, &r);
        if (complete < 0)
            conn_fail(cl, c, &cl->tally.protocol);
        else if (complete)
            conn_finish(cl, c, &r);
    }
}

static void conn_event(openloop_client *cl, conn *c, uint32_t events)
{
    if (c->fd < 0)
        return;
    if (c->state == CONN_CONNECTING) {
        int err = 0;
        getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &err, &(socklen_t){sizeof err});
        if (err || (events & EPOLLHUP)) {
            conn_close(cl, c);
            return;
        }
        if (!(events & EPOLLOUT))
            return;
        cl->connecting--;
        idle_push(cl, c);
    }
    if (c->state == CONN_BUSY && (events & EPOLLOUT))
        conn_send(cl, c);
    if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
        conn_receive(cl, c);
}

/* ---- the clock ---- */

/* Sends what is due as far as connections are free. */
static void send_due(openloop_client *cl)
{
    while (cl->next < cl->opt.requests && due_ns(cl, cl->next) <= now_ns()) {
        conn *c = idle_pop(cl);
        if (!c)
            return;
        conn_start(cl, c, due_ns(cl, cl->next++));
    }
}

/* Gives up what has taken too long, sent or not, and opens lost connections again. */
static void sweep(openloop_client *cl)
{
    uint64_t now = now_ns();
    cl->sweep_ns = now + SWEEP_NS;
    for (; cl->next < cl->opt.requests && due_ns(cl, cl->next) + cl->opt.timeout_ns < now; cl->next++) {
        if (cl->idle_count == 0 && cl->busy == 0)
            cl->tally.refused++;
        else
            cl->tally.timeout++;
    }
    for (unsigned i = 0; i < cl->opt.connections; i++) {
        conn *c = &cl->conns[i];
        if (c->state == CONN_BUSY && c->intended_ns + cl->opt.timeout_ns < now)
            conn_fail(cl, c, &cl->tally.timeout);
        if (c->state == CONN_CLOSED)
            conn_open(cl, c);
    }
}

static void arm(const openloop_client *cl, uint64_t at_ns)
{
    struct itimerspec when = {
        .it_value = {.tv_sec = (time_t)(at_ns / NS_PER_S), .tv_nsec = (long)(at_ns % NS_PER_S)}};
    timerfd_settime(cl->timer, TFD_TIMER_ABSTIME, &when, NULL);
}

static void wait_until(openloop_client *cl, uint64_t at_ns)
{
    struct epoll_event events[EVENTS_MAX];
    arm(cl, at_ns);
    int n = epoll_wait(cl->epoll, events, EVENTS_MAX, -1);
    for (int i = 0; i < n; i++) {
        if (events[i].data.ptr)
            conn_event(cl, events[i].data.ptr, events[i].events);
        else
            (void)!read(cl->timer, &(uint64_t){0}, sizeof(uint64_t));
    }
}

/* All connections are up before the clock starts, so that their making is not measured. */
static void connect_all(openloop_client *cl)
{
    uint64_t deadline = now_ns() + cl->opt.timeout_ns;
    for (unsigned i = 0; i < cl->opt.connections; i++)
        conn_open(cl, &cl->conns[i]);
    while (cl->connecting > 0 && now_ns() < deadline)
        wait_until(cl, deadline);
    if (cl->idle_count == 0)
        openloop_die(3, "cannot connect to %s", cl->opt.host);
}

void openloop_client_run(openloop_client *cl)
{
    connect_all(cl);
    cl->start_ns = cl->last_reply_ns = now_ns();
    while (cl->next < cl->opt.requests || cl->busy > 0) {
        if (now_ns() >= cl->sweep_ns)
            sweep(cl);
        send_due(cl);

        uint64_t wake_ns = cl->sweep_ns;
        if (cl->idle_count > 0 && cl->next < cl->opt.requests && due_ns(cl, cl->next) < wake_ns)
            wake_ns = due_ns(cl, cl->next);
        wait_until(cl, wake_ns);
    }
}

/* ---- beginning and end ---- */

static void build_request(openloop_client *cl)
{
    const openloop_options *opt = &cl->opt;
    char length[48] = "";
    size_t body_bytes = opt->body ? strlen(opt->body) : 0;
    if (opt->body)
        snprintf(length, sizeof length, "Content-Length: %zu\r\n", body_bytes);
    int n = asprintf(&cl->request, "%s %s HTTP/1.1\r\nHost: %s\r\n%s%s\r\n%s", opt->method, opt->path,
                     opt->host, opt->headers, length, opt->body ? opt->body : "");
    if (n < 0 || n > (int)REQUEST_MAX)
        openloop_die(2, "the request is too large");
    cl->request_bytes = (size_t)n;
    cl->bodiless = strcmp(opt->method, "HEAD") == 0;
}

void openloop_client_init(openloop_client *cl)
{
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    cl->conns = calloc(cl->opt.connections, sizeof *cl->conns);
    cl->idle = calloc(cl->opt.connections, sizeof *cl->idle);
    cl->epoll = epoll_create1(EPOLL_CLOEXEC);
    cl->timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    if (!cl->conns || !cl->idle || cl->epoll < 0 || cl->timer < 0 ||
        epoll_ctl(cl->epoll, EPOLL_CTL_ADD, cl->timer, &event))
        openloop_die(3, "cannot start: %s", strerror(errno));
    build_request(cl);
}

void openloop_client_fini(openloop_client *cl)
{
    for (unsigned i = 0; i < cl->opt.connections; i++) {
        if (cl->conns[i].fd >= 0)
            close(cl->conns[i].fd);
        free(cl->conns[i].input);
    }
    close(cl->timer);
    close(cl->epoll);
    free(cl->request);
    free(cl->idle);
    free(cl->conns);
}
