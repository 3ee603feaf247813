/* watchers: who is told that a queue has something to take, for every engine.
 *
 * A watcher is the caller's memory, so nothing is allocated here and nothing can fail. They are called with
 * no lock held: a watcher may submit operations, watch and unwatch. Threads: any. */
#ifndef QUEUE_WATCHERS_H
#define QUEUE_WATCHERS_H

#include "queue/mq.h"

typedef struct watchers watchers;

/* Returns: NULL when memory is short. */
watchers *watchers_new(void);

/* Thread: any, when no other uses it. NULL is fine. */
void watchers_free(watchers *all);

/* Add one, and call it. */
void watchers_add(watchers *all, mq_watcher *w);

/* Take it out, and wait until no other thread is in its `ready`. From inside `ready` it is fine for the
 * watcher that is called; two that take out each other from inside theirs wait for ever. */
void watchers_remove(watchers *all, mq_watcher *w);

/* Call those of that queue. */
void watchers_call(watchers *all, const char *queue);

#endif
