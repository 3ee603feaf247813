/* mem_push: into a queue in memory; and pushes that wait until a full one has room. */
#ifndef QUEUE_MEM_PUSH_H
#define QUEUE_MEM_PUSH_H

#include "queue/mem_engine.h"

/* MQ_PUSH. */
void mem_push(mem_engine *e, mq_op *op);

/* There may be room for those that wait. With the queue's lock. */
void mem_push_admit(mem_engine *e, mem_queue *q, mem_after *a);

/* Those whose time is over by then get that error. With the queue's lock. */
void mem_push_end_waits(mem_queue *q, uint64_t until_ns, int err, mem_after *a);

#endif
