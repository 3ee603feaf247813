#include "runtime/worker.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "runtime/altstack.h"
#include "runtime/heavy.h"
#include "runtime/lane.h"
#include "runtime/watchdog.h"
#include "runtime/worker_parts.h"

enum {
    TURNS_WITHOUT_LOOP = 32, /* a busy worker looks at its loop, for timers and lingering closes, as often */
    /* A turn runs the daemon once before it drains the home ring and once after. Each run may end
     * connections whose tasks stay on the ring, and the next may put as many new ones there. */
    RUNS_BETWEEN_DRAINS = 2,
    AT_LIMIT_SLEEP_MS = 100,  /* the daemon may not notice that it can accept again */
    SHARE_AFTER_NS = 1000000, /* how long a batch may take before others may have some of it */
    SHARE_LEAST = 4,          /* tasks that must be left for that */
    DRAIN_SLEEP_MS = 20,
    DRAIN_QUIET_NS = 200000000 /* how long an idle connection may still send a request while draining */
};

/* --- the turn --- */

static void run_due(worker *w)
{
    HttpTask *t;
    uint64_t until_ns = w->exec.now_ns;
    while ((t = exec_run_due(&w->exec, until_ns)))
        worker_release(w, t);
    exec_collect(&w->exec);
    while ((t = exec_receive(&w->exec)))
        worker_release(w, t);
}

static void run_heavy(worker *w, HttpTask *t)
{
    unsigned retry_s;
    if (worker_hand_over(w, t, &retry_s))
        return;
    canned_busy_for(t, "The server is busy", retry_s);
    task_move(t, TASK_DONE);
}

/* A light task goes to a heavy worker when this batch takes long, and there are a core and a heavy worker
 * with nothing to do: every second one, so that neither waits for the other. */
static bool share(worker *w, HttpTask *t)
{
    unsigned retry_s;
    return ++w->late_tasks % 2 && ring_depth(w->home) >= SHARE_LEAST && lane_why(t->lane) == LANE_SHORT &&
           pool_has_spare(w->pool) && worker_hand_over(w, t, &retry_s);
}

static void run_one(worker *w, HttpTask *t, bool late)
{
    if (t->state == TASK_CANCELLED) {
        w->busy--;
        worker_free_task(w, t);
    } else if (pool_stage(w->pool) == POOL_FORCED) {
        atomic_fetch_add_explicit(&w->pool->cut_off, 1, memory_order_relaxed);
        worker_refuse(t, "The server is stopping");
    } else if (lane_is_heavy(t->lane)) {
        run_heavy(w, t);
    } else if (!late || !share(w, t)) {
        exec_run(&w->exec, t);
    }
}

static bool run_home(worker *w)
{
    HttpTask *t = ring_pop(w->home);
    if (!t)
        return false;
    for (uint64_t since_ns = w->exec.now_ns; t; t = ring_pop(w->home))
        run_one(w, t, w->exec.now_ns - since_ns > SHARE_AFTER_NS);
    return true;
}

static void free_dropped(worker *w)
{
    while (w->dropped_count) {
        HttpTask *t = w->dropped[--w->dropped_count];
        if (t->heavy) {
            pool_taken(w->pool);
            pool_ran(w->pool, t->cost_ns);
        } else {
            exec_drop(&w->exec, t);
        }
        w->busy--;
        worker_free_task(w, t);
    }
}

static void sleep_for(worker *w, int timeout_ms)
{
    if (timeout_ms != 0) {
        exec_idle(&w->exec);
        wake_prepare(&w->exec.wake);
        bool stopping = pool_stage(w->pool) != POOL_RUNNING;
        if (worker_is_any_done(w) || worker_has_lost_news(w) || !inbox_is_empty(&w->exec.inbox) ||
            w->exec.letters || (stopping && (timeout_ms < 0 || timeout_ms > DRAIN_SLEEP_MS)))
            timeout_ms = 0;
    }
    exec_sleep(&w->exec, timeout_ms);
    wake_cancel(&w->exec.wake);
}

static void on_http_readable(uv_poll_t *poll, int status, int events_seen)
{
    /* Ends the sleep; the turn does the rest. */
    (void)poll;
    (void)status;
    (void)events_seen;
}

/* The shorter of two times, of which -1 is the longest. */
static int shorter(int a_ms, int b_ms)
{
    return a_ms < 0 || (b_ms >= 0 && b_ms < a_ms) ? b_ms : a_ms;
}

/* Sleep for max_ms at most (-1: no limit), unless the daemon has work. */
static void rest(worker *w, int max_ms)
{
    int timeout = ring_depth(w->home) ? 0 : http_timeout_ms(w->http);
    if (timeout == 0 && ++w->turns_without_loop < TURNS_WITHOUT_LOOP)
        return;
    w->turns_without_loop = 0;
    if (http_at_limit(w->http))
        timeout = shorter(timeout, AT_LIMIT_SLEEP_MS);
    timeout = shorter(shorter(timeout, max_ms), worker_patience_ms(w));
    bool stuck = http_is_stuck(w->http);
    if (stuck)
        uv_poll_stop(&w->http_poll);
    sleep_for(w, timeout);
    if (stuck)
        uv_poll_start(&w->http_poll, UV_READABLE, on_http_readable);
}

/* The second half of a turn: what has been read is run and answered. */
static void run_read(worker *w)
{
    if (run_home(w))
        http_run(w->http, w->exec.now_ns);
    free_dropped(w);
    worker_publish(w);
    atomic_store_explicit(&w->connections, http_connections(w->http), memory_order_relaxed);
}

static void turn(worker *w, int max_sleep_ms)
{
    rest(w, max_sleep_ms);
    worker_adopt_done(w);
    worker_hear_of_lost(w); /* before the daemon runs: it might end the connection of a lost task */
    run_due(w);
    worker_refuse_stale(w);
    /* After adopting: what was finished after the drain began says that it is the last on its connection. */
    if (pool_stage(w->pool) != POOL_RUNNING)
        http_close_after_replies(w->http);
    http_run(w->http, w->exec.now_ns);
    exec_tick(&w->exec); /* or the first handler below is charged for what the daemon took */
    exec_refresh(&w->exec);
    run_read(w);
}

void worker_turn(worker *w)
{
    turn(w, pool_stage(w->pool) == POOL_RUNNING ? -1 : 0);
}

/* --- the drain --- */

/* Take in what is in the accept queue: closing the socket would reset it. */
static void accept_queued(worker *w)
{
    do
        turn(w, http_at_limit(w->http) ? DRAIN_SLEEP_MS : 0);
    while (http_has_queued(w->http) && pool_stage(w->pool) != POOL_FORCED);
}

static void evict_parked(worker *w)
{
    HttpTask *t;
    while ((t = exec_evict(&w->exec))) {
        atomic_fetch_add_explicit(&w->pool->cut_off, 1, memory_order_relaxed);
        worker_release(w, t);
    }
}

/* Idle connections may send one more request, which gets its reply and "Connection: close". */
static bool is_quiet(const worker *w)
{
    return w->busy == 0 && http_timeout_ms(w->http) != 0 && w->exec.now_ns - w->active_ns > DRAIN_QUIET_NS;
}

/* By a client, or by what waits here without one. */
static bool is_needed(const worker *w)
{
    return (http_connections(w->http) && !is_quiet(w)) || exec_is_waited_in(&w->exec);
}

static void drain(worker *w)
{
    accept_queued(w);
    http_quiesce(w->http);
    exec_tick(&w->exec);
    w->active_ns = w->exec.now_ns;
    while (is_needed(w) && pool_stage(w->pool) != POOL_FORCED)
        turn(w, DRAIN_SLEEP_MS);
    uint64_t since_ns = w->exec.now_ns;
    while (w->busy || exec_is_waited_in(&w->exec)) {
        /* Forced: heavy workers hand back what they have; each turn ends what waits here; and who does not
         * read is cut off. */
        evict_parked(w);
        turn(w, DRAIN_SLEEP_MS);
        if (w->exec.now_ns - since_ns > w->pool->config.forced_read_ns) {
            atomic_fetch_add_explicit(&w->pool->cut_off, 1, memory_order_relaxed);
            http_close_all(w->http);
        }
    }
    http_close_idle(w->http);
    for (int i = 0; i < 3; i++)
        turn(w, 0);
}

static void name_thread(const worker *w)
{
    char name[16];
    snprintf(name, sizeof(name), "poolsrv-w%u", w->index);
    pthread_setname_np(pthread_self(), name);
}

static void work(worker *w)
{
    pool_hear(w->pool, &w->exec, true);
    while (pool_stage(w->pool) == POOL_RUNNING)
        worker_turn(w);
    pool_hear(w->pool, &w->exec, false); /* or it might have something to do for ever */
    drain(w);
}

static void leave(worker *w)
{
    exec_refuse_letters(&w->exec);
    linger_close_all(&w->lingering);
    if (w->exec.vm)
        w->exec.runner->leave(w->exec.runner->user, w->exec.vm);
    w->exec.vm = NULL;
    altstack_leave();
    pool_thread_ended(w->pool, &w->pool->workers_running);
}

void *worker_main(void *arg)
{
    worker *w = arg;
    altstack_enter();
    name_thread(w);
    if (w->pool->watchdog)
        watchdog_adopt();
    int err = exec_enter(&w->exec);
    pool_thread_ready(w->pool, err == 0);
    if (err == 0)
        work(w);
    leave(w);
    return NULL;
}

void worker_take_over(worker *w, const void *lost_vm)
{
    HttpTask *t;
    name_thread(w);
    exec_tick(&w->exec);
    while ((t = exec_evict_from(&w->exec, lost_vm)))
        worker_release(w, t);
    worker_forget_dropped(w, lost_vm);
    uv_poll_start(&w->http_poll, UV_READABLE, on_http_readable); /* lost in a rest, it may be stopped */
    /* The turn that was interrupted goes on: another run of the daemon before that might bring more than the
     * home ring and the lists have room for. */
    worker_hear_of_lost(w);
    run_read(w);
    work(w);
    leave(w);
}

/* --- life --- */

static int make_rings(worker *w, size_t capacity)
{
    w->home = ring_new(capacity * RUNS_BETWEEN_DRAINS);
    w->shared = ring_new(capacity);
    w->published_ns = calloc(w->capacity, sizeof(uint64_t));
    w->finished_words = (w->pool->config.max_heavies + 63) / 64;
    w->finished = calloc(w->finished_words, sizeof(*w->finished));
    w->outbox = calloc(w->capacity, sizeof(HttpTask *));
    w->dropped = calloc(w->capacity, sizeof(HttpTask *));
    w->tasks = slab_new(sizeof(HttpTask), TASK_KEPT_BYTES, task_fini);
    return w->home && w->shared && w->published_ns && w->finished && w->outbox && w->dropped && w->tasks
               ? 0
               : -ENOMEM;
}

int worker_new(pool *p, unsigned index, worker **ret_worker)
{
    worker *w = calloc(1, sizeof(*w));
    if (!w)
        return -ENOMEM;
    run_limits limits = pool_limits(&p->config);
    int err = exec_init(&w->exec, p->runner, p, &limits);
    if (err) {
        free(w);
        return err;
    }
    w->pool = p;
    w->index = index;
    w->lingering.loop = &w->exec.loop;
    http_config config = p->config.http;
    config.listen_fd = p->config.listen_fds[index];
    config.own_listener = p->config.own_listeners;
    config.max_connections = pool_worker_connections(&p->config);
    w->capacity = config.max_connections;
    err = make_rings(w, w->capacity);
    if (err == 0)
        err = http_new(&config, &worker_events, w, &w->http);
    if (err == 0)
        err = uv_poll_init(&w->exec.loop, &w->http_poll, http_poll_fd(w->http));
    if (err == 0) {
        w->http_polled = true;
        err = uv_poll_start(&w->http_poll, UV_READABLE, on_http_readable);
    }
    if (err) {
        worker_free(w);
        return err;
    }
    *ret_worker = w;
    return 0;
}

void worker_free(worker *w)
{
    if (!w)
        return;
    if (worker_has_lost_news(w)) { /* of threads that came back after the worker's end */
        worker_hear_of_lost(w);
        http_run(w->http, w->exec.now_ns);
    }
    if (w->http_polled) {
        uv_close((uv_handle_t *)&w->http_poll, NULL);
        uv_run(&w->exec.loop, UV_RUN_NOWAIT);
    }
    http_free(w->http);
    linger_close_all(&w->lingering);
    exec_fini(&w->exec);
    assert(!w->tasks || slab_in_use(w->tasks) == 0);
    slab_free(w->tasks);
    ring_free(w->home);
    ring_free(w->shared);
    free(w->published_ns);
    free(w->finished);
    free(w->outbox);
    free(w->dropped);
    free(w);
}

exec *worker_exec(worker *w)
{
    return &w->exec;
}

void worker_signal(worker *w)
{
    wake_signal(&w->exec.wake);
}

bool worker_rests(const worker *w)
{
    return wake_is_wanted(&w->exec.wake);
}

unsigned worker_index(const worker *w)
{
    return w->index;
}

uint64_t worker_ended(const worker *w, peer_late why)
{
    return http_ended(w->http, why);
}

pool_depths worker_depths(const worker *w)
{
    size_t done = 0;
    for (unsigned i = 0; i < pool_heavies_made(w->pool); i++)
        done += ring_depth(heavy_done_ring(w->pool->heavies[i], w->index));
    return (pool_depths){ring_depth(w->home), ring_depth(w->shared), done,
                         atomic_load_explicit(&w->connections, memory_order_relaxed),
                         atomic_load_explicit(&w->exec.vm_bytes, memory_order_relaxed)};
}
