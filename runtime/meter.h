/* meter: what one run of a handler cost its thread: time that it computed, that it waited in a system call,
 * and that it was ready while another thread had its core.
 *
 * The third is not the handler's doing. A machine that is busy must not make short routes heavy, so it is
 * told from the second by the kernel's counts of context switches: a thread that waits gives its core up
 * (voluntary), one that is preempted is taken off it (involuntary). Where a run has both, its time off the
 * core is shared out by their numbers.
 *
 * Reading the thread's clock and counts costs about a microsecond, too much for every run. So they are read
 * at the end of a run that took long, and before a run only if the last reading is older than METER_FRESH_NS:
 * what happened between that reading and the run is counted to the run, so it is taken to have computed for
 * up to a millisecond more than it did, never to have waited longer.
 * Threads: the owner, whose clock it is. */
#ifndef RUNTIME_METER_H
#define RUNTIME_METER_H

#include <stdint.h>

#include "runtime/lane.h"

enum { METER_FRESH_NS = 1000000 };

typedef struct meter_reading {
    uint64_t at_ns;  /* monotonic */
    uint64_t cpu_ns; /* of the thread */
    uint64_t voluntary, involuntary;
} meter_reading;

typedef struct meter {
    meter_reading last;
    unsigned naps; /* sleeps of the thread's own since, each of which may be a voluntary switch */
} meter;

/* Read the clock and the counts of the calling thread. */
void meter_read(meter *m, uint64_t now_ns);

/* Before a run. */
static inline void meter_freshen(meter *m, uint64_t now_ns)
{
    if (now_ns - m->last.at_ns > METER_FRESH_NS)
        meter_read(m, now_ns);
}

/* After a run that held the thread for `held_ns` until `now_ns` and was worth a look: read again, and judge.
 */
lane_run meter_run(meter *m, uint64_t held_ns, uint64_t now_ns);

/* The judgement, of two readings. No clock is read here. */
lane_run meter_judge(const meter_reading *before, const meter_reading *after, unsigned naps,
                     uint64_t held_ns);

#endif
