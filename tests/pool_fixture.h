/* pool_fixture: a pool with a runner that knows no Lua, and clients of it. The path of a request says what
 * its handler does. For the suites of the threads. */
#ifndef TESTS_POOL_FIXTURE_H
#define TESTS_POOL_FIXTURE_H

#include <arpa/inet.h>
#include <check.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "runtime/canned.h"
#include "runtime/clock.h"
#include "runtime/lane.h"
#include "runtime/listen.h"
#include "runtime/pool.h"

enum { PATIENCE_S = 20, REPLY_BYTES = 4096 };

#define SECOND UINT64_C(1000000000)

/* --- the runner --- */

typedef struct fake_vm {
    pthread_t thread;
} fake_vm;

static struct {
    lane light, heavy, gate;
    atomic_uint entered, left, dismissed, started, resumed, cancelled, sent, misplaced;
    atomic_uint timeless; /* sent in the moment they were received */
    atomic_bool no_vm;    /* enter fails */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool open;         /* [lock] lets the handlers of /gate end */
    unsigned waiting;  /* [lock] how many are in it */
    unsigned spinning; /* [lock] how many have begun to */
    atomic_bool spin_on;
    atomic_uint troubles;
    atomic_uint light_on_heavy; /* runs of the light route on heavy workers */
    atomic_uint abandoned;
    atomic_bool idle_at_gate;                           /* the next collection of garbage goes to the gate */
    atomic_uint_fast64_t nap_ns;                        /* how long /nap takes */
    runner_result (*run_job)(fake_vm *vm, HttpTask *t); /* a task that is a job, at its start ... */
    runner_result (*resume_job)(HttpTask *t);           /* ... and when its time has come */
    void (*cancel_job)(HttpTask *t);                    /* or it is given up */
} fake;

static inline void *on_enter(void *user)
{
    (void)user;
    if (atomic_load(&fake.no_vm))
        return NULL;
    fake_vm *vm = malloc(sizeof(*vm));
    ck_assert_ptr_nonnull(vm);
    vm->thread = pthread_self();
    atomic_fetch_add(&fake.entered, 1);
    return vm;
}

static inline void on_leave(void *user, void *vm)
{
    (void)user;
    free(vm);
    atomic_fetch_add(&fake.left, 1);
}

static inline void on_dismiss(void *user, void *vm)
{
    atomic_fetch_add(&fake.dismissed, 1);
    on_leave(user, vm);
}

static inline void *on_refresh(void *user, void *vm)
{
    (void)user;
    return vm;
}

static inline bool path_has(const HttpTask *t, const char *word)
{
    return memmem(t->path.p, t->path.n, word, strlen(word)) != NULL;
}

static inline void on_route(void *user, HttpTask *t)
{
    (void)user;
    if (path_has(t, "nowhere")) {
        canned_error(t, 404, "Not Found");
        task_move(t, TASK_DONE);
        return;
    }
    /* The gate has a lane of its own: who waits there is not to make others heavy. */
    t->lane = path_has(t, "heavy") ? &fake.heavy : path_has(t, "gate") ? &fake.gate : &fake.light;
}

static inline void reply(HttpTask *t, const char *text)
{
    t->status = 200;
    t->content_type = "text/plain";
    ck_assert_int_eq(buf_add(&t->body, text, strlen(text)), 0);
}

static inline void wait_at_gate(void)
{
    pthread_mutex_lock(&fake.lock);
    fake.waiting++;
    pthread_cond_broadcast(&fake.changed);
    while (!fake.open)
        pthread_cond_wait(&fake.changed, &fake.lock);
    fake.waiting--;
    pthread_mutex_unlock(&fake.lock);
}

/* Computes, with no system call once it has begun. */
static inline void spin(void)
{
    pthread_mutex_lock(&fake.lock);
    fake.spinning++;
    pthread_cond_broadcast(&fake.changed);
    pthread_mutex_unlock(&fake.lock);
    while (atomic_load_explicit(&fake.spin_on, memory_order_relaxed))
        ;
}

static inline void work_for(uint64_t ns)
{
    for (uint64_t until = clock_now_ns() + ns; clock_now_ns() < until;)
        ;
}

static inline runner_result on_start(void *held, HttpTask *t)
{
    fake_vm *vm = held;
    atomic_fetch_add(&fake.started, 1);
    if (!pthread_equal(vm->thread, pthread_self()))
        atomic_fetch_add(&fake.misplaced, 1);
    if (t->job)
        return fake.run_job(vm, t);
    if (path_has(t, "gate"))
        wait_at_gate();
    if (t->heavy && t->lane == &fake.light)
        atomic_fetch_add(&fake.light_on_heavy, 1);
    if (path_has(t, "spin"))
        spin();
    if (path_has(t, "work"))
        work_for(SECOND / 500);
    if (path_has(t, "nap"))
        work_for(atomic_load(&fake.nap_ns));
    if (path_has(t, "park") || path_has(t, "ever")) {
        t->vm = vm;
        t->wake_ns = path_has(t, "ever") ? 3600 * SECOND : SECOND / 50;
        return RUNNER_PARKED;
    }
    reply(t, "done");
    return RUNNER_DONE;
}

static inline runner_result on_resume(HttpTask *t)
{
    fake_vm *vm = t->vm;
    atomic_fetch_add(&fake.resumed, 1);
    if (!pthread_equal(vm->thread, pthread_self()))
        atomic_fetch_add(&fake.misplaced, 1);
    if (t->job)
        return fake.resume_job(t);
    if (path_has(t, "wait"))
        wait_at_gate();
    reply(t, "resumed");
    return RUNNER_DONE;
}

static inline void on_cancel(HttpTask *t)
{
    fake_vm *vm = t->vm;
    atomic_fetch_add(&fake.cancelled, 1);
    if (!pthread_equal(vm->thread, pthread_self()))
        atomic_fetch_add(&fake.misplaced, 1);
    if (t->job)
        fake.cancel_job(t);
    else if (path_has(t, "close"))
        wait_at_gate();
}

static inline void on_abandon(void *user, void *held)
{
    fake_vm *vm = held;
    (void)user;
    if (!pthread_equal(vm->thread, pthread_self()))
        atomic_fetch_add(&fake.misplaced, 1);
    free(vm);
    atomic_fetch_add(&fake.abandoned, 1);
}

static inline void on_interrupt(void *vm, run_limit limit, uint64_t used_ns, uint64_t most_ns)
{
    (void)vm;
    (void)limit;
    (void)used_ns;
    (void)most_ns;
}

static inline void on_idle(void *vm)
{
    (void)vm;
    if (atomic_exchange(&fake.idle_at_gate, false))
        wait_at_gate();
}

static inline void on_sent(void *user, unsigned thread, HttpTask *t, uint64_t now_ns)
{
    (void)user;
    (void)thread;
    if (now_ns <= t->received_ns)
        atomic_fetch_add(&fake.timeless, 1);
    atomic_fetch_add(&fake.sent, 1);
}

static inline void on_trouble(void *user, const char *message)
{
    (void)user;
    (void)message;
    atomic_fetch_add(&fake.troubles, 1);
}

static const runner fake_runner = {
    .enter = on_enter,
    .leave = on_leave,
    .dismiss = on_dismiss,
    .refresh = on_refresh,
    .route = on_route,
    .start = on_start,
    .resume = on_resume,
    .cancel = on_cancel,
    .abandon = on_abandon,
    .interrupt = on_interrupt,
    .idle = on_idle,
    .sent = on_sent,
    .trouble = on_trouble,
};

/* --- the pool under test --- */

static pool *p;
static listen_set listening;
static struct sockaddr_in address;

static const pool_config usual = {
    .workers = 1,
    .heavies = 1,
    .max_connections = 100,
    .max_queue = 100,
    .forced_read_ns = 3600 * SECOND,
    .http = {.header_room = 16384, .max_body = 1 << 20, .limits = {.idle_ns = 60 * SECOND}},
};

static inline int try_start(pool_config config)
{
    char error[256] = "";
    socklen_t size = sizeof(address);
    int err = listen_bind_tcp(&listening, config.workers, "127.0.0.1", 0, error, sizeof(error));
    ck_assert_msg(err == 0, "%s", error);
    ck_assert_int_eq(listen_start(&listening, error, sizeof(error)), 0);
    ck_assert_int_eq(getsockname(listening.fds[0], (struct sockaddr *)&address, &size), 0);
    config.listen_fds = listening.fds;
    ck_assert_int_eq(pool_new(&config, &fake_runner, &p), 0);
    return pool_start(p);
}

static inline void start(pool_config config)
{
    ck_assert_int_eq(try_start(config), 0);
}

static inline void setup(void)
{
    memset(&fake, 0, sizeof(fake));
    pthread_mutex_init(&fake.lock, NULL);
    pthread_cond_init(&fake.changed, NULL);
    lane_init(&fake.light, LANE_ALL_LIGHT, false, 0);
    lane_init(&fake.heavy, LANE_ALL_HEAVY, false, 0);
    lane_init(&fake.gate, LANE_ALL_LIGHT, false, 0);
}

static inline void end(enum pool_stage stage)
{
    pool_set_stage(p, stage);
    ck_assert(pool_wait(p, PATIENCE_S * SECOND));
    pool_free(p);
    p = NULL;
    listen_close(&listening);
    ck_assert_uint_eq(atomic_load(&fake.entered), atomic_load(&fake.left) + atomic_load(&fake.abandoned));
    ck_assert_uint_eq(atomic_load(&fake.misplaced), 0);
}

static inline void set_gate(bool open)
{
    pthread_mutex_lock(&fake.lock);
    fake.open = open;
    pthread_cond_broadcast(&fake.changed);
    pthread_mutex_unlock(&fake.lock);
}

static inline void open_gate(void)
{
    set_gate(true);
}

/* Until a count that changes with fake.changed has come to `n`. */
static inline void wait_for_count(const unsigned *count, unsigned n)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += PATIENCE_S;
    pthread_mutex_lock(&fake.lock);
    while (*count < n)
        ck_assert_int_eq(pthread_cond_timedwait(&fake.changed, &fake.lock, &until), 0);
    pthread_mutex_unlock(&fake.lock);
}

static inline void wait_for_gate(unsigned waiting)
{
    wait_for_count(&fake.waiting, waiting);
}

/* Until so many heavy threads run. */
static inline void wait_for_heavies(unsigned running)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += PATIENCE_S;
    pthread_mutex_lock(&p->lock);
    while (pool_heavies_of(p).running != running)
        ck_assert_int_eq(pthread_cond_timedwait(&p->changed, &p->lock, &until), 0);
    pthread_mutex_unlock(&p->lock);
}

/* Until so many tasks have come to wait for a heavy worker. */
static inline void wait_for_waiting(unsigned n)
{
    uint64_t until_ns = clock_now_ns() + PATIENCE_S * SECOND;
    while (atomic_load(&p->waiting) != n) {
        ck_assert_uint_lt(clock_now_ns(), until_ns);
        sched_yield();
    }
}

/* --- clients --- */

static inline int client(void)
{
    struct timeval patience = {.tv_sec = PATIENCE_S};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_ge(fd, 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

static inline void ask(int fd, const char *path)
{
    char text[256];
    int n = snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\nHost: test\r\n\r\n", path);
    ck_assert_int_eq(send(fd, text, (size_t)n, MSG_NOSIGNAL), n);
}

/* One reply, of at most REPLY_BYTES; nothing may follow it. Returns: its status. */
static inline int answer(int fd, char *text)
{
    size_t n = 0;
    for (;;) {
        ssize_t got = recv(fd, text + n, REPLY_BYTES - 1 - n, 0);
        ck_assert_msg(got > 0, "no whole reply came: %d", errno);
        n += (size_t)got;
        text[n] = '\0';
        char *end_of_head = strstr(text, "\r\n\r\n");
        char *length = strstr(text, "Content-Length: ");
        if (!end_of_head)
            continue;
        ck_assert_ptr_nonnull(length);
        size_t whole = (size_t)(end_of_head + 4 - text) + strtoul(length + 16, NULL, 10);
        ck_assert_uint_le(n, whole);
        if (n == whole)
            return atoi(text + 9);
    }
}

static inline void expect(int fd, int status, const char *part)
{
    char text[REPLY_BYTES];
    ck_assert_int_eq(answer(fd, text), status);
    ck_assert_msg(strstr(text, part) != NULL, "\"%s\" is not in %s", part, text);
}

/* Ask for something n times, each on a connection of its own. */
static inline void ask_all(int *fds, unsigned n, const char *path)
{
    for (unsigned i = 0; i < n; i++)
        ask(fds[i] = client(), path);
}

static inline void expect_all(const int *fds, unsigned n, int status, const char *part)
{
    for (unsigned i = 0; i < n; i++) {
        expect(fds[i], status, part);
        close(fds[i]);
    }
}

/* --- without a socket --- */

typedef struct injected {
    HttpTask task; /* first: on_done gets its address */
    bool done;     /* [fake.lock] */
} injected;

static inline void on_injected_done(HttpTask *t)
{
    injected *one = (injected *)t;
    pthread_mutex_lock(&fake.lock);
    one->done = true;
    pthread_cond_broadcast(&fake.changed);
    pthread_mutex_unlock(&fake.lock);
}

static inline injected *new_injected(const char *path)
{
    injected *one = calloc(1, sizeof(*one));
    ck_assert_ptr_nonnull(one);
    task_begin(&one->task, NULL);
    ck_assert_int_eq(task_set_target(&one->task, str_from(path)), 0);
    one->task.heavy = true;
    one->task.on_done = on_injected_done;
    on_route(NULL, &one->task);
    one->task.lane = &fake.heavy;
    one->task.ready_ns = clock_now_ns();
    task_move(&one->task, TASK_QUEUED);
    return one;
}

static inline int wait_injected(injected *one)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += PATIENCE_S;
    pthread_mutex_lock(&fake.lock);
    while (!one->done)
        ck_assert_int_eq(pthread_cond_timedwait(&fake.changed, &fake.lock, &until), 0);
    pthread_mutex_unlock(&fake.lock);
    return one->task.status;
}

static inline void free_injected(injected *one)
{
    task_move(&one->task, one->done ? TASK_SENT : TASK_CANCELLED);
    task_end(&one->task);
    task_fini(&one->task);
    free(one);
}

#endif
