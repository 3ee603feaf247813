#include "runtime/hold.h"

#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

/* This thread's. Not allocated at its first use, which may be in a signal handler. */
static _Thread_local hold *mine __attribute__((tls_model("initial-exec")));

hold *hold_new(const runner *r, struct pool *p)
{
    hold *h = calloc(1, sizeof(*h));
    if (h) {
        h->runner = r;
        h->pool = p;
    }
    return h;
}

void hold_free(hold *h)
{
    free(h);
}

void hold_enter(hold *h)
{
    mine = h;
    h->thread = pthread_self();
    pthread_getcpuclockid(h->thread, &h->cpu_clock);
    atomic_store_explicit(&h->thread_id, (int)gettid(), memory_order_release);
}

void hold_leave(hold *h)
{
    atomic_store_explicit(&h->thread_id, 0, memory_order_release);
    mine = NULL;
}

/* --- the owner --- */

/* All that a watchdog reads is stored with release: if it sees a later run's figure, it sees that the earlier
 * one is over, too. No other run of this thread has the stamp, however coarse the clock. */
uint64_t hold_begin(hold *h, uint64_t now_ns, void *vm, HttpTask *task, const run_limits *limits,
                    uint64_t deadline_ns, uint64_t before_ns)
{
    uint64_t stamp = now_ns > h->last_ns ? now_ns : h->last_ns + 1;
    h->last_ns = stamp;
    h->vm = vm;
    h->task = task;
    atomic_store_explicit(&h->cpu_most_ns, limits->cpu_ns, memory_order_release);
    atomic_store_explicit(&h->wall_most_ns, limits->wall_ns, memory_order_release);
    atomic_store_explicit(&h->route_name, limits->route, memory_order_release);
    atomic_store_explicit(&h->deadline_ns, deadline_ns, memory_order_release);
    atomic_store_explicit(&h->before_ns, before_ns, memory_order_release);
    atomic_store_explicit(&h->since_ns, stamp, memory_order_release);
    return stamp;
}

bool hold_end(hold *h, uint64_t stamp)
{
    uint64_t expected = stamp;
    if (atomic_compare_exchange_strong_explicit(&h->since_ns, &expected, 0, memory_order_acq_rel,
                                                memory_order_acquire))
        return true;
    /* Over all the same: a signal that comes now ends nothing. */
    atomic_store_explicit(&h->since_ns, 0, memory_order_release);
    return false;
}

/* --- the watchdog, and who takes a run away --- */

static uint64_t cpu_of(hold *h)
{
    struct timespec cpu;
    if (!atomic_load_explicit(&h->thread_id, memory_order_acquire) || clock_gettime(h->cpu_clock, &cpu) < 0)
        return 0;
    return (uint64_t)cpu.tv_sec * 1000000000u + (uint64_t)cpu.tv_nsec;
}

static uint64_t stamp_of(hold *h)
{
    return atomic_load_explicit(&h->since_ns, memory_order_acquire);
}

bool hold_look(hold *h, hold_view *ret)
{
    uint64_t stamp = stamp_of(h);
    if (!stamp || stamp == HOLD_TAKEN)
        return false;
    *ret = (hold_view){
        .stamp = stamp,
        .cpu_most_ns = atomic_load_explicit(&h->cpu_most_ns, memory_order_acquire),
        .wall_most_ns = atomic_load_explicit(&h->wall_most_ns, memory_order_acquire),
        .route_name = atomic_load_explicit(&h->route_name, memory_order_acquire),
        .deadline_ns = atomic_load_explicit(&h->deadline_ns, memory_order_acquire),
        .before_ns = atomic_load_explicit(&h->before_ns, memory_order_acquire),
        .cpu_ns = cpu_of(h),
    };
    return stamp_of(h) == stamp;
}

bool hold_take(hold *h, uint64_t stamp)
{
    uint64_t expected = stamp;
    return atomic_compare_exchange_strong_explicit(&h->since_ns, &expected, HOLD_TAKEN, memory_order_acq_rel,
                                                   memory_order_acquire);
}

/* By the kernel's number, which may be used for a thread that has ended: it gets nothing then. */
void hold_signal_again(const hold *h, int number)
{
    int thread = atomic_load_explicit(&h->thread_id, memory_order_acquire);
    if (thread)
        (void)tgkill(getpid(), thread, number);
}

void hold_signal(hold *h, uint64_t stamp, run_limit limit, uint64_t used_ns, uint64_t most_ns, int number)
{
    atomic_store_explicit(&h->aim_limit, (int)limit, memory_order_relaxed);
    atomic_store_explicit(&h->aim_used_ns, used_ns, memory_order_relaxed);
    atomic_store_explicit(&h->aim_most_ns, most_ns, memory_order_relaxed);
    atomic_store_explicit(&h->aim_stamp, stamp, memory_order_release);
    hold_signal_again(h, number);
}

/* --- of the calling thread --- */

void hold_set_deadline(uint64_t deadline_ns)
{
    if (mine && stamp_of(mine))
        atomic_store_explicit(&mine->deadline_ns, deadline_ns, memory_order_release);
}

/* --- signal handlers --- */

/* One that was taken has been aimed at, and is to end whatever else is. */
static bool is_aimed_at(hold *h, uint64_t stamp)
{
    return stamp == HOLD_TAKEN ||
           (stamp && atomic_load_explicit(&h->aim_stamp, memory_order_acquire) == stamp);
}

void hold_interrupt(void)
{
    hold *h = mine;
    if (!h || !is_aimed_at(h, stamp_of(h)))
        return;
    h->runner->interrupt(h->vm, (run_limit)atomic_load_explicit(&h->aim_limit, memory_order_relaxed),
                         atomic_load_explicit(&h->aim_used_ns, memory_order_relaxed),
                         atomic_load_explicit(&h->aim_most_ns, memory_order_relaxed));
}

void hold_describe(void (*put)(void *user, const char *text, size_t n), void *user)
{
    hold *h = mine;
    if (h && stamp_of(h) && h->runner->describe)
        h->runner->describe(h->vm, put, user);
}
