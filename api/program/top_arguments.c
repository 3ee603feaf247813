#include "api/program/top_arguments.h"

#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WORDS_MAX = 32 };

static const double interval_least_ms = 100, interval_most_ms = 3600 * 1000;

__attribute__((format(printf, 2, 3))) static int wrong(ps_error *err, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    err->code = PS_EINVAL;
    vsnprintf(err->message, sizeof err->message, format, args);
    va_end(args);
    return PS_EINVAL;
}

static int read_interval(top_arguments *args, const char *text, ps_error *err)
{
    char *end;
    double ms = strtod(text, &end) * 1000;
    if (end == text || *end || !(ms >= interval_least_ms && ms <= interval_most_ms))
        return wrong(err, "--interval %.100s: expected seconds from 0.1 to 3600", text);
    args->interval_ms = (int)lround(ms);
    return 0;
}

static int read_count(top_arguments *args, const char *text, ps_error *err)
{
    char *end;
    errno = 0;
    args->count = strtol(text, &end, 10);
    if (end == text || *end || args->count < 1 || errno)
        return wrong(err, "--count %.100s: expected a whole number from 1 on", text);
    return 0;
}

static int read_sort(top_arguments *args, const char *text, ps_error *err)
{
#define X(name, key, word, first)                                                                            \
    if (strcmp(text, word) == 0) {                                                                           \
        args->sort = name;                                                                                   \
        return 0;                                                                                            \
    }
    TOP_SORT_MAP(X)
#undef X
    return wrong(err, "--sort %.100s: expected requests, p99, errors, lane or name", text);
}

static int read_option(top_arguments *args, int option, char **argv, ps_error *err)
{
    switch (option) {
    case '1':
        args->count = 1;
        return 0;
    case 'i':
        return read_interval(args, optarg, err);
    case 'n':
        return read_count(args, optarg, err);
    case 's':
        return read_sort(args, optarg, err);
    case ':':
        return wrong(err, "top: %.100s wants a value", argv[optind - 1]);
    default:
        return wrong(err, "top: unknown option %.100s", argv[optind - 1]);
    }
}

static int take_address(top_arguments *args, const char *text, ps_error *err)
{
    if (usual_address_read(args->address, text) == 0)
        return 0;
    return wrong(err, "top: %.100s... is too long for an address", args->address);
}

int top_arguments_read(top_arguments *args, char **words, ps_error *err)
{
    static const struct option options[] = {
        {"once", no_argument, NULL, '1'},
        {"count", required_argument, NULL, 'n'},
        {"interval", required_argument, NULL, 'i'},
        {"sort", required_argument, NULL, 's'},
        {0},
    };
    *args = (top_arguments){.interval_ms = 1000};
    char name[] = "top", *argv[WORDS_MAX + 2] = {name}; /* getopt wants the command, and sorts what follows */
    int argc = 1, option, code = 0;
    for (; *words; words++) {
        if (argc > WORDS_MAX)
            return wrong(err, "top: that is too much: %.100s", *words);
        argv[argc++] = *words;
    }
    opterr = 0;
    optind = 0; /* begin anew */
    while (code == 0 && (option = getopt_long(argc, argv, ":n:", options, NULL)) != -1)
        code = read_option(args, option, argv, err);
    if (code == 0 && argc - optind > 1)
        code = wrong(err, "top: one address at a time: what is %.100s?", argv[optind + 1]);
    return code ? code : take_address(args, optind < argc ? argv[optind] : NULL, err);
}
