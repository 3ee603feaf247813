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

/* --- statistics --- */

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

static void stats(mq_redis_call *c)
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

/* --- looking, purging, reviving --- */

static void on_peeked(void *user, int err, const char *error, const redis_reply *reply)
{
    mq_redis_call *c = user;
    if (!err)
        err = mq_redis_peeked(reply, &c->op->messages);
    mq_redis_finish(c, err, error);
}

static void peek(mq_redis_call *c)
{
    words w;
    char stem[STEM_BYTES];
    c->op->messages = NULL;
    if (mq_redis_begin(&w, c->engine, c->op->queue, 0, stem) < 0) {
        mq_redis_finish(c, -ENOMEM, "");
        return;
    }
    words_number(&w, c->op->most);
    mq_redis_submit_script(c->engine, SCRIPT_peek, &w, on_peeked, c);
}

static void purge_step(mq_redis_call *c);

static void on_purged(void *user, int err, const char *error, const redis_reply *reply)
{
    mq_redis_call *c = user;
    int64_t left = redis_integer(redis_item(reply, 1));
    c->op->count += (uint64_t)redis_integer(redis_item(reply, 0));
    if (err || left <= 0) {
        mq_redis_finish(c, err, error);
        return;
    }
    snprintf(c->place, sizeof(c->place), "%lld", (long long)left);
    purge_step(c);
}

static void purge_step(mq_redis_call *c)
{
    words w;
    char stem[STEM_BYTES];
    if (mq_redis_begin(&w, c->engine, c->op->queue, 0, stem) < 0) {
        mq_redis_finish(c, -ENOMEM, "");
        return;
    }
    words_add(&w, str_from(c->place));
    mq_redis_submit_script(c->engine, SCRIPT_purge, &w, on_purged, c);
}

static void revive_step(mq_redis_call *c);

static void on_revived(void *user, int err, const char *error, const redis_reply *reply)
{
    mq_redis_call *c = user;
    str place = redis_text(redis_item(reply, 1));
    c->op->count += (uint64_t)redis_integer(redis_item(reply, 0));
    for (size_t i = 2; i < redis_count(reply); i++) {
        str queue = redis_text(redis_item(reply, i));
        mq_redis_queue *q = mq_redis_queue_of(c->engine, queue.n > 0 ? queue.p : c->op->queue);
        if (q)
            mq_redis_announce(c->engine, q, 0);
    }
    if (err || place.n == 0 || place.n >= sizeof(c->place)) {
        mq_redis_finish(c, err, error);
        return;
    }
    snprintf(c->place, sizeof(c->place), "%s", place.p);
    revive_step(c);
}

static void revive_step(mq_redis_call *c)
{
    words w;
    char stem[STEM_BYTES];
    if (mq_redis_begin(&w, c->engine, c->op->queue, 0, stem) < 0) {
        mq_redis_finish(c, -ENOMEM, "");
        return;
    }
    words_add(&w, str_from(c->op->id));
    words_add(&w, str_from(c->place));
    words_add(&w, str_from(c->engine->prefix));
    mq_redis_submit_script(c->engine, SCRIPT_revive, &w, on_revived, c);
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

static void begin_purge(mq_redis_call *c)
{
    c->op->count = 0;
    purge_step(c);
}

static void begin_revive(mq_redis_call *c)
{
    c->op->count = 0;
    revive_step(c);
}

void mq_redis_submit(void *self, mq_op *op)
{
    static void (*const verbs[])(mq_redis_call *) = {
        [MQ_PUSH] = mq_redis_push, [MQ_TAKE] = take,           [MQ_ACK] = settle,
        [MQ_RETRY] = settle,       [MQ_DEAD] = settle,         [MQ_GIVE_BACK] = settle,
        [MQ_EXTEND] = settle,      [MQ_PROGRESS] = settle,     [MQ_STATS] = stats,
        [MQ_PEEK] = peek,          [MQ_REVIVE] = begin_revive, [MQ_PURGE] = begin_purge,
        [MQ_CLAIM] = clock_entry,  [MQ_LAST] = clock_entry,
    };
    mq_redis_call *c = calloc(1, sizeof(*c));
    if (!c) {
        mq_finish(op, -ENOMEM, "out of memory");
        return;
    }
    c->engine = self;
    c->op = op;
    verbs[op->verb](c);
}
