/* wake: how a thread sleeps on a descriptor without missing what another has published for it.
 *
 * The sleeper:                          The publisher:
 *     wake_prepare(w)                       publish (push onto a ring the sleeper reads)
 *     if (something is published)           wake_signal(w)
 *         wake_cancel(w), go on
 *     else poll wake_fd(w) and the rest
 *     wake_cancel(w); wake_clear(w)
 *
 * None is lost. wake_prepare stores `sleeping` and then has a full fence before the sleeper looks;
 * wake_signal has a full fence after the publishing and then loads `sleeping`. Of two threads that each
 * store, fence, and load what the other stored, at least one sees the other's store: so either the sleeper
 * sees the item and does not sleep, or the publisher sees the sleeper and makes the descriptor readable,
 * which stays so until it is cleared.
 *
 * They are coalesced: only the publisher whose exchange turns `sleeping` from 1 to 0 writes to the
 * descriptor, so a sleep is ended by one write however many publish. */
#ifndef QUEUE_WAKE_H
#define QUEUE_WAKE_H

#include <stdatomic.h>
#include <stdbool.h>

typedef struct wake {
    int fd;              /* an eventfd, non-blocking */
    atomic_int sleeping; /* [any] 1 from wake_prepare until the first signal or wake_cancel */
} wake;

/* Returns: 0, or -errno when there is no descriptor to be had. */
int wake_init(wake *w);

/* Thread: any, when no other uses it. Fine on a wake whose init failed. */
void wake_fini(wake *w);

/* Readable when the sleeper is wanted. Thread: any. */
static inline int wake_fd(const wake *w)
{
    return w->fd;
}

/* Say that this thread is about to sleep; look at every source again after this. Thread: the sleeper. */
void wake_prepare(wake *w);

/* This thread does not sleep, or does no more. Thread: the sleeper. */
void wake_cancel(wake *w);

/* Make the descriptor unreadable again. Thread: the sleeper, after it was found readable. */
void wake_clear(wake *w);

/* Does the sleeper sleep, or is about to? For a publisher who looks for one among many: a full fence must
 * stand between its publishing and this. Thread: any. */
static inline bool wake_is_wanted(const wake *w)
{
    return atomic_load_explicit(&w->sleeping, memory_order_relaxed);
}

/* End the sleep, if there is one, after publishing.
 * Thread:  any.
 * Returns: true when this call ended it. */
bool wake_signal(wake *w);

#endif
