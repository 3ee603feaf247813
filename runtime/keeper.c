#include "runtime/keeper.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>

#include "queue/wake.h"
#include "runtime/clock.h"
#include "runtime/heavy.h"

enum { RETRY_NS = 1000000000 }; /* after a thread that could not be started */

struct keeper {
    pool *pool;
    wake wake;
    keeper_memory memory; /* [owner] */
};

/* --- the decision --- */

static unsigned least(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

bool keeper_should_watch(const keeper_view *v)
{
    return v->waiting > 0 && v->resting == 0 && v->running < v->max;
}

unsigned keeper_decide(keeper_memory *m, const keeper_view *v, uint64_t now_ns)
{
    unsigned missing_before = m->missing;
    m->missing = 0;
    if (!keeper_should_watch(v))
        return 0;
    unsigned able = v->running - v->blocked;
    m->missing = able < v->base ? v->base - able : 0;
    unsigned n = least(m->missing, missing_before);
    if (n == 0 && v->stuck && v->blocked + v->stuck == v->running && now_ns - m->grown_ns > KEEPER_STUCK_NS)
        n = 1;
    n = least(least(n, v->waiting), v->max - v->running);
    if (n)
        m->grown_ns = now_ns;
    return n;
}

/* --- the thread --- */

/* What can be told without a system call. */
static keeper_view glance(const keeper *k)
{
    pool *p = k->pool;
    keeper_view v = {.base = p->config.heavies,
                     .max = p->config.max_heavies,
                     .running = atomic_load_explicit(&p->heavies_running, memory_order_relaxed),
                     .waiting = atomic_load_explicit(&p->waiting, memory_order_relaxed) +
                                (unsigned)ring_depth(p->jobs)};
    for (unsigned i = 0; i < pool_heavies_made(p); i++)
        v.resting += heavy_rests(p->heavies[i]);
    return v;
}

static keeper_view look(const keeper *k, uint64_t now_ns)
{
    keeper_view v = glance(k);
    unsigned blocked = 0, stuck = 0;
    for (unsigned i = 0; i < pool_heavies_made(k->pool); i++) {
        const heavy *h = k->pool->heavies[i];
        uint64_t since = heavy_busy_since_ns(h);
        if (since && heavy_is_blocked(h))
            blocked++;
        else if (since && now_ns > since && now_ns - since > KEEPER_STUCK_NS)
            stuck++;
    }
    /* They were counted after `running`, and one may have ended or begun since. */
    v.blocked = least(blocked, v.running);
    v.stuck = least(stuck, v.running - v.blocked);
    return v;
}

static void watch(keeper *k)
{
    uint64_t now_ns = clock_now_ns();
    keeper_view v = look(k, now_ns);
    if (now_ns < atomic_load_explicit(&k->pool->grow_after_ns, memory_order_relaxed))
        return;
    for (unsigned n = keeper_decide(&k->memory, &v, now_ns); n; n--) {
        if (pool_grow(k->pool) == 0)
            continue;
        atomic_store_explicit(&k->pool->grow_after_ns, now_ns + RETRY_NS, memory_order_relaxed);
        return;
    }
}

static bool must_quit(const keeper *k)
{
    return atomic_load_explicit(&k->pool->quit_heavies, memory_order_acquire);
}

static void sleep_for(keeper *k, int timeout_ms)
{
    struct pollfd fd = {.fd = wake_fd(&k->wake), .events = POLLIN};
    if (poll(&fd, 1, timeout_ms) == 1)
        wake_clear(&k->wake);
}

/* Nobody signals while it watches: it looks often enough. */
static void rest(keeper *k)
{
    wake_prepare(&k->wake);
    keeper_view v = glance(k);
    if (!keeper_should_watch(&v) && !must_quit(k))
        sleep_for(k, -1);
    wake_cancel(&k->wake);
}

void *keeper_main(void *arg)
{
    keeper *k = arg;
    pool *p = k->pool;
    while (!must_quit(k)) {
        keeper_view v = glance(k);
        if (keeper_should_watch(&v)) {
            watch(k);
            sleep_for(k, KEEPER_SAMPLE_MS);
        } else {
            k->memory.missing = 0;
            rest(k);
        }
    }
    pool_thread_ended(p, &p->keepers_running);
    return NULL;
}

void keeper_signal(keeper *k)
{
    wake_signal(&k->wake);
}

int keeper_new(pool *p, keeper **ret_keeper)
{
    keeper *k = calloc(1, sizeof(*k));
    if (!k)
        return -ENOMEM;
    int err = wake_init(&k->wake);
    if (err) {
        free(k);
        return err;
    }
    k->pool = p;
    *ret_keeper = k;
    return 0;
}

void keeper_free(keeper *k)
{
    if (k)
        wake_fini(&k->wake);
    free(k);
}
