/* lane: which routes are short enough to run on the threads that hold sockets.
 *
 * What counts is a run: one stretch of a handler that holds its thread. Time in sleep() is in none, and time
 * that a thread stood ready while another had its core is taken out before (runtime/meter).
 *
 * A route starts heavy. It becomes light when the longest of its latest LANE_EVIDENCE runs took less than
 * LANE_LIGHT_NS. One bad run makes it heavy again: one of more than LANE_HEAVY_NS, or one that waited in a
 * system call for longer than LANE_LIGHT_NS. So does a second in which runs between the two limits held the
 * sockets for more than LANE_STALL_NS together.
 *
 * Each return to heavy is a strike. With every strike the next promotion asks for four times as many runs,
 * and for four times as long a time without a bad one, which begins at LANE_PROBATION_NS. So a route that
 * takes long once in a hundred runs, or once a minute, stays heavy after a few tries and does not go to and
 * fro. For each LANE_FORGIVE_NS without a bad run a strike is taken back: what was long ago does not count
 * for ever.
 *
 * Threads: any. Decisions are taken with one compare and exchange; all else is atomics that need no order, as
 * a decision that comes a run late does no harm. Time is the caller's, monotonic, so tests need no clock. */
#ifndef RUNTIME_LANE_H
#define RUNTIME_LANE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum {
    LANE_EVIDENCE = 8,
    LANE_LIGHT_NS = 1000000,
    LANE_HEAVY_NS = 4000000,
    LANE_STALL_NS = 50000000,
    LANE_STALL_WINDOW_NS = 1000000000,
    LANE_PROBATION_NS = 250000000,
    LANE_STRIKES_MAX = 6 /* 32,768 runs and 256 seconds */
};

#define LANE_FORGIVE_NS UINT64_C(600000000000)

typedef enum lane_policy { LANE_AUTO, LANE_ALL_LIGHT, LANE_ALL_HEAVY } lane_policy;

/* Why a route is where it is. */
#define LANE_REASONS(X)                                                                                      \
    X(NEW, "new")         /* heavy: not enough runs yet */                                                   \
    X(SHORT, "short")     /* light: its runs are short */                                                    \
    X(SLOW, "slow")       /* heavy: a run took long */                                                       \
    X(BLOCKED, "blocked") /* heavy: a run waited in a system call */                                         \
    X(PINNED, "pinned")   /* heavy: the app says so, with api.heavy */                                       \
    X(OPTION, "option")   /* --lane says so */

typedef enum lane_reason {
#define X(name, text) LANE_##name,
    LANE_REASONS(X)
#undef X
} lane_reason;

/* One run, as runtime/meter has measured it. */
typedef struct lane_run {
    uint64_t held_ns;    /* how long it held its thread */
    uint64_t service_ns; /* of these, without those in which the thread was ready and had no core */
    uint64_t blocked_ns; /* of service_ns, those in which it waited in a system call */
} lane_run;

typedef struct lane {
    atomic_uint verdict;            /* [any] lane_reason * 2, and 1 when heavy */
    bool pinned;                    /* const: api.heavy, or --lane */
    atomic_uint strikes;            /* [any] returns to heavy that are not forgiven */
    atomic_uint good_runs;          /* [any] short runs in a row since it is heavy */
    atomic_uint_fast64_t since_ns;  /* [any] when it came to this lane */
    atomic_uint_fast64_t bad_ns;    /* [any] when the latest bad run ended; 0: never */
    atomic_uint_fast64_t window_ns; /* [any] when the second began in which `stalled_ns` is added up */
    atomic_uint_fast64_t stalled_ns;
    atomic_uint_fast64_t longest_ns; /* [any] the longest run of late: sinks by an eighth with every run of
                                        less than half of it. Of light routes, runs that LANE_LIGHT_NS hides
                                        are not in it */
    atomic_uint_fast64_t mean_ns;    /* [any] how long a request holds heavy threads, the latest ones most */
    atomic_uint demotions;           /* [any] returns to heavy, all */
} lane;

/* Heavy and not pinned under LANE_AUTO; `pin_heavy` is api.heavy. */
void lane_init(lane *l, lane_policy policy, bool pin_heavy, uint64_t now_ns);

static inline bool lane_is_heavy(const lane *l)
{
    return atomic_load_explicit(&l->verdict, memory_order_relaxed) & 1;
}

static inline lane_reason lane_why(const lane *l)
{
    return (lane_reason)(atomic_load_explicit(&l->verdict, memory_order_relaxed) >> 1);
}

const char *lane_reason_name(lane_reason why);

/* Is there nothing to learn from a run that held its thread as long? For almost all requests this is all that
 * lanes cost: two comparisons. */
static inline bool lane_is_routine(const lane *l, uint64_t held_ns)
{
    return held_ns < LANE_LIGHT_NS && !lane_is_heavy(l);
}

/* Tell it of one run that is not routine. Returns: whether that changed the lane. */
bool lane_ran(lane *l, const lane_run *run, uint64_t now_ns);

/* Tell it that a request has ended, and how long all its runs held heavy threads. */
void lane_served(lane *l, uint64_t held_ns);

/* A guess at what the next run may take; UINT64_MAX while it never ran. */
uint64_t lane_expect_ns(const lane *l);

/* A guess at how long a request will hold heavy threads; UINT64_MAX while none has ended. */
uint64_t lane_mean_ns(const lane *l);

#endif
