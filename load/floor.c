/* floor: the least a server on this machine can cost.
 *
 * In each thread one epoll descriptor, one recv and one send for what arrived, and no HTTP parser: every
 * blank line is taken for the end of a request without a body and answered with the bytes that poolsrv would
 * send for the perf app's /echo. Threads share nothing; the kernel deals the connections out. What a real
 * server needs beyond this is the price of its features. It answers anything, so it is of no use but as a
 * ruler. It listens on 127.0.0.1 only.
 *
 * Usage: load_floor [--port N] [--threads N] [--close]
 * Port 0, the default, picks one; --close ends each connection with its first reply, since Connection: close
 * cannot be read without a parser. SIGTERM or SIGINT ends it.
 * Prints "listening on 127.0.0.1:PORT" to stdout, and at the end the CPU time a request took to stderr. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
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
#define THREADS_MAX   64
#define END_OF_HEAD   "\r\n\r\n"
#define SEND_PATIENCE 1000 /* ms a client may take to make room for its replies */

typedef struct options {
    uint16_t port;
    unsigned threads;
    bool closes;
} options;

typedef struct floor_server {
    pthread_t thread;              /* but of the first, which is the program's own */
    const sigset_t *while_waiting; /* the signals that are blocked then */
    bool closes;                   /* each connection after its first reply */
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
                     "HTTP/1.1 200 OK\r\nDate: %s\r\nContent-Length: %zu\r\n%s"
                     "Content-Type: application/json\r\n\r\n" BODY,
                     date, sizeof BODY - 1, server->closes ? "Connection: close\r\n" : "");
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
    size_t heads = n > 0 ? count_heads(input, (size_t)n, &server->seen[fd]) : 0;
    if (n <= 0 || answer(server, fd, heads) || (heads && server->closes))
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
static void *run(void *arg)
{
    floor_server *server = arg;
    struct epoll_event events[EVENTS_MAX];
    while (!stopping) {
        int n = epoll_pwait(server->epoll, events, EVENTS_MAX, -1, server->while_waiting);
        stamp(server);
        for (int i = 0; i < n; i++) {
            if (events[i].data.fd == server->listener)
                accept_all(server);
            else
                serve(server, events[i].data.fd);
        }
    }
    return NULL;
}

/* Opens the listener, which shares its port with those of the other threads. Returns: the port. */
static uint16_t listen_on(floor_server *server, uint16_t port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;

    server->listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (server->listener < 0)
        die("socket");
    setsockopt(server->listener, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
    setsockopt(server->listener, SOL_SOCKET, SO_REUSEPORT, &(int){1}, sizeof(int));
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
    return ntohs(address.sin_port);
}

/* Blocks them all, and says which stay blocked while the first thread waits, and which while the others do:
 * SIGTERM and SIGINT are for the first, SIGUSR1 is how it tells the others. */
static void catch_signals(sigset_t *first, sigset_t *others)
{
    struct sigaction action = {.sa_handler = on_signal};
    sigset_t told;
    sigemptyset(&told);
    sigaddset(&told, SIGUSR1);
    sigprocmask(SIG_BLOCK, &told, first);
    sigemptyset(others);
    sigaddset(others, SIGTERM);
    sigaddset(others, SIGINT);
    sigprocmask(SIG_BLOCK, others, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGUSR1, &action, NULL);
}

static double cpu_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static const char usage_text[] = "usage: load_floor [--port N] [--threads N] [--close]\n";

static const struct option option_names[] = {
    {"port", required_argument, NULL, 'p'},
    {"threads", required_argument, NULL, 't'},
    {"close", no_argument, NULL, 'c'},
    {"help", no_argument, NULL, 'h'},
    {0},
};

static _Noreturn void usage(FILE *to, int code)
{
    fputs(usage_text, to);
    exit(code);
}

static long number(const char *text, long least, long most)
{
    char *end;
    long value = strtol(text, &end, 10);
    if (end == text || *end || value < least || value > most)
        usage(stderr, 2);
    return value;
}

/* Ends the program when the arguments make no sense. */
static void parse(options *opt, int argc, char **argv)
{
    int id;
    *opt = (options){.threads = 1};
    while ((id = getopt_long(argc, argv, "", option_names, NULL)) != -1) {
        if (id == 'p')
            opt->port = (uint16_t)number(optarg, 0, UINT16_MAX);
        else if (id == 't')
            opt->threads = (unsigned)number(optarg, 1, THREADS_MAX);
        else if (id == 'c')
            opt->closes = true;
        else
            usage(id == 'h' ? stdout : stderr, id == 'h' ? 0 : 2);
    }
    if (optind != argc)
        usage(stderr, 2);
}

static void init(floor_server *server, const options *opt, uint16_t *port, const sigset_t *while_waiting)
{
    server->closes = opt->closes;
    server->while_waiting = while_waiting;
    stamp(server);
    *port = listen_on(server, *port);
}

/* Runs the first server in this thread until a signal comes, and the others in threads of their own. */
static void run_all(floor_server *servers, unsigned count)
{
    for (unsigned i = 1; i < count; i++)
        if (pthread_create(&servers[i].thread, NULL, run, &servers[i]))
            die("pthread_create");
    run(&servers[0]);
    for (unsigned i = 1; i < count; i++) {
        pthread_kill(servers[i].thread, SIGUSR1);
        pthread_join(servers[i].thread, NULL);
    }
}

int main(int argc, char **argv)
{
    options opt;
    sigset_t first, others;
    parse(&opt, argc, argv);

    floor_server *servers = calloc(opt.threads, sizeof *servers);
    if (!servers)
        die("calloc");
    catch_signals(&first, &others);
    uint16_t port = opt.port;
    for (unsigned i = 0; i < opt.threads; i++)
        init(&servers[i], &opt, &port, i == 0 ? &first : &others);
    printf("listening on 127.0.0.1:%d\n", port);
    fflush(stdout);

    double before_us = cpu_us();
    run_all(servers, opt.threads);
    double spent_us = cpu_us() - before_us;

    unsigned long long requests = 0;
    for (unsigned i = 0; i < opt.threads; i++)
        requests += servers[i].requests;
    fprintf(stderr, "floor: %llu requests, %.3f us of CPU each\n", requests,
            requests ? spent_us / (double)requests : 0.0);
    free(servers);
    return 0;
}
