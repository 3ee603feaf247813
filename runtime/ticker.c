#include "runtime/ticker.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "runtime/clock.h"

#define NS_PER_S UINT64_C(1000000000)

struct ticker {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed; /* the first time that is due, or who is called */
    timers set;             /* [lock] */
    const tick *called;     /* [lock] */
    bool quit;              /* [lock] */
};

/* With the lock held. */
static void wait_until(ticker *k, const timer *first)
{
    if (!first) {
        pthread_cond_wait(&k->changed, &k->lock);
        return;
    }
    struct timespec until = {.tv_sec = (time_t)(first->due_ns / NS_PER_S),
                             .tv_nsec = (long)(first->due_ns % NS_PER_S)};
    (void)pthread_cond_timedwait(&k->changed, &k->lock, &until);
}

/* With the lock held; not while it is called. */
static void call(ticker *k, tick *t)
{
    k->called = t;
    pthread_mutex_unlock(&k->lock);
    t->call(t->user);
    pthread_mutex_lock(&k->lock);
    k->called = NULL;
    pthread_cond_broadcast(&k->changed);
}

static void *ticker_main(void *arg)
{
    ticker *k = arg;
    pthread_setname_np(pthread_self(), "poolsrv-tick");
    pthread_mutex_lock(&k->lock);
    while (!k->quit) {
        timer *first = timers_first(&k->set);
        if (first && first->due_ns <= clock_now_ns()) {
            timers_remove(&k->set, first);
            call(k, (tick *)first);
        } else {
            wait_until(k, first);
        }
    }
    pthread_mutex_unlock(&k->lock);
    return NULL;
}

int ticker_new(ticker **ret_ticker)
{
    ticker *k = calloc(1, sizeof(*k));
    if (!k)
        return -ENOMEM;
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&k->lock, NULL);
    pthread_cond_init(&k->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    int err = pthread_create(&k->thread, NULL, ticker_main, k);
    if (err) {
        pthread_cond_destroy(&k->changed);
        pthread_mutex_destroy(&k->lock);
        free(k);
        return -err;
    }
    *ret_ticker = k;
    return 0;
}

void ticker_free(ticker *k)
{
    if (!k)
        return;
    pthread_mutex_lock(&k->lock);
    k->quit = true;
    pthread_cond_broadcast(&k->changed);
    pthread_mutex_unlock(&k->lock);
    pthread_join(k->thread, NULL);
    while (timers_first(&k->set))
        timers_remove(&k->set, timers_first(&k->set));
    timers_fini(&k->set);
    pthread_cond_destroy(&k->changed);
    pthread_mutex_destroy(&k->lock);
    free(k);
}

static bool is_own(const ticker *k)
{
    return pthread_equal(pthread_self(), k->thread);
}

int ticker_set(ticker *k, tick *t, uint64_t due_ns)
{
    pthread_mutex_lock(&k->lock);
    timers_remove(&k->set, &t->timer);
    /* One that sets itself again each time could keep who clears it waiting for ever. */
    bool is_over = t->cleared && is_own(k);
    int err = is_over ? 0 : timers_add(&k->set, &t->timer, due_ns);
    if (timers_first(&k->set) == &t->timer)
        pthread_cond_broadcast(&k->changed);
    pthread_mutex_unlock(&k->lock);
    return err;
}

void ticker_clear(ticker *k, tick *t)
{
    pthread_mutex_lock(&k->lock);
    timers_remove(&k->set, &t->timer);
    while (k->called == t && !is_own(k)) {
        t->cleared = true;
        pthread_cond_wait(&k->changed, &k->lock);
    }
    t->cleared = false;
    pthread_mutex_unlock(&k->lock);
}
