/* mem_engine: what all queues in memory share: the table of them, the thread for times, who is told.
 *
 * Each queue has a lock, held for moments: messages are made, copied and freed without it. Locks: the table's
 * before a queue's, a queue's before that of the times; never two queues'; none while `done` or `ready` is
 * called. Threads: any. */
#ifndef QUEUE_MEM_ENGINE_H
#define QUEUE_MEM_ENGINE_H

#include <pthread.h>
#include <stdatomic.h>

#include "queue/mem_queue.h"
#include "queue/mq.h"
#include "queue/siphash.h"
#include "queue/timers.h"
#include "queue/watchers.h"

#define MEM_NS_PER_MS INT64_C(1000000)

typedef struct mem_engine {
    const mq *front;
    uint64_t max;    /* messages in a queue */
    siphash_key key; /* of the tables' hashes */
    watchers *watchers;

    pthread_mutex_t table_lock;
    mem_queue **shelves; /* [table_lock] a power of two of lists; queues stay until the end */
    size_t shelves_n, queues_n;

    pthread_mutex_t time_lock;
    pthread_cond_t time_changed;
    timers times;           /* [time_lock] of queues: when something is due in them */
    bool closing;           /* [time_lock] */
    atomic_bool has_thread; /* written with time_lock */
    pthread_t thread;

    atomic_bool is_closed; /* operations that come from here on are refused */
} mem_engine;

/* Returns: NULL when memory, or the system's random numbers, cannot be had. */
mem_engine *mem_engine_new(const mq *front, uint64_t max);
/* With its queues. Thread: any, when no other uses it and its thread has ended. */
void mem_engine_free(mem_engine *e);

/* The queue of that name. Returns: NULL: there is none; or, with `make`, memory is short. */
mem_queue *mem_engine_find(mem_engine *e, const char *name, bool make);

/* --- times --- */

/* Start the thread for times, if there is none. Returns: 0 or -ENOMEM. */
int mem_engine_start_thread(mem_engine *e);
/* End it. Nothing becomes due from then on. */
void mem_engine_stop_thread(mem_engine *e);

/* Let the thread look at the queue when something is due in it. With the queue's lock. */
void mem_engine_arm(mem_engine *e, mem_queue *q);

/* The monotonic clock. */
uint64_t mem_now_ns(void);
/* ms of a length of time, as ns; 0 when it is less. Very long ones are cut. */
uint64_t mem_length_ns(int64_t ms);
/* The moment so many ms from now. */
int64_t mem_from_now_ms(int64_t ms);

/* --- what follows from a change --- */

/* What is to be done when the lock has been let go. */
typedef struct mem_after {
    bool ready;          /* something can be taken that could not before */
    mq_op *ended, *last; /* pushes that waited, with their err set */
} mem_after;

/* Do it. Without a lock. */
void mem_engine_follow(mem_engine *e, mem_queue *q, const mem_after *a);

/* Call `done` of an operation whose err is set. */
void mem_engine_end(const mem_engine *e, mq_op *op);

#endif
