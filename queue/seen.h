/* seen: ids that were seen of late, each for a window of time.
 *
 * Threads: one at a time. Time: any monotonic clock in nanoseconds, given by the caller. */
#ifndef QUEUE_SEEN_H
#define QUEUE_SEEN_H

#include "queue/siphash.h"
#include "queue/timers.h"

typedef struct seen_id seen_id;

/* All zero is an empty one. */
typedef struct seen {
    seen_id **shelves; /* a power of two of lists */
    size_t shelves_n, n;
    timers windows; /* when each is forgotten */
} seen;

void seen_fini(seen *s);

/* Was the id added, less than window_ns ago, and is not forgotten? */
bool seen_has(const seen *s, const siphash_key *key, const char *id, uint64_t now_ns, uint64_t window_ns);

/* Remember it for window_ns. Those whose window is over are forgotten; with `most` of them inside also the
 * one whose window ends first.
 * Returns: 0; 1 when one was forgotten too early; or -ENOMEM. */
int seen_add(seen *s, const siphash_key *key, const char *id, uint64_t now_ns, uint64_t window_ns,
             size_t most);

#endif
