/* Channels: PREFIX:channel:NAME. A message is a text of JSON, and no more is kept of it than Redis does. */
#include <errno.h>
#include <stdio.h>

#include "queue/mq_redis.h"

static size_t channel_of(const mq_redis_engine *e, const char *name, char text[static STEM_BYTES])
{
    return (size_t)snprintf(text, STEM_BYTES, "%s:channel:%s", e->prefix, name);
}

static void on_published(void *user, int err, const char *error, const redis_reply *reply)
{
    (void)reply;
    mq_redis_finish(user, err, error);
}

void mq_redis_publish(mq_redis_call *c)
{
    char channel[STEM_BYTES];
    size_t n = channel_of(c->engine, c->op->queue, channel);
    redis_submit(c->engine->client,
                 (redis_arguments){3, (const char *[]){"PUBLISH", channel, c->op->body.p},
                                   (const size_t[]){7, n, c->op->body.n}},
                 on_published, c);
}

int mq_redis_listen(void *self, const char *name)
{
    mq_redis_engine *e = self;
    char channel[STEM_BYTES];
    channel_of(e, name, channel);
    return redis_subscribe(e->client, channel);
}

bool mq_redis_hear(mq_redis_engine *e, const char *channel, str message)
{
    char begin[STEM_BYTES];
    size_t n = channel_of(e, "", begin);
    if (strncmp(channel, begin, n) != 0)
        return false;
    if (message.p) /* or it was just subscribed */
        mq_heard(e->mq, channel + n, message);
    return true;
}
