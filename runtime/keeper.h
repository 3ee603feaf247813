/* keeper: the thread that starts more heavy workers when those there are do not get on.
 *
 * A handler that waits in a system call (os.execute, a database library) holds its thread and uses no core.
 * So when tasks wait and no heavy worker rests, the keeper looks at the state of each thread every
 * KEEPER_SAMPLE_MS. Where twice in a row fewer than pool_config.heavies could run, it starts as many as are
 * missing, up to max_heavies. And where every one of them waits so or is in a run of more than
 * KEEPER_STUCK_NS, it starts one more, and so on: one endless loop, or one long report a thread, does not end
 * the heavy lane. Those it has started end by themselves when they have been idle for a while
 * (runtime/heavy).
 *
 * A thread that is ready and has no core is no reason for more threads, which would only make it worse. That
 * is why the keeper asks for the kernel's state of the thread (/proc/self/task/ID/stat), and not for its
 * processor time, in which both look the same. Without a /proc no thread counts as waiting.
 *
 * It sleeps for as long as nothing waits or somebody rests, and costs nothing then: who publishes a task and
 * finds no heavy worker at rest wakes it. Threads: one of its own; keeper_signal any. */
#ifndef RUNTIME_KEEPER_H
#define RUNTIME_KEEPER_H

#include <stdbool.h>
#include <stdint.h>

#include "runtime/pool.h"

enum { KEEPER_SAMPLE_MS = 10, KEEPER_STUCK_NS = 1000000000 };

int keeper_new(pool *p, keeper **ret_keeper);
void keeper_free(keeper *k);

/* The thread's body. */
void *keeper_main(void *k);

/* After publishing a task, when no heavy worker rests. */
void keeper_signal(keeper *k);

/* --- the decision --- */

/* The heavy workers at one moment. */
typedef struct keeper_view {
    unsigned base, max; /* how many there are to be at least and at most */
    unsigned running;   /* threads there are, those that are just starting among them */
    unsigned resting;   /* of these, asleep for want of tasks */
    unsigned blocked;   /* of these, in a handler that waits in a system call */
    unsigned stuck;     /* of these, not blocked and in a run of more than KEEPER_STUCK_NS */
    unsigned waiting;   /* tasks */
} keeper_view;

/* What is remembered from one look to the next; zero at first. */
typedef struct keeper_memory {
    unsigned missing;
    uint64_t grown_ns;
} keeper_memory;

/* Is there a reason to look at the threads? */
bool keeper_should_watch(const keeper_view *v);

/* How many to start now. */
unsigned keeper_decide(keeper_memory *m, const keeper_view *v, uint64_t now_ns);

#endif
