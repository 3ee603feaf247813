#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "queue/mq_redis.h"

/* Pushes, and those that wait for room. Of these only the first of each queue is tried, now and then; when it
 * got room, the next is tried at once. */

enum {
    NAMED_MS = 10000,  /* so long the list of names is not told again of one */
    ROOM_RETRY_MS = 20 /* how often a push to a full queue is tried */
};

/* --- the list of names --- */

static void on_named(void *user, int err, const char *error, const redis_reply *reply)
{
    mq_redis_queue *q = user;
    (void)error, (void)reply;
    if (err) /* it is told again with the next message */
        atomic_store_explicit(&q->named_ms, 0, memory_order_relaxed);
}

/* Now and then, since somebody may have emptied the database. Relaxed: told twice does no harm. */
void mq_redis_name(mq_redis_engine *e, mq_redis_queue *q)
{
    char names[STEM_BYTES];
    int64_t now_ms = redis_now_ms();
    if (now_ms < atomic_load_explicit(&q->named_ms, memory_order_relaxed))
        return;
    atomic_store_explicit(&q->named_ms, now_ms + NAMED_MS, memory_order_relaxed);
    int n = snprintf(names, sizeof(names), "%s:queues", e->prefix);
    redis_submit(e->client,
                 (redis_arguments){3, (const char *[]){"SADD", names, q->name},
                                   (const size_t[]){4, (size_t)n, strlen(q->name)}},
                 on_named, q);
}

/* --- sending --- */

static void on_pushed(void *user, int err, const char *error, const redis_reply *reply);

/* Without a delay, a window and a limit one command is all that is needed. */
static void send_plain(mq_redis_call *c)
{
    char key[STEM_BYTES];
    const mq_op *op = c->op;
    int n = snprintf(key, sizeof(key), "%s:{%s}:s%d", c->engine->prefix, op->queue, op->priority);
    const char *p[] = {"XADD", key, "*", "b", op->body.p ? op->body.p : "", "i", op->id_text};
    const size_t bytes[] = {4, (size_t)n, 1, 1, op->body.n, 1, strlen(op->id_text)};
    redis_submit(c->engine->client, (redis_arguments){7, p, bytes}, on_pushed, c);
}

/* With a window a short script. */
static void send_once(mq_redis_call *c)
{
    char key[STEM_BYTES], seen[STEM_BYTES + MQ_ID_BYTES];
    const mq_op *op = c->op;
    words w;
    words_init(&w, WORDS_INLINE);
    snprintf(key, sizeof(key), "%s:{%s}:s%d", c->engine->prefix, op->queue, op->priority);
    snprintf(seen, sizeof(seen), "%s:{%s}:id:%s", c->engine->prefix, op->queue, op->id_text);
    words_add(&w, STR("")); /* the script's digest */
    words_add(&w, STR("2"));
    words_add(&w, str_from(key));
    words_add(&w, str_from(seen));
    words_add(&w, op->body);
    words_add(&w, str_from(op->id_text));
    words_number(&w, op->window_ms);
    mq_redis_submit_script(c->engine, SCRIPT_push_once, &w, on_pushed, c);
}

static void send_push(mq_redis_call *c)
{
    mq_op *op = c->op;
    words w;
    char stem[STEM_BYTES];
    if (op->delay_ms <= 0 && c->engine->most == 0) {
        if (op->window_ms <= 0)
            send_plain(c);
        else
            send_once(c);
        return;
    }
    if (mq_redis_begin(&w, c->engine, op->queue, 0, stem) < 0) {
        on_pushed(c, -ENOMEM, "out of memory", NULL);
        return;
    }
    words_number(&w, op->priority);
    words_add(&w, op->body);
    words_add(&w, str_from(op->id_text));
    words_number(&w, op->delay_ms);
    words_number(&w, op->window_ms);
    words_number(&w, c->engine->most);
    mq_redis_submit_script(c->engine, SCRIPT_push, &w, on_pushed, c);
}

/* --- waiting for room --- */

/* Put it behind those that wait already; or in front, where it was the first of them and was tried. */
static void wait_for_room(mq_redis_call *c)
{
    mq_redis_engine *e = c->engine;
    mq_redis_queue *q = c->queue;
    pthread_mutex_lock(&e->lock);
    mq_redis_call **at = &q->full;
    while (*at && !c->waits)
        at = &(*at)->next;
    c->next = *at;
    *at = c;
    c->again_ms = redis_now_ms() + ROOM_RETRY_MS;
    if (c->waits)
        q->trying = false;
    if (!q->is_full) {
        q->is_full = true;
        q->next_full = e->full;
        e->full = q;
    }
    c->waits = true;
    pthread_mutex_unlock(&e->lock);
    redis_wake(e->client);
}

/* One that waited is done: the next of its queue is tried at once. */
static void try_next(mq_redis_call *c)
{
    mq_redis_engine *e = c->engine;
    pthread_mutex_lock(&e->lock);
    c->queue->trying = false;
    if (c->queue->full)
        c->queue->full->again_ms = 0;
    pthread_mutex_unlock(&e->lock);
    redis_wake(e->client);
}

static void end_full(mq_redis_call *c)
{
    mq_op *op = c->op;
    int64_t most = c->engine->most;
    free(c);
    mq_finish(op, -EAGAIN, "the queue \"%s\" is full: %lld messages", op->queue, (long long)most);
}

static void on_pushed(void *user, int err, const char *error, const redis_reply *reply)
{
    mq_redis_call *c = user;
    str said = redis_text(reply);
    bool is_full = !err && str_eq(said, STR("full"));
    if (is_full && redis_now_ms() < c->op->until_ms) {
        wait_for_room(c);
        return;
    }
    if (c->waits)
        try_next(c);
    if (is_full) {
        end_full(c);
        return;
    }
    c->op->duplicate = !err && str_eq(said, STR("duplicate"));
    if (!err && !c->op->duplicate)
        mq_redis_announce(c->engine, c->queue, c->op->delay_ms);
    mq_redis_finish(c, err, error);
}

static void move(mq_redis_call **from, mq_redis_call **to)
{
    mq_redis_call *c = *from;
    *from = c->next;
    c->next = *to;
    *to = c;
}

/* [lock] Take out the first, if it is to be tried, and those whose time is over. Returns: when the next of
 * that is due. */
static int64_t collect(mq_redis_queue *q, int64_t now_ms, mq_redis_call **over, mq_redis_call **tried)
{
    int64_t next_ms = INT64_MAX;
    for (mq_redis_call **at = &q->full; *at;) {
        int64_t until_ms = (*at)->op->until_ms;
        if (until_ms <= now_ms) {
            move(at, over);
            continue;
        }
        next_ms = until_ms < next_ms ? until_ms : next_ms;
        at = &(*at)->next;
    }
    if (!q->full || q->trying)
        return next_ms;
    if (q->full->again_ms > now_ms)
        return q->full->again_ms < next_ms ? q->full->again_ms : next_ms;
    move(&q->full, tried);
    q->trying = true;
    return next_ms;
}

int64_t mq_redis_retry_full(mq_redis_engine *e)
{
    int64_t now_ms = redis_now_ms(), first_ms = INT64_MAX;
    mq_redis_call *over = NULL, *tried = NULL;
    pthread_mutex_lock(&e->lock);
    for (mq_redis_queue *q = e->full; q; q = q->next_full) {
        int64_t next_ms = collect(q, now_ms, &over, &tried);
        first_ms = next_ms < first_ms ? next_ms : first_ms;
    }
    pthread_mutex_unlock(&e->lock);
    for (mq_redis_call *c; (c = over);) {
        over = c->next;
        end_full(c);
    }
    for (mq_redis_call *c; (c = tried);) {
        tried = c->next;
        send_push(c);
    }
    return first_ms == INT64_MAX ? INT64_MAX : first_ms - now_ms;
}

void mq_redis_end_full(mq_redis_engine *e)
{
    for (mq_redis_queue *q = e->full; q; q = q->next_full)
        for (mq_redis_call *c; (c = q->full);) {
            q->full = c->next;
            mq_redis_finish(c, -ESHUTDOWN, "the server is being stopped");
        }
}

/* --- beginning --- */

void mq_redis_push(mq_redis_call *c)
{
    mq_op *op = c->op;
    c->queue = mq_redis_queue_of(c->engine, op->queue);
    if (!c->queue) {
        mq_redis_finish(c, -ENOMEM, "out of memory");
        return;
    }
    op->duplicate = false;
    op->until_ms = redis_now_ms() + op->wait_ms;
    if (op->id && op->id[0]) {
        snprintf(op->id_text, sizeof(op->id_text), "%s", op->id);
    } else {
        mq_make_id(op->id_text);
        op->window_ms = 0; /* nobody else has it */
    }
    mq_redis_name(c->engine, c->queue);
    send_push(c);
}
