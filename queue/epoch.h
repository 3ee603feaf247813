/* epoch: when what readers may still look at can be freed, for structures that are read without a lock.
 *
 * A member enters before it follows a shared pointer and leaves when it has let go of it. Whoever has taken
 * something out of the structure drops it: it is freed once every member that was inside at that time has
 * left. Entering and leaving write to the member's own memory only, so readers do not disturb each other.
 *
 * The argument. `now` counts batches of garbage. A member that enters reads it, stores the number in `since`,
 * and has a full fence (E) before it reads any shared pointer. A batch is closed after all that is in it was
 * taken out: a full fence (C), then `now` goes on to its stamp. It is freed when each member was seen outside
 * or with `since` >= stamp. Of a member that could hold something in it, consider the section in which it got
 * it. Fences have one order.
 *   C before E: its reads come after the taking out, so it did not get it.
 *   E before C: so E's member read `now` before the stamp was made, its `since` is smaller, and the look at
 *     `since`, which comes after C, finds that number, or one stored later. In the first case nothing is
 *     freed. In the second the section has ended with a release, which the look acquires: all that the member
 *     did with it happened before the freeing.
 *
 * ck_epoch does the same. This one is here for two reasons: what is dropped is bounded by bytes, and all of
 * it is seen by ThreadSanitizer, which looks for what the argument says.
 *
 * Threads: a member is used by one thread at a time; different ones by any. */
#ifndef QUEUE_EPOCH_H
#define QUEUE_EPOCH_H

#include <pthread.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { EPOCH_LINE_BYTES = 64 };

/* The first field of what can be dropped; malloc'ed. */
typedef struct epoch_garbage {
    struct epoch_garbage *next;
} epoch_garbage;

typedef struct epoch_member {
    alignas(EPOCH_LINE_BYTES) _Atomic uint64_t since; /* [member writes] 0: outside */
    struct epoch_member *next;                        /* [lock] */
    epoch_garbage *fresh, *waiting;                   /* [member] the batch that is filled, the one closed */
    size_t fresh_count, fresh_bytes, waiting_bytes;   /* [member] */
    uint64_t stamp;                                   /* [member] of the one that waits */
} epoch_member;

typedef struct epoch {
    alignas(EPOCH_LINE_BYTES) _Atomic uint64_t now;
    alignas(EPOCH_LINE_BYTES) pthread_mutex_t lock;
    epoch_member *members;     /* [lock] */
    _Atomic size_t most_bytes; /* that a member keeps of garbage */
} epoch;

void epoch_init(epoch *e, size_t most_bytes);
/* Every member must have left for good. */
void epoch_fini(epoch *e);

void epoch_join(epoch *e, epoch_member *m);
/* Waits for those inside, if it has dropped something. */
void epoch_part(epoch *e, epoch_member *m);

/* Not twice: sections do not nest, and nothing in one may block. */
static inline void epoch_enter(epoch *e, epoch_member *m)
{
    uint64_t now = atomic_load_explicit(&e->now, memory_order_relaxed);
    atomic_store_explicit(&m->since, now, memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst); /* E */
}

static inline void epoch_leave(epoch_member *m)
{
    atomic_store_explicit(&m->since, 0, memory_order_release); /* pairs with is_over */
}

/* Free it when nobody can look at it any more. It has been taken out; `bytes` is its size. Waits for those
 * inside if too much is kept. Thread: the member's, outside. */
void epoch_drop(epoch *e, epoch_member *m, epoch_garbage *g, size_t bytes);

#endif
