#include "runtime/lost.h"

#include <assert.h>
#include <errno.h>
#include <execinfo.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/altstack.h"
#include "runtime/canned.h"
#include "runtime/clock.h"
#include "runtime/exec.h"
#include "runtime/heavy.h"
#include "runtime/pool.h"
#include "runtime/watchdog.h"
#include "runtime/worker.h"

/* What a spare thread is started for. */
typedef struct spare {
    pool *pool;
    worker *worker; /* or */
    heavy *heavy;
    hold *lost;
    uint64_t stamp;
} spare;

void lost_init(lost_threads *l)
{
    /* A thread that comes back ends by pthread_exit, which aborts the process when it cannot load libgcc: it
     * has to be there before descriptors or memory run short. This loads it. */
    void *frame;
    backtrace(&frame, 1);
    *l = (lost_threads){0};
    pthread_mutex_init(&l->lock, NULL);
}

void lost_fini(lost_threads *l)
{
    /* A thread that comes back uses the pool until it lets the lock go. */
    pthread_mutex_lock(&l->lock);
    assert(!l->first);
    while (l->free) {
        hold *next = l->free->next;
        hold_free(l->free);
        l->free = next;
    }
    pthread_mutex_unlock(&l->lock);
    pthread_mutex_destroy(&l->lock);
}

bool lost_any(lost_threads *l)
{
    pthread_mutex_lock(&l->lock);
    bool any = atomic_load_explicit(&l->now, memory_order_relaxed) != 0;
    pthread_mutex_unlock(&l->lock);
    return any;
}

static void tell(pool *p, const hold *h, const char *format)
{
    char text[256];
    snprintf(text, sizeof(text), format, h->route[0] ? " of " : "", h->route);
    p->runner->trouble(p->runner->user, text);
}

/* --- holds --- */

static hold *take_hold(pool *p)
{
    lost_threads *l = &p->lost;
    pthread_mutex_lock(&l->lock);
    hold *h = l->free;
    if (h)
        l->free = h->next;
    pthread_mutex_unlock(&l->lock);
    if (!h)
        return hold_new(p->runner, p);
    atomic_store_explicit(&h->relief, false, memory_order_relaxed);
    return h;
}

/* With the lock held. Others may still look at it, so it is kept, and nothing in it that they read changes.
 */
static void keep_hold(lost_threads *l, hold *h)
{
    h->next = l->free;
    l->free = h;
}

static void give_hold(pool *p, hold *h)
{
    hold_leave(h);
    pthread_mutex_lock(&p->lost.lock);
    keep_hold(&p->lost, h);
    pthread_mutex_unlock(&p->lost.lock);
}

/* With the lock held. */
static void unlink_hold(lost_threads *l, const hold *h)
{
    hold **link = &l->first;
    while (*link != h)
        link = &(*link)->next;
    *link = h->next;
}

/* --- the spare thread --- */

/* What was taken away, as of then: the lost thread may come back at any moment. */
typedef struct taken {
    void *vm;
    lane *lane; /* of the task, or NULL */
    uint64_t held_ns;
    worker *owner; /* of the task, or NULL */
} taken;

/* A request without a socket has no owner to be told: the lost thread ends it. */
static bool take_away(spare *s, taken *ret)
{
    lost_threads *l = &s->pool->lost;
    hold *h = s->lost;
    pthread_mutex_lock(&l->lock);
    bool ok = atomic_load_explicit(&l->now, memory_order_relaxed) < LOST_MAX && hold_take(h, s->stamp);
    if (ok) {
        *ret = (taken){h->vm, h->task ? h->task->lane : NULL, clock_now_ns() - s->stamp,
                       h->task ? h->task->owner : NULL};
        h->task_owner = ret->owner;
        h->told = h->back = false;
        h->next = l->first;
        l->first = h;
        atomic_fetch_add_explicit(&l->now, 1, memory_order_relaxed);
        pthread_setname_np(h->thread, "poolsrv-lost");
        tell(s->pool, h,
             "a handler%s%s goes on although it was told to end: its thread is lost, a spare one has its "
             "place");
    }
    pthread_mutex_unlock(&l->lock);
    return ok;
}

/* Whatever the handler does, it holds its thread for long. */
static void learn(const taken *t)
{
    lane_run run = {.held_ns = t->held_ns, .service_ns = t->held_ns};
    if (t->lane)
        lane_ran(t->lane, &run, clock_now_ns());
}

static void carry_on(const spare *s, hold *mine, void *vm, const taken *t)
{
    pool *p = s->pool;
    exec *x = s->worker ? worker_exec(s->worker) : heavy_exec(s->heavy);
    void *unused = exec_replace(x, mine, t->vm, vm);
    if (unused)
        p->runner->leave(p->runner->user, unused);
    else
        exec_seated(x);
    learn(t);
    if (t->owner)
        worker_tell_lost(t->owner);
    /* It counts as the thread whose place it has. */
    pool_thread_ended(p, &p->keepers_running);
    if (s->worker)
        worker_take_over(s->worker, t->vm);
    else
        heavy_take_over(s->heavy, t->vm);
}

static void *spare_main(void *arg)
{
    spare s = *(spare *)arg;
    pool *p = s.pool;
    taken t;
    free(arg);
    altstack_enter();
    hold *mine = take_hold(p);
    if (mine)
        hold_enter(mine);
    watchdog_adopt();
    void *vm = mine ? p->runner->enter(p->runner->user) : NULL;
    if (vm && take_away(&s, &t)) {
        carry_on(&s, mine, vm, &t);
        return NULL;
    }
    if (vm)
        p->runner->leave(p->runner->user, vm);
    else
        tell(p, s.lost,
             "a handler%s%s goes on although it was told to end, and no Lua VM is to be had for another "
             "thread in its place");
    atomic_store_explicit(&s.lost->relief, false, memory_order_release);
    if (mine)
        give_hold(p, mine);
    altstack_leave();
    pool_thread_ended(p, &p->keepers_running);
    return NULL;
}

void lost_relieve(pool *p, worker *w, heavy *h, hold *of, uint64_t stamp, const char *route_name)
{
    if (atomic_exchange_explicit(&of->relief, true, memory_order_acquire))
        return;
    snprintf(of->route, sizeof(of->route), "%s", route_name ? route_name : "");
    bool full = atomic_load_explicit(&p->lost.now, memory_order_relaxed) >= LOST_MAX;
    spare *s = full ? NULL : malloc(sizeof(*s));
    if (s) {
        *s = (spare){p, w, h, of, stamp};
        if (pool_start_keeper(p, spare_main, s) == 0)
            return;
    }
    free(s);
    tell(
        p, of,
        full
            ? "a handler%s%s goes on although it was told to end, and holds its thread: too many are lost "
              "already. Restart the server"
            : "a handler%s%s goes on although it was told to end, and no thread can be started in its place");
    atomic_store_explicit(&of->relief, false, memory_order_release);
}

/* --- lost threads --- */

void lost_signal_all(pool *p, int number)
{
    if (!atomic_load_explicit(&p->lost.now, memory_order_relaxed))
        return;
    pthread_mutex_lock(&p->lost.lock);
    for (const hold *h = p->lost.first; h; h = h->next)
        if (atomic_load_explicit(&h->since_ns, memory_order_relaxed) == HOLD_TAKEN)
            hold_signal_again(h, number);
    pthread_mutex_unlock(&p->lost.lock);
}

static void end_unowned(HttpTask *t)
{
    canned_busy(t, "The thread that the handler ran on was lost");
    task_move(t, TASK_DONE);
    t->on_done(t);
}

/* What its handler has spawned in this run will not be run, and nobody waits for what it waited for. */
static void give_up_what_hangs_on(HttpTask *t)
{
    HttpTask *spawned;
    while ((spawned = task_take_spawned(t)))
        end_unowned(spawned);
    await_unref(t->await);
    t->await = NULL;
}

_Noreturn void lost_come_back(hold *h)
{
    pool *p = h->pool;
    lost_threads *l = &p->lost;
    /* Whoever took the run has the lock until all is written down. */
    pthread_mutex_lock(&l->lock);
    worker *owner = h->task_owner;
    pthread_mutex_unlock(&l->lock);
    if (h->task)
        give_up_what_hangs_on(h->task);
    p->runner->abandon(p->runner->user, h->vm);
    if (h->task && !owner) {
        h->task->limit = (run_limit)atomic_load_explicit(&h->aim_limit, memory_order_relaxed);
        end_unowned(h->task);
    }
    tell(p, h, "a thread that was lost in a handler%s%s has come back, and ends");
    altstack_leave();
    hold_leave(h);
    pthread_mutex_lock(&l->lock);
    atomic_fetch_sub_explicit(&l->now, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&l->retired, 1, memory_order_relaxed);
    h->back = true;
    if (owner) {
        worker_tell_lost(owner);
    } else {
        unlink_hold(l, h);
        keep_hold(l, h);
    }
    pthread_mutex_unlock(&l->lock); /* the last thing that it does with the pool */
    pthread_exit(NULL);
}

bool lost_next_news(lost_threads *l, const worker *w, lost_news *ret)
{
    pthread_mutex_lock(&l->lock);
    hold *h = l->first;
    while (h && (h->task_owner != w || (h->told && !h->back)))
        h = h->next;
    if (h) {
        *ret = (lost_news){h->task, (run_limit)atomic_load_explicit(&h->aim_limit, memory_order_relaxed),
                           !h->told, h->back};
        h->told = true;
        if (h->back) {
            unlink_hold(l, h);
            keep_hold(l, h);
        }
    }
    pthread_mutex_unlock(&l->lock);
    return h != NULL;
}
