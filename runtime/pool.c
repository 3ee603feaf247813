#include "runtime/pool.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "runtime/heavy.h"
#include "runtime/worker.h"

static int make_threads(pool *p)
{
    int err = 0;
    for (unsigned i = 0; i < p->config.workers && err == 0; i++)
        err = worker_new(p, i, &p->workers[i]);
    for (unsigned i = 0; i < p->config.heavies && err == 0; i++)
        err = heavy_new(p, i, &p->heavies[i]);
    return err;
}

int pool_new(const pool_config *config, const runner *r, pool **ret_pool)
{
    pool *p = calloc(1, sizeof(*p));
    if (!p)
        return -ENOMEM;
    p->config = *config;
    p->runner = r;
    pthread_mutex_init(&p->lock, NULL);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&p->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    p->workers = calloc(config->workers, sizeof(worker *));
    p->heavies = calloc(config->heavies, sizeof(heavy *));
    size_t capacity =
        config->max_queue > config->max_connections ? config->max_queue : config->max_connections;
    p->injected = ring_new(capacity);
    int err = p->workers && p->heavies && p->injected ? make_threads(p) : -ENOMEM;
    if (err) {
        pool_free(p);
        return err;
    }
    *ret_pool = p;
    return 0;
}

void pool_free(pool *p)
{
    if (!p)
        return;
    for (unsigned i = 0; p->workers && i < p->config.workers; i++)
        worker_free(p->workers[i]);
    for (unsigned i = 0; p->heavies && i < p->config.heavies; i++)
        heavy_free(p->heavies[i]);
    free(p->workers);
    free(p->heavies);
    ring_free(p->injected);
    pthread_cond_destroy(&p->changed);
    pthread_mutex_destroy(&p->lock);
    free(p);
}

static int start_thread(void *(*body)(void *), void *arg)
{
    pthread_t thread;
    int err = pthread_create(&thread, NULL, body, arg);
    if (err == 0)
        pthread_detach(thread);
    return -err;
}

static int start_all(pool *p)
{
    int err = 0;
    for (unsigned i = 0; i < p->config.heavies && err == 0; i++) {
        atomic_fetch_add(&p->heavies_running, 1);
        err = start_thread(heavy_main, p->heavies[i]);
        if (err)
            atomic_fetch_sub(&p->heavies_running, 1);
    }
    for (unsigned i = 0; i < p->config.workers && err == 0; i++) {
        atomic_fetch_add(&p->workers_running, 1);
        err = start_thread(worker_main, p->workers[i]);
        if (err)
            atomic_fetch_sub(&p->workers_running, 1);
    }
    return err;
}

int pool_start(pool *p)
{
    unsigned all = p->config.workers + p->config.heavies;
    int err = start_all(p);
    pthread_mutex_lock(&p->lock);
    while (err == 0 && atomic_load(&p->ready) < all) {
        if (atomic_load(&p->workers_running) + atomic_load(&p->heavies_running) < all)
            err = -ENOMEM; /* one ended without a VM */
        else
            pthread_cond_wait(&p->changed, &p->lock);
    }
    pthread_mutex_unlock(&p->lock);
    if (err) {
        pool_set_stage(p, POOL_FORCED);
        pool_wait(p, UINT64_MAX);
    }
    return err;
}

void pool_thread_ready(pool *p, bool ok)
{
    pthread_mutex_lock(&p->lock);
    if (ok)
        atomic_fetch_add(&p->ready, 1);
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->lock);
}

void pool_thread_ended(pool *p, atomic_uint *running)
{
    /* The last thing a thread does with the pool is to let the lock go. */
    pthread_mutex_lock(&p->lock);
    atomic_fetch_sub(running, 1);
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->lock);
}

void pool_wake_all(pool *p)
{
    for (unsigned i = 0; i < p->config.workers; i++)
        worker_signal(p->workers[i]);
    for (unsigned i = 0; i < p->config.heavies; i++)
        heavy_signal(p->heavies[i]);
}

void pool_set_stage(pool *p, enum pool_stage stage)
{
    if (pool_stage(p) < stage)
        atomic_store_explicit(&p->stage, stage, memory_order_release);
    pool_wake_all(p);
}

/* Wait with the lock held until the count is 0. */
static bool wait_for_none(pool *p, atomic_uint *running, const struct timespec *until)
{
    while (atomic_load(running)) {
        if (!until)
            pthread_cond_wait(&p->changed, &p->lock);
        else if (pthread_cond_timedwait(&p->changed, &p->lock, until) == ETIMEDOUT)
            return atomic_load(running) == 0;
    }
    return true;
}

bool pool_wait(pool *p, uint64_t timeout_ns)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    bool limited = timeout_ns != UINT64_MAX;
    if (limited) {
        until.tv_sec += (time_t)(timeout_ns / 1000000000u);
        until.tv_nsec += (long)(timeout_ns % 1000000000u);
        if (until.tv_nsec >= 1000000000) {
            until.tv_sec++;
            until.tv_nsec -= 1000000000;
        }
    }
    pthread_mutex_lock(&p->lock);
    bool ended = wait_for_none(p, &p->workers_running, limited ? &until : NULL);
    if (ended) {
        /* No worker is left: what the heavy ones hold now has no connection. */
        atomic_store_explicit(&p->quit_heavies, true, memory_order_release);
        pool_wake_all(p);
        ended = wait_for_none(p, &p->heavies_running, limited ? &until : NULL);
    }
    pthread_mutex_unlock(&p->lock);
    return ended;
}

bool pool_admit(pool *p)
{
    if (atomic_fetch_add_explicit(&p->waiting, 1, memory_order_relaxed) < p->config.max_queue)
        return true;
    atomic_fetch_sub_explicit(&p->waiting, 1, memory_order_relaxed);
    return false;
}

void pool_wake_heavy(pool *p)
{
    for (unsigned i = 0; i < p->config.heavies; i++)
        if (heavy_signal(p->heavies[i]))
            return;
}

int pool_inject(pool *p, HttpTask *t)
{
    if (!pool_admit(p))
        return -EAGAIN;
    pthread_mutex_lock(&p->lock);
    int err = ring_push(p->injected, t);
    pthread_mutex_unlock(&p->lock);
    if (err)
        atomic_fetch_sub_explicit(&p->waiting, 1, memory_order_relaxed);
    else
        pool_wake_heavy(p);
    return err;
}

pool_depths pool_depths_of(const pool *p, unsigned worker_index)
{
    return worker_depths(p->workers[worker_index]);
}

pool_heavies pool_heavies_of(const pool *p)
{
    pool_heavies n = {.running = atomic_load_explicit(&p->heavies_running, memory_order_relaxed),
                      .max = p->config.heavies};
    for (unsigned i = 0; i < p->config.heavies; i++)
        n.busy += heavy_busy_since_ns(p->heavies[i]) != 0;
    return n;
}
