/* lost: threads whose handler goes on although it was told to end, and those that take their places.
 *
 * A handler may be inside a C function that does not return, where no limit reaches it. Its thread is then
 * declared lost: a spare thread with a VM of its own takes the run away (hold_take), and with it the place in
 * the pool: the connections, the rings, the loop, all that a worker or heavy worker has. It can, since
 * handlers run between two runs of the daemon and outside libuv's callbacks, where all of that is whole.
 * The lost thread keeps three things: its hold, the VM and the task that it runs. So
 *     - that task's client is answered 504 by the task's owner, without touching the task's reply, and its
 *       connection is held until the thread comes back: the handler may still read the request;
 *     - what waited in that VM is answered 503, and the VM is not touched either;
 *     - all else goes on with the spare.
 * If the thread comes back it finds its run taken, closes its VM, gives the task back, and ends.
 *
 * Threads: see each function. */
#ifndef RUNTIME_LOST_H
#define RUNTIME_LOST_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "runtime/hold.h"

struct pool;
struct worker;
struct heavy;

enum { LOST_MAX = 64 }; /* threads at a time; more places than that are not taken over */

/* Of a pool. */
typedef struct lost_threads {
    pthread_mutex_t lock;
    hold *first;         /* [lock] lost, or come back and not yet seen by the task's owner */
    hold *free;          /* [lock] of threads that ended */
    atomic_uint now;     /* [lock to write] threads that are lost */
    atomic_uint retired; /* [lock to write] threads that were, and came back */
} lost_threads;

void lost_init(lost_threads *l);

/* No thread may be lost, and each owner has heard of its tasks. */
void lost_fini(lost_threads *l);

/* Is any thread lost, and not back yet? It uses what belongs to the pool. Thread: any. */
bool lost_any(lost_threads *l);

/* Start a spare thread for the place of a worker or of a heavy worker (the other is NULL), whose thread has
 * that hold and goes on with that run. It takes the place as soon as it has a VM, if the run still goes on.
 * Nothing is done if one is on its way. Thread: the watchdog. */
void lost_relieve(struct pool *p, struct worker *w, struct heavy *h, hold *of, uint64_t stamp,
                  const char *route_name);

/* Interrupt what runs on lost threads, again: a handler may have come out of its C function only to go on.
 * Thread: the watchdog. */
void lost_signal_all(struct pool *p, int number);

/* The calling thread has ended a run that was taken from it. */
_Noreturn void lost_come_back(hold *h);

/* What the owner of a lost thread's task has to know of it. */
typedef struct lost_news {
    HttpTask *task;
    run_limit limit; /* that the handler met */
    bool is_lost;    /* it is now */
    bool is_back;    /* the task belongs to its owner again */
} lost_news;

/* The next news for a worker, if there is any; each is told once. Thread: that worker. */
bool lost_next_news(lost_threads *l, const struct worker *w, lost_news *ret);

#endif
