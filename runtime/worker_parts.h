/* worker_parts: what the parts of a worker share: worker.c (its thread and its turns), worker_events (what
 * its connections tell), worker_handoff (to heavy workers and back) and worker_lost (tasks whose thread is
 * lost). Only these include it. Threads: the owner only, unless it says otherwise. */
#ifndef RUNTIME_WORKER_PARTS_H
#define RUNTIME_WORKER_PARTS_H

#include "queue/slab.h"
#include "runtime/canned.h"
#include "runtime/exec.h"
#include "runtime/http.h"
#include "runtime/linger.h"
#include "runtime/worker.h"

struct worker {
    exec exec;
    pool *pool;
    unsigned index;
    http *http;
    uv_poll_t http_poll;
    bool http_polled;
    slab *tasks;
    ring *home;                     /* [owner] both ends */
    ring *shared;                   /* [owner] pushes, [any heavy worker, owner] pops */
    uint64_t *published_ns;         /* since when the last `capacity` tasks that went onto it wait */
    uint64_t published;             /* tasks that have gone onto it */
    atomic_uint_fast64_t *finished; /* a bit a heavy worker: its done ring is worth a look */
    unsigned finished_words;
    HttpTask **outbox; /* suspended in this turn, to be published */
    size_t outbox_count;
    HttpTask **dropped; /* cancelled while their coroutine waits here */
    size_t dropped_count;
    size_t capacity; /* of both lists: the connection limit */
    size_t busy;     /* tasks between QUEUED and the end */
    unsigned turns_without_loop;
    unsigned late_tasks; /* counts those that came late in their batch */
    uint64_t active_ns;  /* when a request or connection last moved; for the drain */
    lingering lingering;
    atomic_bool lost_news;   /* [any sets] runtime/lost has some */
    atomic_uint connections; /* [owner writes] for metrics */
};

/* --- tasks --- */

static inline void worker_free_task(worker *w, HttpTask *t)
{
    task_end(t);
    slab_give(w->tasks, t);
}

/* The reply of a task that is not to be run. */
static inline void worker_refuse(HttpTask *t, const char *why)
{
    canned_busy(t, why);
    task_move(t, TASK_DONE);
}

/* A task that is done may go out with the next http_run; one that has no socket ends here. */
static inline void worker_release(worker *w, HttpTask *t)
{
    if (t->state == TASK_DONE && !t->owner)
        t->on_done(t);
    else if (t->state == TASK_DONE && t->suspended)
        http_resume(w->http, t);
}

/* --- worker_events --- */

/* For http_new, with the worker as their owner. */
extern const http_events worker_events;

/* --- worker_handoff --- */

/* Put a task among those that wait for heavy workers, once its connection is suspended.
 * Returns: whether there is a place for it; if not, *ret_retry_s says when it may go better. */
bool worker_hand_over(worker *w, HttpTask *t, unsigned *ret_retry_s);

/* Let heavy workers have those that were suspended in this turn. */
void worker_publish(worker *w);

/* Take in what heavy workers have finished; and whether there may be anything. */
void worker_adopt_done(worker *w);
bool worker_is_any_done(const worker *w);

/* Answer those that have waited for too long; and in how many milliseconds one will have, -1 for never. */
void worker_refuse_stale(worker *w);
int worker_patience_ms(const worker *w);

/* --- worker_lost --- */

/* Do what is to be done for tasks whose thread was lost, or has come back. Not while the daemon runs, and
 * before it runs again. */
void worker_hear_of_lost(worker *w);
bool worker_has_lost_news(const worker *w);

/* Free the tasks that were dropped while their coroutine waited in a VM that is lost. */
void worker_forget_dropped(worker *w, const void *lost_vm);

#endif
