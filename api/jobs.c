#include "api/jobs.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "runtime/clock.h"
#include "runtime/hold.h"

enum { SETTLE_MS = 2000 };

static const log_level levels[] = {LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO};

static void on_tell(void *user, int level, const char *text)
{
    jobs *j = user;
    log_write(j->log, levels[level], (str){0}, "%s", text);
}

/* A message to all VMs. `prefix` says of what kind its name is. */
static void notify(jobs *j, const char *prefix, const char *name, str arguments)
{
    char whole[MQ_NAME_BYTES + 16];
    snprintf(whole, sizeof(whole), "%s:%s", prefix, name);
    if (!atomic_load_explicit(&j->pool, memory_order_acquire))
        return; /* no VM serves yet */
    int err = notice_all(&j->notices, whole, arguments);
    if (err)
        log_write(j->log, LOG_LEVEL_WARN, (str){0}, "%s: not all VMs are told: %s", whole,
                  err == -EAGAIN ? "too many messages wait in them" : "out of memory");
}

static void on_heard(void *user, const char *channel, str body)
{
    jobs *j = user;
    buf arguments = {0};
    if (buf_addf(&arguments, "[%.*s,\"%s\"]", (int)body.n, body.p, channel) == 0)
        notify(j, "channel", channel, buf_str(&arguments));
    buf_fini(&arguments);
}

/* --- what VMs ask for --- */

static mq *on_queues(void *user)
{
    jobs *j = user;
    return j->queues;
}

static bool on_stopping(void *user)
{
    jobs *j = user;
    return atomic_load_explicit(&j->ending, memory_order_relaxed);
}

static void on_extend(void *user, void *host, uint64_t ns)
{
    HttpTask *t = host;
    (void)user;
    uint64_t until_ns = clock_now_ns() + ns;
    if (!t->deadline_ns || t->deadline_ns >= until_ns)
        return; /* it may go on for longer already */
    t->deadline_ns = until_ns;
    hold_set_deadline(until_ns);
}

/* A function that a handler has spawned. */
typedef struct spawned {
    HttpTask task; /* first */
    jobs *jobs;
    run_limits limits;
} spawned;

static void on_spawned_done(HttpTask *t)
{
    spawned *s = (spawned *)t;
    errand_end end = errand_ended(t);
    /* What has failed, or met a limit while it ran, is in the log already. */
    if (end == ERRAND_NOT_RUN || (end == ERRAND_LATE && !t->job->result.n))
        log_write(s->jobs->log, LOG_LEVEL_WARN, (str){0}, "%s: %s", t->job->title,
                  end == ERRAND_LATE
                      ? "it waited for longer than its limit of time"
                      : "it was ended before its end: the server stops, or its thread was lost");
    atomic_fetch_sub_explicit(&s->jobs->spawned, 1, memory_order_relaxed);
    buf_fini(&t->job->result);
    free(t->job);
    task_move(t, TASK_SENT);
    task_end(t);
    task_fini(t);
    free(s);
}

/* The watchdog may read the name when the function is over already: it has to last. */
static run_limits limits_for(const jobs *j, const vm_spawn_limits *given)
{
    run_limits limits = j->limits;
    limits.route = "a spawned function";
    if (given->cpu_s >= 0)
        limits.cpu_ns = (uint64_t)(given->cpu_s * 1e9);
    if (given->wall_s >= 0)
        limits.wall_ns = (uint64_t)(given->wall_s * 1e9);
    if (given->memory_bytes >= 0)
        limits.memory_bytes = (size_t)given->memory_bytes;
    return limits;
}

/* It is a task that is parked and due: the thread goes on with it once it has seen to what runs now. */
static int on_spawn(void *user, void *spawner, vm_run *run, job *what, const vm_spawn_limits *given)
{
    jobs *j = user;
    HttpTask *by = spawner;
    if (atomic_fetch_add_explicit(&j->spawned, 1, memory_order_relaxed) >= JOBS_SPAWNED_MAX) {
        atomic_fetch_sub_explicit(&j->spawned, 1, memory_order_relaxed);
        return -EAGAIN;
    }
    spawned *s = calloc(1, sizeof(*s));
    if (!s) {
        atomic_fetch_sub_explicit(&j->spawned, 1, memory_order_relaxed);
        return -ENOMEM;
    }
    HttpTask *t = &s->task;
    s->jobs = j;
    s->limits = limits_for(j, given);
    task_begin(t, NULL);
    t->job = what;
    t->lane = by->lane; /* its time is its route's */
    t->limits = &s->limits;
    t->on_done = on_spawned_done;
    t->vm = by->vm;
    t->run = run;
    t->inbox = by->inbox;
    *vm_run_request(run) = (vm_request){.host = t,
                                        .id = vm_run_request(run)->id,
                                        .job = what,
                                        .inbox = t->inbox,
                                        .route_name = what->title,
                                        .memory_bytes = s->limits.memory_bytes};
    task_move(t, TASK_QUEUED);
    task_move(t, TASK_RUNNING);
    task_move(t, TASK_PARKED);
    task_add_spawned(by, t);
    return 0;
}

/* A job that a handler has handed on. */
typedef struct handed {
    job *job;
    void (*over)(job *j);
} handed;

static void fail(job *j, const char *why)
{
    j->failed = true;
    j->result.n = 0;
    (void)buf_add(&j->result, why, strlen(why));
}

static void on_call_done(HttpTask *t)
{
    handed *h = t->user;
    errand_end end = errand_ended(t);
    if (end == ERRAND_NOT_RUN)
        fail(h->job, "it was not run to its end: the server is stopping, or the thread was lost");
    else if (end == ERRAND_LATE && !h->job->failed)
        fail(h->job, "it waited for longer than its limit of time");
    errand_free(t);
    h->over(h->job);
    free(h);
}

static int on_call(void *user, job *what, void (*over)(job *j))
{
    jobs *j = user;
    pool *p = atomic_load_explicit(&j->pool, memory_order_acquire);
    handed *h = malloc(sizeof(*h));
    HttpTask *t = h && p ? errand_new(what, &j->calls, on_call_done, h) : NULL;
    if (!t) {
        free(h);
        return p ? -ENOMEM : -EAGAIN;
    }
    *h = (handed){what, over};
    int err = errand_run(p, t);
    if (err) {
        errand_free(t);
        free(h);
    }
    return err;
}

/* --- life --- */

void jobs_init(jobs *j)
{
    *j = (jobs){0};
    queue_stats_init(&j->stats);
    j->host = (vm_host){j, on_queues, on_spawn, on_call, on_extend, on_stopping};
}

int jobs_open(jobs *j, const char *url, dicts *shared, remotes *elsewhere, logger *log,
              const run_limits *limits, char *error, size_t size)
{
    mq_config config = {on_tell, on_heard, j};
    char why[512];
    j->log = log;
    j->limits = *limits;
    changes_init(&j->changes, shared, elsewhere, &j->notices);
    run_limits calls = *limits;
    calls.route = "a call of another module's function";
    errand_kind_init(&j->calls, &calls);
    int err = mq_open(url, &config, &j->queues, why, sizeof(why));
    if (err) {
        snprintf(error, size, "cannot open the queues: %s", why);
        return err;
    }
    err = ticker_new(&j->ticker);
    if (err)
        snprintf(error, size, "cannot start a thread: %s", strerror(-err));
    return err;
}

/* Have a listener told. */
static int listen_to(jobs *j, const char *name)
{
    if (strncmp(name, "channel:", 8) == 0)
        return mq_listen(j->queues, name + 8);
    int err = changes_define(&j->changes, name);
    return err == -ENOENT ? 0 : err;
}

int jobs_listen(jobs *j, vm *first)
{
    vm_job_def def;
    int err = 0;
    for (size_t i = 0; vm_job_at(first, i, &def) && err == 0; i++)
        if (def.kind == JOB_NOTICE)
            err = listen_to(j, def.name);
    return err;
}

int jobs_define(jobs *j, vm *first, char *error, size_t size)
{
    duties *d = NULL;
    int err = jobs_make(j, first, &d, error, size);
    atomic_store_explicit(&j->duties, d, memory_order_release);
    if (err == 0 && (err = jobs_listen(j, first)) != 0)
        snprintf(error, size, "out of memory");
    return err;
}

int jobs_make(jobs *j, vm *v, duties **ret_duties, char *error, size_t size)
{
    duties_means means = {j->queues, j->ticker, j->limits.memory_bytes, on_tell, j};
    return duties_new(&means, v, ret_duties, error, size);
}

uint64_t jobs_least_limit_ns(const jobs *j, uint64_t least)
{
    uint64_t own = jobs_duties(j)->least_limit_ns;
    return own && (!least || own < least) ? own : least;
}

static void warn_of_loss(const jobs *j)
{
    if (jobs_duties(j)->consumer_count && !mq_survives(j->queues))
        log_write(j->log, LOG_LEVEL_INFO, (str){0},
                  "the queues are in memory: what is in them is lost when the server ends (--queue "
                  "sqlite:PATH keeps it)");
}

void jobs_use(jobs *j, pool *p)
{
    run_limits limits = j->limits;
    limits.route = "a listener";
    notices_init(&j->notices, p, &limits);
    atomic_store_explicit(&j->pool, p, memory_order_release);
    changes_start(&j->changes);
}

void jobs_start(jobs *j)
{
    warn_of_loss(j);
    duties_start(jobs_duties(j), atomic_load_explicit(&j->pool, memory_order_relaxed));
}

void jobs_change(jobs *j, duties *fresh)
{
    duties *old = jobs_duties(j);
    duties_stop(old);
    fresh->older = old;
    atomic_store_explicit(&j->duties, fresh, memory_order_release);
    duties_start(fresh, atomic_load_explicit(&j->pool, memory_order_relaxed));
}

void jobs_drain(jobs *j)
{
    atomic_store_explicit(&j->ending, true, memory_order_relaxed);
    changes_stop(&j->changes);
    if (jobs_duties(j))
        duties_stop(jobs_duties(j));
}

void jobs_settle(jobs *j)
{
    duties_settle_all(jobs_duties(j), SETTLE_MS); /* mq_close ends the rest */
}

void jobs_fini(jobs *j)
{
    jobs_drain(j);
    jobs_settle(j);
    changes_fini(&j->changes);
    ticker_free(j->ticker); /* a consumer that is stopped sets no tick any more */
    mq_close(j->queues);
    queue_stats_fini(&j->stats);
    duties_free_all(jobs_duties(j));
    jobs_init(j);
}
