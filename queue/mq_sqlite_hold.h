/* mq_sqlite_hold: messages that come back, since their time has come, their lease has ended or their holder.
 *
 * Inside the group's transaction. Results are SQLite's. Thread: the engine's. */
#ifndef QUEUE_MQ_SQLITE_HOLD_H
#define QUEUE_MQ_SQLITE_HOLD_H

#include "queue/mq_sqlite_group.h"

/* What is delayed or held until now or earlier is ready. */
int hold_sweep(group *g);

/* What is held by processes that have ended is ready. */
int holder_look(group *g);

/* What failed transactions have taken, if one should have reached the disk, is ready as before. */
int hold_release_lost(group *g);

/* Make sure that this process is known as a holder. */
int holder_enter(group *g);

/* A lease, unlike any other. */
uint64_t hold_lease(group *g);

#endif
