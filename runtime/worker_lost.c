/* A worker's tasks whose thread was lost, its own or a heavy worker's. */
#include "runtime/lost.h"

#include "runtime/worker_parts.h"

/* A task that says for the log and the metrics what became of another, which may not be touched. */
static HttpTask *stand_in(worker *w, const HttpTask *t, run_limit limit)
{
    HttpTask *s = slab_take(w->tasks);
    if (!s)
        return NULL;
    task_begin(s, w);
    s->version_minor = t->version_minor;
    s->ip = t->ip;
    s->method_id = t->method_id;
    s->method = t->method;
    s->target = t->target;
    s->path = t->path;
    s->query = t->query;
    s->headers = t->headers;
    s->header_count = t->header_count;
    s->route = t->route;
    s->lane = t->lane;
    s->app = t->app;
    s->received_ns = t->received_ns;
    s->ready_ns = t->ready_ns;
    s->started_ns = t->started_ns;
    s->limit = limit;
    canned_error(s, 504, "Gateway Timeout");
    task_move(s, TASK_DONE);
    return s;
}

static void free_stand_in(worker *w, HttpTask *s)
{
    task_move(s, TASK_SENT);
    s->target = (str){0};
    s->headers = s->inline_headers;
    worker_free_task(w, s);
}

static void lose(worker *w, HttpTask *t, run_limit limit)
{
    w->busy--;
    if (t->state == TASK_CANCELLED)
        return; /* its client has gone */
    HttpTask *reply = stand_in(w, t, limit);
    task_move(t, TASK_LOST);
    http_abandon(w->http, t, reply);
    if (!reply)
        return;
    w->exec.runner->sent(w->exec.runner->user, w->index, reply, w->exec.now_ns);
    free_stand_in(w, reply);
}

static void regain(worker *w, HttpTask *t)
{
    if (t->state == TASK_LOST)
        http_resume(w->http, t);
    else
        worker_free_task(w, t);
}

bool worker_has_lost_news(const worker *w)
{
    return atomic_load_explicit(&w->lost_news, memory_order_relaxed);
}

void worker_hear_of_lost(worker *w)
{
    lost_news n;
    if (!worker_has_lost_news(w))
        return;
    atomic_store_explicit(&w->lost_news, false, memory_order_relaxed);
    while (lost_next_news(&w->pool->lost, w, &n)) {
        if (n.is_lost)
            lose(w, n.task, n.limit);
        if (n.is_back)
            regain(w, n.task);
    }
}

/* Tasks that were dropped while their coroutine waited in a VM that is lost: there is no ending that. */
void worker_forget_dropped(worker *w, const void *lost_vm)
{
    size_t kept = 0;
    for (size_t i = 0; i < w->dropped_count; i++) {
        HttpTask *t = w->dropped[i];
        if (t->heavy || t->vm != lost_vm) {
            w->dropped[kept++] = t;
        } else {
            w->busy--;
            worker_free_task(w, t);
        }
    }
    w->dropped_count = kept;
}

void worker_tell_lost(worker *w)
{
    atomic_store_explicit(&w->lost_news, true, memory_order_relaxed);
    wake_signal(&w->exec.wake);
}
