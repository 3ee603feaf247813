/* inbox: what other threads have for the one that an inbox belongs to.
 *
 * A list that any thread may put letters on, without a lock, and whose owner takes all of it at once. So no
 * letter is taken by two, and none can come back onto the list while another thread looks at it: the one
 * compare and exchange in inbox_post is safe without counters. The owner sleeps on a wake (queue/wake.h): it
 * has to look whether its inbox is empty after wake_prepare. */
#ifndef QUEUE_INBOX_H
#define QUEUE_INBOX_H

#include <stdatomic.h>
#include <stdbool.h>

#include "queue/wake.h"

/* Lives in what is sent. */
typedef struct letter {
    struct letter *next;
    int kind; /* the owner's choice: what it is part of */
} letter;

typedef struct inbox {
    _Atomic(letter *) last; /* [any] the newest; each leads to the one before */
    wake *wake;             /* the owner's */
} inbox;

void inbox_init(inbox *i, wake *w);

/* Put a letter in, and end the owner's sleep.
 * Thread: any; not from a signal handler.
 * Owns:   the letter is the inbox's until it is taken.
 * Order:  release; pairs with the acquire in inbox_take. */
void inbox_post(inbox *i, letter *l);

/* All that is in it, the oldest first, or NULL. Thread: the owner. */
letter *inbox_take(inbox *i);

/* Thread: the owner. */
static inline bool inbox_is_empty(const inbox *i)
{
    return !atomic_load_explicit(&i->last, memory_order_relaxed);
}

#endif
