/* mq_sqlite_back: messages that come back, since their time has come, their lease has ended or their holder.
 *
 * Inside the group's transaction. Results are SQLite's. Thread: the engine's. */
#ifndef QUEUE_MQ_SQLITE_BACK_H
#define QUEUE_MQ_SQLITE_BACK_H

#include "queue/mq_sqlite_group.h"

/* What is delayed or held until now or earlier is ready. */
int back_sweep(group *g);

/* What is held by processes that have ended is ready. */
int back_look(group *g);

/* What failed transactions have taken, if one should have reached the disk, is ready as before. */
int back_release_lost(group *g);

/* Make sure that this process is known as a holder. */
int back_enter(group *g);

/* A lease, unlike any other. */
uint64_t back_lease(group *g);

#endif
