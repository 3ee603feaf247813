#include "api/program/queue.h"

#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "api/program/fetch.h"
#include "api/program/json_read.h"
#include "api/program/queue_arguments.h"
#include "api/program/queue_table.h"

enum { TIMEOUT_MS = 10000, PATH_BYTES = 1024, NO_COLUMNS = 1 << 20 };

const char queue_help[] =
    "usage: poolsrv queue ls [ADDRESS]                   how many messages are in each queue\n"
    "       poolsrv queue peek NAME [N] [ADDRESS]        the first N messages of one (10)\n"
    "       poolsrv queue retry NAME [ID] [ADDRESS]      have failed messages, or that one, tried again at "
    "once:\n"
    "                                                    those in NAME.dead go back to NAME\n"
    "       poolsrv queue purge NAME [--yes] [ADDRESS]   throw all messages away that nobody works on\n"
    "\n"
    "The server is the one that has this address for --admin. Without one it is that of the variable\n"
    "POOLSRV_ADMIN, or " USUAL_ADDRESS ".\n"
    "\n"
    "  --admin ADDRESS         the address, where a last word could be something else\n"
    "  --json                  print what the server says, as JSON\n"
    "  --yes                   do not ask before a purge\n"
    "  --help                  print this\n"
    "\n"
    "Exit codes: 0 done, 1 the server cannot be reached or has no such queue or message, 2 usage.";

/* What the subcommand works on. */
typedef struct asking {
    queue_arguments args;
    fetch_target target;
    fetch_reply reply;
} asking;

static int fail(ps_error *err, int code, const char *why, const char *name)
{
    err->code = code;
    snprintf(err->message, sizeof err->message, why, name);
    return code;
}

/* --- replies that are none --- */

/* The server's own words; or, where something else answered, what may be wrong. */
static void explain(const asking *q, const char *method, const char *path, char *why, size_t size)
{
    json_slice all;
    char *error = json_read(q->reply.body, &all) ? json_read_string(all, "error") : NULL;
    bool is_there = q->reply.status != 404 && q->reply.status != 405;
    if (q->reply.status == 404 && error && strncmp(error, "No such queue", 13) == 0)
        snprintf(why, size, "no queue %s: nothing is in it, and this server does not consume it",
                 q->args.name);
    else if (is_there && error)
        snprintf(why, size, "%.300s", error);
    else
        snprintf(
            why, size,
            "the reply to %s %.100s is %d: is this the address of --admin, and the server not older than "
            "this program?",
            method, path, q->reply.status);
    free(error);
}

static int fail_status(const asking *q, const char *method, const char *path, ps_error *err)
{
    char why[400];
    explain(q, method, path, why, sizeof why);
    for (char *p = why; *p; p++)
        if ((unsigned char)*p < ' ' || *p == 0x7f)
            *p = '?';
    return fetch_fail(err, PS_ESYSTEM, q->args.address, why);
}

/* --- asking --- */

/* Append a text, percent-encoded. */
static void add_encoded(char path[PATH_BYTES], const char *text)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~";
    size_t n = strlen(path);
    for (; *text && n + 4 < PATH_BYTES; text++)
        n += (size_t)snprintf(path + n, PATH_BYTES - n, strchr(plain, *text) ? "%c" : "%%%02X",
                              (unsigned char)*text);
}

static int ask(asking *q, const char *method, const char *path, ps_error *err)
{
    fetch_reply_fini(&q->reply);
    int code = fetch(&q->target, method, path, TIMEOUT_MS, &q->reply, err);
    if (code == PS_ESYSTEM) {
        size_t n = strlen(err->message);
        snprintf(err->message + n, sizeof err->message - n, "; is a server there, with this --admin?");
    }
    return code == 0 && q->reply.status != 200 ? fail_status(q, method, path, err) : code;
}

static int read_target(asking *q, ps_error *err)
{
    int code = fetch_target_read(&q->target, q->args.address, err);
    if (code == 0 && q->target.path[0] && strcmp(q->target.path, "/metrics") != 0)
        code = fetch_fail(err, PS_EINVAL, q->args.address, "an address without a path is wanted");
    return code;
}

/* --- looking --- */

static size_t columns_of_terminal(void)
{
    struct winsize size = {0};
    if (!isatty(STDOUT_FILENO) || ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) < 0 || !size.ws_col)
        return NO_COLUMNS;
    return size.ws_col;
}

static double now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static int check_table(const asking *q, int code, ps_error *err)
{
    return code ? fetch_fail(err, code, q->args.address,
                             code == PS_ENOMEM ? ps_strerror(code) : "the reply is not what a poolsrv says")
                : 0;
}

static int list(asking *q, ps_error *err)
{
    int code = ask(q, "GET", "/queues", err);
    if (code)
        return code;
    if (q->args.json) {
        fwrite(q->reply.body, 1, q->reply.n, stdout);
        return 0;
    }
    return check_table(q, queue_table_list(stdout, q->reply.body), err);
}

static int peek(asking *q, ps_error *err)
{
    char path[PATH_BYTES];
    snprintf(path, sizeof path, "/queues/%s?n=%u", q->args.name, q->args.most);
    int code = ask(q, "GET", path, err);
    if (code)
        return code;
    if (q->args.json) {
        fwrite(q->reply.body, 1, q->reply.n, stdout);
        return 0;
    }
    return check_table(q, queue_table_messages(stdout, q->reply.body, now_s(), columns_of_terminal()), err);
}

/* --- changing --- */

/* Ask for a change and read how many messages it met. */
static int change(asking *q, const char *path, double *ret_count, ps_error *err)
{
    json_slice all;
    int code = ask(q, "POST", path, err);
    if (code)
        return code;
    *ret_count = json_read(q->reply.body, &all) ? json_read_number(all, "count", -1) : -1;
    return *ret_count < 0 ? check_table(q, PS_ESYSTEM, err) : 0;
}

/* Where a change has met nothing: there may be no such queue. */
static int check_queue(asking *q, ps_error *err)
{
    char path[PATH_BYTES];
    snprintf(path, sizeof path, "/queues/%s?n=1", q->args.name);
    return ask(q, "GET", path, err);
}

static void tell(const asking *q, double count, const char *what)
{
    if (q->args.json)
        printf("{\"count\":%.0f}\n", count);
    else
        printf("%.0f message%s %s\n", count, count == 1 ? "" : "s", what);
}

static int retry(asking *q, ps_error *err)
{
    char path[PATH_BYTES];
    double count = 0;
    snprintf(path, sizeof path, "/queues/%s/retry%s", q->args.name, q->args.id[0] ? "?id=" : "");
    add_encoded(path, q->args.id);
    int code = change(q, path, &count, err);
    if (code == 0 && count == 0)
        code = check_queue(q, err);
    if (code == 0 && count == 0 && q->args.id[0])
        return fail(err, PS_ESYSTEM, "no message that could be tried again has the id %s", q->args.id);
    if (code == 0)
        tell(q, count, "to be tried again");
    return code;
}

/* On a terminal ask the person. Returns: whether the answer is yes. */
static bool is_wanted(const asking *q)
{
    char answer[16];
    fprintf(stderr, "Throw away all messages in %s at %s that nobody works on? [y/N] ", q->args.name,
            q->args.address);
    return fgets(answer, sizeof answer, stdin) && (answer[0] == 'y' || answer[0] == 'Y');
}

static int purge(asking *q, ps_error *err)
{
    char path[PATH_BYTES];
    double count = 0;
    if (!q->args.yes && !isatty(STDIN_FILENO))
        return fail(err, PS_EINVAL, "queue: purge %s: --yes is wanted, as nobody can be asked", q->args.name);
    if (!q->args.yes && !is_wanted(q))
        return fail(err, PS_ESYSTEM, "nothing was done to %s", q->args.name);
    snprintf(path, sizeof path, "/queues/%s/purge", q->args.name);
    int code = change(q, path, &count, err);
    if (code == 0 && count == 0)
        code = check_queue(q, err);
    if (code == 0)
        tell(q, count, "thrown away");
    return code;
}

int queue_run(char **words, ps_error *err)
{
    static int (*const commands[])(asking * q, ps_error * err) = {
        [QUEUE_LS] = list, [QUEUE_PEEK] = peek, [QUEUE_RETRY] = retry, [QUEUE_PURGE] = purge};
    asking q = {0};
    setlocale(LC_CTYPE, ""); /* which characters the terminal can show */
    int code = queue_arguments_read(&q.args, words, err);
    if (code == 0)
        code = read_target(&q, err);
    if (code == 0)
        code = commands[q.args.command](&q, err);
    fetch_reply_fini(&q.reply);
    return code;
}
