#include "api/program/queue_arguments.h"

#include <ctype.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WORDS_MAX = 32, PEEK_USUAL = 10 };

static const struct {
    const char *word;
    queue_command command;
    size_t most; /* words behind it, without the address */
    const char *usage;
} commands[] = {{"ls", QUEUE_LS, 0, "ls [ADDRESS]"},
                {"peek", QUEUE_PEEK, 2, "peek NAME [N] [ADDRESS]"},
                {"retry", QUEUE_RETRY, 2, "retry NAME [ID] [ADDRESS]"},
                {"purge", QUEUE_PURGE, 1, "purge NAME [--yes] [ADDRESS]"}};

__attribute__((format(printf, 2, 3))) static int wrong(ps_error *err, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    err->code = PS_EINVAL;
    vsnprintf(err->message, sizeof err->message, format, args);
    va_end(args);
    return PS_EINVAL;
}

/* --- words --- */

static bool copy(char to[QUEUE_WORD_BYTES], const char *word)
{
    return snprintf(to, QUEUE_WORD_BYTES, "%s", word) < QUEUE_WORD_BYTES;
}

static int read_name(queue_arguments *args, const char *word, ps_error *err)
{
    static const char good[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    if (!*word || word[strspn(word, good)] || !copy(args->name, word))
        return wrong(err, "queue: \"%.100s\": a queue's name is of letters, digits and \"._-\", 127 at most",
                     word);
    return 0;
}

static int read_most(queue_arguments *args, const char *word, ps_error *err)
{
    char *end;
    unsigned long n = strtoul(word, &end, 10);
    if (!isdigit((unsigned char)*word) || *end || n < 1 || n > QUEUE_PEEK_MOST)
        return wrong(err, "queue: peek %.100s: expected a number from 1 to %d", word, QUEUE_PEEK_MOST);
    args->most = (unsigned)n;
    return 0;
}

static int read_id(queue_arguments *args, const char *word, ps_error *err)
{
    bool good = *word && copy(args->id, word);
    for (const char *p = word; *p; p++)
        good &= *p > ' ' && *p <= '~';
    return good ? 0 : wrong(err, "queue: \"%.100s\": that is no id of a message", word);
}

static bool is_url(const char *word)
{
    return strncmp(word, "http://", 7) == 0 || strncmp(word, "https://", 8) == 0;
}

/* "HOST:PORT" or ":PORT"; where an id can stand, which may look like one, the host has to be a number, a name
 * with a dot or localhost. */
static bool is_address(const char *word, bool may_be_id)
{
    const char *colon = strrchr(word, ':');
    if (is_url(word))
        return true;
    if (!colon || !colon[1] || colon[1 + strspn(colon + 1, "0123456789")])
        return false;
    return !may_be_id || colon == word || *word == '[' || memchr(word, '.', (size_t)(colon - word)) ||
           strncmp(word, "localhost:", 10) == 0;
}

static int read_address(queue_arguments *args, const char *word, ps_error *err)
{
    return usual_address_read(args->address, word) == 0
               ? 0
               : wrong(err, "queue: %.100s... is too long for an address", args->address);
}

/* --- the command --- */

static int read_command(const char *word, size_t *ret_i, ps_error *err)
{
    size_t i = 0, n = sizeof commands / sizeof *commands;
    while (i < n && strcmp(commands[i].word, word) != 0)
        i++;
    *ret_i = i;
    return i < n ? 0 : wrong(err, "queue: %.100s: expected ls, peek, retry or purge", word);
}

/* The n words behind the command's own. */
static int read_words(queue_arguments *args, size_t i, char **words, size_t n, const char *address,
                      ps_error *err)
{
    if (!address && n > 0 && (n > commands[i].most || is_address(words[n - 1], args->command == QUEUE_RETRY)))
        address = words[--n];
    if (n > commands[i].most)
        return wrong(err, "queue: what is %.100s? Expected: poolsrv queue %s", words[commands[i].most],
                     commands[i].usage);
    if (n == 0 && commands[i].most)
        return wrong(err, "queue: which queue? Expected: poolsrv queue %s", commands[i].usage);
    int code = n > 0 ? read_name(args, words[0], err) : 0;
    if (code == 0 && n > 1)
        code = args->command == QUEUE_PEEK ? read_most(args, words[1], err) : read_id(args, words[1], err);
    return code ? code : read_address(args, address, err);
}

static int read_option(queue_arguments *args, const char **address, int option, char **argv, ps_error *err)
{
    switch (option) {
    case 'a':
        *address = optarg;
        return 0;
    case 'j':
        args->json = true;
        return 0;
    case 'y':
        args->yes = true;
        return 0;
    case ':':
        return wrong(err, "queue: %.100s wants a value", argv[optind - 1]);
    default:
        return wrong(err, "queue: unknown option %.100s", argv[optind - 1]);
    }
}

int queue_arguments_read(queue_arguments *args, char **words, ps_error *err)
{
    static const struct option options[] = {
        {"admin", required_argument, NULL, 'a'},
        {"json", no_argument, NULL, 'j'},
        {"yes", no_argument, NULL, 'y'},
        {0},
    };
    *args = (queue_arguments){.most = PEEK_USUAL};
    char name[] = "queue", *argv[WORDS_MAX + 2] = {name};
    const char *address = NULL;
    int argc = 1, option, code = 0;
    size_t i = 0;
    for (; *words; words++) {
        if (argc > WORDS_MAX)
            return wrong(err, "queue: that is too much: %.100s", *words);
        argv[argc++] = *words;
    }
    opterr = 0;
    optind = 0; /* begin anew */
    while (code == 0 && (option = getopt_long(argc, argv, ":", options, NULL)) != -1)
        code = read_option(args, &address, option, argv, err);
    if (code == 0 && optind == argc)
        code = wrong(err, "queue: expected ls, peek, retry or purge; poolsrv queue --help says more");
    if (code == 0)
        code = read_command(argv[optind], &i, err);
    if (code)
        return code;
    args->command = commands[i].command;
    code = read_words(args, i, argv + optind + 1, (size_t)(argc - optind) - 1, address, err);
    if (code == 0 && args->yes && args->command != QUEUE_PURGE)
        code = wrong(err, "queue: --yes is for purge");
    return code;
}
