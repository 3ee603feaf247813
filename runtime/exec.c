#include "runtime/exec.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <time.h>
#include <unistd.h>

#include "runtime/canned.h"
#include "runtime/clock.h"
#include "runtime/lane.h"

static HttpTask *task_of(timer *t)
{
    return (HttpTask *)(void *)((char *)t - offsetof(HttpTask, timer));
}

void exec_tick(exec *x)
{
    x->now_ns = clock_now_ns();
}

/* --- the loop --- */

static void on_wake(uv_poll_t *poll, int status, int events)
{
    exec *x = poll->data;
    (void)status;
    (void)events;
    wake_clear(&x->wake);
}

static void on_alarm(uv_timer_t *alarm)
{
    (void)alarm;
}

static void on_closed(uv_handle_t *handle)
{
    exec *x = handle->data;
    x->open_handles--;
}

static void close_handle(exec *x, uv_handle_t *handle)
{
    handle->data = x;
    uv_close(handle, on_closed);
}

int exec_init(exec *x, const runner *r, const run_limits *limits)
{
    *x = (exec){.runner = r, .limits = *limits, .meter.fd = -1};
    exec_tick(x);
    int err = wake_init(&x->wake);
    if (err)
        return err;
    err = uv_loop_init(&x->loop);
    if (err) {
        wake_fini(&x->wake);
        return err;
    }
    uv_timer_init(&x->loop, &x->alarm);
    x->open_handles = 1;
    err = uv_poll_init(&x->loop, &x->wake_poll, wake_fd(&x->wake));
    if (err == 0) {
        x->open_handles = 2;
        x->wake_poll.data = x;
        err = uv_poll_start(&x->wake_poll, UV_READABLE, on_wake);
    }
    if (err)
        exec_fini(x);
    return err;
}

static void note_bytes(exec *x)
{
    if (x->runner->bytes)
        atomic_store_explicit(&x->vm_bytes, x->runner->bytes(x->vm), memory_order_relaxed);
}

/* Not allocated at its first use, which may be in a signal handler. */
static _Thread_local exec *of_thread __attribute__((tls_model("initial-exec")));

int exec_enter(exec *x)
{
    of_thread = x;
    meter_fini(&x->meter); /* it is another thread's, if there was one */
    meter_init(&x->meter);
    pthread_getcpuclockid(pthread_self(), &x->cpu_clock);
    atomic_store_explicit(&x->thread_id, (int)gettid(), memory_order_release);
    x->vm = x->runner->enter(x->runner->user);
    if (!x->vm)
        return -ENOMEM;
    note_bytes(x);
    return 0;
}

void exec_fini(exec *x)
{
    assert(!timers_first(&x->parked));
    if (x->vm)
        x->runner->leave(x->runner->user, x->vm);
    x->vm = NULL;
    if (x->open_handles == 2)
        close_handle(x, (uv_handle_t *)&x->wake_poll);
    close_handle(x, (uv_handle_t *)&x->alarm);
    while (x->open_handles)
        uv_run(&x->loop, UV_RUN_ONCE);
    uv_loop_close(&x->loop);
    wake_fini(&x->wake);
    meter_fini(&x->meter);
    timers_fini(&x->parked);
}

/* Round up, or the alarm rings before the task is due. */
static int ms_until(const exec *x, uint64_t due_ns)
{
    if (due_ns <= x->now_ns)
        return 0;
    uint64_t ms = (due_ns - x->now_ns + 999999) / 1000000;
    return ms > 60000 ? 60000 : (int)ms;
}

void exec_sleep(exec *x, int timeout_ms)
{
    timer *first = timers_first(&x->parked);
    if (first && timeout_ms != 0) {
        exec_tick(x);
        int ms = ms_until(x, first->due_ns);
        if (timeout_ms < 0 || ms < timeout_ms)
            timeout_ms = ms;
    }
    if (timeout_ms == 0) {
        uv_run(&x->loop, UV_RUN_NOWAIT);
    } else {
        if (timeout_ms > 0) {
            uv_update_time(&x->loop);
            uv_timer_start(&x->alarm, on_alarm, (uint64_t)timeout_ms, 0);
        }
        uv_run(&x->loop, UV_RUN_ONCE);
        if (timeout_ms > 0)
            uv_timer_stop(&x->alarm);
    }
    exec_tick(x);
}

/* --- runs --- */

static const run_limits *limits_of(const exec *x, const HttpTask *t)
{
    return t->limits ? t->limits : &x->limits;
}

/* All that a watchdog reads is stored with release: if it sees a later run's figure, it sees that the earlier
 * one is over, too. Returns: the run's stamp, which no other run of this thread has, however coarse the
 * clock. */
static uint64_t begin_run(exec *x, void *vm, const run_limits *limits, uint64_t deadline_ns,
                          uint64_t before_ns)
{
    uint64_t stamp = x->now_ns > x->last_held_ns ? x->now_ns : x->last_held_ns + 1;
    x->last_held_ns = stamp;
    x->run_vm = vm;
    atomic_store_explicit(&x->run_limits, limits, memory_order_release);
    atomic_store_explicit(&x->run_deadline_ns, deadline_ns, memory_order_release);
    atomic_store_explicit(&x->run_before_ns, before_ns, memory_order_release);
    atomic_store_explicit(&x->held_since_ns, stamp, memory_order_release);
    return stamp;
}

/* Returns: whether the run was still this thread's. If not, so is the task no more: it is another's. */
static bool end_run(exec *x, uint64_t stamp)
{
    uint64_t expected = stamp;
    return atomic_compare_exchange_strong_explicit(&x->held_since_ns, &expected, 0, memory_order_acq_rel,
                                                   memory_order_acquire);
}

/* Nobody takes a run away yet. */
static void must_end_run(exec *x, uint64_t stamp)
{
    bool mine = end_run(x, stamp);
    assert(mine && "the run was taken");
    (void)mine;
}

static uint64_t begin_task(exec *x, void *vm, const HttpTask *t)
{
    return begin_run(x, vm, limits_of(x, t), t->deadline_ns, t->run_ns);
}

/* The app's code may run while one is given up or garbage is collected: it has the processor time of a
 * request. */
static uint64_t begin_cleaning(exec *x, void *vm)
{
    return begin_run(x, vm, &x->limits, 0, 0);
}

static void cancel(exec *x, HttpTask *t)
{
    uint64_t stamp = begin_cleaning(x, t->vm);
    x->runner->cancel(t);
    must_end_run(x, stamp);
}

/* --- handlers --- */

static void give_up(HttpTask *t, const char *why)
{
    canned_busy(t, why);
    task_move(t, TASK_DONE);
}

static void park(exec *x, HttpTask *t)
{
    t->wake_ns += x->now_ns;
    uint64_t due = t->wake_ns;
    if (t->deadline_ns && t->deadline_ns < due)
        due = t->deadline_ns;
    task_move(t, TASK_PARKED);
    if (timers_add(&x->parked, &t->timer, due) < 0) {
        cancel(x, t);
        give_up(t, "The server is out of memory");
    }
}

/* Tell the lane what it can learn from a run. Apart, so that the others do not pay for its frame. */
__attribute__((noinline)) static void weigh(exec *x, const HttpTask *t, runner_result result, uint64_t took)
{
    lane_run run = {.held_ns = took, .service_ns = took};
    if (took >= LANE_LIGHT_NS)
        run = meter_run(&x->meter, took, x->now_ns);
    lane_ran(t->lane, &run, x->now_ns);
    if (result == RUNNER_DONE && lane_is_heavy(t->lane))
        lane_served(t->lane, t->run_ns);
}

static void settle(exec *x, HttpTask *t, runner_result result, uint64_t since_ns)
{
    exec_tick(x);
    uint64_t took = x->now_ns - since_ns;
    t->run_ns += took;
    x->ran = true;
    if (!lane_is_routine(t->lane, took))
        weigh(x, t, result, took);
    if (result == RUNNER_PARKED)
        park(x, t);
    else
        task_move(t, TASK_DONE);
}

void exec_run(exec *x, HttpTask *t)
{
    uint64_t since = x->now_ns;
    uint64_t most_ns = limits_of(x, t)->wall_ns;
    if (most_ns) {
        t->deadline_ns = t->ready_ns + most_ns;
        if (since >= t->deadline_ns) {
            give_up(t, "The request waited too long for a thread");
            return;
        }
    }
    t->started_ns = since;
    meter_freshen(&x->meter, since);
    task_move(t, TASK_RUNNING);
    uint64_t stamp = begin_task(x, x->vm, t);
    runner_result result = x->runner->start(x->vm, t);
    must_end_run(x, stamp);
    settle(x, t, result, since);
}

HttpTask *exec_run_due(exec *x, uint64_t until_ns)
{
    timer *first = timers_first(&x->parked);
    if (!first || first->due_ns > until_ns)
        return NULL;
    HttpTask *t = task_of(first);
    timers_remove(&x->parked, first);
    if (t->wake_ns > x->now_ns) {
        cancel(x, t);
        give_up(t, "The handler took too long");
        return t;
    }
    uint64_t since = x->now_ns;
    meter_freshen(&x->meter, since);
    task_move(t, TASK_RUNNING);
    uint64_t stamp = begin_task(x, t->vm, t);
    runner_result result = x->runner->resume(t);
    must_end_run(x, stamp);
    settle(x, t, result, since);
    return t;
}

HttpTask *exec_evict(exec *x)
{
    timer *first = timers_first(&x->parked);
    if (!first)
        return NULL;
    HttpTask *t = task_of(first);
    exec_drop(x, t);
    give_up(t, "The server is stopping");
    return t;
}

void exec_drop(exec *x, HttpTask *t)
{
    timers_remove(&x->parked, &t->timer);
    cancel(x, t);
}

void exec_idle(exec *x)
{
    if (x->ran) {
        uint64_t stamp = begin_cleaning(x, x->vm);
        x->runner->idle(x->vm);
        must_end_run(x, stamp);
        note_bytes(x);
    }
    x->ran = false;
}

void exec_refresh(exec *x)
{
    void *before = x->vm;
    x->vm = x->runner->refresh(x->runner->user, before);
    if (x->vm != before)
        note_bytes(x);
}

/* --- for the watchdog --- */

static uint64_t cpu_of(exec *x)
{
    struct timespec cpu;
    if (!atomic_load_explicit(&x->thread_id, memory_order_acquire) || clock_gettime(x->cpu_clock, &cpu) < 0)
        return 0;
    return (uint64_t)cpu.tv_sec * 1000000000u + (uint64_t)cpu.tv_nsec;
}

static uint64_t stamp_of(exec *x)
{
    return atomic_load_explicit(&x->held_since_ns, memory_order_acquire);
}

bool exec_look(exec *x, exec_run_view *ret)
{
    uint64_t stamp = stamp_of(x);
    if (!stamp || stamp == EXEC_TAKEN)
        return false;
    *ret = (exec_run_view){
        .stamp = stamp,
        .limits = atomic_load_explicit(&x->run_limits, memory_order_acquire),
        .deadline_ns = atomic_load_explicit(&x->run_deadline_ns, memory_order_acquire),
        .before_ns = atomic_load_explicit(&x->run_before_ns, memory_order_acquire),
        .cpu_ns = cpu_of(x),
    };
    return stamp_of(x) == stamp;
}

/* By the kernel's number, which may be used for a thread that has ended: it gets nothing then. */
void exec_signal(exec *x, uint64_t stamp, run_limit limit, uint64_t used_ns, uint64_t most_ns, int number)
{
    int thread = atomic_load_explicit(&x->thread_id, memory_order_acquire);
    if (!thread)
        return;
    atomic_store_explicit(&x->aim_limit, (int)limit, memory_order_relaxed);
    atomic_store_explicit(&x->aim_used_ns, used_ns, memory_order_relaxed);
    atomic_store_explicit(&x->aim_most_ns, most_ns, memory_order_relaxed);
    atomic_store_explicit(&x->aim_stamp, stamp, memory_order_release);
    (void)tgkill(getpid(), thread, number);
}

void exec_describe(void (*put)(void *user, const char *text, size_t n), void *user)
{
    exec *x = of_thread;
    uint64_t stamp = x ? stamp_of(x) : 0;
    if (stamp && stamp != EXEC_TAKEN && x->runner->describe)
        x->runner->describe(x->run_vm, put, user);
}

void exec_interrupt(exec *x)
{
    uint64_t stamp = stamp_of(x);
    if (!stamp || atomic_load_explicit(&x->aim_stamp, memory_order_acquire) != stamp)
        return;
    x->runner->interrupt(x->run_vm, (run_limit)atomic_load_explicit(&x->aim_limit, memory_order_relaxed),
                         atomic_load_explicit(&x->aim_used_ns, memory_order_relaxed),
                         atomic_load_explicit(&x->aim_most_ns, memory_order_relaxed));
}
