#include "openloop_options.h"

#include <arpa/inet.h>
#include <getopt.h>
#include <math.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONNECTIONS_MAX 100000u

_Noreturn void openloop_die(int code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("openloop: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    exit(code);
}

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
        openloop_die(2, "--%s: %s is not a number from %g to %g", name, text, least, most);
    return value;
}

static void add_header(openloop_options *opt, const char *header)
{
    size_t used = strlen(opt->headers), n = strlen(header);
    if (!strchr(header, ':') || strpbrk(header, "\r\n"))
        openloop_die(2, "--header: %s is not 'Name: value'", header);
    if (used + n + 3 > sizeof opt->headers)
        openloop_die(2, "--header: too many");
    snprintf(opt->headers + used, sizeof opt->headers - used, "%s\r\n", header);
}

/* Resolves without asking anybody: loopback addresses only. */
static bool loopback(openloop_options *opt, const char *host, uint16_t port)
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

static void parse_url(openloop_options *opt, const char *url)
{
    char host[64];
    unsigned port = 80;
    int used = 0;
    if (sscanf(url, "http://[%63[^]/]]%n", host, &used) < 1 || used == 0) {
        used = 0;
        if (sscanf(url, "http://%63[^:/[]%n", host, &used) < 1)
            openloop_die(2, "%s is not of the form http://127.0.0.1:PORT/PATH", url);
    }
    if (url[used] == ':') {
        int digits = 0;
        if (sscanf(url + used, ":%5u%n", &port, &digits) < 1 || port == 0 || port > UINT16_MAX)
            openloop_die(2, "%s: bad port", url);
        used += digits;
    }
    if (url[used] != '\0' && url[used] != '/')
        openloop_die(2, "%s is not of the form http://127.0.0.1:PORT/PATH", url);
    if (!loopback(opt, host, (uint16_t)port))
        openloop_die(2, "%s is not a loopback address: this tool loads only the machine it runs on", host);
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

static void parse_option(openloop_options *opt, int id, const char *name)
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

void openloop_options_parse(openloop_options *opt, int argc, char **argv)
{
    int id, index = 0;
    *opt = (openloop_options){.rate = 1000, .duration_s = 10, .connections = 64, .timeout_ns = 5 * NS_PER_S};
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
