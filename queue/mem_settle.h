/* mem_settle: what the holder of messages of a queue in memory says of them. */
#ifndef QUEUE_MEM_SETTLE_H
#define QUEUE_MEM_SETTLE_H

#include "queue/mem_engine.h"

/* MQ_ACK, MQ_RETRY, MQ_DEAD, MQ_GIVE_BACK, MQ_EXTEND and MQ_PROGRESS. When memory is short, those messages
 * for which it was are held still. */
void mem_settle(mem_engine *e, mq_op *op);

#endif
