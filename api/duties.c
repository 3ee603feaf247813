#include "api/duties.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static uint64_t ns_of(double seconds)
{
    return (uint64_t)(seconds * 1e9);
}

static uint64_t timeout_of(duties *d, vm *v, size_t i)
{
    uint64_t ns = ns_of(vm_job_number(v, i, "timeout", 0));
    if (ns && (!d->least_limit_ns || ns < d->least_limit_ns))
        d->least_limit_ns = ns;
    return ns;
}

static consumer_backoff backoff_of(const char *word)
{
    return *word == 'l' ? BACKOFF_LINEAR : *word == 'c' ? BACKOFF_CONSTANT : BACKOFF_EXPONENTIAL;
}

static int add_consumer(duties *d, const duties_means *m, vm *v, size_t i, const vm_job_def *def)
{
    consumer **more = realloc(d->consumers, (d->consumer_count + 1) * sizeof(consumer *));
    if (!more)
        return -ENOMEM;
    d->consumers = more;
    uint64_t timeout_ns = timeout_of(d, v, i);
    consumer_config config = {
        .queue = def->name,
        .dead_letter = vm_job_text(v, i, "dead_letter"),
        .concurrency = (unsigned)vm_job_number(v, i, "concurrency", 1),
        .batch = (unsigned)vm_job_number(v, i, "batch", 0),
        .retries = (unsigned)vm_job_number(v, i, "retries", 0),
        .backoff = backoff_of(vm_job_text(v, i, "backoff")),
        .delay_s = vm_job_number(v, i, "delay", 1),
        .max_delay_s = vm_job_number(v, i, "max_delay", 1),
        .lease_s = vm_job_number(v, i, "lease", 30),
        /* None of processor time: it could not be extended, and is less than the other anyway. */
        .limits = {.wall_ns = timeout_ns, .memory_bytes = m->memory_bytes},
        .tell = m->tell,
        .user = m->user,
    };
    int err = consumer_new(&config, m->queues, m->ticker, &d->consumers[d->consumer_count]);
    if (err == 0)
        d->consumer_count++;
    return err;
}

static int add_entry(duties *d, const duties_means *m, vm *v, size_t i, const vm_job_def *def, char *error,
                     size_t size)
{
    schedule **more = realloc(d->clock, (d->clock_count + 1) * sizeof(schedule *));
    if (!more)
        return -ENOMEM;
    d->clock = more;
    uint64_t timeout_ns = timeout_of(d, v, i);
    schedule_config config = {
        .name = def->name,
        .title = vm_job_text(v, i, "title"),
        .every_ms = (int64_t)vm_job_number(v, i, "every", 0),
        .cron = vm_job_text(v, i, "cron"),
        .zone = vm_job_text(v, i, "zone"),
        .make_up = *vm_job_text(v, i, "missed") == 'o',
        .overlap = vm_job_number(v, i, "overlap", 0) != 0,
        .limits = {.cpu_ns = timeout_ns, .wall_ns = timeout_ns, .memory_bytes = m->memory_bytes},
        .tell = m->tell,
        .user = m->user,
    };
    int err = schedule_new(&config, m->queues, m->ticker, &d->clock[d->clock_count], error, size);
    if (err == 0)
        d->clock_count++;
    return err;
}

static int add_all(duties *d, const duties_means *m, vm *v, char *error, size_t size)
{
    vm_job_def def;
    int err = 0;
    for (size_t i = 0; vm_job_at(v, i, &def) && err == 0; i++) {
        if (def.kind == JOB_CONSUME)
            err = add_consumer(d, m, v, i, &def);
        else if (def.kind == JOB_CLOCK)
            err = add_entry(d, m, v, i, &def, error, size);
    }
    return err;
}

int duties_new(const duties_means *means, vm *first, duties **ret_duties, char *error, size_t size)
{
    snprintf(error, size, "out of memory");
    duties *d = calloc(1, sizeof(*d));
    int err = d ? add_all(d, means, first, error, size) : -ENOMEM;
    if (err)
        duties_free_all(d);
    else
        *ret_duties = d;
    return err;
}

void duties_start(duties *d, pool *p)
{
    for (size_t i = 0; i < d->consumer_count; i++)
        consumer_start(d->consumers[i], p);
    for (size_t i = 0; i < d->clock_count; i++)
        schedule_start(d->clock[i], p);
}

void duties_stop(duties *d)
{
    for (size_t i = 0; i < d->consumer_count; i++)
        consumer_stop(d->consumers[i]);
    for (size_t i = 0; i < d->clock_count; i++)
        schedule_stop(d->clock[i]);
}

void duties_settle_all(duties *d, unsigned timeout_ms)
{
    for (; d; d = d->older)
        for (size_t i = 0; i < d->consumer_count; i++)
            (void)consumer_settle(d->consumers[i], timeout_ms);
}

void duties_free_all(duties *d)
{
    while (d) {
        duties *older = d->older;
        for (size_t i = 0; i < d->consumer_count; i++)
            consumer_free(d->consumers[i]);
        for (size_t i = 0; i < d->clock_count; i++)
            schedule_free(d->clock[i]);
        free(d->consumers);
        free(d->clock);
        free(d);
        d = older;
    }
}
