/* mq_sqlite_group: operations that wait at the same time, in one transaction.
 *
 * An operation that fails by itself (a bad name, a full queue) has changed nothing, so the others go on. What
 * fails in SQLite fails all of the group. Nobody is told anything before COMMIT has returned.
 *
 * Thread: the engine's. */
#ifndef QUEUE_MQ_SQLITE_GROUP_H
#define QUEUE_MQ_SQLITE_GROUP_H

#include <stdbool.h>
#include <stdint.h>

#include "queue/holder.h"
#include "queue/mq.h"
#include "queue/mq_sqlite_store.h"
#include "queue/tally.h"

typedef struct group {
    store store;
    const mq_config *config;
    int64_t max; /* messages in a queue; 0: no limit */

    holder self;
    int64_t holder_row; /* its row in the file, 0 when it has held nothing yet */
    uint64_t lost;      /* where the leases of failed transactions begin, up to the last given; or 0 */
    uint64_t lease;     /* the last one given: no other of any process is alike */

    /* Of one transaction. */
    int64_t now_ms;
    tallies tallies;
    unsigned windows; /* ids that were remembered */
    bool has_looked;  /* for holders that have ended */
    bool made_room;   /* for pushes that wait */

    int64_t looked_ms; /* when that was, of the clock that only goes forwards */
    bool fails;        /* the last transaction did, and it was told */
} group;

/* Returns: 0, or -errno with the reason in `error`; `path` and what is in `config` stay the caller's. */
int group_init(group *g, char *path, const mq_config *config, char *error, size_t size);
void group_fini(group *g);

/* Run a list, which may be empty, in the order it has. All are settled, but for pushes that wait for room;
 * these are put behind *waiting. Afterwards the tallies tell which queues have something new, until the next
 * one.
 * Returns: false when the file could not be written; then the operations have been told. */
bool group_run(group *g, mq_op *ops, mq_op **waiting);

/* Has another connection changed the file since this was asked last? */
bool group_is_changed(group *g, int64_t *version);

/* When the next message becomes ready, by itself or since its lease ends; INT64_MAX: never. */
int64_t group_next_due(group *g);

/* Call `each` for the queues that have messages to be taken. It must not use the group. */
void group_each_ready(group *g, void (*each)(void *user, const char *queue), void *user);

/* A clock that only goes forwards, in milliseconds. */
int64_t group_clock_ms(void);

#endif
