#include "runtime/meter.h"

#include <sys/resource.h>
#include <time.h>

void meter_read(meter *m, uint64_t now_ns)
{
    struct timespec cpu;
    struct rusage use;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &cpu);
    getrusage(RUSAGE_THREAD, &use); /* for the counts: its times lag by up to a tick */
    m->last = (meter_reading){
        .at_ns = now_ns,
        .cpu_ns = (uint64_t)cpu.tv_sec * 1000000000u + (uint64_t)cpu.tv_nsec,
        .voluntary = (uint64_t)use.ru_nvcsw,
        .involuntary = (uint64_t)use.ru_nivcsw,
    };
    m->naps = 0;
}

lane_run meter_run(meter *m, uint64_t held_ns, uint64_t now_ns)
{
    meter_reading before = m->last;
    unsigned naps = m->naps;
    meter_read(m, now_ns);
    return meter_judge(&before, &m->last, naps, held_ns);
}

lane_run meter_judge(const meter_reading *before, const meter_reading *after, unsigned naps, uint64_t held_ns)
{
    uint64_t cpu = after->cpu_ns - before->cpu_ns;
    uint64_t off = held_ns > cpu ? held_ns - cpu : 0;
    uint64_t gave_up = after->voluntary - before->voluntary;
    uint64_t taken = after->involuntary - before->involuntary;
    gave_up = gave_up > naps ? gave_up - naps : 0;
    /* Switches that nobody counted: what a hypervisor takes away. */
    uint64_t blocked = gave_up + taken ? off / (gave_up + taken) * gave_up : 0;
    return (lane_run){.held_ns = held_ns, .service_ns = held_ns - (off - blocked), .blocked_ns = blocked};
}
