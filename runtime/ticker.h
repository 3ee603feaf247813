/* ticker: a thread that calls back when a time has come.
 *
 * For what belongs to no thread of the pool: entries of the clock, leases that have to be extended, what is
 * to be tried again. A callback must not block: the others wait for it. */
#ifndef RUNTIME_TICKER_H
#define RUNTIME_TICKER_H

#include "queue/timers.h"

typedef struct ticker ticker;

/* Lives in what is called back. All zero but `call` and `user` is one that is not set. */
typedef struct tick {
    timer timer; /* first */
    void (*call)(void *user);
    void *user;
    bool cleared; /* the ticker's: somebody waits for a call of it to end */
} tick;

/* Make it and start its thread. Returns: 0 or -errno. */
int ticker_new(ticker **ret_ticker);

/* End the thread; what is still set is forgotten. NULL is fine. Thread: any but its own. */
void ticker_free(ticker *k);

/* Have t called at a monotonic time, once, on the ticker's thread; one that is set already is moved. It may
 * set itself again. Thread: any. Returns: 0 or -ENOMEM. */
int ticker_set(ticker *k, tick *t, uint64_t due_ns);

/* Have it not called any more. A call under way is waited for, unless it is this thread's own. Thread: any.
 */
void ticker_clear(ticker *k, tick *t);

#endif
