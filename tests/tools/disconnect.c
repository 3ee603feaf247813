/* disconnect: clients that leave, at every point of a request's life.
 *
 *     disconnect PORT COUNT [SEED]
 *
 * Opens COUNT connections to 127.0.0.1:PORT, HELD at a time. Each sends a part of a request, or a whole one,
 * and leaves by closing, by a reset, or by closing its sending side first. The app there must have GET /,
 * GET /sleep, POST /echo and GET /large. Exit code 0: all connections could be made. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { HELD = 64, SOURCES = 200 };

#define HEAD(first) first "\r\nHost: test\r\n"

typedef struct moment {
    const char *name;
    const char *bytes;
    int read_bytes; /* wait for as much of the reply */
} moment;

static const moment moments[] = {
    {"before the first byte", "", 0},
    {"within the head", "GET / HTTP/1.1\r\nHost: te", 0},
    {"within the body", HEAD("POST /echo HTTP/1.1") "Content-Length: 100\r\n\r\nhalf", 0},
    {"within a chunk", HEAD("POST /echo HTTP/1.1") "Transfer-Encoding: chunked\r\n\r\n40\r\nhalf", 0},
    {"after the request", HEAD("GET / HTTP/1.1") "\r\n", 0},
    {"after a body", HEAD("POST /echo HTTP/1.1") "Content-Length: 4\r\n\r\nbody", 0},
    {"after a request that is refused", HEAD("GET /nowhere HTTP/1.1") "\r\n", 0},
    {"after a bad request", HEAD("GET / HTTP/1.1") "Bad Name: x\r\n\r\n", 0},
    {"while the handler sleeps", HEAD("GET /sleep HTTP/1.1") "\r\n", 0},
    {"while the second of a pipeline sleeps",
     HEAD("GET / HTTP/1.1") "\r\n" HEAD("GET /sleep HTTP/1.1") "\r\n" HEAD("GET / HTTP/1.1") "\r\n", 1},
    {"within the reply", HEAD("GET /large HTTP/1.1") "\r\n", 1000},
    {"after the reply has begun", HEAD("GET / HTTP/1.1") "\r\n", 1},
};

enum { MOMENTS = sizeof(moments) / sizeof(moments[0]) };

static uint64_t random_state;

static unsigned below(unsigned n)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (unsigned)(random_state % n);
}

/* From many addresses, since each has only so many ports, and closed connections hold theirs for a while. */
static int open_one(unsigned short port, unsigned n)
{
    struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000102u + n % SOURCES)};
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct timeval patience = {.tv_sec = 20};
    int one = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one));
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    if (bind(fd, (struct sockaddr *)&from, sizeof(from)) < 0 ||
        connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static int reach(int fd, const moment *m)
{
    char waste[4096];
    int got = 0;
    if (send(fd, m->bytes, strlen(m->bytes), MSG_NOSIGNAL) < 0)
        return -1;
    while (got < m->read_bytes) {
        ssize_t n = recv(fd, waste, sizeof(waste), 0);
        if (n <= 0)
            return -1;
        got += (int)n;
    }
    return 0;
}

static void leave(int fd)
{
    struct linger reset = {.l_onoff = 1, .l_linger = 0};
    switch (below(3)) {
    case 0:
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
        break;
    case 1:
        shutdown(fd, SHUT_WR);
        break;
    default:
        break;
    }
    close(fd);
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        fprintf(stderr, "usage: disconnect PORT COUNT [SEED]\n");
        return 2;
    }
    unsigned short port = (unsigned short)atoi(argv[1]);
    unsigned count = (unsigned)atoi(argv[2]);
    unsigned reached[MOMENTS] = {0};
    int held[HELD];
    random_state = argc > 3 ? strtoull(argv[3], NULL, 10) | 1 : 1;
    memset(held, -1, sizeof(held));
    for (unsigned i = 0; i < count; i++) {
        /* Which one leaves is left to chance too: some stay for long, some hardly arrive. */
        int *place = &held[below(HELD)];
        unsigned which = below(MOMENTS);
        if (*place >= 0)
            leave(*place);
        *place = open_one(port, i);
        if (*place < 0 || reach(*place, &moments[which]) < 0) {
            fprintf(stderr, "%s: connection %u: %s\n", moments[which].name, i, strerror(errno));
            return 1;
        }
        reached[which]++;
    }
    for (unsigned i = 0; i < HELD; i++)
        if (held[i] >= 0)
            leave(held[i]);
    for (unsigned i = 0; i < MOMENTS; i++)
        printf("%u left %s\n", reached[i], moments[i].name);
    return 0;
}
