/* pool: the threads, and the rings between them.
 *
 * Workers own sockets (runtime/worker), heavy workers own none (runtime/heavy). Tasks go
 *     connection -> home ring of its worker -> handler, on the same thread            the light lane
 *     ... -> shared ring of its worker -> a heavy worker -> done ring of its worker     the heavy lane
 * The shared ring of a worker has one producer and every heavy worker as a consumer. Of done rings there is
 * one for each pair of worker and heavy worker: with one producer each, nobody ever waits for a producer that
 * was preempted (see ring.c). No ring is smaller than its worker's connection limit, so a push of a task that
 * has a connection cannot fail. */
#ifndef RUNTIME_POOL_H
#define RUNTIME_POOL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "queue/ring.h"
#include "runtime/http.h"
#include "runtime/runner.h"

typedef struct pool pool;
typedef struct worker worker;
typedef struct heavy heavy;

typedef struct pool_config {
    unsigned workers, heavies;
    unsigned max_connections;    /* of all workers together, shared evenly, at least one each */
    unsigned max_queue;          /* tasks that may wait for a heavy worker */
    uint64_t handler_timeout_ns; /* 0: none */
    http_config http;            /* for each worker, but for listen_fd and max_connections */
    bool own_listeners;          /* no two workers share one: each stops its own when it drains */
    const int *listen_fds;       /* one a worker; the caller's, and listening */
} pool_config;

enum pool_stage {
    POOL_RUNNING,
    POOL_DRAINING, /* finish what there is */
    POOL_FORCED    /* answer 503 to whatever is left */
};

struct pool {
    pool_config config;
    const runner *runner;
    worker **workers;
    heavy **heavies;
    atomic_int stage;                             /* [any] enum pool_stage; only grows */
    atomic_uint waiting;                          /* [any] tasks on their way to a heavy worker */
    atomic_uint workers_running, heavies_running; /* [any] */
    atomic_uint ready;                            /* [any] threads that have a VM and take tasks */
    pthread_mutex_t lock;                         /* for `injected` and the condition */
    pthread_cond_t changed;                       /* a thread has become ready, or ended */
    ring *injected;                               /* [lock to push] tasks without a socket */
    atomic_uint cut_off;      /* [any] requests that a forced stop ended before their handler did */
    atomic_bool quit_heavies; /* [any] no worker is left that could send more */
};

/* Make everything, start nothing. Returns: 0, or -errno with nothing left behind. */
int pool_new(const pool_config *config, const runner *r, pool **ret_pool);

/* Start the threads and wait until each has its VM. Returns: 0, or -errno after ending those that had
 * started. */
int pool_start(pool *p);

/* Go to a stage, and tell every thread. Thread: any; not from a signal handler. */
void pool_set_stage(pool *p, enum pool_stage stage);

/* Make every thread take a turn. Thread: any; not from a signal handler. */
void pool_wake_all(pool *p);

/* Wait until all threads have ended, for `timeout_ns` at most (UINT64_MAX: no limit).
 * Returns: true when they have, and then pool_free may be called. */
bool pool_wait(pool *p, uint64_t timeout_ns);

/* Not while threads run. NULL is fine. */
void pool_free(pool *p);

/* Give a QUEUED task without a socket to the heavy workers. Thread: any.
 * Returns: 0, or -EAGAIN when max_queue tasks wait. */
int pool_inject(pool *p, HttpTask *t);

static inline enum pool_stage pool_stage(pool *p)
{
    return (enum pool_stage)atomic_load_explicit(&p->stage, memory_order_acquire);
}

/* Ask for a place among the tasks that wait for heavy workers. Thread: any. */
bool pool_admit(pool *p);

/* After pushing onto a shared ring: wake one heavy worker that sleeps. It wakes the next if there is more
 * than it can take. Thread: any. */
void pool_wake_heavy(pool *p);

/* For the threads: say that this one is ready, or has ended. */
void pool_thread_ready(pool *p, bool ok);
void pool_thread_ended(pool *p, atomic_uint *running);

/* For the admin: how full the rings are. Thread: any. */
typedef struct pool_depths {
    size_t home, shared, done;
    unsigned connections;
    size_t vm_bytes; /* as of the worker's last idle moment */
} pool_depths;
pool_depths pool_depths_of(const pool *p, unsigned worker_index);

/* For the admin: heavy workers there are, may be, and that run a handler just now. Thread: any. */
typedef struct pool_heavies {
    unsigned running, max, busy;
} pool_heavies;
pool_heavies pool_heavies_of(const pool *p);

#endif
