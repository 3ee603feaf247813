#include "runtime/errand.h"

#include <stdlib.h>

#include "runtime/clock.h"

void errand_kind_init(errand_kind *k, const run_limits *limits)
{
    lane_init(&k->lane, LANE_ALL_HEAVY, true, clock_now_ns());
    k->limits = *limits;
}

HttpTask *errand_new(job *j, errand_kind *kind, void (*on_done)(HttpTask *t), void *user)
{
    HttpTask *t = calloc(1, sizeof(*t));
    if (!t)
        return NULL;
    task_begin(t, NULL);
    t->job = j;
    t->heavy = true;
    t->lane = &kind->lane;
    t->limits = &kind->limits;
    t->on_done = on_done;
    t->user = user;
    t->received_ns = t->ready_ns = clock_now_ns();
    task_move(t, TASK_QUEUED);
    return t;
}

void errand_free(HttpTask *t)
{
    if (t->state == TASK_DONE)
        task_move(t, TASK_SENT);
    else
        task_move(t, TASK_CANCELLED);
    task_end(t);
    task_fini(t);
    free(t);
}

errand_end errand_ended(const HttpTask *t)
{
    if (t->limit == RUN_LIMIT_CPU || t->limit == RUN_LIMIT_WALL)
        return ERRAND_LATE;
    if (t->outcome == TASK_OUTCOME_SERVER)
        return ERRAND_NOT_RUN;
    return t->job->failed || t->outcome == TASK_OUTCOME_ERROR ? ERRAND_FAILED : ERRAND_OK;
}
