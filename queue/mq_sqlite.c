/* mq_sqlite: queues in a file. What was pushed is there after the process has ended, and the machine.
 *
 * A thread of its own for each open engine. mq_submit puts the operation onto a list; the thread takes all
 * that is there, runs it in one transaction, and calls `done` when the file has it: so one wait for the disk
 * serves all threads that waited for one. Several processes may have the file open. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "queue/mq.h"
#include "queue/mq_sqlite_group.h"
#include "queue/wake.h"
#include "queue/watchers.h"

enum {
    BUSY_PRESET_MS = 5000,
    BUSY_MOST_MS = 600000,
    LOOK_AROUND_MS = 50, /* for what other processes have changed */
    LOOK_FOR_DEAD_MS = 1000,
    REST_AFTER_FAILURE_MS = 1000
};

typedef struct engine {
    char *path;
    group group; /* [thread] */
    pthread_t thread;
    wake wake;
    _Atomic(mq_op *) submitted; /* the last first */
    atomic_bool stop;
    watchers *watchers;
    atomic_uint watched; /* how many they are */

    mq_op *waiting;     /* [thread] pushes, for room */
    bool retry;         /* [thread] there may be some */
    int64_t version;    /* [thread] of what others have written */
    int64_t due_ms;     /* [thread] when something becomes ready; of the wall's clock */
    bool knows_due;     /* [thread] that is so still */
    int64_t rest_until; /* [thread] after a failure; of the clock that goes forwards, as the next */
    int64_t looked_around_ms;
} engine;

/* --- operations --- */

static void on_submit(void *self, mq_op *op)
{
    engine *e = self;
    op->until_ms = op->verb == MQ_PUSH && op->wait_ms > 0 ? group_clock_ms() + op->wait_ms : 0;
    op->next = atomic_load_explicit(&e->submitted, memory_order_relaxed);
    /* Release: pairs with the acquire in take_submitted, which takes the whole list, so none is freed and
     * seen again in between. */
    while (!atomic_compare_exchange_weak_explicit(&e->submitted, &op->next, op, memory_order_release,
                                                  memory_order_relaxed))
        ;
    wake_signal(&e->wake);
}

/* What was submitted, in that order. */
static mq_op *take_submitted(engine *e)
{
    mq_op *op = atomic_exchange_explicit(&e->submitted, NULL, memory_order_acquire), *first = NULL;
    while (op) {
        mq_op *next = op->next;
        op->next = first;
        first = op;
        op = next;
    }
    return first;
}

/* --- watchers --- */

static void call_watchers(void *user, const char *queue)
{
    watchers_call(((engine *)user)->watchers, queue);
}

static void on_watch(void *self, mq_watcher *w)
{
    engine *e = self;
    atomic_fetch_add_explicit(&e->watched, 1, memory_order_relaxed);
    wake_signal(&e->wake); /* it begins to look around */
    watchers_add(e->watchers, w);
}

static void on_unwatch(void *self, mq_watcher *w)
{
    engine *e = self;
    watchers_remove(e->watchers, w);
    atomic_fetch_sub_explicit(&e->watched, 1, memory_order_relaxed);
}

/* --- the thread --- */

static bool is_watched(engine *e)
{
    return atomic_load_explicit(&e->watched, memory_order_relaxed) > 0;
}

/* Put `ops` behind those that wait, which have come earlier. */
static mq_op *join(mq_op *first, mq_op *ops)
{
    mq_op **end = &first;
    while (*end)
        end = &(*end)->next;
    *end = ops;
    return first;
}

static bool has_given_up(const engine *e, int64_t now_ms)
{
    for (const mq_op *op = e->waiting; op; op = op->next)
        if (op->until_ms <= now_ms)
            return true;
    return false;
}

/* Has another process written? Then there may be room, and something to take. */
static void look_around(engine *e, int64_t now_ms)
{
    if (!is_watched(e) && !e->waiting)
        return;
    if (now_ms - e->looked_around_ms < LOOK_AROUND_MS)
        return;
    e->looked_around_ms = now_ms;
    if (!group_is_changed(&e->group, &e->version))
        return;
    e->retry = true;
    e->knows_due = false;
    group_each_ready(&e->group, call_watchers, e);
}

static void run(engine *e, mq_op *ops)
{
    if (e->waiting && (e->retry || has_given_up(e, group_clock_ms()))) {
        ops = join(e->waiting, ops);
        e->waiting = NULL;
    }
    e->retry = e->knows_due = false;
    if (!group_run(&e->group, ops, &e->waiting)) {
        e->rest_until = group_clock_ms() + REST_AFTER_FAILURE_MS;
        return;
    }
    e->rest_until = 0;
    e->retry = e->group.made_room;
    for (const tally *t = e->group.tallies.first; t; t = t->next)
        if (t->news)
            call_watchers(e, t->queue);
}

static int64_t due_ms(engine *e)
{
    if (!e->knows_due)
        e->due_ms = group_next_due(&e->group);
    e->knows_due = true;
    return e->due_ms;
}

/* Is there something to do, though nobody has asked? */
static bool is_due(engine *e, int64_t now_ms)
{
    if (e->waiting && (e->retry || has_given_up(e, now_ms)))
        return true;
    if (!is_watched(e) || now_ms < e->rest_until)
        return false;
    return due_ms(e) <= mq_now_ms() || now_ms - e->group.looked_ms >= LOOK_FOR_DEAD_MS;
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* How long nothing will be due, in ms; -1: until somebody comes. */
static int rest_ms(engine *e, int64_t now_ms)
{
    if (!is_watched(e) && !e->waiting)
        return -1;
    int64_t ms = LOOK_AROUND_MS;
    for (const mq_op *op = e->waiting; op; op = op->next)
        ms = least(ms, op->until_ms - now_ms);
    if (is_watched(e) && now_ms >= e->rest_until)
        ms = least(ms, due_ms(e) - mq_now_ms());
    return ms > 0 ? (int)ms : 0;
}

static void rest(engine *e)
{
    wake_prepare(&e->wake);
    bool wanted = atomic_load_explicit(&e->submitted, memory_order_acquire) ||
                  atomic_load_explicit(&e->stop, memory_order_acquire);
    /* Read again, since a watcher may have come: its signal is for a thread that sleeps. */
    int ms = wanted ? 0 : rest_ms(e, group_clock_ms());
    if (ms != 0) {
        struct pollfd fd = {.fd = wake_fd(&e->wake), .events = POLLIN};
        poll(&fd, 1, ms);
        wake_clear(&e->wake);
    }
    wake_cancel(&e->wake);
}

static void *engine_main(void *user)
{
    engine *e = user;
    pthread_setname_np(pthread_self(), "mq_sqlite");
    while (!atomic_load_explicit(&e->stop, memory_order_acquire)) {
        int64_t now_ms = group_clock_ms();
        look_around(e, now_ms);
        mq_op *ops = take_submitted(e);
        if (ops || is_due(e, now_ms))
            run(e, ops);
        else
            rest(e);
    }
    return NULL;
}

/* --- life --- */

static int start_thread(engine *e)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are for others */
    int err = -pthread_create(&e->thread, NULL, engine_main, e);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return err;
}

static void engine_free(engine *e)
{
    if (!e)
        return;
    group_fini(&e->group);
    watchers_free(e->watchers);
    wake_fini(&e->wake);
    free(e->path);
    free(e);
}

static engine *engine_new(const char *path)
{
    engine *e = calloc(1, sizeof(*e));
    if (!e)
        return NULL;
    e->wake.fd = -1;
    e->path = strdup(path);
    e->watchers = watchers_new();
    if (!e->path || !e->watchers) {
        engine_free(e);
        return NULL;
    }
    return e;
}

static int on_open(const mq *q, const char *rest_of_url, void **ret_self, char *error, size_t size)
{
    engine *e = engine_new(rest_of_url);
    if (!e)
        return -ENOMEM;
    int err = mq_parameter(q, "max", 1, INT64_MAX, 0, &e->group.max, error, size);
    if (!err)
        err =
            mq_parameter(q, "busy_ms", 0, BUSY_MOST_MS, BUSY_PRESET_MS, &e->group.store.busy_ms, error, size);
    if (!err)
        err = wake_init(&e->wake);
    if (!err)
        err = group_init(&e->group, e->path, mq_config_of(q), error, size);
    if (!err)
        err = start_thread(e);
    if (err)
        engine_free(e);
    else
        *ret_self = e;
    return err;
}

static void refuse_all(mq_op *ops, const char *path)
{
    for (mq_op *op = ops, *next; op; op = next) {
        next = op->next;
        mq_finish(op, -ESHUTDOWN, "%s: is being closed", path);
    }
}

/* What was submitted before is done; what comes from `done` itself is not any more. */
static void on_close(void *self)
{
    engine *e = self;
    atomic_store_explicit(&e->stop, true, memory_order_release);
    wake_signal(&e->wake);
    pthread_join(e->thread, NULL);
    mq_op *ops = take_submitted(e);
    if (ops)
        run(e, ops);
    refuse_all(e->waiting, e->path);
    while ((ops = take_submitted(e)) != NULL)
        refuse_all(ops, e->path);
    engine_free(e);
}

const mq_engine mq_sqlite = {.scheme = "sqlite",
                             .survives = true,
                             .open = on_open,
                             .close = on_close,
                             .submit = on_submit,
                             .watch = on_watch,
                             .unwatch = on_unwatch};
