/* mem_look: what people, and clocks, ask of queues in memory. */
#ifndef QUEUE_MEM_LOOK_H
#define QUEUE_MEM_LOOK_H

#include "queue/mem_engine.h"

/* MQ_STATS, MQ_PEEK, MQ_REVIVE, MQ_PURGE, MQ_CLAIM and MQ_LAST. */
void mem_look_stats(mem_engine *e, mq_op *op);
void mem_look_peek(mem_engine *e, mq_op *op);
void mem_look_revive(mem_engine *e, mq_op *op);
void mem_look_purge(mem_engine *e, mq_op *op);
void mem_look_claim(mem_engine *e, mq_op *op);
void mem_look_last(mem_engine *e, mq_op *op);

#endif
