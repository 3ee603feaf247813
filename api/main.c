/* The program: poolsrv [options] app.lua. All it does goes through the public header. */
#include "api/poolsrv.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "api/program/crash.h"
#include "api/program/profile.h"
#include "api/program/queue.h"
#include "api/program/supervise.h"
#include "api/program/top.h"

enum { EXIT_STOPPED = 0, EXIT_APP = 1, EXIT_USAGE = 2, EXIT_LISTEN = 3, EXIT_GRACE = 4 };

enum command { SERVE, ROUTES, CHECK, HELP, VERSION };

typedef struct arguments {
    enum command command;
    bool supervised; /* --supervise: by a parent of its own */
    const char *app;
    ps_options opt;
} arguments;

/* --- telling --- */

/* Problems of an app, bad values in its api.config{} among them, begin with their file and line, as editors
 * like them: nothing goes before. */
static int report(const ps_error *err)
{
    bool in_app = err->code == PS_EAPP || err->code == PS_EINVAL;
    const char *text = err->message[0] ? err->message : ps_strerror(err->code);
    fprintf(stderr, "%s%s\n", in_app ? "" : "poolsrv: ", text);
    switch (err->code) {
    case PS_ELISTEN:
        return EXIT_LISTEN;
    case PS_EGRACE:
        return EXIT_GRACE;
    default:
        return EXIT_APP;
    }
}

static void print_option(const ps_option_info *info)
{
    enum { COLUMN = 26 };
    int n = printf("  --%s %s", info->flag, info->argument ? info->argument : "");
    if (n >= COLUMN) {
        putchar('\n');
        n = 0;
    }
    printf("%*s%s", COLUMN - n, "", info->help);
    if (info->preset && info->kind != PS_BOOL)
        printf(" (%s)", info->preset);
    putchar('\n');
}

static int print_help(void)
{
    size_t n = 0;
    const ps_option_info *list = ps_option_list(&n);
    puts("usage: poolsrv [options] app.lua         serve the app\n"
         "       poolsrv routes [options] app.lua  print its routes and where they are defined\n"
         "       poolsrv check [options] app.lua   load it and print every problem found\n"
         "       poolsrv profile HOST:PORT         ask a running server's --admin address what its handlers "
         "read of\n"
         "                                         the context, and which --context suits that\n"
         "       poolsrv top [options] [HOST:PORT] watch a running server; poolsrv top --help says more\n"
         "       poolsrv queue ls|peek|retry|purge look into a running server's queues; poolsrv queue --help "
         "says more\n"
         "\n"
         "Options, as --name VALUE or --name=VALUE; --no-name turns a switch off:");
    for (size_t i = 0; i < n; i++)
        print_option(&list[i]);
    puts(
        "  --supervise             serve in a process of its own, which is started again if it crashes; no\n"
        "                          connection is refused meanwhile\n"
        "  --version               print the version\n"
        "  --help                  print this\n"
        "\n"
        "A variable POOLSRV_NAME sets an option too, and so does api.config{ name = value } in the app;\n"
        "the command line goes first, then the environment, then the app.\n"
        "Exit codes: 0 stopped, 1 the app has an error, 2 usage, 3 cannot listen, 4 the grace period ended.");
    return EXIT_STOPPED;
}

static int print_version(void)
{
    printf("poolsrv %s\n", ps_version());
    return EXIT_STOPPED;
}

/* --- the command line --- */

static int wrong(ps_error *err, const char *format, const char *word)
{
    err->code = PS_EINVAL;
    snprintf(err->message, sizeof err->message, format, word);
    return PS_EINVAL;
}

static const ps_option_info *find_option(const char *flag)
{
    size_t n = 0;
    const ps_option_info *list = ps_option_list(&n);
    for (size_t i = 0; i < n; i++) {
        if (strcmp(list[i].flag, flag) == 0)
            return &list[i];
    }
    return NULL;
}

/* The switch that "no-name" turns off, or NULL. */
static const ps_option_info *find_negated(const char *flag)
{
    const ps_option_info *info = strncmp(flag, "no-", 3) == 0 ? find_option(flag + 3) : NULL;
    return info && info->kind == PS_BOOL ? info : NULL;
}

/* Set "name" or "name=value", whose value may also be the argument that follows.
 * Returns: how many arguments were used, or PS_EINVAL. */
static int read_option(ps_options *opt, const char *text, const char *next, ps_error *err)
{
    char flag[64];
    size_t flag_bytes = strcspn(text, "=");
    if (flag_bytes >= sizeof flag)
        return wrong(err, "unknown option --%.100s", text);
    memcpy(flag, text, flag_bytes);
    flag[flag_bytes] = '\0';

    const char *value = text[flag_bytes] == '=' ? text + flag_bytes + 1 : NULL;
    const ps_option_info *info = find_option(flag);
    int used = 1;
    if (!value && info && info->kind == PS_BOOL) {
        value = "on";
    } else if (!value && find_negated(flag)) {
        memmove(flag, flag + 3, flag_bytes - 2);
        value = "off";
    } else if (!value && next && strncmp(next, "--", 2) != 0) {
        value = next;
        used = 2;
    }
    int code = ps_option_set(opt, flag, value, err);
    return code == 0 ? used : code;
}

/* Take a word that is no option: the command, in front of the app only, or the app. */
static int read_word(arguments *args, const char *word, ps_error *err)
{
    if (args->app)
        return wrong(err, "one app at a time: what is %.200s?", word);
    if (args->command == SERVE && strcmp(word, "routes") == 0)
        args->command = ROUTES;
    else if (args->command == SERVE && strcmp(word, "check") == 0)
        args->command = CHECK;
    else
        args->app = word;
    return 1;
}

static const char supervise_flag[] = "--supervise";

/* Returns: how many arguments were used, or PS_EINVAL. */
static int read_argument(arguments *args, const char *arg, const char *next, ps_error *err)
{
    if (strcmp(arg, "--help") == 0 || strcmp(arg, "-h") == 0)
        args->command = HELP;
    else if (strcmp(arg, "--version") == 0)
        args->command = VERSION;
    else if (strcmp(arg, supervise_flag) == 0)
        args->supervised = true;
    else if (strncmp(arg, "--", 2) == 0)
        return read_option(&args->opt, arg + 2, next, err);
    else if (arg[0] == '-')
        return wrong(err, "unknown option %.200s", arg);
    else
        return read_word(args, arg, err);
    return 1;
}

/* Behind "--" there are words only. */
static int read_arguments(arguments *args, char **argv, ps_error *err)
{
    bool words_only = false;
    while (*argv && args->command != HELP && args->command != VERSION) {
        int used = 1;
        if (!words_only && strcmp(*argv, "--") == 0)
            words_only = true;
        else
            used = words_only ? read_word(args, *argv, err) : read_argument(args, *argv, argv[1], err);
        if (used < 0)
            return used;
        argv += used;
    }
    if (args->command == HELP || args->command == VERSION)
        return 0;
    return args->app ? ps_options_from_environment(&args->opt, err)
                     : wrong(err, "which app? %s", "poolsrv --help shows the usage");
}

/* --- signals --- */

/* A signal handler reaches nothing but a global: the server that runs, and how often it was told to stop. */
static ps_server *_Atomic running;
static atomic_int stops;

/* The first signal lets requests finish, the second does not, a third ends the process. */
static void on_stop_signal(int number)
{
    int saved = errno;
    int before = atomic_fetch_add(&stops, 1);
    ps_server *srv = atomic_load(&running);
    if (before == 1)
        signal(number, SIG_DFL);
    if (srv)
        ps_server_stop(srv, before == 0 ? -1 : 0);
    errno = saved;
}

/* Not SIG_IGN, which the programs that an app starts would inherit. */
static void on_broken_pipe(int number)
{
    (void)number;
}

static void handle(int number, void (*handler)(int))
{
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    sigaction(number, &action, NULL);
}

/* --- the commands --- */

static size_t count_routes(const ps_server *srv)
{
    size_t n = 0;
    while (ps_server_route(srv, n, NULL))
        n++;
    return n;
}

typedef const char *named(const ps_server *srv, size_t i, const char **ret_where);

static size_t widest(const ps_server *srv, named *at, size_t width)
{
    const char *name;
    for (size_t i = 0; (name = at(srv, i, NULL)) != NULL; i++) {
        size_t n = strlen(name);
        width = n > width ? n : width;
    }
    return width;
}

static void print_all(const ps_server *srv, named *at, size_t width)
{
    const char *where = NULL, *name;
    for (size_t i = 0; (name = at(srv, i, &where)) != NULL; i++)
        printf("%-*s  %s\n", (int)width, name, where);
}

/* A line for each, and for what runs beside them: in a column of its own where it is defined. */
static void print_routes(const ps_server *srv)
{
    size_t width = widest(srv, ps_server_job, widest(srv, ps_server_route, 0));
    print_all(srv, ps_server_route, width);
    print_all(srv, ps_server_job, width);
}

static void on_ready(ps_server *srv, void *user)
{
    const ps_options *opt = ps_server_options(srv);
    const char *address;
    (void)user;
    print_version();
    for (size_t i = 0; (address = ps_server_address(srv, i)) != NULL; i++)
        printf("listening on %s\n", address);
    printf("threads: %d with sockets, %d heavy and %d at most; lane: %s; routes: %zu\n", opt->threads,
           opt->heavy_threads, opt->max_heavy, opt->lane, count_routes(srv));
    if (strcmp(opt->log_level, "debug") == 0)
        print_routes(srv);
    fflush(stdout);
}

static int serve(ps_server *srv, ps_error *err)
{
    int code = ps_server_listen(srv, NULL, 0, err);
    if (code < 0)
        return code;
    crash_install();
    ps_server_on_ready(srv, on_ready, NULL);
    atomic_store(&running, srv);
    handle(SIGTERM, on_stop_signal);
    handle(SIGINT, on_stop_signal);
    handle(SIGPIPE, on_broken_pipe);
    code = ps_server_run(srv, err);
    atomic_store(&running, NULL);
    return code;
}

/* --- problems of the app --- */

static void print_problem(const char *problem, int i, int n, void *user)
{
    (void)i;
    (void)n;
    (void)user;
    fprintf(stderr, "%s\n", problem);
}

/* The first one has been told, as it happened; the list makes sense only of several. */
static void print_several(const char *problem, int i, int n, void *user)
{
    const char *app = user;
    if (n > 1 && i == 0)
        fprintf(stderr, "%s: all %d problems:\n", app, n);
    if (n > 1)
        fprintf(stderr, "%s\n", problem);
}

static bool is_of_app(int code)
{
    return code == PS_EAPP || code == PS_EINVAL;
}

/* The app cannot be loaded, *err says why. Returns: the exit code. */
static int report_app(ps_server *srv, const arguments *args, ps_error *err)
{
    int status = report(err);
    if (is_of_app(err->code))
        ps_server_check_file(srv, args->app, print_several, (void *)(uintptr_t)args->app, NULL);
    return status;
}

/* Returns: the exit code. */
static int check(ps_server *srv, const arguments *args, ps_error *err)
{
    int n = ps_server_check_file(srv, args->app, print_problem, NULL, err);
    if (n < 0)
        return report(err);
    if (n == 0 && ps_server_load_file(srv, args->app, err) < 0) {
        report(err); /* it has changed meanwhile */
        n = 1;
    }
    if (n == 0)
        printf("%s: OK, routes: %zu\n", args->app, count_routes(srv));
    else
        printf("%s: %d problem%s\n", args->app, n, n == 1 ? "" : "s");
    return n == 0 ? EXIT_STOPPED : EXIT_APP;
}

/* Returns: the exit code. */
static int run_command(ps_server *srv, const arguments *args, ps_error *err)
{
    if (args->command == CHECK)
        return check(srv, args, err);
    int code = ps_server_load_file(srv, args->app, err);
    if (code < 0)
        return report_app(srv, args, err);
    if (args->command == ROUTES) {
        print_routes(srv);
        return EXIT_STOPPED;
    }
    code = serve(srv, err);
    return code < 0 ? report(err) : EXIT_STOPPED;
}

static int usage_error(const ps_error *err)
{
    fprintf(stderr, "poolsrv: %s\n", err->message);
    return EXIT_USAGE;
}

/* The subcommands that ask a running server and load no app. `words` is what follows the name, closed by
 * NULL; they return 0 or a PS_E... code. Those with options of their own have a help of their own. */
static const struct live {
    const char *name;
    int (*run)(char **words, ps_error *err);
    const char *help;
} live_commands[] = {
    {"profile", profile_run, NULL},
    {"queue", queue_run, queue_help},
    {"top", top_run, top_help},
};

static const struct live *find_live(const char *word)
{
    for (size_t i = 0; i < sizeof live_commands / sizeof *live_commands; i++) {
        if (strcmp(live_commands[i].name, word) == 0)
            return &live_commands[i];
    }
    return NULL;
}

static bool ask_for_help(char **words)
{
    while (*words && strcmp(*words, "--help") != 0 && strcmp(*words, "-h") != 0)
        words++;
    return *words != NULL;
}

static int run_live(const struct live *command, char **words)
{
    ps_error err = {0};
    if (ask_for_help(words))
        return command->help ? puts(command->help), EXIT_STOPPED : print_help();
    int code = command->run(words, &err);
    if (code == PS_EINVAL)
        return usage_error(&err);
    return code < 0 ? report(&err) : EXIT_STOPPED;
}

/* The child's command line: what stands behind "--" is no option. */
static char **without_supervise(char **argv)
{
    char **to = argv;
    bool words_only = false;
    for (char **from = argv; *from; from++) {
        words_only |= strcmp(*from, "--") == 0;
        if (words_only || strcmp(*from, supervise_flag) != 0)
            *to++ = *from;
    }
    *to = NULL;
    return argv;
}

int main(int argc, char **argv)
{
    const struct live *command = argc > 1 ? find_live(argv[1]) : NULL;
    if (command)
        return run_live(command, argv + 2);

    ps_error err = {0};
    arguments args = {.command = SERVE};
    ps_server *srv = NULL;
    ps_options_init(&args.opt);
    if (argc > 0 && read_arguments(&args, argv + 1, &err) < 0)
        return usage_error(&err);
    if (args.command == HELP)
        return print_help();
    if (args.command == VERSION)
        return print_version();

    if (args.supervised && args.command == SERVE)
        return supervise(without_supervise(argv));

    handle(SIGCHLD, SIG_DFL); /* where it was ignored, os.execute would not know how a program ended */
    int code = ps_server_new(&args.opt, &srv, &err);
    if (code == PS_EINVAL)
        return usage_error(&err);
    int status = code < 0 ? report(&err) : run_command(srv, &args, &err);
    ps_server_free(srv);
    return status;
}
