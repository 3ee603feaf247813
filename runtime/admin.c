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
    FULL_SLEEP_MS = 100 /* at the connection limit, where the daemon misses new clients */
};

#define CLIENT_TIME_NS UINT64_C(30000000000) /* for each thing that a client does */

struct admin {
    admin_source source; /* const */
    logger *log;         /* const */
    http *http;          /* [admin thread], but before the start and after the join */
    slab *tasks;         /* likewise */
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

static void answer_metrics(admin *a, HttpTask *t)
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

static const struct {
    const char *path;
    void (*answer)(admin *a, HttpTask *t);
} pages[] = {{"/healthz", answer_health}, {"/readyz", answer_ready}, {"/metrics", answer_metrics}};

static void answer(admin *a, HttpTask *t)
{
    size_t i = 0, n = sizeof(pages) / sizeof(pages[0]);
    while (i < n && !str_eq(t->path, str_from(pages[i].path)))
        i++;
    if (i == n) {
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
    answer(owner, t);
    task_move(t, TASK_DONE);
}

/* Every task is done when it is ready, so none is ever suspended. */
static void on_suspended(void *owner, HttpTask *t)
{
    (void)owner;
    (void)t;
    abort();
}

static void on_sent(void *owner, HttpTask *t)
{
    (void)owner;
    (void)t;
}

static void on_gone(void *owner, HttpTask *t)
{
    admin *a = owner;
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

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static int sleep_ms(admin *a)
{
    int ms = http_timeout_ms(a->http);
    if (http_at_limit(a->http) && (ms < 0 || ms > FULL_SLEEP_MS))
        return FULL_SLEEP_MS;
    return ms;
}

static void *run(void *arg)
{
    admin *a = arg;
    struct pollfd fds[] = {{.fd = http_poll_fd(a->http), .events = POLLIN},
                           {.fd = a->stop_fd, .events = POLLIN}};
    while (!fds[1].revents) {
        http_run(a->http, now_ns());
        fds[0].events = http_is_stuck(a->http) ? 0 : POLLIN;
        poll(fds, 2, sleep_ms(a));
    }
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
