/* What a worker's connections tell it. */
#include <assert.h>

#include "runtime/worker_parts.h"

static HttpTask *on_take(void *owner)
{
    worker *w = owner;
    HttpTask *t = slab_take(w->tasks);
    if (t) {
        task_begin(t, w);
        t->received_ns = w->exec.now_ns;
    }
    w->active_ns = w->exec.now_ns;
    return t;
}

static void on_head(void *owner, HttpTask *t)
{
    worker *w = owner;
    t->received_ns = w->exec.now_ns;
}

static void on_body(void *owner, HttpTask *t)
{
    worker *w = owner;
    (void)t;
    w->active_ns = w->exec.now_ns;
}

static void on_ready(void *owner, HttpTask *t)
{
    worker *w = owner;
    t->ready_ns = w->exec.now_ns;
    w->exec.runner->route(w->exec.runner->user, t);
    w->busy++;
    if (t->state == TASK_DONE)
        return;
    task_move(t, TASK_QUEUED);
    int err = ring_push(w->home, t);
    assert(err == 0 && "a home ring holds what every http_run between two drains can bring");
    (void)err;
}

static void on_suspended(void *owner, HttpTask *t)
{
    worker *w = owner;
    if (t->state == TASK_QUEUED)
        w->outbox[w->outbox_count++] = t;
}

static void on_sent(void *owner, HttpTask *t)
{
    worker *w = owner;
    if (!t->ready_ns)
        w->busy++; /* answered early: it never went through on_ready */
    /* The server's own reply: no handler has moved the clock since its request came. */
    if (!t->started_ns)
        exec_tick(&w->exec);
    w->active_ns = w->exec.now_ns;
    w->exec.runner->sent(w->exec.runner->user, w->index, t, w->exec.now_ns);
}

static void on_gone(void *owner, HttpTask *t)
{
    worker *w = owner;
    switch (t->state) {
    case TASK_SENT:
        w->busy--;
        worker_free_task(w, t);
        return;
    case TASK_FILLING:
        task_move(t, TASK_CANCELLED);
        worker_free_task(w, t);
        return;
    case TASK_DONE:
        if (t->ready_ns)
            w->busy--;
        task_move(t, TASK_CANCELLED);
        worker_free_task(w, t);
        return;
    case TASK_LOST:
        task_move(t, TASK_CANCELLED);
        worker_free_task(w, t);
        return;
    case TASK_PARKED:
        /* Its coroutine waits here. Lua does not run inside the daemon's callbacks: drop it after the run. */
        assert(!t->suspended);
        timers_remove(&w->exec.parked, &t->timer);
        task_move(t, TASK_CANCELLED);
        w->dropped[w->dropped_count++] = t;
        return;
    default:
        /* On the home ring: freed when it is popped. */
        assert(t->state == TASK_QUEUED && !t->suspended);
        task_move(t, TASK_CANCELLED);
        if (t->heavy)
            w->dropped[w->dropped_count++] = t;
        return;
    }
}

static void on_linger(void *owner, int fd)
{
    worker *w = owner;
    linger_add(&w->lingering, fd);
}

static void on_trouble(void *owner, const char *message)
{
    worker *w = owner;
    w->exec.runner->trouble(w->exec.runner->user, message);
}

const http_events worker_events = {
    .take = on_take,
    .head = on_head,
    .body = on_body,
    .ready = on_ready,
    .suspended = on_suspended,
    .sent = on_sent,
    .gone = on_gone,
    .linger = on_linger,
    .trouble = on_trouble,
};
