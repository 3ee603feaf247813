/* duties: what one generation of the app does by itself: its consumers of queues and its entries of the
 * clock.
 *
 * After a reload (--dev) there are new ones, and the old ones stay until the server is freed: their last jobs
 * may still run, and metrics may look at them. Threads: the one that starts the server, unless it says
 * otherwise. */
#ifndef API_DUTIES_H
#define API_DUTIES_H

#include "queue/mq.h"
#include "runtime/consumer.h"
#include "runtime/schedule.h"
#include "vm/vm.h"

typedef struct duties {
    struct duties *older;
    consumer **consumers;
    size_t consumer_count;
    schedule **clock;
    size_t clock_count;
    uint64_t least_limit_ns; /* of time that any of them has; 0: none */
} duties;

/* What they work with; to outlive them. */
typedef struct duties_means {
    mq *queues;
    ticker *ticker;
    size_t memory_bytes; /* by which a job may let its VM grow */
    void (*tell)(void *user, int level, const char *text);
    void *user;
} duties_means;

/* Make what the app of that VM defines. Returns: 0, or -errno with `error` filled. */
int duties_new(const duties_means *means, vm *first, duties **ret_duties, char *error, size_t size);

/* Begin, with jobs on that pool. */
void duties_start(duties *d, pool *p);

/* Begin nothing more. What is under way goes on. */
void duties_stop(duties *d);

/* After the pool's end: wait until the outcomes of jobs are written down, of these and all older ones, for so
 * long at most each. */
void duties_settle_all(duties *d, unsigned timeout_ms);

/* Free these and all older ones, once the queues are closed. NULL is fine. */
void duties_free_all(duties *d);

#endif
