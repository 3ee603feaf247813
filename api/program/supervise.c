#include "api/program/supervise.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    FIRST_FD = 3, /* sd_listen_fds(3) */
    KEPT_MAX = 1100,
    FDS_A_MESSAGE = 253,
    NAME_BYTES = 256, /* as systemd has it */
    EXIT_CANNOT = 1,
    SIGNALLED = 128, /* as shells report one that a signal has ended */
    YOUNG_MS = 2000,
    PAUSE_LEAST_MS = 100,
    PAUSE_MOST_MS = 5000,
};

typedef struct kept {
    int fd;
    char name[NAME_BYTES];
} kept;

typedef struct supervisor {
    char **argv;
    sigset_t before; /* the signal mask of the caller, and so of the child */
    int signals;     /* a signalfd */
    int notices;     /* what NOTIFY_SOCKET names */
    char notice_name[64];
    kept *kept;
    size_t kept_count;
    pid_t child;
    uint64_t started_ms;
    bool child_ready; /* this one */
    bool ever_ready;
    bool stopping;
    int pause_ms;      /* before the next start */
    uint64_t start_ms; /* when that is, while there is no child */
} supervisor;

static uint64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static int cannot(const char *what)
{
    fprintf(stderr, "poolsrv: --supervise: cannot %s: %s\n", what, strerror(errno));
    return EXIT_CANNOT;
}

/* --- what the child says --- */

/* A name in the abstract namespace, which the kernel chooses. */
static int open_notices(supervisor *s)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    socklen_t bytes = sizeof(address);
    s->notices = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (s->notices < 0 ||
        bind(s->notices, (struct sockaddr *)&address, offsetof(struct sockaddr_un, sun_path)) < 0 ||
        getsockname(s->notices, (struct sockaddr *)&address, &bytes) < 0)
        return -errno;
    int one = 1;
    if (setsockopt(s->notices, SOL_SOCKET, SO_PASSCRED, &one, sizeof(one)) < 0)
        return -errno;
    size_t n = bytes - offsetof(struct sockaddr_un, sun_path) - 1; /* behind the NUL */
    if (n >= sizeof(s->notice_name) - 1)
        return -ENAMETOOLONG;
    s->notice_name[0] = '@';
    memcpy(s->notice_name + 1, address.sun_path + 1, n);
    return 0;
}

static void keep(supervisor *s, int fd, const char *name, size_t n)
{
    if (s->kept_count == KEPT_MAX || n >= NAME_BYTES) {
        close(fd);
        return;
    }
    kept *k = &s->kept[s->kept_count++];
    k->fd = fd;
    memcpy(k->name, name, n);
    k->name[n] = '\0';
}

/* What a service manager has handed down (sd_listen_fds(3)) is for each child, in front of what the first one
 * has kept. */
static void adopt(supervisor *s)
{
    const char *number = getenv("LISTEN_FDS"), *pid = getenv("LISTEN_PID"), *names = getenv("LISTEN_FDNAMES");
    long n = number && pid && strtol(pid, NULL, 10) == (long)getpid() ? strtol(number, NULL, 10) : 0;
    for (long i = 0; i < n && i < KEPT_MAX; i++) {
        size_t bytes = names ? strcspn(names, ":") : 0;
        keep(s, FIRST_FD + (int)i, names ? names : "", bytes);
        names = names && names[bytes] ? names + bytes + 1 : NULL;
    }
    unsetenv("LISTEN_FDS"); /* or a child would take those of another process for its own */
    unsetenv("LISTEN_FDNAMES");
}

typedef union control {
    struct cmsghdr head;
    char room[CMSG_SPACE(sizeof(int) * FDS_A_MESSAGE) + CMSG_SPACE(sizeof(struct ucred))];
} control;

/* Take what a message brought: descriptors that are to be kept, or not. */
static void take_fds(supervisor *s, struct msghdr *message, bool wanted, const char *name, size_t name_bytes)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < n; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
            if (wanted)
                keep(s, fd, name, name_bytes);
            else
                close(fd);
        }
    }
}

static pid_t sender(struct msghdr *message)
{
    struct ucred who = {0};
    for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c))
        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_CREDENTIALS)
            memcpy(&who, CMSG_DATA(c), sizeof(who));
    return who.pid;
}

/* Any process may write to the socket: only the child is believed. */
static void read_notice(supervisor *s)
{
    char text[256];
    control room;
    struct iovec into = {text, sizeof(text) - 1};
    struct msghdr message = {
        .msg_iov = &into, .msg_iovlen = 1, .msg_control = room.room, .msg_controllen = sizeof(room.room)};
    ssize_t n = recvmsg(s->notices, &message, MSG_CMSG_CLOEXEC);
    if (n < 0)
        return;
    text[n] = '\0';
    bool is_child = s->child > 0 && sender(&message) == s->child;
    const char *name = strstr(text, "FDNAME=");
    /* What was kept for this child came from an earlier one: it says the same again. */
    bool wanted = is_child && strncmp(text, "FDSTORE=1\n", 10) == 0 && name && !s->ever_ready;
    name = name ? name + 7 : "";
    take_fds(s, &message, wanted, name, strcspn(name, "\n"));
    if (is_child && strcmp(text, "READY=1") == 0)
        s->child_ready = s->ever_ready = true;
}

/* --- the child --- */

/* Put what is kept where sd_listen_fds(3) has it, by way of numbers beyond; what stays of those ends at the
 * exec. */
static int place_kept(const supervisor *s)
{
    int beyond = FIRST_FD + (int)s->kept_count;
    for (size_t i = 0; i < s->kept_count; i++)
        if ((s->kept[i].fd = fcntl(s->kept[i].fd, F_DUPFD_CLOEXEC, beyond)) < 0)
            return -1;
    for (size_t i = 0; i < s->kept_count; i++)
        if (dup2(s->kept[i].fd, FIRST_FD + (int)i) < 0)
            return -1;
    return 0;
}

static int set_environment(const supervisor *s)
{
    char number[24];
    char *names = calloc(s->kept_count + 1, NAME_BYTES + 1), *p = names;
    if (!names || setenv("NOTIFY_SOCKET", s->notice_name, 1) < 0)
        return -1;
    for (size_t i = 0; i < s->kept_count; i++)
        p += sprintf(p, "%s%s", i ? ":" : "", s->kept[i].name);
    if (s->kept_count) {
        snprintf(number, sizeof(number), "%zu", s->kept_count);
        if (setenv("LISTEN_FDS", number, 1) < 0 || setenv("LISTEN_FDNAMES", names, 1) < 0)
            return -1;
    }
    free(names);
    snprintf(number, sizeof(number), "%d", (int)getpid());
    return setenv("LISTEN_PID", number, 1);
}

/* Never returns. The program is loaded anew, so that no two children have their memory at the same addresses.
 */
static _Noreturn void be_child(supervisor *s, pid_t parent)
{
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent)
        _exit(SIGNALLED + SIGTERM);
    close(s->signals);
    close(s->notices);
    if (set_environment(s) < 0 || place_kept(s) < 0)
        _exit(cannot("hand the sockets on"));
    sigprocmask(SIG_SETMASK, &s->before, NULL);
    execv("/proc/self/exe", s->argv);
    _exit(cannot("start the server"));
}

static int start_child(supervisor *s)
{
    pid_t parent = getpid();
    s->child_ready = false;
    s->started_ms = now_ms();
    s->child = fork();
    if (s->child == 0)
        be_child(s, parent);
    return s->child < 0 ? -errno : 0;
}

static void tell_end(const supervisor *s, int status)
{
    if (WIFSIGNALED(status))
        fprintf(stderr, "poolsrv: the server (process %d) was ended by signal %d, %s", (int)s->child,
                WTERMSIG(status), strsignal(WTERMSIG(status)));
    else
        fprintf(stderr, "poolsrv: the server (process %d) ended with status %d", (int)s->child,
                WEXITSTATUS(status));
    if (s->pause_ms)
        fprintf(stderr, "; it is started again in %d ms\n", s->pause_ms);
    else
        fprintf(stderr, "; it is started again\n");
}

static int longer(int pause_ms)
{
    int twice = pause_ms ? pause_ms * 2 : PAUSE_LEAST_MS;
    return twice < PAUSE_MOST_MS ? twice : PAUSE_MOST_MS;
}

/* Start one in the place of another. Where the system has no room for a process, try again later. */
static void start_again(supervisor *s)
{
    int err = start_child(s);
    if (err == 0)
        return;
    s->child = 0;
    s->pause_ms = longer(s->pause_ms);
    s->start_ms = now_ms() + (uint64_t)s->pause_ms;
    fprintf(stderr, "poolsrv: the server cannot be started: %s; it is tried again in %d ms\n", strerror(-err),
            s->pause_ms);
}

/* Returns: whether there is to be another child; if not, *ret_status is the program's. */
static bool child_ended(supervisor *s, int status, int *ret_status)
{
    *ret_status = WIFSIGNALED(status) ? SIGNALLED + WTERMSIG(status) : WEXITSTATUS(status);
    if (s->stopping || !s->ever_ready || status == 0)
        return false;
    bool young = now_ms() - s->started_ms < YOUNG_MS;
    /* The first time, at once; where it dies again before it has lived, later and later. */
    s->pause_ms = young ? longer(s->pause_ms) : 0;
    s->start_ms = now_ms() + (uint64_t)s->pause_ms;
    tell_end(s, status);
    s->child = 0;
    return true;
}

/* --- signals --- */

/* A terminal sends its SIGINT to the child, too. */
static void pass_on(supervisor *s, const struct signalfd_siginfo *info)
{
    s->stopping = true;
    if (s->child > 0 && info->ssi_code != SI_KERNEL)
        kill(s->child, (int)info->ssi_signo);
}

/* Returns: whether a child may have ended. */
static bool read_signals(supervisor *s)
{
    struct signalfd_siginfo info;
    bool ended = false;
    while (read(s->signals, &info, sizeof(info)) == sizeof(info)) {
        if (info.ssi_signo == SIGCHLD)
            ended = true;
        else
            pass_on(s, &info);
    }
    return ended;
}

/* Where whoever started this ignores SIGCHLD, the end of a child would be no signal. */
static int open_signals(supervisor *s)
{
    sigset_t all;
    signal(SIGCHLD, SIG_DFL);
    sigemptyset(&all);
    sigaddset(&all, SIGTERM);
    sigaddset(&all, SIGINT);
    sigaddset(&all, SIGCHLD);
    sigprocmask(SIG_BLOCK, &all, &s->before);
    s->signals = signalfd(-1, &all, SFD_NONBLOCK | SFD_CLOEXEC);
    return s->signals < 0 ? -errno : 0;
}

/* --- the run --- */

/* The ends of all children: process 1 of a container gets orphans too. Returns: whether the server has ended;
 * then *ret_status says how. */
static bool reap(const supervisor *s, int *ret_status)
{
    bool ended = false;
    int status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        if (pid != s->child)
            continue;
        *ret_status = status;
        ended = true;
    }
    return ended;
}

/* How long poll may wait. */
static int wait_ms(const supervisor *s)
{
    uint64_t now = now_ms();
    if (s->child > 0)
        return -1;
    return s->start_ms > now ? (int)(s->start_ms - now) : 0;
}

/* Wait for the child's end, or for the end of a pause. Returns: whether to go on. */
static bool turn(supervisor *s, int *ret_status)
{
    int status = 0;
    struct pollfd fds[] = {{.fd = s->signals, .events = POLLIN}, {.fd = s->notices, .events = POLLIN}};
    poll(fds, 2, wait_ms(s));
    if (fds[1].revents)
        read_notice(s);
    bool ended = fds[0].revents && read_signals(s) && reap(s, &status);
    if (ended) {
        while (poll(&fds[1], 1, 0) > 0 && fds[1].revents) /* its last words */
            read_notice(s);
        if (!child_ended(s, status, ret_status))
            return false;
    }
    if (s->child > 0)
        return true;
    *ret_status = SIGNALLED + SIGTERM;
    if (!s->stopping && now_ms() >= s->start_ms)
        start_again(s);
    return !s->stopping;
}

int supervise(char **argv)
{
    int status = EXIT_CANNOT;
    supervisor s = {.argv = argv, .signals = -1, .notices = -1, .kept = calloc(KEPT_MAX, sizeof(kept))};
    if (s.kept)
        adopt(&s);
    if (!s.kept || open_signals(&s) < 0 || open_notices(&s) < 0 || start_child(&s) < 0)
        status = cannot("start");
    else
        while (turn(&s, &status))
            ;
    for (size_t i = 0; i < s.kept_count; i++)
        close(s.kept[i].fd);
    free(s.kept);
    close(s.signals);
    close(s.notices);
    return status;
}
