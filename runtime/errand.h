/* errand: a task that is a job, without a request: made, given to the pool, and freed.
 *
 * Threads: it belongs to who made it, then to the pool, then to its on_done. */
#ifndef RUNTIME_ERRAND_H
#define RUNTIME_ERRAND_H

#include "queue/job.h"
#include "runtime/lane.h"
#include "runtime/pool.h"

/* What errands of one kind have in common; to outlive them all. */
typedef struct errand_kind {
    lane lane;
    run_limits limits; /* from its start; route is its title */
} errand_kind;

/* Heavy, for good. */
void errand_kind_init(errand_kind *k, const run_limits *limits);

/* A task for a job, QUEUED. `on_done` is called when it has ended, on any thread, and frees it by
 * errand_free; the job and what it points to stay the caller's. Returns: NULL when memory is short. */
HttpTask *errand_new(job *j, errand_kind *kind, void (*on_done)(HttpTask *t), void *user);

/* Give it to the heavy workers: as pool_run_job. */
static inline int errand_run(pool *p, HttpTask *t)
{
    return pool_run_job(p, t);
}

/* One that is DONE, or QUEUED and never was given away. */
void errand_free(HttpTask *t);

typedef enum errand_end {
    ERRAND_OK,
    ERRAND_FAILED, /* job->result says how, if there was memory for it */
    ERRAND_LATE,   /* it met a limit, or its thread was lost in it */
    ERRAND_NOT_RUN /* or was given up because the server stops */
} errand_end;

/* How one that is DONE has ended. */
errand_end errand_ended(const HttpTask *t);

#endif
