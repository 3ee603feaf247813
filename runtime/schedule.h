/* schedule: an entry of the clock: a job that is run again and again, at calendar times or in a rhythm.
 *
 * A run belongs to a moment, and the moments are the same for all who have the entry: those of a cron
 * expression in a zone, or the multiples of an interval since 1970. Whoever claims a moment from the queues'
 * engine first runs it, so of all servers that share an engine one does. A run that fails, or whose process
 * ends, is not done again: what has to be done for sure is pushed to a queue by the run.
 *
 * When a run of this entry is still under way here, the next moment is let go, unless runs may overlap. Of
 * the moments that passed while no server ran, one is made up for at the start, if that was asked for.
 *
 * Threads: see each function. */
#ifndef RUNTIME_SCHEDULE_H
#define RUNTIME_SCHEDULE_H

#include "queue/cron.h"
#include "queue/mq.h"
#include "runtime/errand.h"
#include "runtime/ticker.h"

typedef struct schedule schedule;

typedef struct schedule_config {
    const char *name;  /* fit for a queue's name; known to all who share the engine */
    const char *title; /* for messages: `every 5m, app.lua:12` */
    int64_t every_ms;  /* or 0, and */
    const char *cron;  /* this in */
    const char *zone;  /* that zone */
    bool make_up;      /* a moment that was missed is made up for at the start */
    bool overlap;
    run_limits limits;                                     /* of a run; route is of no account */
    void (*tell)(void *user, int level, const char *text); /* level 0: error, 1: warn. On any thread */
    void *user;
} schedule_config;

/* Copies the config's texts. Returns: 0, or -ENOMEM or -EINVAL with `error` filled. */
int schedule_new(const schedule_config *config, mq *queues, ticker *k, schedule **ret_schedule, char *error,
                 size_t size);

/* Begin, with runs on that pool. */
void schedule_start(schedule *s, pool *p);

/* No more runs begin. What is under way goes on. */
void schedule_stop(schedule *s);

/* After schedule_stop, once the pool has ended and the engine is closed. NULL is fine. */
void schedule_free(schedule *s);

typedef struct schedule_counts {
    uint64_t runs, failed, skipped,
        elsewhere; /* skipped: one was under way; elsewhere: another server ran it */
} schedule_counts;
/* Thread: any. */
schedule_counts schedule_count(const schedule *s);
const char *schedule_name(const schedule *s);

/* The first moment of an entry that is later than that one, milliseconds since 1970. Pure.
 * Returns: false when there is none. */
bool schedule_next_ms(int64_t every_ms, const cron *c, const zone *z, int64_t after_ms, int64_t *ret_ms);

#endif
