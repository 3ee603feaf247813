/* watchdog: a thread that ends handlers which take too long.
 *
 * It looks at every thread of the pool now and then. A run that is over its limit of processor or wall time
 * is interrupted: the thread gets a signal, whose handler tells the VM (runner.interrupt), and the VM raises
 * errors in the handler until that is out. The signal is sent again as long as the run goes on, since it may
 * be inside a C function. Whose run goes on after a grace has lost its thread: runtime/lost.
 *
 * A run is known by its stamp (runtime/hold). The signal names the one it is meant for, so a late one stops
 * nothing. The run itself pays for none of this but a few stores: what is measured is measured from here. */
#ifndef RUNTIME_WATCHDOG_H
#define RUNTIME_WATCHDOG_H

#include <signal.h>

#include "runtime/pool.h"

/* The signal; its handler is the only one that the library installs. */
#define WATCHDOG_SIGNAL (SIGRTMIN + 5)

/* --- the decision --- */

enum {
    WATCHDOG_GRACE_MS = 250, /* at least; a quarter of the limit if that is more */
    WATCHDOG_AGAIN_MS = 1000 /* how long before another is asked to take the place again */
};

/* What is seen of one thread whose handler runs. */
typedef struct watchdog_view {
    uint64_t stamp;       /* of the run */
    uint64_t now_ns;      /* monotonic */
    uint64_t cpu_ns;      /* the thread's processor time */
    uint64_t before_ns;   /* what earlier runs of the request have taken */
    uint64_t cpu_most_ns; /* the limit; 0: none */
    uint64_t deadline_ns; /* monotonic; 0: none */
    uint64_t wall_most_ns;
} watchdog_view;

/* What is kept of it. All zero at first. */
typedef struct watchdog_memory {
    uint64_t stamp;
    uint64_t first_cpu_ns; /* the thread's processor time when the run was seen first */
    run_limit limit;       /* that was met */
    uint64_t met_ns;       /* when that was seen */
    uint64_t used_ns, most_ns;
    uint64_t relieved_ns; /* when WATCHDOG_RELIEVE was said last; 0: never */
} watchdog_memory;

typedef enum watchdog_step {
    WATCHDOG_WAIT,
    WATCHDOG_INTERRUPT, /* m->limit says why; also after it was relieved */
    WATCHDOG_RELIEVE    /* it has had its grace; said again while it goes on */
} watchdog_step;

/* What to do about a run. Pure. */
watchdog_step watchdog_decide(watchdog_memory *m, const watchdog_view *v);

/* How long to sleep between two looks, for the smallest limit there is. */
uint64_t watchdog_period_ns(uint64_t least_limit_ns, bool all_rest);

/* --- the thread --- */

/* Make it, and install the signal's handler. Returns: 0, -EBUSY when the signal has another handler, or
 * another -errno. */
int watchdog_new(pool *p, watchdog **ret_watchdog);
void watchdog_free(watchdog *w);

/* The thread's body. */
void *watchdog_main(void *w);

/* Have it end. Thread: any. */
void watchdog_quit(watchdog *w);

/* The calling thread runs handlers from now on (hold_enter): let the signal through to it. */
void watchdog_adopt(void);

#endif
