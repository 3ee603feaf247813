#include "runtime/admin.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "queue/slab.h"
#include "runtime/canned.h"
#include "runtime/exposition.h"
#include "runtime/http.h"

enum {
    CONNECTIONS_MAX = 64,
    HEADER_ROOM_BYTES = 16384,
    BODY_BYTES_MAX = 4096,
    FULL_SLEEP_MS = 100, /* at the connection limit, where the daemon misses new clients */
    QUESTIONS_MAX = 256, /* that somebody works on, also for clients that have had their answer */
    LAST_TURNS_MAX = 64
};

#define NS_PER_MS   UINT64_C(1000000)
#define REFRESH_NS  UINT64_C(200000000)  /* how long the metrics wait for news */
#define QUESTION_NS UINT64_C(5000000000) /* and a question to the queues for its answer */

#define CLIENT_TIME_NS UINT64_C(30000000000) /* for each thing that a client does */

struct admin {
    admin_source source; /* const */
    logger *log;         /* const */
    http *http;          /* [admin thread], but before the start and after the join */
    slab *tasks;         /* likewise */
    laters *laters;      /* likewise; who waits is the task, whose `user` is what it waits for */
    int stop_fd;         /* an eventfd; readable: stop */
    pthread_t thread;
};

/* --- answers --- */

static void answer_words(HttpTask *t, int status, str words)
{
    canned_empty(t, status);
    if (buf_add_str(&t->body, words) == 0)
        t->content_type = "text/plain; charset=utf-8";
}

static void answer_health(admin *a, HttpTask *t)
{
    (void)a;
    answer_words(t, 200, STR("ok"));
}

static void answer_ready(admin *a, HttpTask *t)
{
    bool ready = !a->source.ready || a->source.ready(a->source.user);
    answer_words(t, ready ? 200 : 503, ready ? STR("ready") : STR("draining"));
}

static void make_metrics(admin *a, HttpTask *t)
{
    canned_empty(t, 200);
    int err = a->source.metrics ? a->source.metrics(a->source.user, &t->body) : 0;
    if (err == 0) {
        t->content_type = EXPOSITION_CONTENT_TYPE;
        return;
    }
    log_write(a->log, LOG_LEVEL_WARN, (str){0}, "the metrics could not be made: %s", strerror(-err));
    canned_error(t, 500, "The metrics could not be made");
}

/* --- answers that come later --- */

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* Returns: whether it waits for l; if not, l is the caller's to free. */
static bool wait_for(admin *a, HttpTask *t, later *l, uint64_t most_ns, void (*free_it)(later *l))
{
    if (later_begin(a->laters, l, t, now_ns() + most_ns, free_it) < 0)
        return false;
    t->user = l;
    return true;
}

static void free_refresh(later *l)
{
    free(l);
}

static void on_refreshed(void *with)
{
    later_end(with);
}

/* What is known is good enough if nothing newer can be asked for. */
static void answer_metrics(admin *a, HttpTask *t)
{
    later *l = a->source.refresh ? malloc(sizeof(*l)) : NULL;
    if (!l || !wait_for(a, t, l, REFRESH_NS, free_refresh)) {
        free(l);
        make_metrics(a, t);
    } else if (!a->source.refresh(a->source.user, on_refreshed, l)) {
        later_end(l);
    }
}

static void on_asked(mq_op *op)
{
    later_end(op->user);
}

static void answer_queues(admin *a, HttpTask *t)
{
    mq *queues = a->source.queues ? a->source.queues(a->source.user) : NULL;
    if (!queues) {
        canned_error(t, 404, "Not found");
        return;
    }
    queue_question *q = admin_queues_read(t);
    if (!q)
        return;
    if (!wait_for(a, t, &q->later, QUESTION_NS, admin_queues_free)) {
        canned_busy(t, "The queues have not answered many questions before this one");
        free(q);
        return;
    }
    q->op.done = on_asked;
    q->op.user = &q->later;
    mq_submit(queues, &q->op);
}

static void answer_at_last(admin *a, HttpTask *t, const later *l)
{
    if (str_eq(t->path, STR("/metrics")))
        make_metrics(a, t);
    else if (l->over)
        admin_queues_answer((const queue_question *)l, a->source.consumers, a->source.user, t);
    else
        admin_queues_give_up(t);
}

/* Make the reply that l's task waited for. */
static void finish(admin *a, later *l)
{
    HttpTask *t = l->waiter;
    answer_at_last(a, t, l);
    later_unref(l);
    t->user = NULL;
    task_move(t, TASK_DONE);
    if (t->suspended)
        http_resume(a->http, t);
}

/* Returns: whether a reply was made. */
static bool finish_those_that_can(admin *a)
{
    later *l = laters_next(a->laters, now_ns());
    for (later *next = l; next; next = laters_next(a->laters, now_ns()))
        finish(a, next);
    return l != NULL;
}

/* --- pages --- */

static const struct {
    const char *path;
    void (*answer)(admin *a, HttpTask *t);
} pages[] = {{"/healthz", answer_health}, {"/readyz", answer_ready}, {"/metrics", answer_metrics}};

/* Make the reply, or have the task wait for what it needs. */
static void answer(admin *a, HttpTask *t)
{
    size_t i = 0, n = sizeof(pages) / sizeof(pages[0]);
    while (i < n && !str_eq(t->path, str_from(pages[i].path)))
        i++;
    if (i == n && admin_queues_is_path(t->path)) {
        answer_queues(a, t);
    } else if (i == n) {
        canned_error(t, 404, "Not found");
    } else if (t->method_id == METHOD_GET || t->method_id == METHOD_HEAD) {
        pages[i].answer(a, t);
    } else {
        canned_error(t, 405, "Method not allowed");
        canned_header(t, "Allow", "GET, HEAD");
    }
}

/* --- what the front tells --- */

static HttpTask *on_take(void *owner)
{
    admin *a = owner;
    HttpTask *t = slab_take(a->tasks);
    if (t)
        task_begin(t, a);
    return t;
}

static void on_head(void *owner, HttpTask *t)
{
    (void)owner;
    (void)t;
}

static void on_ready(void *owner, HttpTask *t)
{
    admin *a = owner;
    answer(a, t);
    t->heavy = t->user != NULL; /* then its connection is suspended, unless the answer is there before */
    task_move(t, t->user ? TASK_QUEUED : TASK_DONE);
    if (t->user && later_try(t->user))
        finish(a, t->user);
}

static void on_suspended(void *owner, HttpTask *t)
{
    (void)owner;
    (void)t;
}

static void on_sent(void *owner, HttpTask *t)
{
    (void)owner;
    (void)t;
}

static void on_gone(void *owner, HttpTask *t)
{
    admin *a = owner;
    if (t->user)
        later_forget(t->user);
    t->user = NULL;
    if (t->state != TASK_SENT)
        task_move(t, TASK_CANCELLED);
    task_end(t);
    slab_give(a->tasks, t);
}

/* Read what is there and close: on a private address nobody sends megabytes and waits for a 413. */
static void on_linger(void *owner, int fd)
{
    char waste[4096];
    (void)owner;
    for (int i = 0; i < 16 && recv(fd, waste, sizeof(waste), MSG_DONTWAIT) > 0; i++)
        ;
    close(fd);
}

static void on_trouble(void *owner, const char *message)
{
    admin *a = owner;
    log_write(a->log, LOG_LEVEL_WARN, (str){0}, "admin: %s", message);
}

static const http_events events = {
    .take = on_take,
    .head = on_head,
    .body = on_head,
    .ready = on_ready,
    .suspended = on_suspended,
    .sent = on_sent,
    .gone = on_gone,
    .linger = on_linger,
    .trouble = on_trouble,
};

/* --- the thread --- */

static int until_ms(uint64_t due_ns)
{
    uint64_t now = now_ns();
    return due_ns > now ? (int)((due_ns - now + NS_PER_MS - 1) / NS_PER_MS) : 0;
}

static int sleep_ms(admin *a)
{
    int ms = http_timeout_ms(a->http);
    uint64_t due_ns = laters_due_ns(a->laters);
    if (due_ns != UINT64_MAX && (ms < 0 || ms > until_ms(due_ns)))
        ms = until_ms(due_ns);
    if (http_at_limit(a->http) && (ms < 0 || ms > FULL_SLEEP_MS))
        return FULL_SLEEP_MS;
    return ms;
}

/* Nothing may be suspended when the daemon ends. */
static void end_waits(admin *a)
{
    for (later *l = laters_any(a->laters); l; l = laters_any(a->laters))
        finish(a, l);
    int turns = 0;
    do
        http_run(a->http, now_ns());
    while (++turns < LAST_TURNS_MAX && http_timeout_ms(a->http) == 0);
}

static void *run(void *arg)
{
    admin *a = arg;
    struct pollfd fds[] = {{.fd = http_poll_fd(a->http), .events = POLLIN},
                           {.fd = a->stop_fd, .events = POLLIN},
                           {.fd = laters_fd(a->laters), .events = POLLIN}};
    while (!fds[1].revents) {
        http_run(a->http, now_ns());
        fds[0].events = http_is_stuck(a->http) ? 0 : POLLIN;
        poll(fds, 3, finish_those_that_can(a) ? 0 : sleep_ms(a));
    }
    end_waits(a);
    return NULL;
}

static int start_thread(admin *a)
{
    /* Signals are the program's business. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int err = pthread_create(&a->thread, NULL, run, a);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (err == 0)
        pthread_setname_np(a->thread, "poolsrv-admin");
    return -err;
}

static void release(admin *a)
{
    http_free(a->http);
    slab_free(a->tasks);
    laters_free(a->laters);
    if (a->stop_fd >= 0)
        close(a->stop_fd);
    free(a);
}

int admin_start(int listen_fd, const admin_source *source, logger *log, admin **ret_admin)
{
    http_config config = {
        .listen_fd = listen_fd,
        .max_connections = CONNECTIONS_MAX,
        .header_room = HEADER_ROOM_BYTES,
        .max_body = BODY_BYTES_MAX,
        .limits = {.idle_ns = CLIENT_TIME_NS,
                   .head_ns = CLIENT_TIME_NS,
                   .body_ns = CLIENT_TIME_NS,
                   .reading_ns = CLIENT_TIME_NS},
    };
    int err = -ENOMEM;
    admin *a = calloc(1, sizeof(*a));
    if (!a)
        return err;
    a->source = *source;
    a->log = log;
    a->stop_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (a->stop_fd < 0) {
        err = -errno;
        goto fail;
    }
    if ((err = laters_new(QUESTIONS_MAX, &a->laters)) < 0)
        goto fail;
    err = -ENOMEM;
    a->tasks = slab_new(sizeof(HttpTask), TASK_KEPT_BYTES, task_fini);
    if (!a->tasks)
        goto fail;
    if ((err = http_new(&config, &events, a, &a->http)) < 0 || (err = start_thread(a)) < 0)
        goto fail;
    *ret_admin = a;
    return 0;
fail:
    release(a);
    return err;
}

void admin_stop(admin *a)
{
    if (!a)
        return;
    uint64_t one = 1;
    while (write(a->stop_fd, &one, sizeof(one)) < 0 && errno == EINTR)
        ;
    pthread_join(a->thread, NULL);
    release(a);
}
