/* meter: what one run of a handler cost its thread: time that it computed, that it waited in a system call,
 * and that it was ready while other threads had the cores.
 *
 * The last is not the handler's doing. A machine that is busy must not make short routes heavy, so it is told
 * from the waiting: the kernel adds up for each thread how long it stood ready without a core
 * (/proc/thread-self/schedstat). What a hypervisor takes away is in neither sum; but a thread that has not
 * given up its core once, of its own will, has not waited. That count alone would not do: whether the
 * switches in it are the run's or belong to the thread's own sleep just before cannot be told. Where the
 * kernel does not say how long a thread stood ready, all time off the core counts as waiting if there was a
 * switch.
 *
 * A reading costs one or two microseconds, too much for every run. So there is one at the end of a run that
 * took long, and one before a run if the last is older than METER_FRESH_NS. What happened between that
 * reading and the run is taken for the run's: at most METER_FRESH_NS of computing, or of standing ready, and
 * so much less of waiting. Threads: the owner, whose clock it is. */
#ifndef RUNTIME_METER_H
#define RUNTIME_METER_H

#include <stdint.h>

#include "runtime/lane.h"

enum { METER_FRESH_NS = 1000000 };

typedef struct meter_reading {
    uint64_t at_ns;    /* monotonic */
    uint64_t cpu_ns;   /* the thread was on a core, since it began */
    uint64_t ready_ns; /* it was ready, and on none */
    uint64_t yields;   /* how often it gave its core up of its own will */
} meter_reading;

typedef struct meter {
    meter_reading last;
    int fd; /* the kernel's figures, or -1 */
} meter;

/* On the thread that will use it; it has to be read before its first run. Cannot fail: see above. */
void meter_init(meter *m);
void meter_fini(meter *m);

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
lane_run meter_judge(const meter_reading *before, const meter_reading *after, uint64_t held_ns);

#endif
