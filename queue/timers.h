/* timers: a heap of deadlines for one thread.
 *
 * libuv has timers, but ties a handle to one loop for life, while a task waits now on this thread and now on
 * that; so a loop gets one libuv timer, set to the first deadline of this heap. Threads: the owner only.
 * Time: any monotonic clock in nanoseconds, given by the caller, so tests need none. */
#ifndef QUEUE_TIMERS_H
#define QUEUE_TIMERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Lives in what is timed. */
typedef struct timer {
    uint64_t due_ns;
    size_t slot; /* the place in the heap, counted from 1; 0 when not set */
} timer;

typedef struct timers {
    timer **heap;
    size_t n, cap;
} timers;

/* Make sure that `more` further timers can be set without failing. Returns: 0 or -ENOMEM. */
int timers_reserve(timers *h, size_t more);

void timers_fini(timers *h);

/* Set a timer that is not set. Returns: 0 or -ENOMEM; it cannot fail after timers_reserve. */
int timers_add(timers *h, timer *t, uint64_t due_ns);

/* Take it out; fine when it is not set. */
void timers_remove(timers *h, timer *t);

/* The timer that is due first, or NULL; it stays set. */
timer *timers_first(const timers *h);

static inline bool timer_is_set(const timer *t)
{
    return t->slot != 0;
}

#endif
