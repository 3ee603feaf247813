/* mq_driver: another process that uses the same queues (tests/tools/mq_driver.c). */
#ifndef TESTS_MQ_DRIVER_H
#define TESTS_MQ_DRIVER_H

#include <check.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* A suite uses what it needs. */
#pragma GCC diagnostic ignored "-Wunused-function"

typedef struct driver {
    pid_t pid;
    FILE *to, *from;
    char line[1024]; /* its last answer */
} driver;

/* With these arguments behind its name. */
static void driver_start(driver *d, char *const arguments[])
{
    int to[2], from[2];
    posix_spawn_file_actions_t actions;
    ck_assert_int_eq(pipe2(to, O_CLOEXEC), 0);
    ck_assert_int_eq(pipe2(from, O_CLOEXEC), 0);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, to[0], STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, from[1], STDOUT_FILENO);
    ck_assert_int_eq(posix_spawn(&d->pid, MQ_DRIVER, &actions, NULL, arguments, environ), 0);
    posix_spawn_file_actions_destroy(&actions);
    close(to[0]);
    close(from[1]);
    d->to = fdopen(to[1], "w");
    d->from = fdopen(from[0], "r");
}

/* Returns: false at the end. */
static bool driver_read(driver *d)
{
    if (!fgets(d->line, sizeof d->line, d->from))
        return false;
    d->line[strcspn(d->line, "\n")] = '\0';
    return true;
}

/* Tell it, and expect that answer. */
__attribute__((format(printf, 3, 4))) static void driver_tell(driver *d, const char *answer,
                                                              const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vfprintf(d->to, format, args);
    va_end(args);
    fputc('\n', d->to);
    fflush(d->to);
    ck_assert(driver_read(d));
    ck_assert_str_eq(d->line, answer);
}

/* Wait for its end. */
static void driver_end(driver *d)
{
    int status;
    fclose(d->to);
    fclose(d->from);
    ck_assert_int_eq(waitpid(d->pid, &status, 0), d->pid);
}

static void driver_kill(driver *d)
{
    kill(d->pid, SIGKILL);
}

#endif
