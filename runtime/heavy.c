#include "runtime/heavy.h"

#include <errno.h>
#include <stdlib.h>

#include "runtime/canned.h"
#include "runtime/exec.h"
#include "runtime/lane.h"
#include "runtime/worker.h"

enum { UNSIGNALLED_NS = 100000 }; /* how long a finished task may wait for others to finish */

struct heavy {
    exec exec;
    pool *pool;
    unsigned index;
    atomic_uint_fast64_t since_ns; /* [owner writes, any reads] when the run on it began; 0: none */
    unsigned next;                 /* the worker whose ring is looked at first */
    worker *unsignalled;           /* has tasks on its done ring that it was not woken for */
    uint64_t unsignalled_ns;       /* since when */
};

static HttpTask *take(heavy *h)
{
    pool *p = h->pool;
    HttpTask *t = ring_pop_shared(p->injected);
    for (unsigned i = 0; !t && i < p->config.workers; i++) {
        unsigned from = h->next++ % p->config.workers;
        t = ring_pop_shared(worker_shared_ring(p->workers[from]));
    }
    if (t)
        atomic_fetch_sub_explicit(&p->waiting, 1, memory_order_relaxed);
    return t;
}

static bool has_work(const heavy *h)
{
    const pool *p = h->pool;
    if (ring_depth(p->injected))
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

/* Hand a finished task back. Its owner is woken once a batch. */
static void finish(heavy *h, HttpTask *t)
{
    if (t->state != TASK_DONE)
        return;
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
    worker_push_done(owner, h->index, t);
}

/* Nobody whose task is finished shall wait for a handler that may take long. */
static void signal_before(heavy *h, const HttpTask *next)
{
    if (lane_expect_ns(next->lane) > UNSIGNALLED_NS || h->exec.now_ns - h->unsignalled_ns > UNSIGNALLED_NS)
        signal_owner(h);
}

static void begin_run(heavy *h)
{
    atomic_store_explicit(&h->since_ns, h->exec.now_ns, memory_order_relaxed);
}

static void end_run(heavy *h)
{
    atomic_store_explicit(&h->since_ns, 0, memory_order_relaxed);
}

uint64_t heavy_busy_since_ns(const heavy *h)
{
    return atomic_load_explicit(&h->since_ns, memory_order_relaxed);
}

static void run(heavy *h, HttpTask *t)
{
    if (has_work(h))
        pool_wake_heavy(h->pool);
    signal_before(h, t);
    if (pool_stage(h->pool) == POOL_FORCED) {
        atomic_fetch_add_explicit(&h->pool->cut_off, 1, memory_order_relaxed);
        canned_busy(t, "The server is stopping");
        task_move(t, TASK_DONE);
    } else {
        begin_run(h);
        exec_run(&h->exec, t);
        end_run(h);
    }
    finish(h, t);
}

static void run_due(heavy *h)
{
    HttpTask *t;
    uint64_t until_ns = h->exec.now_ns;
    begin_run(h);
    while ((t = exec_run_due(&h->exec, until_ns)))
        finish(h, t);
    end_run(h);
}

static void evict_parked(heavy *h)
{
    HttpTask *t;
    while ((t = exec_evict(&h->exec))) {
        atomic_fetch_add_explicit(&h->pool->cut_off, 1, memory_order_relaxed);
        finish(h, t);
    }
}

static bool must_quit(const heavy *h)
{
    return atomic_load_explicit(&h->pool->quit_heavies, memory_order_acquire);
}

static void rest(heavy *h)
{
    bool parked = timers_first(&h->exec.parked) != NULL;
    signal_owner(h);
    exec_idle(&h->exec);
    wake_prepare(&h->exec.wake);
    bool stay = has_work(h) || (parked ? pool_stage(h->pool) == POOL_FORCED : must_quit(h));
    exec_sleep(&h->exec, stay ? 0 : -1);
    wake_cancel(&h->exec.wake);
}

/* One turn. Returns: whether there was anything to do. */
static bool heavy_turn(heavy *h)
{
    exec_tick(&h->exec);
    run_due(h);
    if (pool_stage(h->pool) == POOL_FORCED)
        evict_parked(h);
    exec_refresh(&h->exec);
    HttpTask *t = take(h);
    if (t)
        run(h, t);
    return t != NULL;
}

void *heavy_main(void *arg)
{
    heavy *h = arg;
    pool *p = h->pool;
    int err = exec_enter(&h->exec);
    pool_thread_ready(p, err == 0);
    while (err == 0) {
        if (heavy_turn(h))
            continue;
        if (must_quit(h) && !timers_first(&h->exec.parked))
            break;
        rest(h);
    }
    signal_owner(h);
    if (h->exec.vm)
        h->exec.runner->leave(h->exec.runner->user, h->exec.vm);
    h->exec.vm = NULL;
    pool_thread_ended(p, &p->heavies_running);
    return NULL;
}

int heavy_new(pool *p, unsigned index, heavy **ret_heavy)
{
    heavy *h = calloc(1, sizeof(*h));
    if (!h)
        return -ENOMEM;
    int err = exec_init(&h->exec, p->runner, p->config.handler_timeout_ns);
    if (err) {
        free(h);
        return err;
    }
    h->pool = p;
    h->index = h->next = index;
    *ret_heavy = h;
    return 0;
}

void heavy_free(heavy *h)
{
    if (!h)
        return;
    exec_fini(&h->exec);
    free(h);
}

bool heavy_signal(heavy *h)
{
    return wake_signal(&h->exec.wake);
}
