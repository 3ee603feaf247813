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

/* --- one by one: each has a file, or shares it with those of its kind; `t` is the queue's --- */

int verb_push(group *g, mq_op *op, tally *t, bool *ret_waits);
int verb_take(group *g, mq_op *op, tally *t);
int verb_peek(group *g, mq_op *op);
int verb_settle(group *g, mq_op *op, tally *t); /* MQ_ACK to MQ_PROGRESS */
int verb_revive(group *g, mq_op *op, tally *t);
int verb_purge(group *g, mq_op *op, tally *t);
int verb_stats(group *g, mq_op *op);

/* --- what they share --- */

/* That operation has failed, and it alone. Returns: success, SQLite's. */
int verb_refuse(mq_op *op, int err, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* The moment so many ms from then; and where a lease ends, or INT64_MAX for one without an end. */
int64_t verb_later(int64_t now_ms, int64_t by_ms);
int64_t verb_lease_end(const group *g, int64_t lease_ms);

#endif
