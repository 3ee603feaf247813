/* consumer: takes messages from a queue and has them run as jobs, so many at a time.
 *
 * One for each queue that the app consumes. It holds no thread: it goes on when the queue says that something
 * is ready, when a job has ended, and when an operation has. What it has taken it holds by a lease that is
 * extended for as long as the process lives, so a message is given to another only if the process ends or
 * stands still.
 *
 * Each message is settled by the job's outcome: acknowledged; or to be tried again after a while; or, when
 * that was the last try, moved to the dead letters; or given back, if it was not tried because the server
 * stops. A message that was delivered once too often without an outcome, since the process ended each time,
 * is moved to the dead letters without another try.
 *
 * Threads: see each function. */
#ifndef RUNTIME_CONSUMER_H
#define RUNTIME_CONSUMER_H

#include "queue/mq.h"
#include "runtime/errand.h"
#include "runtime/ticker.h"

typedef struct consumer consumer;

typedef enum consumer_backoff { BACKOFF_EXPONENTIAL, BACKOFF_LINEAR, BACKOFF_CONSTANT } consumer_backoff;

typedef struct consumer_config {
    const char *queue;
    const char *dead_letter; /* the queue for what has failed for good; "": it is let go */
    unsigned concurrency;    /* jobs at a time */
    unsigned batch;          /* messages in a job; 0: one, and not as a list */
    unsigned retries;        /* after the first try */
    consumer_backoff backoff;
    double delay_s, max_delay_s; /* before the first retry, and at most */
    double lease_s;
    run_limits limits; /* of a job; route is of no account */
    /* A trouble that a person should read; level 0: error, 1: warn. On any thread. */
    void (*tell)(void *user, int level, const char *text);
    void *user;
} consumer_config;

/* Copies the config's texts. Starts nothing. Returns: 0 or -ENOMEM. */
int consumer_new(const consumer_config *config, mq *queues, ticker *k, consumer **ret_consumer);

/* Begin to take messages, and to have them run on that pool. */
void consumer_start(consumer *c, pool *p);

/* Take no more. What is under way goes on. Not from a callback of the queues'. */
void consumer_stop(consumer *c);

/* After consumer_stop, when its jobs have ended: wait until they are settled, for so long at most (and for a
 * quarter of a second more at worst).
 * Returns: whether they are. If not, mq_close has to come before consumer_free: it ends what is under way. */
bool consumer_settle(consumer *c, unsigned timeout_ms);

/* NULL is fine. */
void consumer_free(consumer *c);

/* What it has done. Thread: any. */
typedef struct consumer_counts {
    uint64_t done, retried, dead, given_back;
    uint64_t stale;   /* ended when the message had been given to another already */
    unsigned running; /* jobs under way */
} consumer_counts;
consumer_counts consumer_count(const consumer *c);

const char *consumer_queue(const consumer *c);

/* How long to wait before the next try of a message that was tried so often. Pure. */
int64_t consumer_delay_ms(const consumer_config *config, unsigned attempt);

#endif
