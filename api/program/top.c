#include "api/program/top.h"

#include <errno.h>
#include <locale.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "api/program/top_arguments.h"
#include "api/program/top_feed.h"
#include "api/program/top_plain.h"
#include "api/program/top_screen.h"
#include "api/program/top_view.h"

enum { REDRAW_MS = 1000 }; /* ages grow, also while no answer comes */

typedef struct top {
    top_arguments args;
    top_model model;
    top_look look;
    top_feed *feed;
    bool quit;
} top;

const char top_help[] =
    "usage: poolsrv top [options] [HOST:PORT]  watch the server that has this address for --admin\n"
    "\n"
    "Without an address it is that of the variable POOLSRV_ADMIN, or " USUAL_ADDRESS ".\n"
    "On a terminal: a page, refreshed each second; ? shows its keys. Elsewhere: blocks of text.\n"
    "\n"
    "  --interval SECONDS      between two looks (1)\n"
    "  -n, --count N           print N blocks of text and end, also on a terminal\n"
    "  --once                  the same as -n 1\n"
    "  --sort COLUMN           requests, p99, errors, lane or name (requests)\n"
    "  --help                  print this\n"
    "\n"
    "Exit codes: 0 ended by the user or the count, 1 the server cannot be reached, 2 usage.";

static int fail(ps_error *err, int code, const char *what, const char *why)
{
    err->code = code;
    snprintf(err->message, sizeof err->message, "%s%.900s", what, why);
    return code;
}

static double wall_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* --- answers --- */

/* Take the answer into the model. Returns: whether there was one. */
static bool take_answer(top *t)
{
    top_answer a;
    if (!top_feed_take(t->feed, &a))
        return false;
    if (a.code == 0 && top_model_answer(&t->model, a.shot) < 0)
        a.why = (ps_error){PS_ENOMEM, "out of memory"};
    else if (a.code == 0)
        return true;
    top_model_lost(&t->model, a.why.message, a.at_ns);
    return true;
}

/* A server that is not there at the start is a wrong address more often than a server that will come.
 * Returns: 0, or the answer's code. */
static int take_first(top *t, ps_error *err)
{
    struct pollfd feed = {.fd = top_feed_fd(t->feed), .events = POLLIN};
    top_answer a;
    while (!top_feed_take(t->feed, &a))
        poll(&feed, 1, -1);
    if (a.code == 0)
        a.code = top_model_answer(&t->model, a.shot);
    if (a.code == PS_ESYSTEM)
        return fail(err, a.code, "no server to watch at ", a.why.message);
    return a.code ? fail(err, a.code, "", a.why.message) : 0;
}

/* --- as text --- */

/* The first answer has nothing to be compared with, so the second makes the first block. */
static int run_plain(top *t, ps_error *err)
{
    struct pollfd feed = {.fd = top_feed_fd(t->feed), .events = POLLIN};
    for (long printed = 0; !t->args.count || printed < t->args.count;) {
        poll(&feed, 1, -1);
        if (!take_answer(t))
            continue;
        top_plain_write(stdout, &t->model, wall_s());
        if (fflush(stdout) != 0 || ferror(stdout))
            return fail(err, PS_ESYSTEM, "cannot write: ", strerror(errno));
        printed++;
    }
    return top_model_state(&t->model) == TOP_UNREACHABLE ? fail(err, PS_ESYSTEM, "", t->model.trouble) : 0;
}

/* --- on a terminal --- */

static void draw(top *t)
{
    top_page page;
    top_screen_size(&t->look.width, &t->look.height);
    t->look.now_ns = top_feed_now_ns();
    t->look.wall_s = wall_s();
    if (top_view_page(&t->model, &t->look, &page) < 0)
        return; /* short of memory: the page from before stays */
    top_screen_show(&page);
    top_page_fini(&page);
}

/* No further than the last row, also when several keys come between two pages. */
static void scroll_by(top *t, size_t up, size_t down)
{
    size_t rows = top_table_rows(&t->model, t->look.table);
    size_t most = rows > t->look.fit ? rows - t->look.fit : 0, at = t->look.scroll;
    at = at > up ? at - up + down : down;
    t->look.scroll = at < most ? at : most;
}

static void sort_by(top *t, top_sort sort)
{
    top_model_sort(&t->model, sort, false);
    t->look.scroll = 0;
}

/* Returns: whether it is a key that moves. */
static bool move_by(top *t, int key)
{
    size_t page = t->look.fit > 1 ? t->look.fit - 1 : 1, all = top_table_rows(&t->model, t->look.table);
    switch (key) {
    case TOP_KEY_UP:
        scroll_by(t, 1, 0);
        return true;
    case TOP_KEY_DOWN:
        scroll_by(t, 0, 1);
        return true;
    case TOP_KEY_PAGE_UP:
        scroll_by(t, page, 0);
        return true;
    case TOP_KEY_PAGE_DOWN:
        scroll_by(t, 0, page);
        return true;
    case TOP_KEY_HOME:
        scroll_by(t, all, 0);
        return true;
    case TOP_KEY_END:
        scroll_by(t, 0, all);
        return true;
    default:
        return false;
    }
}

static void press(top *t, int key)
{
    if (key == 'q' || key == 'Q') {
        t->quit = true;
    } else if (t->look.help) {
        t->look.help = false;
    } else if (key == '?' || key == 'h') {
        t->look.help = true;
    } else if (key == 'w') {
        t->look.table = t->look.table == TOP_ROUTES ? TOP_WORKERS : TOP_ROUTES;
        t->look.scroll = 0;
    } else if (key == 'R') {
        top_model_sort(&t->model, t->model.sort, !t->model.reverse);
    } else if (!move_by(t, key)) {
#define X(name, letter, word, first)                                                                         \
    if (key == letter[0])                                                                                    \
        sort_by(t, name);
        TOP_SORT_MAP(X)
#undef X
    }
}

/* Stop as the shell's user wants it, with the terminal as it was, and go on from here. */
static void suspend(void)
{
    sigset_t stop;
    sigemptyset(&stop);
    sigaddset(&stop, SIGTSTP);
    top_screen_close();
    raise(SIGTSTP);
    pthread_sigmask(SIG_UNBLOCK, &stop, NULL);
    pthread_sigmask(SIG_BLOCK, &stop, NULL);
    top_screen_resume();
}

static void on_signal(top *t, uint32_t number)
{
    switch (number) {
    case SIGTSTP:
        suspend();
        break;
    case SIGCONT:
        top_screen_resume();
        break;
    case SIGWINCH:
        top_screen_resize();
        break;
    default:
        t->quit = true;
    }
}

static void read_signals(top *t, int fd)
{
    struct signalfd_siginfo info;
    while (!t->quit && read(fd, &info, sizeof info) == sizeof info)
        on_signal(t, info.ssi_signo);
}

static void read_keys(top *t)
{
    int key;
    while (!t->quit && (key = top_screen_key()) != TOP_KEY_NONE)
        press(t, key);
}

/* The signals come as something to read, so that none finds the terminal half drawn. Returns: the descriptor,
 * or -1. */
static int catch_signals(void)
{
    static const int caught[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP, SIGCONT, SIGWINCH};
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < sizeof caught / sizeof *caught; i++)
        sigaddset(&set, caught[i]);
    int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (fd >= 0)
        pthread_sigmask(SIG_BLOCK, &set, NULL);
    return fd;
}

/* Until it is to end. */
static void watch(top *t, int signals)
{
    enum { KEYS, SIGNALS, ANSWERS, SOURCES };
    struct pollfd from[SOURCES] = {
        [KEYS] = {.fd = STDIN_FILENO, .events = POLLIN},
        [SIGNALS] = {.fd = signals, .events = POLLIN},
        [ANSWERS] = {.fd = top_feed_fd(t->feed), .events = POLLIN},
    };
    while (!t->quit) {
        draw(t);
        if (poll(from, SOURCES, REDRAW_MS) < 0)
            continue;
        read_signals(t, signals);
        if (from[KEYS].revents & (POLLHUP | POLLERR | POLLNVAL))
            t->quit = true;
        if (from[KEYS].revents & POLLIN)
            read_keys(t);
        take_answer(t);
    }
}

/* Returns: whether the terminal can do it. */
static bool run_screen(top *t)
{
    int signals = top_screen_open() ? catch_signals() : -1;
    if (signals >= 0)
        watch(t, signals);
    top_screen_close();
    return signals >= 0;
}

/* --- either --- */

static bool has_terminal(void)
{
    return isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
}

static int run(top *t, ps_error *err)
{
    int code = take_first(t, err);
    if (code)
        return code;
    if (!t->args.count && has_terminal() && run_screen(t))
        return 0;
    return run_plain(t, err);
}

int top_run(char **words, ps_error *err)
{
    top t = {0};
    setlocale(LC_CTYPE, ""); /* which characters the terminal can show */
    int code = top_arguments_read(&t.args, words, err);
    if (code)
        return code;
    t.look.address = t.args.address;
    top_model_init(&t.model, t.args.sort, top_feed_now_ns());
    code = top_feed_start(t.args.address, t.args.interval_ms, &t.feed);
    code = code ? fail(err, code, "cannot start: ", ps_strerror(code)) : run(&t, err);
    top_feed_stop(t.feed);
    top_model_fini(&t.model);
    return code;
}
