#include "api/program/crash.h"

#include <execinfo.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "api/poolsrv.h"

enum { FRAMES_MAX = 50, THREAD_NAME_BYTES = 16, REPORT_MOST_S = 5, STACK_BYTES = 128 * 1024 };

static const struct {
    int number;
    const char *name;
} crashes[] = {
    {SIGSEGV, "SIGSEGV, a bad address"},      {SIGBUS, "SIGBUS, an address without memory"},
    {SIGILL, "SIGILL, a bad instruction"},    {SIGFPE, "SIGFPE, a bad calculation"},
    {SIGABRT, "SIGABRT, abort() was called"},
};

enum { CRASHES = sizeof(crashes) / sizeof(crashes[0]) };

static atomic_flag reporting = ATOMIC_FLAG_INIT;
static _Thread_local volatile sig_atomic_t reports; /* this thread does */
static sigjmp_buf next_section;

/* --- writing, without stdio --- */

static void put(const char *text)
{
    ssize_t written = write(STDERR_FILENO, text, strlen(text));
    (void)written; /* nobody is left to be told */
}

static void put_hex(uintptr_t v)
{
    char digits[2 * sizeof(v) + 1], *p = digits + sizeof(digits) - 1;
    *p = '\0';
    do
        *--p = "0123456789abcdef"[v % 16];
    while (v /= 16);
    put("0x");
    put(p);
}

static void put_thread(void)
{
    char name[THREAD_NAME_BYTES + 1] = "";
    prctl(PR_GET_NAME, name);
    put("thread: ");
    put(name);
    put("\n");
}

static const char *name_of(int number)
{
    for (size_t i = 0; i < CRASHES; i++)
        if (crashes[i].number == number)
            return crashes[i].name;
    return "a signal";
}

/* --- the report --- */

/* Another thread's report ends the process. */
static _Noreturn void wait_for_end(void)
{
    for (;;)
        pause();
}

/* The report itself met what the crash has damaged: leave that section out. */
static void on_second_fault(int number)
{
    (void)number;
    if (!reports)
        wait_for_end();
    siglongjmp(next_section, 1);
}

/* The report hangs, on a lock that the crash left behind. */
static void on_time_over(int number)
{
    (void)number;
    _exit(128 + SIGABRT);
}

static void handle(int number, void (*handler)(int), int flags)
{
    struct sigaction action = {.sa_handler = handler, .sa_flags = flags};
    sigemptyset(&action.sa_mask);
    sigaction(number, &action, NULL);
}

static void guard(void (*handler)(int))
{
    for (size_t i = 0; i < CRASHES; i++)
        handle(crashes[i].number, handler, SA_NODEFER | SA_ONSTACK);
}

/* Whoever started the program may have blocked the signal. */
static void limit_time(void)
{
    sigset_t one;
    sigemptyset(&one);
    sigaddset(&one, SIGALRM);
    handle(SIGALRM, on_time_over, 0);
    pthread_sigmask(SIG_UNBLOCK, &one, NULL);
    alarm(REPORT_MOST_S);
}

static void put_frames(void)
{
    void *frames[FRAMES_MAX];
    int n = backtrace(frames, FRAMES_MAX);
    put("C:\n");
    backtrace_symbols_fd(frames, n, STDERR_FILENO);
}

static void put_lua(void)
{
    ps_describe_thread(STDERR_FILENO);
}

static void section(void (*write_it)(void))
{
    if (sigsetjmp(next_section, 1) == 0)
        write_it();
    else
        put("  (damaged)\n");
}

static void report(int number, const siginfo_t *info)
{
    put("\npoolsrv has crashed: ");
    put(name_of(number));
    if (info->si_code > 0 && number != SIGABRT) {
        put(" at ");
        put_hex((uintptr_t)info->si_addr);
    }
    put("\n");
    guard(on_second_fault);
    section(put_thread);
    section(put_lua);
    section(put_frames);
    put("end of the crash report\n");
}

static void on_crash(int number, siginfo_t *info, void *context)
{
    (void)context;
    if (atomic_flag_test_and_set(&reporting))
        wait_for_end();
    reports = true;
    limit_time();
    report(number, info);
    guard(SIG_DFL);
    /* What faulted does so again when this returns, and now ends the process with the right cause; abort()
     * sees to its end itself. What somebody has sent is sent again. */
    if (info->si_code <= 0)
        raise(number);
}

void crash_install(void)
{
    static char stack[STACK_BYTES];
    stack_t ours = {.ss_sp = stack, .ss_size = sizeof(stack)};
    void *frame;
    sigaltstack(&ours, NULL);
    backtrace(&frame, 1); /* loads libgcc, which takes memory and locks */
    struct sigaction action = {.sa_sigaction = on_crash, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < CRASHES; i++)
        sigaction(crashes[i].number, &action, NULL);
}
