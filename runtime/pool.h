/* pool: the threads, and the rings between them.
 *
 * Workers own sockets (runtime/worker), heavy workers own none (runtime/heavy). Tasks go
 *     connection -> home ring of its worker -> handler, on the same thread            the light lane
 *     ... -> shared ring of its worker -> a heavy worker -> done ring of its worker     the heavy lane
 * Jobs, which have no socket, go onto a ring of their own, and heavy workers take them when no request waits,
 * but now and then even so. A heavy thread is kept from them for requests: see pool_take_job.
 * The shared ring of a worker has one producer and every heavy worker as a consumer. Of done rings there is
 * one for each pair of worker and heavy worker: with one producer each, nobody ever waits for a producer that
 * was preempted (see ring.c). No ring is smaller than its worker's connection limit, so a push of a task that
 * has a connection cannot fail.
 *
 * The number of heavy workers changes: the keeper (runtime/keeper) starts more, up to max_heavies, and those
 * beyond `heavies` end when they are idle. A heavy worker is made, with its done rings, when it is started
 * for the first time, and freed with the pool: so a pointer to one is good for ever, whether its thread runs
 * or not, and a later thread takes its place over. */
#ifndef RUNTIME_POOL_H
#define RUNTIME_POOL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "queue/ring.h"
#include "runtime/http.h"
#include "runtime/lost.h"
#include "runtime/runner.h"

typedef struct pool pool;
typedef struct worker worker;
typedef struct heavy heavy;
typedef struct keeper keeper;
typedef struct watchdog watchdog;
struct exec;

typedef struct pool_config {
    unsigned workers, heavies;
    unsigned max_heavies;        /* how many there may be while some are blocked; at least `heavies` */
    uint64_t heavy_idle_ns;      /* how long one beyond `heavies` stays without a task */
    unsigned cores;              /* that the threads have for themselves */
    unsigned max_connections;    /* of all workers together, shared evenly, at least one each */
    unsigned max_queue;          /* tasks that may wait for a heavy worker */
    uint64_t max_wait_ns;        /* how long they may wait, as expected and in fact; 0: no limit */
    uint64_t handler_timeout_ns; /* 0: none */
    uint64_t cpu_limit_ns;       /* of a request without limits of its own; 0: none */
    uint64_t least_limit_ns;     /* the smallest that any request may have; 0: none has any, no watchdog */
    uint64_t forced_read_ns; /* how long clients may take to read their last replies after a forced stop */
    http_config http;        /* for each worker, but for listen_fd and max_connections */
    bool own_listeners;      /* no two workers share one: each stops its own when it drains */
    const int *listen_fds;   /* one a worker; the caller's, and listening */
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
    heavy **heavies;    /* [lock to write] max_heavies places, of which the first heavies_made are filled */
    bool *heavy_up;     /* [lock] whether its thread runs */
    watchdog *watchdog; /* NULL when nothing is limited */
    keeper *keeper;     /* NULL when there can be no more than there are */
    atomic_uint heavies_made;     /* [lock to write] release; pairs with pool_heavies_made */
    atomic_int stage;             /* [any] enum pool_stage; only grows */
    atomic_uint waiting;          /* [any] tasks on their way to a heavy worker */
    atomic_uint_fast64_t due_ns;  /* [any] how long a task that comes now is expected to wait, if no heavy
                                     worker rests: the sum of HttpTask.cost_ns */
    atomic_uint_fast64_t mean_ns; /* [any] how long tasks of any route hold heavy workers, of late */
    atomic_uint_fast64_t grow_after_ns;           /* [any] no more heavy workers before this */
    atomic_uint workers_running, heavies_running; /* [any] */
    atomic_uint keepers_running; /* [any] also the watchdog, and spare threads before they have a place */
    lost_threads lost;
    atomic_uint ready;        /* [any] threads that have a VM and take tasks */
    pthread_mutex_t lock;     /* for `injected` and the condition */
    pthread_cond_t changed;   /* a thread has become ready, or ended */
    ring *injected;           /* [lock to push] tasks without a socket */
    ring *jobs;               /* [lock to push] tasks that are jobs */
    atomic_uint jobs_running; /* [any] that hold a heavy thread, but for those that have waited */
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

/* Not while threads run; and not while any is lost (lost_any), for that still uses the pool. NULL is fine. */
void pool_free(pool *p);

/* Give a QUEUED task without a socket to the heavy workers. Thread: any.
 * Returns: 0, or -EAGAIN when max_queue tasks wait. */
int pool_inject(pool *p, HttpTask *t);

enum { POOL_JOBS_MAX = 65535 }; /* that may wait */

/* Give a QUEUED job to the heavy workers. Its on_done is called on the thread that has run it, or here and
 * now when the threads have ended, with the task DONE and its outcome TASK_OUTCOME_SERVER if it was not run.
 * Thread: any.
 * Returns: 0, or -EAGAIN when POOL_JOBS_MAX wait, and then the task is the caller's still. */
int pool_run_job(pool *p, HttpTask *t);

/* The next job, if one waits and may have a thread: they have all heavy threads but one, or the one there is.
 * Thread: a heavy worker's; pool_job_ran when it has stopped running. */
HttpTask *pool_take_job(pool *p);
void pool_job_ran(pool *p);

/* A thread of the pool has a VM, and others may post jobs to its inbox; or it does not want them any more. */
void pool_hear(pool *p, struct exec *x, bool hears);

/* Call back for the inbox of each that does, with the lock held: no more than posting is to be done. Thread:
 * any.
 */
void pool_each_inbox(pool *p, void (*each)(void *user, struct inbox *to), void *user);

/* May pool_take_job find one? Thread: any. */
bool pool_has_job(const pool *p);

static inline enum pool_stage pool_stage(pool *p)
{
    return (enum pool_stage)atomic_load_explicit(&p->stage, memory_order_acquire);
}

/* Ask for a place for a task among those that wait for heavy workers. Refused are those that come when
 * max_queue wait already, or when the wait is expected to be longer than max_wait_ns and no heavy worker
 * rests. What is expected is the sum of what the routes' earlier requests have taken, so a queue of mixed
 * routes counts as what it is; a route that never ran counts as the average does. Thread: any.
 * Returns: 0, or -EAGAIN and the seconds after which it may go better. */
int pool_admit(pool *p, HttpTask *t, unsigned *ret_retry_s);

/* An admitted task has been taken from its ring (or is gone); and it holds its heavy worker no more: its
 * cost_ns counts no more for those who come. */
void pool_taken(pool *p);
void pool_ran(pool *p, uint64_t cost_ns);

/* After pushing onto a shared ring: wake one heavy worker that sleeps. It wakes the next if there is more
 * than it can take. If none sleeps, the keeper looks whether they get on. Thread: any. */
void pool_wake_heavy(pool *p);

/* Are there a heavy worker that rests and a core for it to run on? Thread: any. */
bool pool_has_spare(const pool *p);

/* Start one heavy worker more. Thread: the keeper.
 * Returns: 0; -EAGAIN when there are enough or the pool ends; or another -errno. */
int pool_grow(pool *p);

/* How many heavy workers there are to look at, running or not. Thread: any. */
static inline unsigned pool_heavies_made(const pool *p)
{
    return atomic_load_explicit(&p->heavies_made, memory_order_acquire);
}

/* The limits of a request without any of its own. */
static inline run_limits pool_limits(const pool_config *c)
{
    return (run_limits){.cpu_ns = c->cpu_limit_ns, .wall_ns = c->handler_timeout_ns};
}

/* How many connections a worker may have: what its rings must hold. */
static inline unsigned pool_worker_connections(const pool_config *c)
{
    return (c->max_connections + c->workers - 1) / c->workers;
}

/* Start a thread that counts as a keeper, and ends with pool_thread_ended. Returns: 0 or -errno. */
int pool_start_keeper(pool *p, void *(*body)(void *), void *arg);

/* For the threads: say that this one is ready, or has ended. */
void pool_thread_ready(pool *p, bool ok);
void pool_thread_ended(pool *p, atomic_uint *running);
void pool_heavy_ended(pool *p, unsigned index);

/* For the admin: how full the rings are. Thread: any. */
typedef struct pool_depths {
    size_t home, shared, done;
    unsigned connections;
    size_t vm_bytes; /* as of the worker's last idle moment */
} pool_depths;
pool_depths pool_depths_of(const pool *p, unsigned worker_index);

/* For the admin: how many connections were ended for that reason. Thread: any. */
uint64_t pool_ended(const pool *p, peer_late why);

/* For the admin: heavy workers that run, may run, and are in a handler just now. Thread: any. */
typedef struct pool_heavies {
    unsigned running, max, busy;
} pool_heavies;
pool_heavies pool_heavies_of(const pool *p);

#endif
