/* client: the connections of a load client, and what came of the requests on them.
 *
 * One thread, one epoll descriptor, one timerfd; no pipelining. When the next request is sent is what the
 * clients differ in, so they have the loop, and this file the rest: openloop.c sends by the clock,
 * closedloop.c as soon as a connection is free. A connection that the server closes is opened again, at once
 * when it said so with the reply, else in the next sweep. Threads: one owner. */
#ifndef LOAD_CLIENT_H
#define LOAD_CLIENT_H

#include "histogram.h"
#include "target.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define SWEEP_NS    (NS_PER_S / 20) /* how often timeouts and lost connections are looked for */
#define EVENTS_MAX  256
#define INPUT_FIRST 16384
#define SHOWN_MAX   300 /* bytes of a wrong reply that are printed */

typedef enum conn_state { CONN_CLOSED, CONN_CONNECTING, CONN_IDLE, CONN_BUSY } conn_state;

typedef struct conn {
    int fd;
    conn_state state;
    uint64_t opened_ns;   /* when connecting began; 0 once a request was sent on it */
    uint64_t intended_ns; /* when the request it carries was due */
    size_t sent_bytes;
    size_t input_bytes, input_room;
    char *input;
} conn;

typedef struct tally {
    uint64_t sent, ok, wrong;
    uint64_t refused, closed, protocol, timeout; /* the errors, by kind */
    uint64_t unconnected;                        /* attempts to connect that failed */
} tally;

typedef struct client {
    target tg;
    char *request;
    size_t request_bytes;
    bool bodiless; /* HEAD: a Content-Length announces nothing */
    int epoll, timer;
    uint64_t start_ns, sweep_ns, last_reply_ns;
    unsigned busy; /* connections that carry a request, */
    unsigned connecting;
    unsigned idle_head, idle_count; /* and those that carry none: a ring, so that all take turns */
    unsigned *idle;
    conn *conns;
    tally tally;
    histogram latency;
} client;

static inline uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

/* ---- connections ---- */

static inline void idle_push(client *cl, conn *c)
{
    c->state = CONN_IDLE;
    /* NOLINTNEXTLINE(clang-analyzer-core.DivideZero): there is a connection, so there are not none */
    cl->idle[(cl->idle_head + cl->idle_count++) % cl->tg.connections] = (unsigned)(c - cl->conns);
}

/* The connection that has been idle longest, or NULL. Those that closed while idle are skipped. */
static inline conn *idle_pop(client *cl)
{
    while (cl->idle_count > 0) {
        conn *c = &cl->conns[cl->idle[cl->idle_head]];
        cl->idle_head = (cl->idle_head + 1) % cl->tg.connections;
        cl->idle_count--;
        if (c->fd >= 0)
            return c;
        c->state = CONN_CLOSED;
    }
    return NULL;
}

/* Closes the socket. One that is idle keeps its place in the ring until its turn comes, so that the ring
 * never holds a connection twice. */
static inline void conn_close(client *cl, conn *c)
{
    close(c->fd);
    c->fd = -1;
    cl->tally.unconnected += c->state == CONN_CONNECTING;
    cl->busy -= c->state == CONN_BUSY;
    cl->connecting -= c->state == CONN_CONNECTING;
    if (c->state != CONN_IDLE)
        c->state = CONN_CLOSED;
}

static inline void conn_open(client *cl, conn *c)
{
    c->fd = socket(cl->tg.address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0)
        die(&cl->tg, 3, "socket: %s", strerror(errno));
    c->state = CONN_CONNECTING;
    c->input_bytes = 0;
    c->opened_ns = now_ns();
    cl->connecting++;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));

    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = c};
    if (epoll_ctl(cl->epoll, EPOLL_CTL_ADD, c->fd, &event))
        die(&cl->tg, 3, "epoll_ctl: %s", strerror(errno));
    if (connect(c->fd, (struct sockaddr *)&cl->tg.address, cl->tg.address_bytes) && errno != EINPROGRESS)
        conn_close(cl, c);
}

/* Ends a connection and the request on it, which is counted as an error of the given kind. */
static inline void conn_fail(client *cl, conn *c, uint64_t *kind)
{
    if (c->state == CONN_BUSY)
        ++*kind;
    conn_close(cl, c);
}

static inline void conn_send(client *cl, conn *c)
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

/* Sends the request on an idle connection; its latency counts from intended_ns. */
static inline void conn_start(client *cl, conn *c, uint64_t intended_ns)
{
    c->state = CONN_BUSY;
    c->opened_ns = 0;
    c->intended_ns = intended_ns;
    c->sent_bytes = 0;
    cl->busy++;
    cl->tally.sent++;
    conn_send(cl, c);
}

/* ---- replies ---- */

static inline void show_wrong(const client *cl, const reply *r)
{
    int shown = (int)(r->body_bytes < SHOWN_MAX ? r->body_bytes : SHOWN_MAX);
    fprintf(stderr, "%s: the first wrong reply: status %d, %zu bytes: %.*s\n", cl->tg.program, r->status,
            r->body_bytes, shown, r->body);
}

static inline void conn_finish(client *cl, conn *c, const reply *r)
{
    cl->last_reply_ns = now_ns();
    histogram_record(&cl->latency, cl->last_reply_ns - c->intended_ns);
    if (target_accepts(&cl->tg, r))
        cl->tally.ok++;
    else if (cl->tally.wrong++ == 0)
        show_wrong(cl, r);

    /* Bytes behind the reply answer nothing that was asked, and a request that was cut short would garble the
     * next: such a connection is not used again. Nor is one that was asked to close: not every server says
     * so. */
    if (r->closes || cl->tg.closes || r->all_bytes != c->input_bytes || c->sent_bytes < cl->request_bytes) {
        conn_close(cl, c);
        conn_open(cl, c);
        return;
    }
    c->input_bytes = 0;
    cl->busy--;
    idle_push(cl, c);
}

static inline void input_reserve(const client *cl, conn *c)
{
    if (c->input_bytes < c->input_room)
        return;
    c->input_room = c->input_room ? 2 * c->input_room : INPUT_FIRST;
    c->input = realloc(c->input, c->input_room);
    if (!c->input)
        die(&cl->tg, 3, "out of memory");
}

/* Reads what there is; events are edges, so until the socket is empty. */
static inline void conn_receive(client *cl, conn *c)
{
    while (c->fd >= 0 && c->state != CONN_CONNECTING) {
        input_reserve(cl, c);
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

static inline void conn_event(client *cl, conn *c, uint32_t events)
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

/* A request that is given up has taken the timeout at least: left out, it would make a server look faster
 * that answers nothing. */
static inline void count_timeout(client *cl)
{
    cl->tally.timeout++;
    histogram_record(&cl->latency, cl->tg.timeout_ns);
}

static inline void conn_sweep(client *cl, conn *c, uint64_t now)
{
    if (c->state == CONN_BUSY && c->intended_ns + cl->tg.timeout_ns < now) {
        count_timeout(cl);
        conn_close(cl, c);
    }
    if (c->state == CONN_CLOSED)
        conn_open(cl, c);
}

/* Every SWEEP_NS: gives up what has taken too long and opens lost connections again. */
static inline void client_sweep(client *cl)
{
    uint64_t now = now_ns();
    cl->sweep_ns = now + SWEEP_NS;
    for (unsigned i = 0; i < cl->tg.connections; i++)
        conn_sweep(cl, &cl->conns[i], now);
}

static inline void client_arm(const client *cl, uint64_t at_ns)
{
    struct itimerspec when = {
        .it_value = {.tv_sec = (time_t)(at_ns / NS_PER_S), .tv_nsec = (long)(at_ns % NS_PER_S)}};
    timerfd_settime(cl->timer, TFD_TIMER_ABSTIME, &when, NULL);
}

/* Waits for the sockets, until they have something to do or the time has come. */
static inline void client_wait(client *cl)
{
    struct epoll_event events[EVENTS_MAX];
    int n = epoll_wait(cl->epoll, events, EVENTS_MAX, -1);
    for (int i = 0; i < n; i++) {
        if (events[i].data.ptr)
            conn_event(cl, events[i].data.ptr, events[i].events);
        else
            (void)!read(cl->timer, &(uint64_t){0}, sizeof(uint64_t));
    }
}

static inline void client_wait_until(client *cl, uint64_t at_ns)
{
    client_arm(cl, at_ns);
    client_wait(cl);
}

/* ---- beginning, report and end ---- */

static inline void client_init(client *cl)
{
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    cl->conns = calloc(cl->tg.connections, sizeof *cl->conns);
    cl->idle = calloc(cl->tg.connections, sizeof *cl->idle);
    cl->epoll = epoll_create1(EPOLL_CLOEXEC);
    cl->timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    if (!cl->conns || !cl->idle || cl->epoll < 0 || cl->timer < 0 ||
        epoll_ctl(cl->epoll, EPOLL_CTL_ADD, cl->timer, &event))
        die(&cl->tg, 3, "cannot start: %s", strerror(errno));
    cl->request = target_request(&cl->tg, &cl->request_bytes);
    cl->bodiless = strcmp(cl->tg.method, "HEAD") == 0;
}

/* All connections are up before the clock starts, so that their making is not measured. */
static inline void client_connect(client *cl)
{
    uint64_t deadline = now_ns() + cl->tg.timeout_ns;
    for (unsigned i = 0; i < cl->tg.connections; i++)
        conn_open(cl, &cl->conns[i]);
    while (cl->connecting > 0 && now_ns() < deadline)
        client_wait_until(cl, deadline);
    if (cl->idle_count == 0)
        die(&cl->tg, 3, "cannot connect to %s", cl->tg.host);
    for (unsigned i = 0; i < cl->tg.connections; i++)
        cl->conns[i].opened_ns = 0;
    cl->start_ns = cl->last_reply_ns = now_ns();
}

static inline uint64_t client_errors(const client *cl)
{
    const tally *t = &cl->tally;
    return t->refused + t->closed + t->protocol + t->timeout;
}

static inline double percentile_us(const client *cl, double percent)
{
    return (double)histogram_percentile(&cl->latency, percent) / 1e3;
}

static inline void client_report_json(const client *cl, double target_rate, double rate)
{
    typedef unsigned long long ull;
    const tally *t = &cl->tally;
    printf(
        "{\"target_rate\":%.1f,\"connections\":%u,\"sent\":%llu,\"ok\":%llu,\"wrong\":%llu,\"errors\":%llu,"
        "\"error_kinds\":{\"refused\":%llu,\"closed\":%llu,\"protocol\":%llu,\"timeout\":%llu},"
        "\"rate\":%.1f,\"latency_us\":{\"p50\":%.1f,\"p90\":%.1f,\"p99\":%.1f,\"p99.9\":%.1f,\"max\":%.1f}}"
        "\n",
        target_rate, cl->tg.connections, (ull)t->sent, (ull)t->ok, (ull)t->wrong, (ull)client_errors(cl),
        (ull)t->refused, (ull)t->closed, (ull)t->protocol, (ull)t->timeout, rate, percentile_us(cl, 50),
        percentile_us(cl, 90), percentile_us(cl, 99), percentile_us(cl, 99.9), (double)cl->latency.max / 1e3);
}

static inline void client_report_text(const client *cl, double target_rate, double rate, const char *counted)
{
    typedef unsigned long long ull;
    const tally *t = &cl->tally;
    if (target_rate > 0)
        printf("rate wanted     %12.1f req/s\n", target_rate);
    printf("connections     %12u\n"
           "sent            %12llu\n"
           "ok              %12llu\n"
           "wrong           %12llu\n"
           "errors          %12llu   refused %llu, closed %llu, protocol %llu, timeout %llu\n"
           "rate achieved   %12.1f req/s\n"
           "latency p50     %12.1f us   %s\n"
           "        p90     %12.1f us\n"
           "        p99     %12.1f us\n"
           "        p99.9   %12.1f us\n"
           "        max     %12.1f us\n",
           cl->tg.connections, (ull)t->sent, (ull)t->ok, (ull)t->wrong, (ull)client_errors(cl),
           (ull)t->refused, (ull)t->closed, (ull)t->protocol, (ull)t->timeout, rate, percentile_us(cl, 50),
           counted, percentile_us(cl, 90), percentile_us(cl, 99), percentile_us(cl, 99.9),
           (double)cl->latency.max / 1e3);
}

/* Prints what came of it. target_rate is 0 where none was wanted; `counted` says from when latencies count.
 * Returns: the program's exit code. */
static inline int client_report(const client *cl, double target_rate, const char *counted)
{
    double elapsed_s = (double)(cl->last_reply_ns - cl->start_ns) / (double)NS_PER_S;
    double rate = elapsed_s > 0 ? (double)(cl->tally.ok + cl->tally.wrong) / elapsed_s : 0;
    if (cl->tg.json)
        client_report_json(cl, target_rate, rate);
    else
        client_report_text(cl, target_rate, rate, counted);
    return cl->tally.wrong || client_errors(cl) ? 1 : 0;
}

static inline void client_fini(client *cl)
{
    for (unsigned i = 0; i < cl->tg.connections; i++) {
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

#endif
