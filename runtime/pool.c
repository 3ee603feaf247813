#include "runtime/pool.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "runtime/canned.h"
#include "runtime/clock.h"
#include "runtime/exec.h"
#include "runtime/heavy.h"
#include "runtime/keeper.h"
#include "runtime/lane.h"
#include "runtime/watchdog.h"
#include "runtime/worker.h"

enum { RETRY_MAX_S = 60 };

/* Fill the next place. With the lock held, or before the start. */
static int make_heavy(pool *p)
{
    unsigned i = atomic_load_explicit(&p->heavies_made, memory_order_relaxed);
    int err = heavy_new(p, i, &p->heavies[i]);
    if (err == 0)
        atomic_store_explicit(&p->heavies_made, i + 1, memory_order_release);
    return err;
}

static int make_threads(pool *p)
{
    int err = 0;
    for (unsigned i = 0; i < p->config.workers && err == 0; i++)
        err = worker_new(p, i, &p->workers[i]);
    for (unsigned i = 0; i < p->config.heavies && err == 0; i++)
        err = make_heavy(p);
    if (err == 0 && p->config.max_heavies > p->config.heavies)
        err = keeper_new(p, &p->keeper);
    if (err == 0 && p->config.least_limit_ns)
        err = watchdog_new(p, &p->watchdog);
    return err;
}

int pool_new(const pool_config *config, const runner *r, pool **ret_pool)
{
    pool *p = calloc(1, sizeof(*p));
    if (!p)
        return -ENOMEM;
    p->config = *config;
    if (p->config.max_heavies < p->config.heavies)
        p->config.max_heavies = p->config.heavies;
    p->runner = r;
    pthread_mutex_init(&p->lock, NULL);
    lost_init(&p->lost);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&p->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    p->workers = calloc(config->workers, sizeof(worker *));
    p->heavies = calloc(p->config.max_heavies, sizeof(heavy *));
    p->heavy_up = calloc(p->config.max_heavies, sizeof(bool));
    size_t capacity =
        config->max_queue > config->max_connections ? config->max_queue : config->max_connections;
    p->injected = ring_new(capacity);
    p->jobs = ring_new(POOL_JOBS_MAX);
    int err = p->workers && p->heavies && p->heavy_up && p->injected && p->jobs ? make_threads(p) : -ENOMEM;
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
    for (unsigned i = 0; i < pool_heavies_made(p); i++)
        heavy_free(p->heavies[i]);
    keeper_free(p->keeper);
    watchdog_free(p->watchdog);
    free(p->workers);
    free(p->heavies);
    free(p->heavy_up);
    ring_free(p->injected);
    ring_free(p->jobs);
    lost_fini(&p->lost);
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

static int start_counted(atomic_uint *running, void *(*body)(void *), void *arg)
{
    atomic_fetch_add(running, 1);
    int err = start_thread(body, arg);
    if (err)
        atomic_fetch_sub(running, 1);
    return err;
}

int pool_start_keeper(pool *p, void *(*body)(void *), void *arg)
{
    return start_counted(&p->keepers_running, body, arg);
}

/* With the lock held. */
static int start_heavy(pool *p, unsigned i)
{
    int err = start_counted(&p->heavies_running, heavy_main, p->heavies[i]);
    p->heavy_up[i] = err == 0;
    return err;
}

static int start_all(pool *p)
{
    int err = 0;
    for (unsigned i = 0; i < p->config.heavies && err == 0; i++)
        err = start_heavy(p, i);
    for (unsigned i = 0; i < p->config.workers && err == 0; i++)
        err = start_counted(&p->workers_running, worker_main, p->workers[i]);
    return err;
}

int pool_start(pool *p)
{
    unsigned all = p->config.workers + p->config.heavies;
    pthread_mutex_lock(&p->lock);
    int err = start_all(p);
    while (err == 0 && atomic_load(&p->ready) < all) {
        if (atomic_load(&p->workers_running) + atomic_load(&p->heavies_running) < all)
            err = -ENOMEM; /* one ended without a VM */
        else
            pthread_cond_wait(&p->changed, &p->lock);
    }
    pthread_mutex_unlock(&p->lock);
    /* Last, so that no heavy worker of the keeper's is taken for one of those above. */
    if (err == 0 && p->keeper)
        err = pool_start_keeper(p, keeper_main, p->keeper);
    if (err == 0 && p->watchdog)
        err = pool_start_keeper(p, watchdog_main, p->watchdog);
    if (err) {
        pool_set_stage(p, POOL_FORCED);
        pool_wait(p, UINT64_MAX);
    }
    return err;
}

/* The first place whose thread does not run, or max_heavies. With the lock held. */
static unsigned free_place(const pool *p)
{
    unsigned i = 0;
    while (i < p->config.max_heavies && p->heavy_up[i])
        i++;
    return i;
}

int pool_grow(pool *p)
{
    pthread_mutex_lock(&p->lock);
    unsigned i = free_place(p);
    int err = i == p->config.max_heavies || atomic_load(&p->quit_heavies) ? -EAGAIN : 0;
    if (err == 0 && i == pool_heavies_made(p))
        err = make_heavy(p);
    if (err == 0)
        err = start_heavy(p, i);
    pthread_mutex_unlock(&p->lock);
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

void pool_heavy_ended(pool *p, unsigned index)
{
    pthread_mutex_lock(&p->lock);
    p->heavy_up[index] = false;
    atomic_fetch_sub(&p->heavies_running, 1);
    /* Who published a task just before found no heavy worker at rest, and no place for another. The fence
     * pairs with the one in pool_wake_heavy: either that saw the place, or the task is seen here. */
    atomic_thread_fence(memory_order_seq_cst);
    if (p->keeper && (atomic_load_explicit(&p->waiting, memory_order_relaxed) || ring_depth(p->jobs)))
        keeper_signal(p->keeper);
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->lock); /* the last thing that it does with the pool */
}

void pool_wake_all(pool *p)
{
    for (unsigned i = 0; i < p->config.workers; i++)
        worker_signal(p->workers[i]);
    for (unsigned i = 0; i < pool_heavies_made(p); i++)
        heavy_signal(p->heavies[i]);
    if (p->keeper)
        keeper_signal(p->keeper);
}

void pool_set_stage(pool *p, enum pool_stage stage)
{
    if (pool_stage(p) < stage)
        atomic_store_explicit(&p->stage, stage, memory_order_release);
    pool_wake_all(p);
}

/* By the clock, whatever woke the thread: what fakes the time of day for a program may get a condition's
 * clock wrong. */
static bool is_over(const struct timespec *until)
{
    return clock_now_ns() >= (uint64_t)until->tv_sec * 1000000000u + (uint64_t)until->tv_nsec;
}

/* Wait with the lock held until the count is 0. */
static bool wait_for_none(pool *p, atomic_uint *running, const struct timespec *until)
{
    while (atomic_load(running)) {
        if (!until)
            pthread_cond_wait(&p->changed, &p->lock);
        else if (pthread_cond_timedwait(&p->changed, &p->lock, until) == ETIMEDOUT && is_over(until))
            return atomic_load(running) == 0;
    }
    return true;
}

static void refuse_job(HttpTask *t)
{
    canned_busy(t, "The server is stopping");
    task_move(t, TASK_DONE);
    t->on_done(t);
}

/* No thread is left to run them. */
static void refuse_jobs(pool *p)
{
    HttpTask *t;
    while ((t = ring_pop_shared(p->jobs)))
        refuse_job(t);
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
    if (ended) {
        if (p->watchdog)
            watchdog_quit(p->watchdog);
        ended = wait_for_none(p, &p->keepers_running, limited ? &until : NULL);
    }
    pthread_mutex_unlock(&p->lock);
    if (ended)
        refuse_jobs(p);
    return ended;
}

/* --- the way to a heavy worker --- */

/* By how much a task delays those behind it. Tasks that block are shared by as many threads as there may be,
 * since more are started for them; those that compute by the ones there are. */
static uint64_t cost_of(const pool *p, const HttpTask *t)
{
    uint64_t ns = lane_mean_ns(t->lane);
    if (ns == UINT64_MAX)
        ns = atomic_load_explicit(&p->mean_ns, memory_order_relaxed);
    unsigned threads = lane_why(t->lane) == LANE_BLOCKED
                           ? p->config.max_heavies
                           : atomic_load_explicit(&p->heavies_running, memory_order_relaxed);
    return ns / (threads ? threads : 1);
}

static bool any_rests(const pool *p)
{
    for (unsigned i = 0; i < pool_heavies_made(p); i++)
        if (heavy_rests(p->heavies[i]))
            return true;
    return false;
}

bool pool_has_spare(const pool *p)
{
    unsigned awake = 0, resting = 0;
    for (unsigned i = 0; i < p->config.workers; i++)
        awake += !worker_rests(p->workers[i]);
    for (unsigned i = 0; i < pool_heavies_made(p); i++) {
        awake += heavy_busy_since_ns(p->heavies[i]) != 0;
        resting += heavy_rests(p->heavies[i]);
    }
    return resting && awake < p->config.cores;
}

static bool waits_too_long(const pool *p, uint64_t due_ns)
{
    return p->config.max_wait_ns && due_ns > p->config.max_wait_ns && !any_rests(p);
}

int pool_admit(pool *p, HttpTask *t, unsigned *ret_retry_s)
{
    t->cost_ns = cost_of(p, t);
    unsigned waiting = atomic_fetch_add_explicit(&p->waiting, 1, memory_order_relaxed);
    uint64_t due_ns = atomic_fetch_add_explicit(&p->due_ns, t->cost_ns, memory_order_relaxed);
    bool late = waits_too_long(p, due_ns);
    if (waiting < p->config.max_queue && !late)
        return 0;
    pool_taken(p);
    pool_ran(p, t->cost_ns);
    uint64_t retry_s = late ? (due_ns - p->config.max_wait_ns) / 1000000000u + 1 : 1;
    *ret_retry_s = retry_s < RETRY_MAX_S ? (unsigned)retry_s : RETRY_MAX_S;
    return -EAGAIN;
}

void pool_taken(pool *p)
{
    atomic_fetch_sub_explicit(&p->waiting, 1, memory_order_relaxed);
}

void pool_ran(pool *p, uint64_t cost_ns)
{
    atomic_fetch_sub_explicit(&p->due_ns, cost_ns, memory_order_relaxed);
}

/* If not, the keeper is left asleep: a pool that is full and busy would wake it for every task. */
static bool may_grow(const pool *p)
{
    return atomic_load_explicit(&p->heavies_running, memory_order_relaxed) < p->config.max_heavies;
}

void pool_wake_heavy(pool *p)
{
    /* Pairs with the fences in heavy_main and keeper_main: see queue/wake.h. */
    atomic_thread_fence(memory_order_seq_cst);
    for (unsigned i = 0; i < pool_heavies_made(p); i++)
        if (heavy_rests(p->heavies[i]) && heavy_signal(p->heavies[i]))
            return;
    if (p->keeper && may_grow(p))
        keeper_signal(p->keeper);
}

int pool_inject(pool *p, HttpTask *t)
{
    unsigned retry_s;
    int err = pool_admit(p, t, &retry_s);
    if (err)
        return err;
    pthread_mutex_lock(&p->lock);
    err = ring_push(p->injected, t);
    pthread_mutex_unlock(&p->lock);
    if (err) {
        pool_taken(p);
        pool_ran(p, t->cost_ns);
    } else {
        pool_wake_heavy(p);
    }
    return err;
}

/* --- jobs --- */

int pool_run_job(pool *p, HttpTask *t)
{
    pthread_mutex_lock(&p->lock);
    bool ended =
        atomic_load_explicit(&p->quit_heavies, memory_order_relaxed) && !atomic_load(&p->heavies_running);
    int err = ended ? 0 : ring_push(p->jobs, t);
    pthread_mutex_unlock(&p->lock);
    if (ended) {
        refuse_job(t);
    } else if (err == 0) {
        pool_wake_heavy(p);
    }
    return err;
}

/* Once no worker is left there are no requests to keep a thread for. */
static unsigned most_jobs(const pool *p)
{
    if (atomic_load_explicit(&p->quit_heavies, memory_order_relaxed))
        return UINT_MAX;
    unsigned running = atomic_load_explicit(&p->heavies_running, memory_order_relaxed);
    return running > 1 ? running - 1 : 1;
}

bool pool_has_job(const pool *p)
{
    return ring_depth(p->jobs) && atomic_load_explicit(&p->jobs_running, memory_order_relaxed) < most_jobs(p);
}

HttpTask *pool_take_job(pool *p)
{
    if (!ring_depth(p->jobs))
        return NULL;
    HttpTask *t = NULL;
    if (atomic_fetch_add(&p->jobs_running, 1) < most_jobs(p))
        t = ring_pop_shared(p->jobs);
    if (!t)
        atomic_fetch_sub(&p->jobs_running, 1);
    return t;
}

void pool_job_ran(pool *p)
{
    atomic_fetch_sub(&p->jobs_running, 1);
    if (ring_depth(p->jobs))
        pool_wake_heavy(p);
}

void pool_hear(pool *p, exec *x, bool hears)
{
    pthread_mutex_lock(&p->lock);
    x->hears = hears;
    pthread_mutex_unlock(&p->lock);
    if (hears)
        exec_seated(x);
}

void pool_each_inbox(pool *p, void (*each)(void *user, inbox *to), void *user)
{
    pthread_mutex_lock(&p->lock);
    for (unsigned i = 0; i < p->config.workers; i++)
        if (worker_exec(p->workers[i])->hears)
            each(user, &worker_exec(p->workers[i])->inbox);
    for (unsigned i = 0; i < pool_heavies_made(p); i++)
        if (heavy_exec(p->heavies[i])->hears)
            each(user, &heavy_exec(p->heavies[i])->inbox);
    pthread_mutex_unlock(&p->lock);
}

/* --- for the admin --- */

pool_depths pool_depths_of(const pool *p, unsigned worker_index)
{
    return worker_depths(p->workers[worker_index]);
}

uint64_t pool_ended(const pool *p, peer_late why)
{
    uint64_t n = 0;
    for (unsigned i = 0; i < p->config.workers; i++)
        n += worker_ended(p->workers[i], why);
    return n;
}

pool_heavies pool_heavies_of(const pool *p)
{
    pool_heavies n = {.running = atomic_load_explicit(&p->heavies_running, memory_order_relaxed),
                      .max = p->config.max_heavies};
    for (unsigned i = 0; i < pool_heavies_made(p); i++)
        n.busy += heavy_busy_since_ns(p->heavies[i]) != 0;
    return n;
}
