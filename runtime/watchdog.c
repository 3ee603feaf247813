#include "runtime/watchdog.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "runtime/clock.h"
#include "runtime/exec.h"
#include "runtime/heavy.h"
#include "runtime/worker.h"

#define MS UINT64_C(1000000)

enum { PERIOD_LEAST_MS = 5, PERIOD_MOST_MS = 250, REST_MOST_MS = 1000 };

struct watchdog {
    pool *pool;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool quit;                 /* [lock] */
    watchdog_memory *memories; /* [owner] of the workers, then of the heavy ones */
};

/* --- the decision --- */

static uint64_t used_cpu(const watchdog_memory *m, const watchdog_view *v)
{
    uint64_t since = v->cpu_ns > m->first_cpu_ns ? v->cpu_ns - m->first_cpu_ns : 0;
    return v->before_ns + since;
}

static void meet(watchdog_memory *m, const watchdog_view *v, run_limit limit, uint64_t used_ns,
                 uint64_t most_ns)
{
    m->limit = limit;
    m->met_ns = v->now_ns;
    m->used_ns = used_ns;
    m->most_ns = most_ns;
}

static void judge(watchdog_memory *m, const watchdog_view *v)
{
    uint64_t cpu = used_cpu(m, v);
    if (v->cpu_most_ns && cpu > v->cpu_most_ns)
        meet(m, v, RUN_LIMIT_CPU, cpu, v->cpu_most_ns);
    else if (v->deadline_ns && v->now_ns > v->deadline_ns)
        meet(m, v, RUN_LIMIT_WALL, v->now_ns - v->deadline_ns + v->wall_most_ns, v->wall_most_ns);
}

static uint64_t grace_ns(const watchdog_memory *m)
{
    uint64_t quarter = m->most_ns / 4, least = WATCHDOG_GRACE_MS * MS;
    return quarter > least ? quarter : least;
}

watchdog_step watchdog_decide(watchdog_memory *m, const watchdog_view *v)
{
    if (m->stamp != v->stamp)
        *m = (watchdog_memory){.stamp = v->stamp, .first_cpu_ns = v->cpu_ns};
    if (!m->limit)
        judge(m, v);
    if (!m->limit)
        return WATCHDOG_WAIT;
    if (v->now_ns - m->met_ns < grace_ns(m) ||
        (m->relieved_ns && v->now_ns - m->relieved_ns < WATCHDOG_AGAIN_MS * MS))
        return WATCHDOG_INTERRUPT;
    m->relieved_ns = v->now_ns;
    return WATCHDOG_RELIEVE;
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

uint64_t watchdog_period_ns(uint64_t least_limit_ns, bool all_rest)
{
    uint64_t period = least(least_limit_ns / 4, PERIOD_MOST_MS * MS);
    if (period < PERIOD_LEAST_MS * MS)
        period = PERIOD_LEAST_MS * MS;
    uint64_t rest = least(least_limit_ns, REST_MOST_MS * MS);
    return all_rest && rest > period ? rest : period;
}

/* --- the signal --- */

static void on_signal(int number)
{
    (void)number;
    int saved = errno;
    hold_interrupt();
    errno = saved;
}

static int install_handler(void)
{
    struct sigaction now;
    struct sigaction ours = {.sa_handler = on_signal, .sa_flags = SA_RESTART | SA_ONSTACK};
    sigemptyset(&ours.sa_mask);
    if (sigaction(WATCHDOG_SIGNAL, NULL, &now) < 0)
        return -errno;
    bool is_free = !(now.sa_flags & SA_SIGINFO) &&
                   (now.sa_handler == SIG_DFL || now.sa_handler == SIG_IGN || now.sa_handler == on_signal);
    if (!is_free)
        return -EBUSY;
    return sigaction(WATCHDOG_SIGNAL, &ours, NULL) < 0 ? -errno : 0;
}

void watchdog_adopt(void)
{
    sigset_t one;
    sigemptyset(&one);
    sigaddset(&one, WATCHDOG_SIGNAL);
    pthread_sigmask(SIG_UNBLOCK, &one, NULL);
}

/* --- looking --- */

/* A place in the pool: one of the two. */
typedef struct place {
    worker *worker;
    heavy *heavy;
} place;

/* Returns: whether a handler runs there. */
static bool look(watchdog *w, place at, watchdog_memory *m)
{
    hold_view run;
    hold *h = exec_hold(at.worker ? worker_exec(at.worker) : heavy_exec(at.heavy));
    if (!hold_look(h, &run))
        return false;
    watchdog_view view = {.stamp = run.stamp,
                          .now_ns = clock_now_ns(),
                          .cpu_ns = run.cpu_ns,
                          .before_ns = run.before_ns,
                          .cpu_most_ns = run.cpu_most_ns,
                          .deadline_ns = run.deadline_ns,
                          .wall_most_ns = run.wall_most_ns};
    watchdog_step step = watchdog_decide(m, &view);
    if (step != WATCHDOG_WAIT)
        hold_signal(h, run.stamp, m->limit, m->used_ns, m->most_ns, WATCHDOG_SIGNAL);
    if (step == WATCHDOG_RELIEVE)
        lost_relieve(w->pool, at.worker, at.heavy, h, run.stamp, run.route_name);
    return true;
}

/* Returns: whether any handler runs. */
static bool look_at_all(watchdog *w)
{
    pool *p = w->pool;
    bool any = false;
    for (unsigned i = 0; i < p->config.workers; i++)
        any |= look(w, (place){.worker = p->workers[i]}, &w->memories[i]);
    for (unsigned i = 0; i < pool_heavies_made(p); i++)
        any |= look(w, (place){.heavy = p->heavies[i]}, &w->memories[p->config.workers + i]);
    lost_signal_all(p, WATCHDOG_SIGNAL);
    return any;
}

/* --- the thread --- */

/* With the lock held. Returns early when it is to quit. */
static void sleep_for(watchdog *w, uint64_t ns)
{
    uint64_t until_ns = clock_now_ns() + ns;
    struct timespec until = {.tv_sec = (time_t)(until_ns / 1000000000u),
                             .tv_nsec = (long)(until_ns % 1000000000u)};
    while (!w->quit && pthread_cond_timedwait(&w->changed, &w->lock, &until) != ETIMEDOUT)
        ;
}

void *watchdog_main(void *arg)
{
    watchdog *w = arg;
    pool *p = w->pool;
    pthread_mutex_lock(&w->lock);
    while (!w->quit) {
        bool any = look_at_all(w);
        sleep_for(w, watchdog_period_ns(p->config.least_limit_ns, !any));
    }
    pthread_mutex_unlock(&w->lock);
    pool_thread_ended(p, &p->keepers_running);
    return NULL;
}

void watchdog_quit(watchdog *w)
{
    pthread_mutex_lock(&w->lock);
    w->quit = true;
    pthread_cond_signal(&w->changed);
    pthread_mutex_unlock(&w->lock);
}

int watchdog_new(pool *p, watchdog **ret_watchdog)
{
    int err = install_handler();
    if (err)
        return err;
    watchdog *w = calloc(1, sizeof(*w));
    if (w)
        w->memories = calloc(p->config.workers + p->config.max_heavies, sizeof(watchdog_memory));
    if (!w || !w->memories) {
        free(w);
        return -ENOMEM;
    }
    w->pool = p;
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    *ret_watchdog = w;
    return 0;
}

void watchdog_free(watchdog *w)
{
    if (!w)
        return;
    pthread_cond_destroy(&w->changed);
    pthread_mutex_destroy(&w->lock);
    free(w->memories);
    free(w);
}
