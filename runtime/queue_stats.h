/* queue_stats: what was last known of the queues, for those who cannot wait for the engine.
 *
 * One question is under way at a time. So an engine that does not answer holds nobody up, and is not asked
 * again before it has. Threads: any; it locks for itself. */
#ifndef RUNTIME_QUEUE_STATS_H
#define RUNTIME_QUEUE_STATS_H

#include <pthread.h>
#include <stdbool.h>

#include "queue/mq.h"

typedef struct queue_stats {
    mq_op op;
    void (*done)(void *with);
    void *with;
    pthread_mutex_t lock;
    bool asking;       /* [lock] */
    mq_stats *list;    /* [lock] of the last answer */
    uint64_t count;    /* [lock] */
    uint64_t known_ns; /* [lock] when that was, monotonic; 0: never */
} queue_stats;

void queue_stats_init(queue_stats *s);

/* When nothing is asked any more: after mq_close. */
void queue_stats_fini(queue_stats *s);

/* Ask, and call `done` when the answer is there, or none; on any thread, and maybe before this returns.
 * Returns: false when the question before has no answer yet; `done` is not called then. */
bool queue_stats_ask(queue_stats *s, mq *queues, void (*done)(void *with), void *with);

/* A copy of what is known, the caller's to free, and its age.
 * Returns: 0, -ENOENT when nothing is, or -ENOMEM. */
int queue_stats_get(queue_stats *s, mq_stats **ret_list, uint64_t *ret_count, double *ret_age_s);

#endif
