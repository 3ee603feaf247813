/* mem_queue: one queue of the engine in memory: what is ready, what is delayed, what is taken.
 *
 * A plain structure; whoever uses one holds its lock. Nothing here calls out, waits, or reads a clock. */
#ifndef QUEUE_MEM_QUEUE_H
#define QUEUE_MEM_QUEUE_H

#include <pthread.h>

#include "queue/mq.h"
#include "queue/seen.h"
#include "queue/timers.h"

/* What the queue keeps of a message, in one block with it. While it is taken, the message itself belongs to
 * its taker, who may still have it when it has become ready again; so what changes stands here, and is
 * written to the message when it is taken. */
typedef struct mem_item {
    timer timer;                      /* first: the heaps'. While it is delayed, or has a lease */
    struct mem_item *previous, *next; /* while it is ready; next also of a chain of those that are not */
    int64_t ready_ms;                 /* when it is or was ready */
    int64_t lease_ms;                 /* when its lease ends; 0: never */
    uint64_t lease;                   /* which delivery this is; 0: it is not taken */
    double progress;
    unsigned attempt;
    uint32_t slot;
    bool
        is_settled; /* taken, and its holder is settling it just now; `previous` is what comes in its place */
    bool is_revived; /* the message's origin and note count no more */
} mem_item;

typedef struct mem_list {
    mem_item *first, *last;
} mem_list;

/* Where a taken message is found by its handle, so that any handle may be asked for. */
typedef struct mem_slot {
    mem_item *item;     /* NULL: it is free */
    uint32_t next_free; /* counted from 1; 0: none */
} mem_slot;

typedef struct mem_queue {
    timer timer;                   /* first: the engine's heap's, and its lock's */
    struct mem_queue *next;        /* in the engine's table; its lock's */
    pthread_mutex_t lock;          /* of all that follows */
    uint64_t armed_ns;             /* when the engine looks here next; UINT64_MAX: not yet */
    mem_list ready[MQ_PRIORITIES]; /* in the order they became ready */
    unsigned filled;               /* which of these are: a bit each */
    timers delays, leases;
    mem_slot *slots;
    uint32_t slots_cap, slots_used, first_free;
    uint64_t ready_n, taken_n;
    uint64_t last_lease;
    mq_op *waiting, **waiting_end; /* pushes, for room */
    uint64_t waiting_first_ns;     /* when the first of them gives up */
    seen ids;
    bool told_of_ids;
    bool exists; /* something was pushed to it */
    int64_t claimed_ms;
    char name[];
} mem_queue;

/* `leases`: where its numbers of deliveries begin, so that no two queues have the same. */
mem_queue *mem_queue_new(const char *name, uint64_t leases);
/* With all that is inside, but pushes that wait. */
void mem_queue_free(mem_queue *q);

/* --- items --- */

mem_item *mem_item_new(str body, const char *id, const char *from, const char *note);
/* The same again, with these texts. */
mem_item *mem_item_copy(const mem_item *it, const char *from, const char *note);

static inline mq_message *mem_item_message(mem_item *it)
{
    return (mq_message *)(void *)it - 1;
}

/* Of a dead letter: the queue it came from; what ended its last attempt. Or "". */
const char *mem_item_from(const mem_item *it);
const char *mem_item_note(const mem_item *it);

/* Let go of one; of a chain. NULL is fine. */
void mem_item_unref(mem_item *it);
void mem_chain_unref(mem_item *chain);

/* --- moving them --- */

/* Ready, delayed and taken ones. */
uint64_t mem_queue_count(const mem_queue *q);

/* Put a new one, or one that was let go, behind the others of its priority; or before them. */
void mem_queue_put(mem_queue *q, mem_item *it);
void mem_queue_put_first(mem_queue *q, mem_item *it);
/* Or later. There must be room in q->delays: timers_reserve. */
void mem_queue_delay(mem_queue *q, mem_item *it, uint64_t due_ns);

/* Take at most so many, for a lease that ends then; lease_ms 0: none. Returns: a list, maybe shorter; NULL
 * with *ret_err set when memory is short, or with 0 when nothing is ready. */
mq_message *mem_queue_take(mem_queue *q, unsigned most, int64_t lease_ms, uint64_t lease_ns, int *ret_err);

/* The item of a message that its holder holds still, and does not settle already; else NULL. */
mem_item *mem_queue_held(const mem_queue *q, const mq_message *m);
/* It is not taken any more, and the caller's. */
void mem_queue_let_go(mem_queue *q, mem_item *it);
/* Its lease ends then; lease_ms 0: never. Returns: 0 or -ENOMEM. */
int mem_queue_lease(mem_queue *q, mem_item *it, int64_t lease_ms, uint64_t lease_ns);

/* Take out what is ready or delayed; the caller's then. */
void mem_queue_remove(mem_queue *q, mem_item *it);
/* The same of all. Returns: a chain, and how many. */
mem_item *mem_queue_empty(mem_queue *q, uint64_t *ret_count);

/* The ready one after `it`, in the order they would be taken; NULL asks for the first. */
mem_item *mem_queue_after(const mem_queue *q, const mem_item *it);

/* When something is due first: a delay, a lease, a push that waits. UINT64_MAX: never. */
uint64_t mem_queue_due(const mem_queue *q);
/* What is due by then becomes ready, a few of them; the rest stays due. Returns: did any? */
bool mem_queue_ripen(mem_queue *q, uint64_t now_ns, int64_t now_ms);

/* --- looking --- */

void mem_queue_stats(const mem_queue *q, mq_stats *ret);

/* Copies of at most so many, into *ret: with `lock` taken only while they are looked for. Returns: 0 or
 * -ENOMEM. Thread: without the lock. */
int mem_queue_peek(mem_queue *q, unsigned most, mq_message **ret);

#endif
