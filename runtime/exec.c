#include "runtime/exec.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>

#include "runtime/canned.h"
#include "runtime/clock.h"
#include "runtime/lane.h"
#include "runtime/lost.h"

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

int exec_init(exec *x, const runner *r, struct pool *p, const run_limits *limits)
{
    *x = (exec){.runner = r, .limits = *limits, .meter.fd = -1};
    exec_tick(x);
    hold *h = hold_new(r, p);
    if (!h)
        return -ENOMEM;
    int err = wake_init(&x->wake);
    if (err == 0 && (err = uv_loop_init(&x->loop)) != 0)
        wake_fini(&x->wake);
    if (err) {
        hold_free(h);
        return err;
    }
    atomic_store_explicit(&x->hold, h, memory_order_relaxed);
    inbox_init(&x->inbox, &x->wake);
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

static void use_thread(exec *x)
{
    meter_fini(&x->meter); /* it is another thread's, if there was one */
    meter_init(&x->meter);
}

static hold *hold_of(exec *x)
{
    return atomic_load_explicit(&x->hold, memory_order_relaxed);
}

int exec_enter(exec *x)
{
    use_thread(x);
    hold_enter(hold_of(x));
    x->vm = x->runner->enter(x->runner->user);
    if (!x->vm)
        return -ENOMEM;
    note_bytes(x);
    return 0;
}

void exec_seated(exec *x)
{
    if (x->runner->seated)
        x->runner->seated(x->runner->user, &x->inbox);
}

void *exec_replace(exec *x, hold *h, void *lost_vm, void *vm)
{
    use_thread(x);
    atomic_store_explicit(&x->hold, h, memory_order_release);
    if (x->vm != lost_vm)
        return vm;
    x->vm = vm;
    note_bytes(x);
    return NULL;
}

void exec_fini(exec *x)
{
    assert(!timers_first(&x->parked));
    exec_refuse_letters(x);
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
    hold_free(hold_of(x));
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

/* Between begin and end the thread may lose all but its hold, the VM and the task: nothing else of the exec
 * is read there but what never changes. */
static void end_run(hold *h, uint64_t stamp)
{
    if (!hold_end(h, stamp))
        lost_come_back(h);
}

static uint64_t begin_task(exec *x, hold *h, void *vm, HttpTask *t)
{
    return hold_begin(h, x->now_ns, vm, t, limits_of(x, t), t->deadline_ns, t->run_ns);
}

/* The app's code may run while one is given up or garbage is collected: it has the time of a request. */
static uint64_t begin_cleaning(exec *x, hold *h, void *vm, HttpTask *t)
{
    uint64_t deadline_ns = x->limits.wall_ns ? x->now_ns + x->limits.wall_ns : 0;
    return hold_begin(h, x->now_ns, vm, t, &x->limits, deadline_ns, 0);
}

/* The VM may be one that only waited for this. */
static void note_end(exec *x, void *vm)
{
    if (x->runner->ended)
        x->runner->ended(vm);
}

/* The task goes on, or is given up: what it waited for is not its concern any more. */
static void stop_waiting(HttpTask *t)
{
    if (!t->await)
        return;
    t->await->waiter = NULL;
    await_unref(t->await);
    t->await = NULL;
}

/* Tasks that were spawned in a run are this thread's once the run is over, and not before: had it been lost,
 * they would be in its VM. */
static void begin_spawned(exec *x, HttpTask *t)
{
    HttpTask *spawned;
    while ((spawned = task_take_spawned(t)))
        inbox_post(&x->inbox, &spawned->letter);
}

static void cancel(exec *x, HttpTask *t)
{
    stop_waiting(t);
    hold *h = hold_of(x);
    void *vm = t->vm;
    uint64_t stamp = begin_cleaning(x, h, vm, t);
    x->runner->cancel(t);
    end_run(h, stamp);
    begin_spawned(x, t);
    note_end(x, vm);
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
    if (t->await)
        t->await->waiter = t;
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
    if (x->runner->prepare && !x->runner->prepare(x->vm, t)) {
        task_move(t, TASK_DONE);
        return;
    }
    uint64_t since = x->now_ns;
    uint64_t most_ns = limits_of(x, t)->wall_ns;
    if (most_ns) {
        t->deadline_ns = (t->job ? since : t->ready_ns) + most_ns;
        if (since >= t->deadline_ns) {
            give_up(t, "The request waited too long for a thread");
            return;
        }
    }
    t->started_ns = since;
    t->inbox = &x->inbox;
    meter_freshen(&x->meter, since);
    task_move(t, TASK_RUNNING);
    hold *h = hold_of(x);
    void *vm = x->vm;
    uint64_t stamp = begin_task(x, h, vm, t);
    runner_result result = x->runner->start(vm, t);
    end_run(h, stamp);
    begin_spawned(x, t);
    settle(x, t, result, since);
}

/* Of one that was spawned: it is PARKED until its first run. */
static void begin_time(exec *x, HttpTask *t)
{
    uint64_t most_ns = limits_of(x, t)->wall_ns;
    t->started_ns = x->now_ns;
    t->deadline_ns = most_ns ? x->now_ns + most_ns : 0;
}

/* A parked task is run. */
static void go_on(exec *x, HttpTask *t)
{
    stop_waiting(t);
    uint64_t since = x->now_ns;
    if (!t->started_ns)
        begin_time(x, t);
    meter_freshen(&x->meter, since);
    task_move(t, TASK_RUNNING);
    hold *h = hold_of(x);
    void *vm = t->vm;
    uint64_t stamp = begin_task(x, h, vm, t);
    runner_result result = x->runner->resume(t);
    end_run(h, stamp);
    begin_spawned(x, t);
    note_end(x, vm);
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
        t->limit = t->job ? RUN_LIMIT_WALL : RUN_LIMIT_NONE;
        return t;
    }
    go_on(x, t);
    return t;
}

bool exec_collect(exec *x)
{
    if (!x->letters)
        x->letters = inbox_take(&x->inbox);
    return x->letters != NULL;
}

/* The task that waits for it, if one still does. */
static HttpTask *end_await(exec *x, await *a)
{
    HttpTask *t = a->waiter;
    a->over = true;
    if (t)
        timers_remove(&x->parked, &t->timer);
    await_unref(a);
    return t;
}

/* Run what a letter lets run. Returns: the task, or NULL. */
static HttpTask *open_letter(exec *x, letter *l)
{
    HttpTask *t = l->kind == LETTER_AWAIT ? end_await(x, (await *)l) : task_of_letter(l);
    if (t && l->kind == LETTER_JOB)
        exec_run(x, t);
    else if (t)
        go_on(x, t);
    return t;
}

HttpTask *exec_receive(exec *x)
{
    HttpTask *t = NULL;
    while (!t && x->letters) {
        letter *l = x->letters;
        x->letters = l->next;
        t = open_letter(x, l);
    }
    return t;
}

void exec_refuse_letters(exec *x)
{
    while (exec_collect(x)) {
        letter *l = x->letters;
        x->letters = l->next;
        assert(l->kind != LETTER_TASK && "what waits in a VM ends before its thread");
        if (l->kind == LETTER_AWAIT) {
            await_unref((await *)l);
            continue;
        }
        HttpTask *t = task_of_letter(l);
        give_up(t, "The server is stopping");
        t->on_done(t);
    }
}

bool exec_is_waited_in(const exec *x)
{
    return timers_first(&x->parked) || x->letters || !inbox_is_empty(&x->inbox);
}

/* The next task that is to be begun here. Nobody is parked, so other letters end nothing. */
static HttpTask *next_to_begin(exec *x)
{
    while (exec_collect(x)) {
        letter *l = x->letters;
        x->letters = l->next;
        if (l->kind != LETTER_AWAIT)
            return task_of_letter(l);
        (void)end_await(x, (await *)l);
    }
    return NULL;
}

HttpTask *exec_evict(exec *x)
{
    timer *first = timers_first(&x->parked);
    HttpTask *t = first ? task_of(first) : next_to_begin(x);
    if (!t)
        return NULL;
    if (t->state == TASK_PARKED)
        exec_drop(x, t);
    give_up(t, "The server is stopping");
    return t;
}

/* Take a task that was spawned in a VM, and is not begun, off the letters. */
static HttpTask *spawned_in(exec *x, const void *vm)
{
    letter **link = &x->letters;
    while (*link)
        link = &(*link)->next;
    *link = inbox_take(&x->inbox);
    for (link = &x->letters; *link; link = &(*link)->next) {
        letter *l = *link;
        if (l->kind != LETTER_TASK || task_of_letter(l)->vm != vm)
            continue;
        *link = l->next;
        return task_of_letter(l);
    }
    return NULL;
}

static HttpTask *parked_in(exec *x, const void *vm)
{
    for (size_t i = 0; i < x->parked.n; i++) {
        HttpTask *t = task_of(x->parked.heap[i]);
        if (t->vm == vm)
            return t;
    }
    return NULL;
}

HttpTask *exec_evict_from(exec *x, const void *lost_vm)
{
    HttpTask *t = parked_in(x, lost_vm);
    if (!t)
        t = spawned_in(x, lost_vm);
    if (!t)
        return NULL;
    timers_remove(&x->parked, &t->timer);
    stop_waiting(t);
    give_up(t, "The thread that the handler waited on was lost");
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
        hold *h = hold_of(x);
        void *vm = x->vm;
        uint64_t stamp = begin_cleaning(x, h, vm, NULL);
        x->runner->idle(vm);
        end_run(h, stamp);
        note_bytes(x);
    }
    x->ran = false;
}

void exec_refresh(exec *x)
{
    void *before = x->vm;
    x->vm = x->runner->refresh(x->runner->user, before);
    if (x->vm == before)
        return;
    note_bytes(x);
    exec_seated(x);
}
