/* exec: what every pool thread has: an event loop, a VM, and the handlers that wait on it.
 *
 * No libuv callback runs Lua: the loop only ends a sleep. Handlers run when the thread calls exec_run and
 * exec_run_due. These, exec_evict, exec_drop and exec_idle run the app's code: if the thread is declared lost
 * meanwhile, the call does not return (runtime/lost). Threads: the owner only; others may signal `wake` and
 * post to `inbox`. */
#ifndef RUNTIME_EXEC_H
#define RUNTIME_EXEC_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "queue/inbox.h"
#include "queue/timers.h"
#include "queue/wake.h"
#include "runtime/hold.h"
#include "runtime/limits.h"
#include "runtime/meter.h"
#include "runtime/runner.h"

typedef struct exec {
    const runner *runner;
    void *vm;
    uint64_t now_ns;        /* monotonic; as of the last exec_tick or handler */
    run_limits limits;      /* of requests whose route has none of its own */
    bool ran;               /* a handler ran since the last idle */
    _Atomic(hold *) hold;   /* [owner writes, any reads] its thread's; see exec_replace */
    atomic_size_t vm_bytes; /* [owner writes] what the VM held when it was idle last, for metrics */
    meter meter;
    timers parked;
    inbox inbox;     /* [any posts] ends of what handlers here wait for, and tasks for this thread */
    letter *letters; /* taken from it, and not opened yet */
    wake wake;
    uv_loop_t loop;
    uv_poll_t wake_poll;
    uv_timer_t alarm;
    bool hears; /* [pool's lock] notices are posted to it: runtime/notice */
    unsigned open_handles;
} exec;

/* On the thread that will use it or before it starts; `p` is the pool, for its lost threads. Takes no VM yet.
 * Returns: 0 or -errno, with nothing left behind. */
int exec_init(exec *x, const runner *r, struct pool *p, const run_limits *limits);

/* Thread: any. */
static inline hold *exec_hold(const exec *x)
{
    return atomic_load_explicit(&x->hold, memory_order_acquire);
}

/* Take a VM, on the thread that will run handlers. Returns: 0 or -ENOMEM. */
int exec_enter(exec *x);

/* The thread that it was of is lost; the calling one has it from now on, with a hold that is its own
 * (hold_enter). `vm` is to be used in the place of the one that was lost, if that is the one in use.
 * Returns: the VM that is not needed, or NULL. */
void *exec_replace(exec *x, hold *h, void *lost_vm, void *vm);

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

/* Take in what has come by the inbox, for exec_receive. Returns: whether there is anything. */
bool exec_collect(exec *x);

/* Open the letters that were taken in up to the first that lets a task run, and run that: it ends DONE or
 * PARKED. Returns: it, or NULL when no letter is left. */
HttpTask *exec_receive(exec *x);

/* The thread ends, and nobody posts tasks any more: what has come is refused. */
void exec_refuse_letters(exec *x);

/* Does anything wait here, for a time or for a letter, or is there a letter? */
bool exec_is_waited_in(const exec *x);

/* Take one parked task, whichever, or one that was spawned and is not begun, and answer it 503: DONE. NULL
 * when there is none. */
HttpTask *exec_evict(exec *x);

/* The same, but only one that waits, or is to be begun, in this VM, whose thread is lost: nothing of the VM
 * is touched. */
HttpTask *exec_evict_from(exec *x, const void *lost_vm);

/* Give up a parked task without a reply; its state is the caller's to move. */
void exec_drop(exec *x, HttpTask *t);

/* Poll the loop: for `timeout_ms` at most (-1: no limit of the caller's), less if a parked task is due
 * sooner, not at all for 0. The caller has called wake_prepare and looked at its sources, or passes 0. */
void exec_sleep(exec *x, int timeout_ms);

/* --- between runs --- */

/* Collect garbage if handlers ran, and move to a fresh VM if there is one. When there is nothing to do, and
 * between turns. */
void exec_idle(exec *x);
void exec_refresh(exec *x);

/* Say that this thread has another VM than before. Thread: any that has the place of this one. */
void exec_seated(exec *x);

#endif
