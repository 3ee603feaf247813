#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "queue/mq_redis.h"

enum { FIXED_WORDS = 12 };

/* -EAGAIN of the client's is a server that refuses for now: a replica, or a master without any. Of an
 * operation it says that the queue is full, and that is told elsewhere. */
void mq_redis_finish(mq_redis_call *c, int err, const char *error)
{
    mq_op *op = c->op;
    free(c);
    if (err == -EAGAIN)
        err = -ENOTCONN;
    mq_finish(op, err, "%s", error[0] ? error : strerror(-err));
}

static void stem_of(const mq_redis_engine *e, const char *queue, char text[static STEM_BYTES])
{
    snprintf(text, STEM_BYTES, "%s:{%s}:", e->prefix, queue);
}

/* --- calling scripts --- */

int mq_redis_begin(words *w, const mq_redis_engine *e, const char *queue, size_t more,
                   char stem[static STEM_BYTES])
{
    if (words_init(w, FIXED_WORDS + more) < 0)
        return -ENOMEM;
    stem_of(e, queue, stem);
    words_add(w, STR("")); /* the script's digest */
    words_add(w, STR("1"));
    words_add(w, str_from(stem));
    return 0;
}

void mq_redis_submit_script(mq_redis_engine *e, mq_redis_script script, words *w, redis_done *done,
                            void *user)
{
    redis_submit_script(e->client, &e->scripts[script], words_arguments(w), done, user);
    words_fini(w);
}

static unsigned count(const mq_message *m)
{
    unsigned n = 0;
    for (; m; m = m->next)
        n++;
    return n;
}

static void add_tokens(words *w, const mq_message *m)
{
    for (; m; m = m->next)
        words_add(w, str_from(m->token));
}

/* --- take --- */

static void on_taken(void *user, int err, const char *error, const redis_reply *reply)
{
    mq_redis_call *c = user;
    if (!err) {
        int64_t next_ms = redis_integer(redis_item(reply, 0));
        err = mq_redis_taken(reply, &c->op->messages);
        if (c->op->messages && (next_ms < 0 || c->op->lease_ms < next_ms))
            next_ms = c->op->lease_ms;
        if (next_ms >= 0)
            mq_redis_expect(c->engine, c->queue, next_ms + 1);
    }
    mq_redis_finish(c, err, error);
}

static void take(mq_redis_call *c)
{
    words w;
    char stem[STEM_BYTES];
    c->op->messages = NULL;
    c->queue = mq_redis_queue_of(c->engine, c->op->queue);
    if (!c->queue || mq_redis_begin(&w, c->engine, c->op->queue, 0, stem) < 0) {
        mq_redis_finish(c, -ENOMEM, "");
        return;
    }
    words_number(&w, c->op->most < MQ_TAKE_MAX ? c->op->most : MQ_TAKE_MAX);
    words_number(&w, c->op->lease_ms);
    words_add(&w, str_from(c->engine->node));
    mq_redis_submit_script(c->engine, SCRIPT_take, &w, on_taken, c);
}

/* --- settling --- */

static bool moves(const mq_op *op)
{
    return op->verb == MQ_DEAD && op->to && op->to[0];
}

/* Where that makes something ready; NULL: nowhere. */
static const char *makes_ready(const mq_op *op)
{
    if (op->verb == MQ_RETRY || op->verb == MQ_GIVE_BACK)
        return op->queue;
    return moves(op) ? op->to : NULL;
}

static void on_settled(void *user, int err, const char *error, const redis_reply *reply)
{
    mq_redis_call *c = user;
    char text[MQ_ERROR_BYTES];
    int64_t stale = redis_integer(reply);
    if (!err && c->queue && stale < c->messages)
        mq_redis_announce(c->engine, c->queue, c->op->verb == MQ_RETRY ? c->op->delay_ms : 0);
    if (!err && stale > 0) {
        snprintf(text, sizeof(text), "the queue \"%s\": %lld of %u messages are not held any more",
                 c->op->queue, (long long)stale, c->messages);
        error = text;
        err = -ESTALE;
    }
    mq_redis_finish(c, err, error);
}

static str note_of(const mq_op *op)
{
    str note = str_from(op->note);
    return (str){note.p, note.n < MQ_NOTE_MAX ? note.n : MQ_NOTE_MAX};
}

static void add_progress(words *w, const mq_op *op)
{
    char *text = w->numbers[w->numbers_n++];
    snprintf(text, sizeof(w->numbers[0]), "%.9g", op->progress);
    words_add(w, str_from(text));
}

/* What stands between the stem and the tokens, or behind them. Returns: the script. */
static mq_redis_script add_settlement(words *w, const mq_op *op, char to[static STEM_BYTES])
{
    switch (op->verb) {
    case MQ_DEAD:
        if (!moves(op))
            break;
        w->p[1] = "2";
        words_add(w, str_from(to));
        words_add(w, str_from(op->queue));
        words_add(w, note_of(op));
        add_tokens(w, op->messages);
        return SCRIPT_dead;
    case MQ_RETRY:
    case MQ_GIVE_BACK:
        words_number(w, op->verb == MQ_RETRY ? op->delay_ms : 0);
        words_number(w, op->verb == MQ_RETRY);
        words_add(w, op->verb == MQ_RETRY ? note_of(op) : STR(""));
        add_tokens(w, op->messages);
        return SCRIPT_retry;
    case MQ_EXTEND:
        words_add(w, str_from(op->messages->token));
        words_number(w, op->lease_ms);
        return SCRIPT_extend;
    case MQ_PROGRESS:
        words_add(w, str_from(op->messages->token));
        add_progress(w, op);
        return SCRIPT_progress;
    default:
        break;
    }
    add_tokens(w, op->messages);
    return SCRIPT_ack;
}

static void settle(mq_redis_call *c)
{
    words w;
    char stem[STEM_BYTES], to[STEM_BYTES];
    const mq_op *op = c->op;
    c->messages = op->verb == MQ_EXTEND || op->verb == MQ_PROGRESS ? 1 : count(op->messages);
    if (!op->messages) {
        mq_redis_finish(c, 0, "");
        return;
    }
    const char *ready = makes_ready(op);
    c->queue = ready ? mq_redis_queue_of(c->engine, ready) : NULL;
    if ((ready && !c->queue) || mq_redis_begin(&w, c->engine, op->queue, c->messages, stem) < 0) {
        mq_redis_finish(c, -ENOMEM, "");
        return;
    }
    if (moves(op)) {
        mq_redis_name(c->engine, c->queue);
        stem_of(c->engine, op->to, to);
    }
    mq_redis_script script = add_settlement(&w, op, to);
    mq_redis_submit_script(c->engine, script, &w, on_settled, c);
}

/* --- clocks --- */

static void on_claimed(void *user, int err, const char *error, const redis_reply *reply)
{
    mq_redis_call *c = user;
    c->op->duplicate = !err && redis_integer(reply) == 1;
    mq_redis_finish(c, err, error);
}

static void on_last(void *user, int err, const char *error, const redis_reply *reply)
{
    mq_redis_call *c = user;
    c->op->moment_ms = err ? 0 : redis_integer(reply);
    mq_redis_finish(c, err, error);
}

static void clock_entry(mq_redis_call *c)
{
    char key[STEM_BYTES + 16];
    words w;
    int n = snprintf(key, sizeof(key), "%s:clock:{%s}", c->engine->prefix, c->op->queue);
    if (c->op->verb == MQ_LAST) {
        redis_submit(c->engine->client,
                     (redis_arguments){2, (const char *[]){"GET", key}, (const size_t[]){3, (size_t)n}},
                     on_last, c);
        return;
    }
    words_init(&w, FIXED_WORDS); /* so few need no memory */
    words_add(&w, STR(""));
    words_add(&w, STR("1"));
    words_add(&w, (str){key, (size_t)n});
    words_number(&w, c->op->moment_ms);
    mq_redis_submit_script(c->engine, SCRIPT_claim, &w, on_claimed, c);
}

/* --- all of them --- */

void mq_redis_submit(void *self, mq_op *op)
{
    static void (*const verbs[])(mq_redis_call *) = {
        [MQ_PUSH] = mq_redis_push,
        [MQ_TAKE] = take,
        [MQ_ACK] = settle,
        [MQ_RETRY] = settle,
        [MQ_DEAD] = settle,
        [MQ_GIVE_BACK] = settle,
        [MQ_EXTEND] = settle,
        [MQ_PROGRESS] = settle,
        [MQ_STATS] = mq_redis_stats,
        [MQ_PEEK] = mq_redis_peek,
        [MQ_REVIVE] = mq_redis_revive,
        [MQ_PURGE] = mq_redis_purge,
        [MQ_CLAIM] = clock_entry,
        [MQ_LAST] = clock_entry,
        [MQ_PUBLISH] = mq_redis_publish,
    };
    mq_redis_call *c = calloc(1, sizeof(*c));
    if (!c) {
        mq_finish(op, -ENOMEM, "out of memory");
        return;
    }
    c->engine = self;
    c->op = op;
    verbs[op->verb](c);
    /* cppcheck-suppress memleak ; whoever finishes it frees it */
}
