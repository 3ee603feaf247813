/* mq_sqlite_verbs: what each verb does, inside the group's transaction.
 *
 * Results are SQLite's; what concerns the operation alone is in its err and error. Thread: the engine's. */
#ifndef QUEUE_MQ_SQLITE_VERBS_H
#define QUEUE_MQ_SQLITE_VERBS_H

#include "queue/mq_sqlite_group.h"

/* *ret_waits: it is a push that waits for room. Returns: SQLite's result. */
int verb_run(group *g, mq_op *op, bool *ret_waits);

/* Take back what it has put out. */
void verb_undo(mq_op *op);

/* Bring the group's tallies into the file. */
int verb_flush(group *g);

#endif
