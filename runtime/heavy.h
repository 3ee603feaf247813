/* heavy: a thread with a VM and no sockets, for handlers that take long.
 *
 * It takes tasks from the shared rings of all workers in turn, runs them, and hands them back through their
 * owner's done ring. A handler that waits is parked on this thread's loop, and the thread takes the next
 * task. Those beyond the pool's usual number end when they have been idle for a while. */
#ifndef RUNTIME_HEAVY_H
#define RUNTIME_HEAVY_H

#include <stdbool.h>
#include <stdint.h>

#include "runtime/pool.h"

int heavy_new(pool *p, unsigned index, heavy **ret_heavy);
void heavy_free(heavy *h);

/* The thread's body. */
void *heavy_main(void *h);

/* The same for a thread that takes the place of a lost one. Its VM has replaced `lost_vm`, if that was the
 * heavy worker's (exec_replace). */
void heavy_take_over(heavy *h, const void *lost_vm);

/* End its sleep, if it sleeps. Thread: any. Returns: whether this call did. */
bool heavy_signal(heavy *h);

/* Does it sleep for want of tasks? A caller who has published one needs a full fence before. Thread: any. */
bool heavy_rests(const heavy *h);

/* Does its thread wait in a system call just now? Costs some microseconds. Thread: any. */
bool heavy_is_blocked(const heavy *h);

/* Its runs. Thread: any, for the watchdog. */
struct exec *heavy_exec(heavy *h);

/* Where it puts what it has finished for a worker. Thread: that worker pops, any may ask for the depth. */
ring *heavy_done_ring(const heavy *h, unsigned worker_index);

/* When the handler that runs on it now was let in, monotonic; 0: none runs. Thread: any. */
uint64_t heavy_busy_since_ns(const heavy *h);

#endif
