/* await: a handler's wait for something that another thread brings to an end.
 *
 * It lives in what is waited for, and is shared: the handler's VM, the task that is parked and whoever works
 * on it hold a reference each. The end is a letter to the thread that the handler runs on, so all but the
 * count is touched by that thread alone: it knows whether somebody still waits, and if not, the letter only
 * frees what it is part of. */
#ifndef QUEUE_AWAIT_H
#define QUEUE_AWAIT_H

#include "queue/inbox.h"

/* Kinds of letters to a thread that runs handlers. */
enum {
    LETTER_AWAIT, /* of an await */
    LETTER_TASK,  /* of a task that is parked, and goes on now */
    LETTER_JOB    /* of a task that is queued, and is run in the VM that the thread has then */
};

typedef struct await {
    letter letter; /* first */
    atomic_uint refs;
    inbox *to;
    void *waiter;                  /* [owner of the inbox] the parked task, or NULL */
    bool over;                     /* [owner of the inbox] the end has come */
    void (*free)(struct await *a); /* the last reference is gone. On any thread */
} await;

/* With one reference, the caller's. */
static inline void await_init(await *a, inbox *to, void (*free)(await *a))
{
    a->letter.kind = LETTER_AWAIT;
    atomic_init(&a->refs, 1);
    a->to = to;
    a->waiter = NULL;
    a->over = false;
    a->free = free;
}

/* Thread: any. */
static inline void await_ref(await *a)
{
    atomic_fetch_add_explicit(&a->refs, 1, memory_order_relaxed);
}

/* Thread: any. NULL is fine. Order: the last one sees what all others did before theirs. */
static inline void await_unref(await *a)
{
    if (a && atomic_fetch_sub_explicit(&a->refs, 1, memory_order_acq_rel) == 1)
        a->free(a);
}

/* It is over: the caller's reference goes with the letter. Thread: any. */
static inline void await_end(await *a)
{
    inbox_post(a->to, &a->letter);
}

#endif
