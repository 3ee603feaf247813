/* requests: many requests that differ in their keys, to see whether the server's memory stays flat.
 *
 *     requests PORT COUNT
 *
 * Sends COUNT requests GET / to 127.0.0.1:PORT, pipelined on a few connections. The query, the headers and
 * their names differ from one to the next. Exit code 0: each got a whole reply with status 200. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CONNECTIONS = 8, BATCH = 32, REQUEST_BYTES = 512, READ_BYTES = 1 << 16 };

typedef struct reader {
    int fd;
    size_t from, n;
    char bytes[READ_BYTES + 1];
} reader;

static reader readers[CONNECTIONS];

static bool open_one(reader *r, unsigned short port)
{
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct timeval patience = {.tv_sec = 20};
    r->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(r->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    return r->fd >= 0 && connect(r->fd, (struct sockaddr *)&to, sizeof(to)) == 0;
}

static bool send_batch(reader *r, unsigned first, unsigned n)
{
    char text[BATCH * REQUEST_BYTES];
    size_t bytes = 0;
    for (unsigned i = first; i < first + n; i++)
        bytes += (size_t)snprintf(text + bytes, REQUEST_BYTES,
                                  "GET /?key%u=%u&other%u=x HTTP/1.1\r\nHost: test\r\nX-Key-%u: %u\r\n"
                                  "X-Id: %u\r\n\r\n",
                                  i, i * 7, i % 1000, i, i, i);
    return send(r->fd, text, bytes, MSG_NOSIGNAL) == (ssize_t)bytes;
}

static bool more(reader *r)
{
    memmove(r->bytes, r->bytes + r->from, r->n);
    r->from = 0;
    ssize_t got = recv(r->fd, r->bytes + r->n, READ_BYTES - r->n, 0);
    if (got <= 0)
        return false;
    r->n += (size_t)got;
    r->bytes[r->n] = '\0';
    return true;
}

static bool read_reply(reader *r)
{
    static const char good[] = "HTTP/1.1 200 ", length[] = "\r\nContent-Length: ";
    char *end;
    while (!(end = r->n ? strstr(r->bytes + r->from, "\r\n\r\n") : NULL))
        if (!more(r))
            return false;
    char *head = r->bytes + r->from;
    char *size = strstr(head, length);
    if (strncmp(head, good, sizeof(good) - 1) != 0 || !size || size > end)
        return false;
    size_t whole = (size_t)(end + 4 - head) + strtoul(size + sizeof(length) - 1, NULL, 10);
    while (r->n < whole)
        if (!more(r))
            return false;
    r->from += whole;
    r->n -= whole;
    return true;
}

static bool run(unsigned count)
{
    for (unsigned sent = 0; sent < count; sent += CONNECTIONS * BATCH) {
        for (unsigned i = 0; i < CONNECTIONS; i++)
            if (!send_batch(&readers[i], sent + i * BATCH, BATCH))
                return false;
        for (unsigned i = 0; i < CONNECTIONS * BATCH; i++)
            if (!read_reply(&readers[i / BATCH]))
                return false;
    }
    return true;
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: requests PORT COUNT\n");
        return 2;
    }
    for (unsigned i = 0; i < CONNECTIONS; i++) {
        if (!open_one(&readers[i], (unsigned short)atoi(argv[1]))) {
            perror("requests: connect");
            return 1;
        }
    }
    bool ok = run((unsigned)atoi(argv[2]));
    if (!ok)
        fprintf(stderr, "requests: a reply is missing or is not 200\n");
    for (unsigned i = 0; i < CONNECTIONS; i++)
        close(readers[i].fd);
    return ok ? 0 : 1;
}
