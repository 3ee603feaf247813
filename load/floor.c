/* floor: the least a server on this machine can cost.
 *
 * One thread, one epoll descriptor, one recv and one send for what arrived, and no HTTP parser: every blank
 * line is taken for the end of a request without a body and answered with the bytes that poolsrv would send
 * for the perf app's /echo. What a real server needs beyond this is the price of its features. It answers
 * anything, so it is of no use but as a ruler. It listens on 127.0.0.1 only.
 *
 * Usage: load_floor [--port N]    port 0, the default, picks one; SIGTERM or SIGINT ends it.
 * Prints "listening on 127.0.0.1:PORT" to stdout, and at the end the CPU time a request took to stderr. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define BODY          "{\"message\":\"Echo GET\",\"method\":\"GET\"}"
#define REPLY_MAX     512
#define REPLIES_MAX   64 /* copies that one send may carry, for clients that pipeline */
#define EVENTS_MAX    256
#define RECV_MAX      16384
#define FD_MAX        65536
#define END_OF_HEAD   "\r\n\r\n"
#define SEND_PATIENCE 1000 /* ms a client may take to make room for its replies */

typedef struct floor_server {
    int listener;
    int epoll;
    time_t stamped;       /* the second the replies' Date is of */
    size_t reply_bytes;   /* of one reply */
    uint64_t requests;    /* answered so far */
    uint8_t seen[FD_MAX]; /* how much of END_OF_HEAD each connection's input ends with */
    char replies[REPLIES_MAX * REPLY_MAX];
} floor_server;

static volatile sig_atomic_t stopping;

static void on_signal(int signal_number)
{
    (void)signal_number;
    stopping = 1;
}

static void die(const char *what)
{
    fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
    exit(1);
}

/* Writes the replies anew when the second has changed. */
static void stamp(floor_server *server)
{
    time_t now = time(NULL);
    if (now == server->stamped)
        return;

    struct tm tm;
    char date[64];
    char reply[REPLY_MAX];
    gmtime_r(&now, &tm);
    strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S GMT", &tm);
    int n = snprintf(reply, sizeof reply,
                     "HTTP/1.1 200 OK\r\nDate: %s\r\nContent-Length: %zu\r\n"
                     "Content-Type: application/json\r\n\r\n" BODY,
                     date, sizeof BODY - 1);
    server->stamped = now;
    server->reply_bytes = (size_t)n;
    for (size_t i = 0; i < REPLIES_MAX; i++)
        memcpy(server->replies + i * server->reply_bytes, reply, server->reply_bytes);
}

/* Counts the heads that end in these bytes; *seen carries a blank line that is split over two reads. */
static size_t count_heads(const char *bytes, size_t n, uint8_t *seen)
{
    size_t heads = 0;
    uint8_t matched = *seen;
    for (size_t i = 0; i < n; i++) {
        if (bytes[i] != END_OF_HEAD[matched])
            matched = bytes[i] == '\r';
        else if (++matched == sizeof END_OF_HEAD - 1) {
            heads++;
            matched = 0;
        }
    }
    *seen = matched;
    return heads;
}

/* Sends all of it. A client whose window is full is waited for, since there is no buffer to keep the rest in.
 * Returns 0 or a negative errno. */
static int send_all(int fd, const char *bytes, size_t n)
{
    while (n > 0) {
        ssize_t sent = send(fd, bytes, n, MSG_NOSIGNAL);
        if (sent >= 0) {
            bytes += sent;
            n -= (size_t)sent;
            continue;
        }
        struct pollfd room = {.fd = fd, .events = POLLOUT};
        if (errno != EAGAIN || poll(&room, 1, SEND_PATIENCE) != 1)
            return -errno;
    }
    return 0;
}

static int answer(floor_server *server, int fd, size_t heads)
{
    server->requests += heads;
    while (heads > 0) {
        size_t batch = heads < REPLIES_MAX ? heads : REPLIES_MAX;
        int err = send_all(fd, server->replies, batch * server->reply_bytes);
        if (err)
            return err;
        heads -= batch;
    }
    return 0;
}

static void serve(floor_server *server, int fd)
{
    char input[RECV_MAX];
    ssize_t n = recv(fd, input, sizeof input, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0 || answer(server, fd, count_heads(input, (size_t)n, &server->seen[fd])))
        close(fd);
}

static void accept_all(floor_server *server)
{
    for (;;) {
        int fd = accept4(server->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0)
            return;
        struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
        if (fd >= FD_MAX || epoll_ctl(server->epoll, EPOLL_CTL_ADD, fd, &event)) {
            close(fd);
            continue;
        }
        server->seen[fd] = 0;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    }
}

/* Signals are let in only while it waits, so that none slips in between the check and the wait. */
static void run(floor_server *server, const sigset_t *while_waiting)
{
    struct epoll_event events[EVENTS_MAX];
    while (!stopping) {
        int n = epoll_pwait(server->epoll, events, EVENTS_MAX, -1, while_waiting);
        stamp(server);
        for (int i = 0; i < n; i++) {
            if (events[i].data.fd == server->listener)
                accept_all(server);
            else
                serve(server, events[i].data.fd);
        }
    }
}

static void listen_on(floor_server *server, uint16_t port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;

    server->listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (server->listener < 0)
        die("socket");
    setsockopt(server->listener, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
    if (bind(server->listener, (struct sockaddr *)&address, sizeof address))
        die("bind");
    if (listen(server->listener, SOMAXCONN))
        die("listen");
    if (getsockname(server->listener, (struct sockaddr *)&address, &length))
        die("getsockname");

    server->epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = server->listener};
    if (server->epoll < 0 || epoll_ctl(server->epoll, EPOLL_CTL_ADD, server->listener, &event))
        die("epoll");
    printf("listening on 127.0.0.1:%d\n", ntohs(address.sin_port));
    fflush(stdout);
}

static void catch_signals(sigset_t *before)
{
    struct sigaction action = {.sa_handler = on_signal};
    sigset_t blocked;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGTERM);
    sigaddset(&blocked, SIGINT);
    sigprocmask(SIG_BLOCK, &blocked, before);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
}

static double cpu_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static void usage(FILE *to)
{
    fputs("usage: load_floor [--port N]\n", to);
}

/* The port asked for; ends the program when the arguments make no sense. */
static uint16_t parse(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--help") == 0) {
        usage(stdout);
        exit(0);
    }
    char *end = NULL;
    long port = 0;
    if (argc == 3 && strcmp(argv[1], "--port") == 0)
        port = strtol(argv[2], &end, 10);
    if (argc != 1 && (!end || end == argv[2] || *end || port < 0 || port > UINT16_MAX)) {
        usage(stderr);
        exit(2);
    }
    return (uint16_t)port;
}

int main(int argc, char **argv)
{
    static floor_server server;
    sigset_t while_waiting;
    uint16_t port = parse(argc, argv);

    catch_signals(&while_waiting);
    stamp(&server);
    listen_on(&server, port);

    double before_us = cpu_us();
    run(&server, &while_waiting);
    double spent_us = cpu_us() - before_us;
    fprintf(stderr, "floor: %llu requests, %.3f us of CPU each\n", (unsigned long long)server.requests,
            server.requests ? spent_us / (double)server.requests : 0.0);
    return 0;
}
