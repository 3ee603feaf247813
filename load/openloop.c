/* openloop: requests at a fixed rate, whatever the server does.
 *
 * A client that waits for a reply before it sends the next request goes easy on a server that stalls: the
 * requests that would have come meanwhile are never sent, and never counted as slow. Here request number k is
 * due at start + k / rate, and its latency is counted from then, also when it had to wait for a free
 * connection.
 *
 * One thread, one epoll descriptor, one timerfd; no pipelining. It loads the machine it runs on and no other.
 * Exit codes: 0 all replies were right, 1 there were errors or wrong replies, 2 usage, 3 no connection. */
#include "histogram.h"
#include "reply.h"

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_S        1000000000ull
#define SWEEP_NS        (NS_PER_S / 20) /* how often timeouts and lost connections are looked for */
#define EVENTS_MAX      256
#define INPUT_FIRST     16384
#define CONNECTIONS_MAX 100000u
#define REQUEST_MAX     (1u << 20)
#define SHOWN_MAX       300 /* bytes of a wrong reply that are printed */

typedef struct options {
    const char *path, *method, *body, *expect, *expect_exactly;
    char host[80]; /* as the Host header wants it */
    char headers[8192];
    struct sockaddr_storage address;
    socklen_t address_bytes;
    double rate, duration_s;
    uint64_t requests, timeout_ns;
    unsigned connections;
    int status; /* 0: any 2xx */
    bool json;
} options;

typedef enum conn_state { CONN_CLOSED, CONN_CONNECTING, CONN_IDLE, CONN_BUSY } conn_state;

typedef struct conn {
    int fd;
    conn_state state;
    uint64_t intended_ns; /* when the request it carries was due */
    size_t sent_bytes;
    size_t input_bytes, input_room;
    char *input;
} conn;

typedef struct tally {
    uint64_t sent, ok, wrong;
    uint64_t refused, closed, protocol, timeout; /* the errors, by kind */
} tally;

typedef struct client {
    options opt;
    char *request;
    size_t request_bytes;
    bool bodiless; /* HEAD: a Content-Length announces nothing */
    int epoll, timer;
    uint64_t start_ns, sweep_ns, last_reply_ns;
    uint64_t next; /* number of the next request to send */
    unsigned busy; /* connections that carry a request, */
    unsigned connecting;
    unsigned idle_head, idle_count; /* and those that carry none: a ring, so that all take turns */
    unsigned *idle;
    conn *conns;
    tally tally;
    histogram latency;
} client;

static _Noreturn void die(int code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("openloop: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    exit(code);
}

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

/* When request number k is due. */
static uint64_t due_ns(const client *cl, uint64_t k)
{
    return cl->start_ns + (uint64_t)((double)k * ((double)NS_PER_S / cl->opt.rate));
}

/* ---- connections ---- */

static void idle_push(client *cl, conn *c)
{
    c->state = CONN_IDLE;
    cl->idle[(cl->idle_head + cl->idle_count++) % cl->opt.connections] = (unsigned)(c - cl->conns);
}

/* The connection that has been idle longest, or NULL. Those that closed while idle are skipped. */
static conn *idle_pop(client *cl)
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
static void conn_close(client *cl, conn *c)
{
    close(c->fd);
    c->fd = -1;
    cl->busy -= c->state == CONN_BUSY;
    cl->connecting -= c->state == CONN_CONNECTING;
    if (c->state != CONN_IDLE)
        c->state = CONN_CLOSED;
}

static void conn_open(client *cl, conn *c)
{
    c->fd = socket(cl->opt.address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0)
        die(3, "socket: %s", strerror(errno));
    c->state = CONN_CONNECTING;
    c->input_bytes = 0;
    cl->connecting++;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));

    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = c};
    if (epoll_ctl(cl->epoll, EPOLL_CTL_ADD, c->fd, &event))
        die(3, "epoll_ctl: %s", strerror(errno));
    if (connect(c->fd, (struct sockaddr *)&cl->opt.address, cl->opt.address_bytes) && errno != EINPROGRESS)
        conn_close(cl, c);
}

/* Ends a connection and the request on it, which is counted as an error of the given kind. */
static void conn_fail(client *cl, conn *c, uint64_t *kind)
{
    if (c->state == CONN_BUSY)
        ++*kind;
    conn_close(cl, c);
}

static void conn_send(client *cl, conn *c)
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

static void conn_start(client *cl, conn *c, uint64_t intended_ns)
{
    c->state = CONN_BUSY;
    c->intended_ns = intended_ns;
    c->sent_bytes = 0;
    cl->busy++;
    cl->tally.sent++;
    conn_send(cl, c);
}

/* ---- replies ---- */

static bool reply_is_right(const options *opt, const reply *r)
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

static void conn_finish(client *cl, conn *c, const reply *r)
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
        die(3, "out of memory");
}

/* Reads what there is; events are edges, so until the socket is empty. */
static void conn_receive(client *cl, conn *c)
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

static void conn_event(client *cl, conn *c, uint32_t events)
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
static void send_due(client *cl)
{
    while (cl->next < cl->opt.requests && due_ns(cl, cl->next) <= now_ns()) {
        conn *c = idle_pop(cl);
        if (!c)
            return;
        conn_start(cl, c, due_ns(cl, cl->next++));
    }
}

/* Gives up what has taken too long, sent or not, and opens lost connections again. */
static void sweep(client *cl)
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

static void arm(const client *cl, uint64_t at_ns)
{
    struct itimerspec when = {
        .it_value = {.tv_sec = (time_t)(at_ns / NS_PER_S), .tv_nsec = (long)(at_ns % NS_PER_S)}};
    timerfd_settime(cl->timer, TFD_TIMER_ABSTIME, &when, NULL);
}

static void wait_until(client *cl, uint64_t at_ns)
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
static void connect_all(client *cl)
{
    uint64_t deadline = now_ns() + cl->opt.timeout_ns;
    for (unsigned i = 0; i < cl->opt.connections; i++)
        conn_open(cl, &cl->conns[i]);
    while (cl->connecting > 0 && now_ns() < deadline)
        wait_until(cl, deadline);
    if (cl->idle_count == 0)
        die(3, "cannot connect to %s", cl->opt.host);
}

static void run(client *cl)
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

/* ---- the report ---- */

static uint64_t errors(const tally *t)
{
    return t->refused + t->closed + t->protocol + t->timeout;
}

static double percentile_us(const client *cl, double percent)
{
    return (double)histogram_percentile(&cl->latency, percent) / 1e3;
}

static void report(const client *cl)
{
    const tally *t = &cl->tally;
    double elapsed_s = (double)(cl->last_reply_ns - cl->start_ns) / (double)NS_PER_S;
    double rate = elapsed_s > 0 ? (double)(t->ok + t->wrong) / elapsed_s : 0;
    const char *format =
        cl->opt.json
            ? "{\"target_rate\":%.1f,\"connections\":%u,\"sent\":%llu,\"ok\":%llu,\"wrong\":%llu,\"errors\":%"
              "llu,"
              "\"error_kinds\":{\"refused\":%llu,\"closed\":%llu,\"protocol\":%llu,\"timeout\":%llu},"
              "\"rate\":%.1f,\"latency_us\":{\"p50\":%.1f,\"p90\":%.1f,\"p99\":%.1f,\"p99.9\":%.1f,\"max\":%."
              "1f}}\n"
            : "rate wanted     %12.1f req/s over %u connections\n"
              "sent            %12llu\n"
              "ok              %12llu\n"
              "wrong           %12llu\n"
              "errors          %12llu   refused %llu, closed %llu, protocol %llu, timeout %llu\n"
              "rate achieved   %12.1f req/s\n"
              "latency p50     %12.1f us   from when each request was due\n"
              "        p90     %12.1f us\n"
              "        p99     %12.1f us\n"
              "        p99.9   %12.1f us\n"
              "        max     %12.1f us\n";
    typedef unsigned long long ull;
    printf(format, cl->opt.rate, cl->opt.connections, (ull)t->sent, (ull)t->ok, (ull)t->wrong, (ull)errors(t),
           (ull)t->refused, (ull)t->closed, (ull)t->protocol, (ull)t->timeout, rate, percentile_us(cl, 50),
           percentile_us(cl, 90), percentile_us(cl, 99), percentile_us(cl, 99.9),
           (double)cl->latency.max / 1e3);
}

/* ---- options ---- */

static const char usage_text[] = "usage: load_openloop [options] http://127.0.0.1:PORT/PATH\n"
                                 "  --rate R               requests a second (1000)\n"
                                 "  --connections C        keep-alive connections (64)\n"
                                 "  --duration S           seconds (10)\n"
                                 "  --requests N           this many requests in place of a duration\n"
                                 "  --timeout S            after which a request is given up (5)\n"
                                 "  --method M             (GET, or POST with a body)\n"
                                 "  --header 'Name: value' may be given several times\n"
                                 "  --body TEXT            the request's body\n"
                                 "  --status N             the only right status (any 2xx)\n"
                                 "  --expect TEXT          the reply's body must contain it\n"
                                 "  --expect-exactly TEXT  the reply's body must be it\n"
                                 "  --json                 print JSON\n"
                                 "  --help\n";

static double number(const char *name, const char *text, double least, double most)
{
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end || !(value >= least && value <= most))
        die(2, "--%s: %s is not a number from %g to %g", name, text, least, most);
    return value;
}

static void add_header(options *opt, const char *header)
{
    size_t used = strlen(opt->headers), n = strlen(header);
    if (!strchr(header, ':') || strpbrk(header, "\r\n"))
        die(2, "--header: %s is not 'Name: value'", header);
    if (used + n + 3 > sizeof opt->headers)
        die(2, "--header: too many");
    snprintf(opt->headers + used, sizeof opt->headers - used, "%s\r\n", header);
}

/* Resolves without asking anybody: loopback addresses only. */
static bool loopback(options *opt, const char *host, uint16_t port)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)&opt->address;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&opt->address;
    if (inet_pton(AF_INET, strcmp(host, "localhost") ? host : "127.0.0.1", &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons(port);
        opt->address_bytes = sizeof *v4;
        return ntohl(v4->sin_addr.s_addr) >> 24 == 127;
    }
    if (inet_pton(AF_INET6, host, &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons(port);
        opt->address_bytes = sizeof *v6;
        return IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr);
    }
    return false;
}

static void parse_url(options *opt, const char *url)
{
    char host[64];
    unsigned port = 80;
    int used = 0;
    if (sscanf(url, "http://[%63[^]/]]%n", host, &used) < 1 || used == 0) {
        used = 0;
        if (sscanf(url, "http://%63[^:/[]%n", host, &used) < 1)
            die(2, "%s is not of the form http://127.0.0.1:PORT/PATH", url);
    }
    if (url[used] == ':') {
        int digits = 0;
        if (sscanf(url + used, ":%5u%n", &port, &digits) < 1 || port == 0 || port > UINT16_MAX)
            die(2, "%s: bad port", url);
        used += digits;
    }
    if (url[used] != '\0' && url[used] != '/')
        die(2, "%s is not of the form http://127.0.0.1:PORT/PATH", url);
    if (!loopback(opt, host, (uint16_t)port))
        die(2, "%s is not a loopback address: this tool loads only the machine it runs on", host);
    opt->path = url[used] ? url + used : "/";
    snprintf(opt->host, sizeof opt->host, strchr(host, ':') ? "[%s]:%u" : "%s:%u", host, port);
}

enum {
    OPT_RATE,
    OPT_CONNECTIONS,
    OPT_DURATION,
    OPT_REQUESTS,
    OPT_TIMEOUT,
    OPT_METHOD,
    OPT_HEADER,
    OPT_BODY,
    OPT_STATUS,
    OPT_EXPECT,
    OPT_EXPECT_EXACTLY,
    OPT_JSON,
    OPT_HELP
};

static const struct option option_names[] = {
    {"rate", required_argument, NULL, OPT_RATE},
    {"connections", required_argument, NULL, OPT_CONNECTIONS},
    {"duration", required_argument, NULL, OPT_DURATION},
    {"requests", required_argument, NULL, OPT_REQUESTS},
    {"timeout", required_argument, NULL, OPT_TIMEOUT},
    {"method", required_argument, NULL, OPT_METHOD},
    {"header", required_argument, NULL, OPT_HEADER},
    {"body", required_argument, NULL, OPT_BODY},
    {"status", required_argument, NULL, OPT_STATUS},
    {"expect", required_argument, NULL, OPT_EXPECT},
    {"expect-exactly", required_argument, NULL, OPT_EXPECT_EXACTLY},
    {"json", no_argument, NULL, OPT_JSON},
    {"help", no_argument, NULL, OPT_HELP},
    {0},
};

static void parse_option(options *opt, int id, const char *name)
{
    switch (id) {
    case OPT_RATE:
        opt->rate = number(name, optarg, 0.001, 1e7);
        break;
    case OPT_CONNECTIONS:
        opt->connections = (unsigned)number(name, optarg, 1, CONNECTIONS_MAX);
        break;
    case OPT_DURATION:
        opt->duration_s = number(name, optarg, 0.001, 1e6);
        break;
    case OPT_REQUESTS:
        opt->requests = (uint64_t)number(name, optarg, 1, 1e12);
        break;
    case OPT_TIMEOUT:
        opt->timeout_ns = (uint64_t)(number(name, optarg, 0.001, 1e6) * (double)NS_PER_S);
        break;
    case OPT_METHOD:
        opt->method = optarg;
        break;
    case OPT_HEADER:
        add_header(opt, optarg);
        break;
    case OPT_BODY:
        opt->body = optarg;
        break;
    case OPT_STATUS:
        opt->status = (int)number(name, optarg, 200, 599);
        break;
    case OPT_EXPECT:
        opt->expect = optarg;
        break;
    case OPT_EXPECT_EXACTLY:
        opt->expect_exactly = optarg;
        break;
    case OPT_JSON:
        opt->json = true;
        break;
    case OPT_HELP:
        fputs(usage_text, stdout);
        exit(0);
    default:
        fputs(usage_text, stderr);
        exit(2);
    }
}

static void parse(options *opt, int argc, char **argv)
{
    int id, index = 0;
    *opt = (options){.rate = 1000, .duration_s = 10, .connections = 64, .timeout_ns = 5 * NS_PER_S};
    while ((id = getopt_long(argc, argv, "", option_names, &index)) != -1)
        parse_option(opt, id, option_names[index].name);
    if (optind != argc - 1) {
        fputs(usage_text, stderr);
        exit(2);
    }
    parse_url(opt, argv[optind]);
    if (!opt->method)
        opt->method = opt->body ? "POST" : "GET";
    if (opt->requests == 0)
        opt->requests = (uint64_t)ceil(opt->rate * opt->duration_s);
}

/* ---- beginning and end ---- */

static void build_request(client *cl)
{
    const options *opt = &cl->opt;
    char length[48] = "";
    size_t body_bytes = opt->body ? strlen(opt->body) : 0;
    if (opt->body)
        snprintf(length, sizeof length, "Content-Length: %zu\r\n", body_bytes);
    int n = asprintf(&cl->request, "%s %s HTTP/1.1\r\nHost: %s\r\n%s%s\r\n%s", opt->method, opt->path,
                     opt->host, opt->headers, length, opt->body ? opt->body : "");
    if (n < 0 || n > (int)REQUEST_MAX)
        die(2, "the request is too large");
    cl->request_bytes = (size_t)n;
    cl->bodiless = strcmp(opt->method, "HEAD") == 0;
}

static void client_init(client *cl)
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
        die(3, "cannot start: %s", strerror(errno));
    build_request(cl);
}

static void client_fini(client *cl)
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

int main(int argc, char **argv)
{
    static client cl;
    parse(&cl.opt, argc, argv);
    client_init(&cl);
    run(&cl);
    report(&cl);
    int code = cl.tally.wrong || errors(&cl.tally) ? 1 : 0;
    client_fini(&cl);
    return code;
}
