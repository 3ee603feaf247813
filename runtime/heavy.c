#include "runtime/heavy.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runtime/altstack.h"
#include "runtime/canned.h"
#include "runtime/exec.h"
#include "runtime/lane.h"
#include "runtime/watchdog.h"
#include "runtime/worker.h"

enum {
    UNSIGNALLED_NS = 100000, /* how long a finished task may wait for others to finish */
    REQUESTS_BEFORE_JOB = 8, /* that are taken in a row while a job waits */
    RETRY_NS = 1000000000    /* after a thread that got no VM */
};

struct heavy {
    exec exec;
    pool *pool;
    unsigned index;
    ring **done;             /* one a worker: [owner] pushes, that worker pops */
    atomic_int thread_id;    /* [owner writes, any reads] the kernel's; 0: its thread does not run */
    unsigned next;           /* the worker whose ring is looked at first */
    unsigned in_a_row;       /* requests taken since the last job */
    worker *unsignalled;     /* has tasks on its done ring that it was not woken for */
    uint64_t unsignalled_ns; /* since when */
    uint64_t cost_ns;        /* that pool_ran has to be told when the first run of a task has ended; or 0 */
    bool job;                /* or it is a job, and pool_job_ran has to be told */
    uint64_t idle_ns;        /* since when it had nothing to do */
};

/* --- tasks --- */

static HttpTask *take_request(heavy *h)
{
    pool *p = h->pool;
    HttpTask *t = ring_pop_shared(p->injected);
    for (unsigned i = 0; !t && i < p->config.workers; i++) {
        unsigned from = h->next++ % p->config.workers;
        t = ring_pop_shared(worker_shared_ring(p->workers[from]));
    }
    if (t)
        pool_taken(p);
    return t;
}

static HttpTask *take_job(heavy *h)
{
    h->in_a_row = 0;
    return pool_take_job(h->pool);
}

/* Requests first. */
static HttpTask *take(heavy *h)
{
    HttpTask *t = NULL;
    if (h->in_a_row++ >= REQUESTS_BEFORE_JOB)
        t = take_job(h);
    if (!t)
        t = take_request(h);
    return t ? t : take_job(h);
}

static bool has_work(const heavy *h)
{
    const pool *p = h->pool;
    if (ring_depth(p->injected) || pool_has_job(p))
        return true;
    for (unsigned i = 0; i < p->config.workers; i++)
        if (ring_depth(worker_shared_ring(p->workers[i])))
            return true;
    return false;
}

static void signal_owner(heavy *h)
{
    if (h->unsignalled)
        worker_signal(h->unsignalled);
    h->unsignalled = NULL;
}

/* How long tasks hold heavy workers: what is expected of those of which nothing is known. */
static void learn_mean(pool *p, uint64_t ns)
{
    uint64_t mean = atomic_load_explicit(&p->mean_ns, memory_order_relaxed);
    atomic_store_explicit(&p->mean_ns, mean ? mean - mean / 8 + ns / 8 : ns, memory_order_relaxed);
}

/* Hand a finished task back. Its owner is woken once a batch. */
static void finish(heavy *h, HttpTask *t)
{
    if (t->state != TASK_DONE)
        return;
    if (t->started_ns && !t->job)
        learn_mean(h->pool, t->run_ns);
    worker *owner = t->owner;
    if (!owner) {
        t->on_done(t);
        return;
    }
    if (h->unsignalled != owner) {
        signal_owner(h);
        h->unsignalled = owner;
        h->unsignalled_ns = h->exec.now_ns;
    }
    int err = ring_push(h->done[worker_index(owner)], t);
    assert(err == 0 && "a done ring holds every connection's task");
    (void)err;
    worker_tell_done(owner, h->index);
}

/* Nobody whose task is finished shall wait for a handler that may take long. */
static void signal_before(heavy *h, const HttpTask *next)
{
    if (lane_expect_ns(next->lane) > UNSIGNALLED_NS || h->exec.now_ns - h->unsignalled_ns > UNSIGNALLED_NS)
        signal_owner(h);
}

static void refuse(HttpTask *t, const char *why)
{
    canned_busy(t, why);
    task_move(t, TASK_DONE);
}

static bool waited_too_long(const heavy *h, const HttpTask *t)
{
    uint64_t most = h->pool->config.max_wait_ns, now = h->exec.now_ns;
    return most && !t->job && now > t->ready_ns && now - t->ready_ns > most;
}

static void tell_ran(heavy *h)
{
    if (h->job)
        pool_job_ran(h->pool);
    else
        pool_ran(h->pool, h->cost_ns);
    h->cost_ns = 0;
    h->job = false;
}

static void run(heavy *h, HttpTask *t)
{
    if (has_work(h))
        pool_wake_heavy(h->pool);
    signal_before(h, t);
    h->cost_ns = t->cost_ns;
    h->job = t->job != NULL;
    if (pool_stage(h->pool) == POOL_FORCED) {
        atomic_fetch_add_explicit(&h->pool->cut_off, 1, memory_order_relaxed);
        refuse(t, "The server is stopping");
    } else if (waited_too_long(h, t)) {
        refuse(t, "The request waited too long for a thread");
    } else {
        exec_run(&h->exec, t);
    }
    tell_ran(h);
    finish(h, t);
}

/* Returns: whether any was. */
static bool run_due(heavy *h)
{
    HttpTask *t;
    uint64_t until_ns = h->exec.now_ns;
    bool any = false;
    for (; (t = exec_run_due(&h->exec, until_ns)); any = true)
        finish(h, t);
    exec_collect(&h->exec);
    for (; (t = exec_receive(&h->exec)); any = true)
        finish(h, t);
    return any;
}

static void evict_parked(heavy *h)
{
    HttpTask *t;
    while ((t = exec_evict(&h->exec))) {
        atomic_fetch_add_explicit(&h->pool->cut_off, 1, memory_order_relaxed);
        finish(h, t);
    }
}

/* --- the end --- */

static bool must_quit(const heavy *h)
{
    return atomic_load_explicit(&h->pool->quit_heavies, memory_order_acquire);
}

static bool has_parked(const heavy *h)
{
    return exec_is_waited_in(&h->exec);
}

static bool is_extra(const heavy *h)
{
    return h->index >= h->pool->config.heavies;
}

/* How long it may go on sleeping: milliseconds, -1 for as long as nothing happens. */
static int patience_ms(const heavy *h)
{
    uint64_t most = h->pool->config.heavy_idle_ns, idle = h->exec.now_ns - h->idle_ns;
    if (!is_extra(h))
        return -1;
    return idle < most ? (int)((most - idle) / 1000000 + 1) : 0;
}

static bool may_retire(const heavy *h)
{
    if (patience_ms(h) != 0)
        return false;
    /* A task may have been published for it to wake for, just as it woke by itself. Pairs with the fence in
     * pool_wake_heavy: either that saw it awake, or the task is seen here. */
    atomic_thread_fence(memory_order_seq_cst);
    return !has_work(h);
}

static void rest(heavy *h)
{
    signal_owner(h);
    exec_idle(&h->exec);
    wake_prepare(&h->exec.wake);
    bool stay = has_work(h) || !inbox_is_empty(&h->exec.inbox) ||
                (has_parked(h) ? pool_stage(h->pool) == POOL_FORCED : must_quit(h));
    exec_sleep(&h->exec, stay ? 0 : patience_ms(h));
    wake_cancel(&h->exec.wake);
}

/* --- turns --- */

/* Returns: whether there was anything to do. */
static bool heavy_turn(heavy *h)
{
    exec_tick(&h->exec);
    if (pool_stage(h->pool) == POOL_FORCED)
        evict_parked(h); /* first: what is spawned again and again would never end */
    bool any = run_due(h);
    exec_refresh(&h->exec);
    HttpTask *t = take(h);
    if (t)
        run(h, t);
    if (t || any)
        h->idle_ns = h->exec.now_ns;
    return t != NULL;
}

static void turn_until_end(heavy *h)
{
    h->idle_ns = h->exec.now_ns;
    for (;;) {
        if (heavy_turn(h))
            continue;
        if (!has_parked(h) && (must_quit(h) || may_retire(h)))
            return;
        rest(h);
    }
}

static void leave_vm(heavy *h)
{
    const runner *r = h->exec.runner;
    if (must_quit(h))
        r->leave(r->user, h->exec.vm);
    else
        r->dismiss(r->user, h->exec.vm);
    h->exec.vm = NULL;
}

static void tell_no_vm(heavy *h)
{
    if (!is_extra(h))
        return; /* pool_start tells */
    exec_tick(&h->exec);
    atomic_store_explicit(&h->pool->grow_after_ns, h->exec.now_ns + RETRY_NS, memory_order_relaxed);
    h->exec.runner->trouble(h->exec.runner->user, "a heavy thread more was wanted, but got no Lua VM");
}

static void introduce(heavy *h)
{
    char name[16];
    snprintf(name, sizeof(name), "poolsrv-h%u", h->index);
    pthread_setname_np(pthread_self(), name);
    atomic_store_explicit(&h->thread_id, (int)gettid(), memory_order_relaxed);
}

static void work(heavy *h)
{
    pool_hear(h->pool, &h->exec, true);
    turn_until_end(h);
    pool_hear(h->pool, &h->exec, false);
    exec_refuse_letters(&h->exec);
    signal_owner(h);
    leave_vm(h);
}

static void leave(heavy *h)
{
    atomic_store_explicit(&h->thread_id, 0, memory_order_relaxed);
    altstack_leave();
    pool_heavy_ended(h->pool, h->index);
}

void *heavy_main(void *arg)
{
    heavy *h = arg;
    altstack_enter();
    introduce(h);
    if (h->pool->watchdog)
        watchdog_adopt();
    int err = exec_enter(&h->exec);
    pool_thread_ready(h->pool, err == 0);
    if (err == 0)
        work(h);
    else
        tell_no_vm(h);
    leave(h);
    return NULL;
}

void heavy_take_over(heavy *h, const void *lost_vm)
{
    HttpTask *t;
    introduce(h);
    exec_tick(&h->exec);
    tell_ran(h);
    while ((t = exec_evict_from(&h->exec, lost_vm)))
        finish(h, t);
    work(h);
    leave(h);
}

/* --- for others --- */

bool heavy_signal(heavy *h)
{
    return wake_signal(&h->exec.wake);
}

bool heavy_rests(const heavy *h)
{
    return wake_is_wanted(&h->exec.wake);
}

uint64_t heavy_busy_since_ns(const heavy *h)
{
    return atomic_load_explicit(&exec_hold(&h->exec)->since_ns, memory_order_relaxed);
}

exec *heavy_exec(heavy *h)
{
    return &h->exec;
}

ring *heavy_done_ring(const heavy *h, unsigned worker_index)
{
    return h->done[worker_index];
}

/* The third field of a thread's stat: behind its name, which is in parentheses and may hold any. */
bool heavy_is_blocked(const heavy *h)
{
    char text[512];
    int id = atomic_load_explicit(&h->thread_id, memory_order_relaxed);
    snprintf(text, sizeof(text), "/proc/self/task/%d/stat", id);
    int fd = id ? open(text, O_RDONLY | O_CLOEXEC) : -1;
    ssize_t n = fd >= 0 ? read(fd, text, sizeof(text) - 1) : -1;
    if (fd >= 0)
        close(fd);
    if (n <= 0)
        return false;
    text[n] = '\0';
    const char *name_end = strrchr(text, ')');
    return name_end && (strncmp(name_end, ") S", 3) == 0 || strncmp(name_end, ") D", 3) == 0);
}

/* --- life --- */

static int make_rings(heavy *h)
{
    const pool_config *c = &h->pool->config;
    h->done = calloc(c->workers, sizeof(ring *));
    for (unsigned i = 0; h->done && i < c->workers; i++)
        if (!(h->done[i] = ring_new(pool_worker_connections(c))))
            return -ENOMEM;
    return h->done ? 0 : -ENOMEM;
}

int heavy_new(pool *p, unsigned index, heavy **ret_heavy)
{
    heavy *h = calloc(1, sizeof(*h));
    if (!h)
        return -ENOMEM;
    run_limits limits = pool_limits(&p->config);
    int err = exec_init(&h->exec, p->runner, p, &limits);
    if (err) {
        free(h);
        return err;
    }
    h->pool = p;
    h->index = h->next = index;
    err = make_rings(h);
    if (err) {
        heavy_free(h);
        return err;
    }
    *ret_heavy = h;
    return 0;
}

void heavy_free(heavy *h)
{
    if (!h)
        return;
    exec_fini(&h->exec);
    for (unsigned i = 0; h->done && i < h->pool->config.workers; i++)
        ring_free(h->done[i]);
    free(h->done);
    free(h);
}
