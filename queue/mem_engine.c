#include "queue/mem_engine.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>

#include "queue/mem_push.h"

enum { SHELVES_LEAST = 64, LEASE_BITS = 40 };

#define WAIT_MAX (INT64_C(100) * 366 * 86400 * 1000) /* ms */

uint64_t mem_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint64_t mem_length_ns(int64_t ms)
{
    return ms <= 0 ? 0 : (uint64_t)((ms < WAIT_MAX ? ms : WAIT_MAX) * MEM_NS_PER_MS);
}

int64_t mem_from_now_ms(int64_t ms)
{
    return mq_now_ms() + (int64_t)mem_length_ns(ms) / MEM_NS_PER_MS;
}

/* --- the table --- */

static void widen(mem_engine *e)
{
    if (e->queues_n < e->shelves_n)
        return;
    size_t n = e->shelves_n ? e->shelves_n * 2 : SHELVES_LEAST;
    mem_queue **wider = calloc(n, sizeof(mem_queue *));
    if (!wider)
        return; /* it is slower then */
    for (size_t i = 0; i < e->shelves_n; i++)
        while (e->shelves[i]) {
            mem_queue *q = e->shelves[i];
            uint64_t hash = siphash(&e->key, q->name, strlen(q->name));
            e->shelves[i] = q->next;
            q->next = wider[hash & (n - 1)];
            wider[hash & (n - 1)] = q;
        }
    free(e->shelves);
    e->shelves = wider;
    e->shelves_n = n;
}

static mem_queue *lookup(const mem_engine *e, uint64_t hash, const char *name)
{
    mem_queue *q = e->shelves ? e->shelves[hash & (e->shelves_n - 1)] : NULL;
    while (q && strcmp(q->name, name) != 0)
        q = q->next;
    return q;
}

/* Room for it among the times is made here, so that setting its timer cannot fail. */
static mem_queue *add(mem_engine *e, uint64_t hash, const char *name)
{
    widen(e);
    mem_queue *q = e->shelves ? mem_queue_new(name, (uint64_t)e->queues_n << LEASE_BITS) : NULL;
    if (!q)
        return NULL;
    pthread_mutex_lock(&e->time_lock);
    int err = timers_reserve(&e->times, e->queues_n + 1 - e->times.n);
    pthread_mutex_unlock(&e->time_lock);
    if (err) {
        mem_queue_free(q);
        return NULL;
    }
    q->next = e->shelves[hash & (e->shelves_n - 1)];
    e->shelves[hash & (e->shelves_n - 1)] = q;
    e->queues_n++;
    return q;
}

mem_queue *mem_engine_find(mem_engine *e, const char *name, bool make)
{
    uint64_t hash = siphash(&e->key, name, strlen(name));
    pthread_mutex_lock(&e->table_lock);
    mem_queue *q = lookup(e, hash, name);
    if (!q && make)
        q = add(e, hash, name);
    pthread_mutex_unlock(&e->table_lock);
    return q;
}

/* --- what follows from a change --- */

void mem_engine_arm(mem_engine *e, mem_queue *q)
{
    uint64_t due_ns = mem_queue_due(q);
    if (due_ns >= q->armed_ns)
        return;
    q->armed_ns = due_ns;
    pthread_mutex_lock(&e->time_lock);
    timers_remove(&e->times, &q->timer);
    timers_add(&e->times, &q->timer, due_ns); /* there is room: add() */
    if (timers_first(&e->times) == &q->timer)
        pthread_cond_signal(&e->time_changed);
    pthread_mutex_unlock(&e->time_lock);
}

void mem_engine_end(const mem_engine *e, mq_op *op)
{
    if (op->err == -EAGAIN)
        mq_finish(op, -EAGAIN, "queue \"%s\" is full: it holds %llu messages", op->queue,
                  (unsigned long long)e->max);
    else
        mq_finish(op, op->err, NULL);
}

void mem_engine_follow(mem_engine *e, mem_queue *q, const mem_after *a)
{
    if (a->ready)
        watchers_call(e->watchers, q->name);
    for (mq_op *op = a->ended, *next; op; op = next) {
        next = op->next;
        mem_engine_end(e, op);
    }
}

/* --- times --- */

static void on_time(mem_engine *e, mem_queue *q)
{
    mem_after a = {0};
    uint64_t ns = mem_now_ns();
    pthread_mutex_lock(&q->lock);
    q->armed_ns = UINT64_MAX;
    a.ready = mem_queue_ripen(q, ns, mq_now_ms());
    if (q->waiting_first_ns <= ns)
        mem_push_end_waits(q, ns, -EAGAIN, &a);
    mem_engine_arm(e, q);
    pthread_mutex_unlock(&q->lock);
    mem_engine_follow(e, q, &a);
}

static void rest(mem_engine *e, const timer *first)
{
    struct timespec until = {0};
    if (!first) {
        pthread_cond_wait(&e->time_changed, &e->time_lock);
        return;
    }
    until.tv_sec = (time_t)(first->due_ns / 1000000000u);
    until.tv_nsec = (long)(first->due_ns % 1000000000u);
    pthread_cond_timedwait(&e->time_changed, &e->time_lock, &until);
}

static void *run(void *user)
{
    mem_engine *e = user;
    pthread_mutex_lock(&e->time_lock);
    while (!e->closing) {
        timer *first = timers_first(&e->times);
        if (!first || first->due_ns > mem_now_ns()) {
            rest(e, first);
            continue;
        }
        timers_remove(&e->times, first);
        pthread_mutex_unlock(&e->time_lock);
        on_time(e, (mem_queue *)first);
        pthread_mutex_lock(&e->time_lock);
    }
    pthread_mutex_unlock(&e->time_lock);
    return NULL;
}

/* Signals are for the others. */
static int create(mem_engine *e)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int err = pthread_create(&e->thread, NULL, run, e);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!err)
        pthread_setname_np(e->thread, "poolsrv-queues");
    return -err;
}

int mem_engine_start_thread(mem_engine *e)
{
    if (atomic_load_explicit(&e->has_thread, memory_order_acquire))
        return 0;
    pthread_mutex_lock(&e->time_lock);
    int err = atomic_load_explicit(&e->has_thread, memory_order_relaxed) ? 0 : create(e);
    if (!err)
        atomic_store_explicit(&e->has_thread, true, memory_order_release);
    pthread_mutex_unlock(&e->time_lock);
    return err ? -ENOMEM : 0;
}

void mem_engine_stop_thread(mem_engine *e)
{
    pthread_mutex_lock(&e->time_lock);
    e->closing = true;
    pthread_cond_signal(&e->time_changed);
    pthread_mutex_unlock(&e->time_lock);
    if (atomic_load_explicit(&e->has_thread, memory_order_relaxed))
        pthread_join(e->thread, NULL);
}

/* --- life --- */

void mem_engine_free(mem_engine *e)
{
    for (size_t i = 0; i < e->shelves_n; i++)
        for (mem_queue *q = e->shelves[i], *next; q; q = next) {
            next = q->next;
            mem_queue_free(q);
        }
    free(e->shelves);
    timers_fini(&e->times);
    watchers_free(e->watchers);
    pthread_mutex_destroy(&e->table_lock);
    pthread_mutex_destroy(&e->time_lock);
    pthread_cond_destroy(&e->time_changed);
    free(e);
}

static void init_locks(mem_engine *e)
{
    pthread_condattr_t monotonic;
    pthread_mutex_init(&e->table_lock, NULL);
    pthread_mutex_init(&e->time_lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&e->time_changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
}

mem_engine *mem_engine_new(const mq *front, uint64_t max)
{
    mem_engine *e = calloc(1, sizeof(*e));
    if (!e)
        return NULL;
    e->front = front;
    e->max = max;
    init_locks(e);
    e->watchers = watchers_new();
    if (e->watchers && siphash_key_make(&e->key) == 0)
        return e;
    mem_engine_free(e);
    return NULL;
}
