/* jobs: what a server runs beside requests: consumers of its queues, and what handlers have spawned or handed
 * on.
 *
 * Made before the VMs, as these ask for it; opened once the options are known; started with the threads.
 * Threads: each function says; none of them is called from a signal handler. */
#ifndef API_JOBS_H
#define API_JOBS_H

#include "api/changes.h"
#include "api/duties.h"
#include "queue/mq.h"
#include "runtime/log.h"
#include "runtime/notice.h"
#include "runtime/pool.h"
#include "runtime/queue_stats.h"
#include "vm/vm.h"

enum { JOBS_SPAWNED_MAX = 10000 }; /* functions that wait or run */

typedef struct jobs {
    vm_host host; /* for vm_config */
    logger *log;
    mq *queues;           /* const while VMs serve; NULL before jobs_open */
    _Atomic(pool *) pool; /* NULL before jobs_start */
    ticker *ticker;
    _Atomic(duties *)
        duties;        /* [any reads] of the app as it is now, the newest first; NULL before jobs_define */
    queue_stats stats; /* for /metrics */
    errand_kind calls; /* of task.run */
    run_limits limits; /* what spawned functions have unless they say otherwise */
    notices notices;
    changes changes;     /* of shared dictionaries */
    atomic_uint spawned; /* [any] */
    atomic_bool ending;  /* [any] the server is about to end */
} jobs;

/* Thread: the one that makes the server. */
void jobs_init(jobs *j);

/* Open the queues. `shared`, `elsewhere` and `log` are to outlive them. Returns: 0, or -errno with `error`
 * filled. Thread: the one that starts the server, as of all that follow. */
int jobs_open(jobs *j, const char *url, dicts *shared, remotes *elsewhere, logger *log,
              const run_limits *limits, char *error, size_t size);

/* Thread: any. */
static inline duties *jobs_duties(const jobs *j)
{
    return atomic_load_explicit(&j->duties, memory_order_acquire);
}

/* Make what the app of that VM defines, and use it. Returns: 0, or -errno with `error` filled. */
int jobs_define(jobs *j, vm *first, char *error, size_t size);

/* For a reload: make it only; and go on with it in the place of the old. */
int jobs_make(jobs *j, vm *v, duties **ret_duties, char *error, size_t size);
void jobs_change(jobs *j, duties *fresh);

/* After a reload: have the listeners told that are new in it. Returns: 0, or -ENOMEM. */
int jobs_listen(jobs *j, vm *first);

/* The smallest limit of time of that, or `least` if it is smaller; 0 is none. */
uint64_t jobs_least_limit_ns(const jobs *j, uint64_t least);

/* That pool's threads are to run them: before these start. */
void jobs_use(jobs *j, pool *p);

/* Start what was made, once the threads of the pool run. */
void jobs_start(jobs *j);

/* The server begins to stop: nothing is taken any more. */
void jobs_drain(jobs *j);

/* The pool has ended: settle what it has left. */
void jobs_settle(jobs *j);

/* Close the queues and free all. Fine at any time but between jobs_start and the pool's end; with no VM left,
 * and before the pool is freed: what still waits for the queues is told by letters to its threads. */
void jobs_fini(jobs *j);

#endif
