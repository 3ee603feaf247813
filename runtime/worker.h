/* worker: a thread with sockets, a VM and a home ring: the light lane.
 * Threads: see each function. */
#ifndef RUNTIME_WORKER_H
#define RUNTIME_WORKER_H

#include "queue/ring.h"
#include "runtime/pool.h"

/* Thread: the one that sets up the pool. Returns: 0 or -errno. */
int worker_new(pool *p, unsigned index, worker **ret_worker);
void worker_free(worker *w);

/* The thread's body: takes the VM, turns until the pool drains, drains. */
void *worker_main(void *w);

/* One turn: sleep if there is nothing to do; adopt what is finished elsewhere; read; run; answer; hand on.
 * Thread: the owner. */
void worker_turn(worker *w);

/* The same for a thread that takes the place of a lost one. Its VM has replaced `lost_vm`, if that was the
 * worker's (exec_replace). */
void worker_take_over(worker *w, const void *lost_vm);

/* There is news of a task of this worker's whose thread was lost (runtime/lost). Thread: any. */
void worker_tell_lost(worker *w);

/* Where heavy workers take this worker's tasks from. Thread: any heavy worker. */
ring *worker_shared_ring(worker *w);

/* The heavy worker of that number has put a finished task on the done ring between them; worker_signal after
 * the last of a batch. Thread: any. */
void worker_tell_done(worker *w, unsigned heavy_index);
void worker_signal(worker *w);

/* Its runs. Thread: any, for the watchdog. */
struct exec *worker_exec(worker *w);

unsigned worker_index(const worker *w);

/* Does it sleep? Thread: any. */
bool worker_rests(const worker *w);

/* How many of its connections were ended for that reason. Thread: any. */
uint64_t worker_ended(const worker *w, peer_late why);

/* Thread: any. */
pool_depths worker_depths(const worker *w);

#endif
