/* target: what a load client asks for, where, and which reply is right; read from the command line.
 *
 * The options that every client here has. A client adds its own: it gives their names with numbers from
 * TARGET_OPTIONS on, and is handed those it has to read itself. Only loopback addresses are accepted, and
 * nothing is asked to resolve them. Threads: plain data; one owner. */
#ifndef LOAD_TARGET_H
#define LOAD_TARGET_H

#include "reply.h"

#include <arpa/inet.h>
#include <getopt.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define NS_PER_S        1000000000ull
#define CONNECTIONS_MAX 100000u
#define REQUEST_MAX     (1u << 20)

typedef struct target {
    const char *program; /* as messages name it */
    const char *path, *method, *body, *expect, *expect_exactly, *expect_bytes;
    char host[80]; /* as the Host header wants it */
    char headers[8192];
    struct sockaddr_storage address;
    socklen_t address_bytes;
    double duration_s;
    uint64_t timeout_ns;
    unsigned connections;
    int status; /* 0: any 2xx */
    bool json;
    bool closes; /* a header says that the connection is to close */
} target;

enum {
    TARGET_CONNECTIONS,
    TARGET_DURATION,
    TARGET_TIMEOUT,
    TARGET_METHOD,
    TARGET_HEADER,
    TARGET_BODY,
    TARGET_STATUS,
    TARGET_EXPECT,
    TARGET_EXPECT_EXACTLY,
    TARGET_EXPECT_BYTES,
    TARGET_JSON,
    TARGET_HELP,
    TARGET_OPTIONS
};

#define TARGET_OPTION_NAMES                                                                                  \
    {"connections", required_argument, NULL, TARGET_CONNECTIONS},                                            \
        {"duration", required_argument, NULL, TARGET_DURATION},                                              \
        {"timeout", required_argument, NULL, TARGET_TIMEOUT},                                                \
        {"method", required_argument, NULL, TARGET_METHOD},                                                  \
        {"header", required_argument, NULL, TARGET_HEADER}, {"body", required_argument, NULL, TARGET_BODY},  \
        {"status", required_argument, NULL, TARGET_STATUS},                                                  \
        {"expect", required_argument, NULL, TARGET_EXPECT},                                                  \
        {"expect-exactly", required_argument, NULL, TARGET_EXPECT_EXACTLY},                                  \
        {"expect-bytes", required_argument, NULL, TARGET_EXPECT_BYTES},                                      \
        {"json", no_argument, NULL, TARGET_JSON},                                                            \
    {                                                                                                        \
        "help", no_argument, NULL, TARGET_HELP                                                               \
    }

#define TARGET_USAGE                                                                                         \
    "  --connections C        connections (64)\n"                                                            \
    "  --duration S           seconds (10)\n"                                                                \
    "  --timeout S            after which a request is given up (5)\n"                                       \
    "  --method M             (GET, or POST with a body)\n"                                                  \
    "  --header 'Name: value' may be given several times\n"                                                  \
    "  --body TEXT            the request's body\n"                                                          \
    "  --status N             the only right status (any 2xx)\n"                                             \
    "  --expect TEXT          the reply's body must contain it\n"                                            \
    "  --expect-exactly TEXT  the reply's body must be it\n"                                                 \
    "  --expect-bytes TEXT    the reply's body must have the bytes of it, in whatever order\n"               \
    "  --json                 print JSON\n"                                                                  \
    "  --help\n"

static inline _Noreturn void die(const target *tg, int code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fprintf(stderr, "%s: ", tg->program);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    exit(code);
}

static inline double target_number(const target *tg, const char *name, const char *text, double least,
                                   double most)
{
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end || !(value >= least && value <= most))
        die(tg, 2, "--%s: %s is not a number from %g to %g", name, text, least, most);
    return value;
}

static inline void target_add_header(target *tg, const char *header)
{
    size_t used = strlen(tg->headers), n = strlen(header);
    if (!strchr(header, ':') || strpbrk(header, "\r\n"))
        die(tg, 2, "--header: %s is not 'Name: value'", header);
    if (used + n + 3 > sizeof tg->headers)
        die(tg, 2, "--header: too many");
    snprintf(tg->headers + used, sizeof tg->headers - used, "%s\r\n", header);
    tg->closes = tg->closes || strcasecmp(header, "connection: close") == 0;
}

static inline bool target_loopback(target *tg, const char *host, uint16_t port)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)&tg->address;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&tg->address;
    if (inet_pton(AF_INET, strcmp(host, "localhost") ? host : "127.0.0.1", &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons(port);
        tg->address_bytes = sizeof *v4;
        return ntohl(v4->sin_addr.s_addr) >> 24 == 127;
    }
    if (inet_pton(AF_INET6, host, &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons(port);
        tg->address_bytes = sizeof *v6;
        return IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr);
    }
    return false;
}

static inline void target_url(target *tg, const char *url)
{
    char host[64];
    unsigned port = 80;
    int used = 0;
    if (sscanf(url, "http://[%63[^]/]]%n", host, &used) < 1 || used == 0) {
        used = 0;
        if (sscanf(url, "http://%63[^:/[]%n", host, &used) < 1)
            die(tg, 2, "%s is not of the form http://127.0.0.1:PORT/PATH", url);
    }
    if (url[used] == ':') {
        int digits = 0;
        /* NOLINTNEXTLINE(cert-err34-c): five digits do not overflow */
        if (sscanf(url + used, ":%5u%n", &port, &digits) < 1 || port == 0 || port > UINT16_MAX)
            die(tg, 2, "%s: bad port", url);
        used += digits;
    }
    if (url[used] != '\0' && url[used] != '/')
        die(tg, 2, "%s is not of the form http://127.0.0.1:PORT/PATH", url);
    if (!target_loopback(tg, host, (uint16_t)port))
        die(tg, 2, "%s is not a loopback address: this tool loads only the machine it runs on", host);
    tg->path = url[used] ? url + used : "/";
    snprintf(tg->host, sizeof tg->host, strchr(host, ':') ? "[%s]:%u" : "%s:%u", host, port);
}

/* Reads one of the TARGET_ options. --help prints the usage and ends the program, and so does an unknown id.
 */
static inline void target_option(target *tg, int id, const char *name, const char *usage)
{
    switch (id) {
    case TARGET_CONNECTIONS:
        tg->connections = (unsigned)target_number(tg, name, optarg, 1, CONNECTIONS_MAX);
        break;
    case TARGET_DURATION:
        tg->duration_s = target_number(tg, name, optarg, 0.001, 1e6);
        break;
    case TARGET_TIMEOUT:
        tg->timeout_ns = (uint64_t)(target_number(tg, name, optarg, 0.001, 1e6) * (double)NS_PER_S);
        break;
    case TARGET_METHOD:
        tg->method = optarg;
        break;
    case TARGET_HEADER:
        target_add_header(tg, optarg);
        break;
    case TARGET_BODY:
        tg->body = optarg;
        break;
    case TARGET_STATUS:
        tg->status = (int)target_number(tg, name, optarg, 200, 599);
        break;
    case TARGET_EXPECT:
        tg->expect = optarg;
        break;
    case TARGET_EXPECT_EXACTLY:
        tg->expect_exactly = optarg;
        break;
    case TARGET_EXPECT_BYTES:
        tg->expect_bytes = optarg;
        break;
    case TARGET_JSON:
        tg->json = true;
        break;
    case TARGET_HELP:
        fputs(usage, stdout);
        exit(0);
    default:
        fputs(usage, stderr);
        exit(2);
    }
}

/* Reads the URL that stands behind the options, the only argument. */
static inline void target_finish(target *tg, int argc, char **argv, const char *usage)
{
    if (optind != argc - 1) {
        fputs(usage, stderr);
        exit(2);
    }
    target_url(tg, argv[optind]);
    if (!tg->method)
        tg->method = tg->body ? "POST" : "GET";
}

/* The bytes of the request, allocated. */
static inline char *target_request(const target *tg, size_t *ret_bytes)
{
    char *request, length[48] = "";
    size_t body_bytes = tg->body ? strlen(tg->body) : 0;
    if (tg->body)
        snprintf(length, sizeof length, "Content-Length: %zu\r\n", body_bytes);
    int n = asprintf(&request, "%s %s HTTP/1.1\r\nHost: %s\r\n%s%s\r\n%s", tg->method, tg->path, tg->host,
                     tg->headers, length, tg->body ? tg->body : "");
    if (n < 0 || n > (int)REQUEST_MAX)
        die(tg, 2, "the request is too large");
    *ret_bytes = (size_t)n;
    return request;
}

/* Have the two the same bytes, as far as their sum and the sum of their squares tell? JSON whose members come
 * in another order does. */
static inline bool target_same_bytes(const char *a, const char *b, size_t n)
{
    uint64_t sums = 0, squares = 0;
    for (size_t i = 0; i < n; i++) {
        uint64_t x = (unsigned char)a[i], y = (unsigned char)b[i];
        sums += x - y;
        squares += x * x - y * y;
    }
    return sums == 0 && squares == 0;
}

static inline bool target_accepts(const target *tg, const reply *r)
{
    if (tg->status ? r->status != tg->status : r->status / 100 != 2)
        return false;
    if (tg->expect && !memmem(r->body, r->body_bytes, tg->expect, strlen(tg->expect)))
        return false;
    if (tg->expect_bytes && (r->body_bytes != strlen(tg->expect_bytes) ||
                             (memcmp(r->body, tg->expect_bytes, r->body_bytes) != 0 &&
                              !target_same_bytes(r->body, tg->expect_bytes, r->body_bytes))))
        return false;
    return !tg->expect_exactly || (r->body_bytes == strlen(tg->expect_exactly) &&
                                   memcmp(r->body, tg->expect_exactly, r->body_bytes) == 0);
}

#endif
