/* lane: which routes are short enough to run on the threads that hold sockets.
 *
 * A route starts heavy. When LANE_EVIDENCE runs in a row each took less than LANE_LIGHT_NS, it becomes light;
 * one run of more than LANE_HEAVY_NS sends it back, and asks for twice the evidence each further time. What
 * counts is the time a handler holds its thread at a stretch: time spent waiting in sleep() is not in it.
 * Threads: any; the fields are atomics that need no order among them, as a decision that comes a run late
 * does no harm. */
#ifndef RUNTIME_LANE_H
#define RUNTIME_LANE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum {
    LANE_EVIDENCE = 8,
    LANE_EVIDENCE_MAX = 65536,
    LANE_LIGHT_NS = 1000000,
    LANE_HEAVY_NS = 4000000,
};

typedef enum lane_policy { LANE_AUTO, LANE_ALL_LIGHT, LANE_ALL_HEAVY } lane_policy;

typedef struct lane {
    atomic_bool heavy;            /* [any] */
    bool pinned;                  /* const: api.heavy, or --lane */
    atomic_uint good_runs;        /* [any] short runs in a row since it is heavy */
    atomic_uint evidence;         /* [any] how many it takes */
    atomic_uint_fast64_t slow_ns; /* [any] the longest run of late: sinks by an eighth with every run of less
                                     than half of it */
} lane;

/* Heavy and not pinned under LANE_AUTO; `pin_heavy` is api.heavy. */
void lane_init(lane *l, lane_policy policy, bool pin_heavy);

static inline bool lane_is_heavy(const lane *l)
{
    return atomic_load_explicit(&l->heavy, memory_order_relaxed);
}

/* Tell it what one stretch of a handler took. Returns: whether that changed the lane. */
bool lane_ran(lane *l, uint64_t ns);

/* A guess at what the next run may take; UINT64_MAX while it never ran. */
uint64_t lane_expect_ns(const lane *l);

#endif
