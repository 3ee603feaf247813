/* hold: what of the app's a thread runs just now, and whose that is.
 *
 * A thread has one hold for as long as it lives. While it runs something of the app's (a run), the hold names
 * the run by a stamp. The watchdog looks at it from outside, has the run interrupted, and where that does not
 * help another thread takes the run away: with it go the thread's place in the pool and all that belongs to
 * the place. Who ends a run and who takes it away do so by one atomic exchange, so one of the two succeeds:
 * see tests/model/run_word.pml. */
#ifndef RUNTIME_HOLD_H
#define RUNTIME_HOLD_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "runtime/limits.h"
#include "runtime/runner.h"

#define HOLD_TAKEN UINT64_MAX /* in since_ns */

enum { HOLD_ROUTE_BYTES = 64 };

typedef struct hold {
    const runner *runner;
    struct pool *pool; /* whose thread it is */
    /* Who has the run: 0 when none goes on; else when its start or resume began, monotonic, no two runs
     * alike; HOLD_TAKEN once another thread has taken it away. The owner stores the moment (release) and
     * ends with an exchange of it for 0; a taker exchanges it for HOLD_TAKEN. */
    atomic_uint_fast64_t since_ns;
    uint64_t last_ns; /* [owner] the stamp of the latest run */
    void *vm;         /* [who has the run] what it runs in */
    HttpTask *task;   /* [who has the run] what it is for; NULL for a collection of garbage */
    /* Of the run that since_ns names; [owner writes, any reads] */
    atomic_uint_fast64_t cpu_most_ns, wall_most_ns; /* its limits, or 0: copied, as they may go with it */
    _Atomic(const char *) route_name;               /* or NULL; good for as long as the run at least */
    atomic_uint_fast64_t deadline_ns;               /* 0: none */
    atomic_uint_fast64_t before_ns;                 /* what earlier runs of the request have taken */
    /* Which run the watchdog's signal is for, and why; [watchdog writes, owner reads] */
    atomic_uint_fast64_t aim_stamp, aim_used_ns, aim_most_ns;
    atomic_int aim_limit;
    clockid_t cpu_clock;  /* of its thread; const while thread_id is set */
    atomic_int thread_id; /* [owner writes, any reads] the kernel's; 0: it has no thread */
    pthread_t thread;     /* likewise */

    /* What runtime/lost knows of a lost thread; under its lock. */
    struct hold *next;
    void *task_owner;             /* the worker whose connection the task is of, or NULL */
    bool told;                    /* the owner knows that it is lost */
    bool back;                    /* it has come back */
    atomic_bool relief;           /* a thread that is to take its place has been started */
    char route[HOLD_ROUTE_BYTES]; /* of what it runs, or ""; written by who has set `relief`, before the start
                                   */
} hold;

/* Returns: NULL when memory is short. */
hold *hold_new(const runner *r, struct pool *p);

/* No thread may have it. NULL is fine. */
void hold_free(hold *h);

/* The calling thread has it from now on; and no more. */
void hold_enter(hold *h);
void hold_leave(hold *h);

/* --- the owner --- */

/* A run begins. `now_ns` is monotonic; `task` may be NULL. Returns: its stamp, for hold_end. */
uint64_t hold_begin(hold *h, uint64_t now_ns, void *vm, HttpTask *task, const run_limits *limits,
                    uint64_t deadline_ns, uint64_t before_ns);

/* Returns: whether the run was still this thread's. If not, all that the thread worked on is another's, but
 * for the hold, its VM and its task. */
bool hold_end(hold *h, uint64_t stamp);

/* The run that the calling thread is in may go on until then, monotonic. Nothing if it is in none. */
void hold_set_deadline(uint64_t deadline_ns);

/* --- the watchdog, and who takes a run away --- */

typedef struct hold_view {
    uint64_t stamp;
    uint64_t cpu_most_ns, wall_most_ns;
    const char *route_name;
    uint64_t deadline_ns, before_ns;
    uint64_t cpu_ns; /* the thread's processor time */
} hold_view;

/* What runs there. Thread: any. Returns: false when nothing does. */
bool hold_look(hold *h, hold_view *ret);

/* Take the run of that stamp away. Thread: any. Returns: false when it is over, or taken. */
bool hold_take(hold *h, uint64_t stamp);

/* Have the run of that stamp interrupted, if it still goes on. Thread: the watchdog. */
void hold_signal(hold *h, uint64_t stamp, run_limit limit, uint64_t used_ns, uint64_t most_ns, int number);

/* The same, with the reason given last, for one that was taken. Thread: the watchdog. */
void hold_signal_again(const hold *h, int number);

/* --- signal handlers --- */

/* The signal has arrived on this thread. */
void hold_interrupt(void);

/* Write what runs on this thread, if something does. */
void hold_describe(void (*put)(void *user, const char *text, size_t n), void *user);

#endif
