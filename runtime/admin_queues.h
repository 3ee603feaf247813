/* admin_queues: the pages of the admin address that show the queues and change what is in them.
 *
 *     GET /queues                        the queues: how many messages, and what this server's consumer does
 *     GET /queues/NAME?n=10              the first messages of one, those of which it is known what became
 * too POST /queues/NAME/retry?id=ID      have failed ones tried again: {"count": n} POST /queues/NAME/purge
 * let all go that nobody holds: {"count": n}
 *
 * A POST has to carry the header X-Poolsrv, and none that a browser sends with a page's requests (Origin): so
 * no web page that somebody of the operators looks at can change anything.
 *
 * Threads: the admin's; the operation itself is the engine's until it is done. */
#ifndef RUNTIME_ADMIN_QUEUES_H
#define RUNTIME_ADMIN_QUEUES_H

#include <stdbool.h>

#include "queue/mq.h"
#include "runtime/consumer.h"
#include "runtime/later.h"
#include "runtime/task.h"

/* What somebody has asked, and the engine's answer. */
typedef struct queue_question {
    later later; /* first */
    mq_op op;
    char queue[MQ_NAME_BYTES], id[MQ_ID_BYTES];
} queue_question;

/* Call `each` for the server's consumers. */
typedef void consumers_each(void *user, void (*each)(void *to, const consumer *c), void *to);

/* Is it the path of such a page? */
bool admin_queues_is_path(str path);

/* Read the request. Returns: what to ask, with its op ready to be submitted but for `done`; or NULL: the
 * task has its reply. */
queue_question *admin_queues_read(HttpTask *t);

/* Make the reply, once the op is done. */
void admin_queues_answer(const queue_question *q, consumers_each *consumers, void *user, HttpTask *t);

/* Make the reply when it was not done in time. */
void admin_queues_give_up(HttpTask *t);

/* A later's `free`. */
void admin_queues_free(later *l);

#endif
