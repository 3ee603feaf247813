/* openloop_options: what the command line of openloop says. Threads: one. */
#ifndef LOAD_OPENLOOP_OPTIONS_H
#define LOAD_OPENLOOP_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#define NS_PER_S 1000000000ull

typedef struct openloop_options {
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
} openloop_options;

/* Read the command line. A wrong one, and --help, end the program. */
void openloop_options_parse(openloop_options *opt, int argc, char **argv);

/* Say why on standard error, and end the program with that code. */
_Noreturn void openloop_die(int code, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
