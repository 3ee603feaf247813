#include "api/program/top_feed.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

enum { TIMEOUT_MS = 3000, NS_PER_MS = 1000000, NS_PER_S = 1000000000 };

struct top_feed {
    char *address;
    uint64_t interval_ns;
    int fd; /* an eventfd */
    pthread_mutex_t lock;
    pthread_cond_t stopped;
    top_answer answer; /* [lock] */
    bool has_answer;   /* [lock] */
    bool quit;         /* [lock] */
    int users;         /* [lock] of the two threads: the last one frees */
};

uint64_t top_feed_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

/* --- life --- */

static void feed_free(top_feed *f)
{
    top_shot_free(f->answer.shot);
    pthread_cond_destroy(&f->stopped);
    pthread_mutex_destroy(&f->lock);
    if (f->fd >= 0)
        close(f->fd);
    free(f->address);
    free(f);
}

static void leave(top_feed *f)
{
    pthread_mutex_lock(&f->lock);
    bool last = --f->users == 0;
    pthread_mutex_unlock(&f->lock);
    if (last)
        feed_free(f);
}

static int feed_new(const char *address, int interval_ms, top_feed **ret)
{
    top_feed *f = calloc(1, sizeof(*f));
    if (!f)
        return PS_ENOMEM;
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&f->lock, NULL);
    pthread_cond_init(&f->stopped, &monotonic);
    pthread_condattr_destroy(&monotonic);
    f->interval_ns = (uint64_t)interval_ms * NS_PER_MS;
    f->address = strdup(address);
    f->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (!f->address || f->fd < 0) {
        int code = f->address ? PS_ESYSTEM : PS_ENOMEM;
        feed_free(f);
        return code;
    }
    *ret = f;
    return 0;
}

/* --- the thread --- */

static top_answer ask(const top_feed *f)
{
    top_answer a = {0};
    scrape *samples = NULL;
    a.code = scrape_get(f->address, TIMEOUT_MS, &samples, &a.why);
    a.at_ns = top_feed_now_ns();
    if (a.code == 0 && !(a.shot = top_shot_new(samples, a.at_ns))) {
        a.code = PS_ENOMEM;
        strcpy(a.why.message, ps_strerror(PS_ENOMEM));
    }
    return a;
}

/* [lock] */
static void hand_over(top_feed *f, top_answer a)
{
    const uint64_t one = 1;
    top_shot_free(f->answer.shot);
    f->answer = a;
    f->has_answer = true;
    while (write(f->fd, &one, sizeof one) < 0 && errno == EINTR)
        ;
}

/* [lock] Until then, or until it is to stop. */
static void wait_until(top_feed *f, uint64_t then_ns)
{
    struct timespec then = {.tv_sec = (time_t)(then_ns / NS_PER_S), .tv_nsec = (long)(then_ns % NS_PER_S)};
    while (!f->quit && pthread_cond_timedwait(&f->stopped, &f->lock, &then) != ETIMEDOUT)
        ;
}

static void *feed_main(void *arg)
{
    top_feed *f = arg;
    uint64_t next_ns = top_feed_now_ns();
    pthread_mutex_lock(&f->lock);
    while (!f->quit) {
        pthread_mutex_unlock(&f->lock);
        top_answer a = ask(f);
        pthread_mutex_lock(&f->lock);
        hand_over(f, a);
        next_ns += f->interval_ns;
        if (next_ns < a.at_ns)
            next_ns = a.at_ns;
        wait_until(f, next_ns);
    }
    pthread_mutex_unlock(&f->lock);
    leave(f);
    return NULL;
}

/* Signals are for the other thread. */
static int start_thread(top_feed *f)
{
    pthread_t thread;
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int err = pthread_create(&thread, NULL, feed_main, f);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (err == 0)
        pthread_detach(thread);
    return err ? PS_ESYSTEM : 0;
}

/* --- for the other one --- */

int top_feed_start(const char *address, int interval_ms, top_feed **ret_feed)
{
    top_feed *f;
    int code = feed_new(address, interval_ms, &f);
    if (code < 0)
        return code;
    f->users = 2;
    code = start_thread(f);
    if (code < 0)
        feed_free(f);
    else
        *ret_feed = f;
    return code;
}

void top_feed_stop(top_feed *f)
{
    if (!f)
        return;
    pthread_mutex_lock(&f->lock);
    f->quit = true;
    pthread_cond_signal(&f->stopped);
    pthread_mutex_unlock(&f->lock);
    leave(f);
}

int top_feed_fd(const top_feed *f)
{
    return f->fd;
}

bool top_feed_take(top_feed *f, top_answer *ret_answer)
{
    uint64_t count;
    pthread_mutex_lock(&f->lock);
    bool has = f->has_answer;
    if (has)
        *ret_answer = f->answer;
    f->answer = (top_answer){0};
    f->has_answer = false;
    while (read(f->fd, &count, sizeof count) < 0 && errno == EINTR)
        ;
    pthread_mutex_unlock(&f->lock);
    return has;
}
