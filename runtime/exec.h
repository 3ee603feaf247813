/* exec: what every pool thread has: an event loop, a VM, and the handlers that wait on it.
 *
 * No libuv callback runs Lua: the loop only ends a sleep. Handlers run when the thread calls exec_run and
 * exec_run_due. Threads: the owner only; others may signal `wake`. */
#ifndef RUNTIME_EXEC_H
#define RUNTIME_EXEC_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "queue/wake.h"
#include "runtime/limits.h"
#include "runtime/meter.h"
#include "runtime/runner.h"
#include "runtime/timers.h"

#define EXEC_TAKEN UINT64_MAX /* in held_since_ns */

typedef struct exec {
    const runner *runner;
    void *vm;
    uint64_t now_ns;   /* monotonic; as of the last exec_tick or handler */
    run_limits limits; /* of requests whose route has none of its own */
    bool ran;          /* a handler ran since the last idle */
    /* Who has the run: 0 when no handler runs here; else when its start or resume began, monotonic, no two
     * runs alike; EXEC_TAKEN once another thread has taken the run away. The owner stores the moment
     * (release) and ends with an exchange of it for 0; a watchdog reads it (acquire), and may exchange it for
     * EXEC_TAKEN: one of the two succeeds, and the task is his. */
    atomic_uint_fast64_t held_since_ns;
    uint64_t last_held_ns; /* [owner] the stamp of the latest run */
    void *run_vm;          /* [owner] what it runs in */
    /* Of the run that held_since_ns names; [owner writes, any reads] */
    _Atomic(const run_limits *) run_limits;
    atomic_uint_fast64_t run_deadline_ns; /* 0: none */
    atomic_uint_fast64_t run_before_ns;   /* what earlier runs of the request have taken */
    /* Which run the watchdog's signal is for, and why; [watchdog writes, owner reads] */
    atomic_uint_fast64_t aim_stamp, aim_used_ns, aim_most_ns;
    atomic_int aim_limit;
    clockid_t cpu_clock;    /* of its thread; const while thread_id is set */
    atomic_int thread_id;   /* [owner writes, any reads] the kernel's; 0: it has no thread */
    atomic_size_t vm_bytes; /* [owner writes] what the VM held when it was idle last, for metrics */
    meter meter;
    timers parked;
    wake wake;
    uv_loop_t loop;
    uv_poll_t wake_poll;
    uv_timer_t alarm;
    unsigned open_handles;
} exec;

/* On the thread that will use it or before it starts. Takes no VM yet. Returns: 0 or -errno, with nothing
 * left behind. */
int exec_init(exec *x, const runner *r, const run_limits *limits);

/* Take a VM, on the thread that will run handlers. Returns: 0 or -ENOMEM. */
int exec_enter(exec *x);

/* Give the VM back and close the loop; nothing may be parked. */
void exec_fini(exec *x);

/* Read the clock. */
void exec_tick(exec *x);

/* Run the handler of a QUEUED task: it ends DONE or PARKED. One that has waited past the handler timeout is
 * answered 503. */
void exec_run(exec *x, HttpTask *t);

/* Go on with one parked task that was due at `until_ns`: it ends DONE or PARKED again. With a moment from
 * before the first call, one that waits for no time at all comes again in the next turn, not in this one.
 * Returns: it, or NULL when none is due. */
HttpTask *exec_run_due(exec *x, uint64_t until_ns);

/* Take one parked task, whichever, and answer it 503: DONE. NULL when none is parked. */
HttpTask *exec_evict(exec *x);

/* Give up a parked task without a reply; its state is the caller's to move. */
void exec_drop(exec *x, HttpTask *t);

/* Poll the loop: for `timeout_ms` at most (-1: no limit of the caller's), less if a parked task is due
 * sooner, not at all for 0. The caller has called wake_prepare and looked at its sources, or passes 0. */
void exec_sleep(exec *x, int timeout_ms);

/* --- for the watchdog --- */

typedef struct exec_run_view {
    uint64_t stamp;
    const run_limits *limits;
    uint64_t deadline_ns, before_ns;
    uint64_t cpu_ns; /* the thread's processor time */
} exec_run_view;

/* What runs there. Thread: any. Returns: false when nothing does. */
bool exec_look(exec *x, exec_run_view *ret);

/* Have the run of that stamp interrupted, if it still goes on. Thread: the watchdog. */
void exec_signal(exec *x, uint64_t stamp, run_limit limit, uint64_t used_ns, uint64_t most_ns, int number);

/* The signal has arrived. Thread: the owner, in the signal's handler. */
void exec_interrupt(exec *x);

/* Write what runs on this thread, if something does. Thread: any, in a signal handler. */
void exec_describe(void (*put)(void *user, const char *text, size_t n), void *user);

/* --- between runs --- */

/* Collect garbage if handlers ran, and move to a fresh VM if there is one. When there is nothing to do, and
 * between turns. */
void exec_idle(exec *x);
void exec_refresh(exec *x);

#endif
