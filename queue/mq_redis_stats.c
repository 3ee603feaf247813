#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "queue/mq_redis.h"

/* What is known of one queue, or of all that have a name in the list. */

typedef struct part {
    mq_redis_call *call;
    size_t i;
} part;

static void fill(mq_stats *s, const redis_reply *reply)
{
    s->ready = (uint64_t)redis_integer(redis_item(reply, 0));
    s->delayed = (uint64_t)redis_integer(redis_item(reply, 1));
    s->taken = (uint64_t)redis_integer(redis_item(reply, 2));
    s->oldest_ms = redis_integer(redis_item(reply, 3));
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const mq_stats *)a)->name, ((const mq_stats *)b)->name);
}

/* One queue's are there; with the last of them all are. `under_way` counts on the client's thread, or where
 * the client refuses at once. */
static void end_part(mq_redis_call *c, int err, const char *error)
{
    mq_op *op = c->op;
    if (err && !op->err) {
        op->err = err;
        snprintf(op->error, sizeof(op->error), "%s", error);
    }
    if (--c->under_way > 0)
        return;
    char text[MQ_ERROR_BYTES];
    memcpy(text, op->error, sizeof(text));
    if (op->err) {
        free(op->stats);
        op->stats = NULL;
        op->count = 0;
    } else if (op->count > 0) {
        qsort(op->stats, op->count, sizeof(*op->stats), by_name);
    }
    mq_redis_finish(c, op->err, text);
}

static void on_stats(void *user, int err, const char *error, const redis_reply *reply)
{
    part p = *(part *)user;
    free(user);
    if (!err)
        fill(&p.call->op->stats[p.i], reply);
    end_part(p.call, err, error);
}

static void ask_stats(mq_redis_call *c, size_t i)
{
    words w;
    char stem[STEM_BYTES];
    part *p = malloc(sizeof(*p));
    if (!p || mq_redis_begin(&w, c->engine, c->op->stats[i].name, 0, stem) < 0) {
        free(p);
        end_part(c, -ENOMEM, "out of memory");
        return;
    }
    *p = (part){c, i};
    mq_redis_submit_script(c->engine, SCRIPT_stats, &w, on_stats, p);
}

static void ask_all_stats(mq_redis_call *c, size_t n)
{
    c->op->count = n;
    c->under_way = n + 1; /* one for this function: the call must live until all are asked for */
    for (size_t i = 0; i < n; i++)
        ask_stats(c, i);
    end_part(c, 0, "");
}

static void on_names(void *user, int err, const char *error, const redis_reply *reply)
{
    mq_redis_call *c = user;
    size_t most = redis_count(reply), n = 0;
    if (!err && !(c->op->stats = calloc(most + 1, sizeof(mq_stats))))
        err = -ENOMEM;
    if (err) {
        mq_redis_finish(c, err, error);
        return;
    }
    for (size_t i = 0; i < most; i++) {
        str name = redis_text(redis_item(reply, i));
        if (mq_name_is_good(name))
            memcpy(c->op->stats[n++].name, name.p, name.n);
    }
    ask_all_stats(c, n);
}

static void on_one_stats(void *user, int err, const char *error, const redis_reply *reply)
{
    mq_redis_call *c = user;
    mq_op *op = c->op;
    if (!err && !(op->stats = calloc(1, sizeof(mq_stats))))
        err = -ENOMEM;
    if (!err) {
        snprintf(op->stats->name, sizeof(op->stats->name), "%s", op->queue);
        fill(op->stats, reply);
        op->count = 1;
    }
    mq_redis_finish(c, err, error);
}

void mq_redis_stats(mq_redis_call *c)
{
    char names[STEM_BYTES], stem[STEM_BYTES];
    words w;
    c->op->stats = NULL;
    c->op->count = 0;
    if (!c->op->queue || !c->op->queue[0]) {
        int n = snprintf(names, sizeof(names), "%s:queues", c->engine->prefix);
        redis_submit(
            c->engine->client,
            (redis_arguments){2, (const char *[]){"SMEMBERS", names}, (const size_t[]){8, (size_t)n}},
            on_names, c);
    } else if (mq_redis_begin(&w, c->engine, c->op->queue, 0, stem) < 0) {
        mq_redis_finish(c, -ENOMEM, "");
    } else {
        mq_redis_submit_script(c->engine, SCRIPT_stats, &w, on_one_stats, c);
    }
}
