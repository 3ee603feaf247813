#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "queue/mq_redis.h"

enum { HELD_MS = 60000 }; /* so long a message is held before it is asked whether it has a lease */

/* What people do with queues: look at them, empty them, bring dead letters back. The last two go in steps, so
 * that the server is never held for long. */

static void on_peeked(void *user, int err, const char *error, const redis_reply *reply)
{
    mq_redis_call *c = user;
    if (!err)
        err = mq_redis_peeked(reply, &c->op->messages);
    mq_redis_finish(c, err, error);
}

void mq_redis_peek(mq_redis_call *c)
{
    words w;
    char stem[STEM_BYTES];
    c->op->messages = NULL;
    if (mq_redis_begin(&w, c->engine, c->op->queue, 0, stem) < 0) {
        mq_redis_finish(c, -ENOMEM, "");
        return;
    }
    words_number(&w, c->op->most < MQ_TAKE_MAX ? c->op->most : MQ_TAKE_MAX);
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

void mq_redis_purge(mq_redis_call *c)
{
    c->op->count = 0;
    purge_step(c);
}

void mq_redis_revive(mq_redis_call *c)
{
    c->op->count = 0;
    revive_step(c);
}

/* --- held without a lease --- */

static void on_rescued(void *user, int err, const char *error, const redis_reply *reply)
{
    mq_redis_call *c = user;
    char text[2 * MQ_ERROR_BYTES];
    int64_t n = redis_integer(reply);
    const mq_config *config = mq_config_of(c->engine->mq);
    (void)err, (void)error;
    if (n > 0 && config->tell) {
        snprintf(text, sizeof(text),
                 "the queue \"%s\": %lld messages were held and their leases are gone; did "
                 "somebody delete them, or does the server evict keys?",
                 c->queue->name, (long long)n);
        config->tell(config->user, 1, text);
    }
    if (n > 0)
        mq_redis_announce(c->engine, c->queue, 0);
    free(c);
}

void mq_redis_rescue(mq_redis_engine *e, mq_redis_queue *q)
{
    words w;
    char stem[STEM_BYTES];
    mq_redis_call *c = calloc(1, sizeof(*c));
    if (!c)
        return;
    c->engine = e;
    c->queue = q;
    mq_redis_begin(&w, e, q->name, 0, stem); /* so few words need no memory */
    words_add(&w, str_from(e->node));
    words_number(&w, HELD_MS);
    mq_redis_submit_script(e, SCRIPT_rescue, &w, on_rescued, c);
}
