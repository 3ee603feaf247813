#include "runtime/notice.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

typedef struct notice {
    job job;
    notices *all;
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
    errand_free(t);
    atomic_fetch_sub_explicit(&one->all->pending, 1, memory_order_relaxed);
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

typedef struct telling {
    notices *notices;
    const char *name;
    str arguments;
    int err;
} telling;

static void tell_one(void *user, inbox *to)
{
    telling *t = user;
    notice *one = NULL;
    HttpTask *task = NULL;
    if (t->err == 0 && (one = new_notice(t->notices, t->name, t->arguments)))
        task = errand_new(&one->job, &t->notices->kind, on_done, one);
    if (!task) {
        free(one);
        t->err = t->err ? t->err : -ENOMEM;
        return;
    }
    atomic_fetch_add_explicit(&t->notices->pending, 1, memory_order_relaxed);
    task->letter.kind = LETTER_JOB;
    inbox_post(to, &task->letter);
}

int notice_all(notices *n, const char *name, str arguments)
{
    telling t = {n, name, arguments, 0};
    if (atomic_load_explicit(&n->pending, memory_order_relaxed) >= NOTICES_MAX)
        return -EAGAIN;
    pool_each_inbox(n->pool, tell_one, &t);
    return t.err;
}
