#include "runtime/meter.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

void meter_init(meter *m)
{
    *m = (meter){.fd = open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC)};
}

void meter_fini(meter *m)
{
    if (m->fd >= 0)
        close(m->fd);
    m->fd = -1;
}

/* "ON-CORE READY SLICES\n", in nanoseconds. The first lags by up to a tick, so it is not used. */
static uint64_t read_ready_ns(int fd)
{
    char text[96];
    ssize_t n = fd >= 0 ? pread(fd, text, sizeof(text) - 1, 0) : 0;
    if (n <= 0)
        return 0;
    text[n] = '\0';
    char *second;
    strtoull(text, &second, 10);
    return strtoull(second, NULL, 10);
}

void meter_read(meter *m, uint64_t now_ns)
{
    struct timespec cpu;
    struct rusage use;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &cpu);
    getrusage(RUSAGE_THREAD, &use); /* not for its times, which lag by up to a tick */
    m->last = (meter_reading){.at_ns = now_ns,
                              .cpu_ns = (uint64_t)cpu.tv_sec * 1000000000u + (uint64_t)cpu.tv_nsec,
                              .ready_ns = read_ready_ns(m->fd),
                              .yields = (uint64_t)use.ru_nvcsw};
}

lane_run meter_run(meter *m, uint64_t held_ns, uint64_t now_ns)
{
    meter_reading before = m->last;
    meter_read(m, now_ns);
    return meter_judge(&before, &m->last, held_ns);
}

static uint64_t less(uint64_t a, uint64_t b)
{
    return a > b ? a - b : 0;
}

lane_run meter_judge(const meter_reading *before, const meter_reading *after, uint64_t held_ns)
{
    uint64_t off = less(held_ns, after->cpu_ns - before->cpu_ns);
    bool yielded = after->yields != before->yields;
    uint64_t blocked = yielded ? less(off, after->ready_ns - before->ready_ns) : 0;
    return (lane_run){.held_ns = held_ns, .service_ns = held_ns - (off - blocked), .blocked_ns = blocked};
}
