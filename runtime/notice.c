#include "runtime/notice.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

typedef struct notice {
    job job;
    notices *all;
    notice_done *done; /* NULL: nobody is told */
    void *user;
    char texts[]; /* name NUL arguments */
} notice;

void notices_init(notices *n, pool *p, const run_limits *limits)
{
    n->pool = p;
    atomic_init(&n->pending, 0);
    errand_kind_init(&n->kind, limits);
}

static void on_done(HttpTask *t)
{
    notice *one = t->user;
    bool ran = errand_ended(t) != ERRAND_NOT_RUN;
    errand_free(t);
    atomic_fetch_sub_explicit(&one->all->pending, 1, memory_order_relaxed);
    if (one->done)
        one->done(one->user, ran);
    buf_fini(&one->job.result);
    free(one);
}

static notice *new_notice(notices *n, const char *name, str arguments)
{
    size_t name_bytes = strlen(name) + 1;
    notice *one = calloc(1, sizeof(*one) + name_bytes + arguments.n);
    if (!one)
        return NULL;
    memcpy(one->texts, name, name_bytes);
    memcpy(one->texts + name_bytes, arguments.p, arguments.n);
    one->all = n;
    one->job = (job){.kind = JOB_NOTICE,
                     .name = one->texts,
                     .title = one->texts,
                     .arguments = {one->texts + name_bytes, arguments.n}};
    return one;
}

int notice_one(notices *n, const char *name, str arguments, inbox *to, notice_done *done, void *user)
{
    notice *one = new_notice(n, name, arguments);
    HttpTask *task = one ? errand_new(&one->job, &n->kind, on_done, one) : NULL;
    if (!task) {
        free(one);
        return -ENOMEM;
    }
    one->done = done;
    one->user = user;
    atomic_fetch_add_explicit(&n->pending, 1, memory_order_relaxed);
    task->letter.kind = LETTER_JOB;
    inbox_post(to, &task->letter);
    return 0;
}

typedef struct telling {
    notices *notices;
    const char *name;
    str arguments;
    int err;
} telling;

static void tell_one(void *user, inbox *to)
{
    telling *t = user;
    if (t->err == 0)
        t->err = notice_one(t->notices, t->name, t->arguments, to, NULL, NULL);
}

int notice_all(notices *n, const char *name, str arguments)
{
    telling t = {n, name, arguments, 0};
    if (atomic_load_explicit(&n->pending, memory_order_relaxed) >= NOTICES_MAX)
        return -EAGAIN;
    pool_each_inbox(n->pool, tell_one, &t);
    return t.err;
}
