#include <errno.h>
#include <hiredis/async.h>
#include <stdlib.h>

#include "queue/redis_internal.h"

/* Pushes are taken from hiredis' parser, and not by its callbacks for subscriptions: those of 0.14 assert
 * that a push has the form that they expect. */

/* Returns: 0, or -ENOMEM. */
static int add_command(redis_link *l, const char *verb, const char *channel)
{
    const char *words[] = {verb, channel};
    char *bytes;
    int n = redisFormatCommandArgv(&bytes, 2, words, NULL);
    if (n < 0)
        return -ENOMEM;
    int err = redisAppendFormattedCommand(&l->context->c, bytes, (size_t)n) == REDIS_OK ? 0 : -ENOMEM;
    l->wants_write = true;
    redisFreeCommand(bytes);
    return err;
}

static void on_push(redis *r, const redis_reply *push)
{
    str kind = redis_text(redis_item(push, 0)), channel = redis_text(redis_item(push, 1));
    str message = redis_text(redis_item(push, 2));
    if (push->type == REDIS_REPLY_ERROR && !r->refused_told) {
        redis_tell(r, 1, "subscriptions are refused; waiting messages are looked for once a second",
                   push->str);
        r->refused_told = true;
    }
    if (!channel.p || !r->on_message)
        return;
    if (str_eq(kind, STR("message")) && message.p)
        r->on_message(r->message_user, channel.p, message);
    else if (str_eq(kind, STR("subscribe")))
        r->on_message(r->message_user, channel.p, (str){NULL, 0});
}

static int read_pushes(redis_link *l)
{
    redis *r = l->user;
    redisContext *c = &l->context->c;
    void *reply = NULL;
    if (redisBufferRead(c) != REDIS_OK)
        return -1;
    while (redisGetReplyFromReader(c, &reply) == REDIS_OK && reply) {
        on_push(r, reply);
        freeReplyObject(reply);
        reply = NULL;
    }
    return c->err ? -1 : 0;
}

static void on_changed(redis_link *l)
{
    redis *r = l->user;
    pthread_mutex_lock(&r->lock);
    for (redis_channel *c = r->channels; c; c = c->next)
        c->sent = false;
    r->channels_changed = true;
    pthread_mutex_unlock(&r->lock);
}

void redis_subscriptions_init(redis *r)
{
    r->subscriptions =
        (redis_link){.options = &r->options, .changed = on_changed, .read = read_pushes, .user = r};
}

/* [lock] Ask for one channel, or end it. Returns: 0, or -ENOMEM. */
static int update(redis *r, redis_channel *c, bool ready)
{
    int err = 0;
    if (ready && c->sent != !c->unwanted)
        err = add_command(&r->subscriptions, c->unwanted ? "UNSUBSCRIBE" : "SUBSCRIBE", c->name);
    c->sent = ready;
    return err;
}

bool redis_subscriptions_send(redis *r)
{
    bool ready = r->subscriptions.state == LINK_READY;
    int err = 0;
    pthread_mutex_lock(&r->lock);
    for (redis_channel **at = &r->channels; r->channels_changed && *at;) {
        redis_channel *c = *at;
        if (update(r, c, ready))
            err = -ENOMEM;
        if (c->unwanted) {
            *at = c->next;
            free(c);
        } else {
            at = &c->next;
        }
    }
    r->channels_changed = false;
    bool any = r->channels != NULL;
    pthread_mutex_unlock(&r->lock);
    if (err)
        redis_link_close(&r->subscriptions, err, "out of memory");
    return any;
}

void redis_subscriptions_fini(redis *r)
{
    while (r->channels) {
        redis_channel *c = r->channels;
        r->channels = c->next;
        free(c);
    }
}

void redis_on_message(redis *r, redis_message *message, void *user)
{
    r->on_message = message;
    r->message_user = user;
}

/* [lock] */
static redis_channel *find(redis *r, const char *name)
{
    redis_channel *c = r->channels;
    while (c && strcmp(c->name, name) != 0)
        c = c->next;
    return c;
}

int redis_subscribe(redis *r, const char *name)
{
    size_t bytes = strlen(name) + 1;
    int err = 0;
    pthread_mutex_lock(&r->lock);
    redis_channel *c = find(r, name);
    if (c) {
        c->unwanted = false;
    } else if ((c = calloc(1, sizeof(*c) + bytes))) {
        memcpy(c->name, name, bytes);
        c->next = r->channels;
        r->channels = c;
    } else {
        err = -ENOMEM;
    }
    r->channels_changed = true;
    pthread_mutex_unlock(&r->lock);
    wake_signal(&r->wake);
    return err;
}

void redis_unsubscribe(redis *r, const char *name)
{
    pthread_mutex_lock(&r->lock);
    redis_channel *c = find(r, name);
    if (c)
        c->unwanted = r->channels_changed = true;
    pthread_mutex_unlock(&r->lock);
    wake_signal(&r->wake);
}
