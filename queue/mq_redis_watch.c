#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "queue/mq_redis.h"
#include "queue/siphash.h"

/* News of a queue goes to the watchers of this process at once, and to those of others by a channel, as
 * "ENGINE MILLISECONDS". While one message of a queue is under way no other is sent for it: what happens
 * meanwhile is told by one more after it, so many pushes cost few messages. Whoever misses one, since a
 * process ended between a push and its message, finds what is ready in his look once a second. */

enum { LOOK_MS = 1000, RESCUE_MS = 60000 };

/* --- queues --- */

static mq_redis_queue **bucket_of(mq_redis_engine *e, const char *name)
{
    static const siphash_key key = {{1, 2}}; /* names are the app's own */
    return &e->queues[siphash(&key, name, strlen(name)) % QUEUE_BUCKETS];
}

mq_redis_queue *mq_redis_queue_of(mq_redis_engine *e, const char *name)
{
    pthread_mutex_lock(&e->lock);
    mq_redis_queue **bucket = bucket_of(e, name), *q = *bucket;
    while (q && strcmp(q->name, name) != 0)
        q = q->next;
    if (!q && (q = calloc(1, sizeof(*q)))) {
        snprintf(q->name, sizeof(q->name), "%s", name);
        q->due_ms = INT64_MAX;
        q->next = *bucket;
        *bucket = q;
    }
    pthread_mutex_unlock(&e->lock);
    return q;
}

/* --- this process's watchers --- */

void mq_redis_expect(mq_redis_engine *e, mq_redis_queue *q, int64_t in_ms)
{
    if (in_ms <= 0) {
        watchers_call(e->watchers, q->name);
        return;
    }
    int64_t due_ms = redis_now_ms() + in_ms;
    pthread_mutex_lock(&e->lock);
    bool sooner = q->watchers > 0 && due_ms < q->due_ms;
    if (sooner)
        q->due_ms = due_ms;
    pthread_mutex_unlock(&e->lock);
    if (sooner && in_ms < LOOK_MS)
        redis_wake(e->client);
}

int64_t mq_redis_turn(void *self)
{
    mq_redis_engine *e = self;
    int64_t now_ms = redis_now_ms();
    pthread_mutex_lock(&e->lock);
    bool all = now_ms >= e->all_ms;
    if (all)
        e->all_ms = now_ms + LOOK_MS;
    int64_t first_ms = e->all_ms;
    for (mq_redis_queue *q = e->watched; q; q = q->next_watched) { /* none leaves this list */
        bool due = now_ms >= q->due_ms;
        if (due)
            q->due_ms = INT64_MAX;
        bool rescues = q->watchers > 0 && now_ms >= q->rescue_ms;
        if (rescues)
            q->rescue_ms = now_ms + RESCUE_MS;
        if (q->watchers > 0 && (due || all || rescues)) {
            pthread_mutex_unlock(&e->lock);
            if (rescues)
                mq_redis_rescue(e, q);
            watchers_call(e->watchers, q->name);
            pthread_mutex_lock(&e->lock);
        }
        first_ms = q->due_ms < first_ms ? q->due_ms : first_ms;
    }
    pthread_mutex_unlock(&e->lock);
    int64_t wait_ms = mq_redis_retry_full(e);
    return first_ms - now_ms < wait_ms ? first_ms - now_ms : wait_ms;
}

/* --- the other processes' --- */

static void channel_of(const mq_redis_engine *e, const char *queue, char text[static STEM_BYTES])
{
    snprintf(text, STEM_BYTES, "%s:{%s}:ready", e->prefix, queue);
}

typedef struct news {
    mq_redis_engine *engine;
    mq_redis_queue *queue;
} news;

static void publish(mq_redis_engine *e, mq_redis_queue *q, int64_t in_ms);

static void on_published(void *user, int err, const char *error, const redis_reply *reply)
{
    news n = *(news *)user;
    (void)error, (void)reply;
    free(user);
    pthread_mutex_lock(&n.engine->lock);
    bool again = n.queue->news && !err;
    int64_t in_ms = n.queue->news_ms;
    n.queue->publishing = n.queue->news = false;
    pthread_mutex_unlock(&n.engine->lock);
    if (again)
        publish(n.engine, n.queue, in_ms);
}

static void send_news(mq_redis_engine *e, mq_redis_queue *q, int64_t in_ms)
{
    news *n = malloc(sizeof(*n));
    char channel[STEM_BYTES], text[MQ_ID_BYTES + 32];
    if (!n) {
        pthread_mutex_lock(&e->lock);
        q->publishing = false;
        pthread_mutex_unlock(&e->lock);
        return;
    }
    *n = (news){e, q};
    channel_of(e, q->name, channel);
    int bytes = snprintf(text, sizeof(text), "%s %lld", e->self, (long long)in_ms);
    redis_submit(e->client,
                 (redis_arguments){3, (const char *[]){"PUBLISH", channel, text},
                                   (const size_t[]){7, strlen(channel), (size_t)bytes}},
                 on_published, n);
}

static void publish(mq_redis_engine *e, mq_redis_queue *q, int64_t in_ms)
{
    pthread_mutex_lock(&e->lock);
    bool wait = q->publishing;
    if (wait && (!q->news || in_ms < q->news_ms))
        q->news_ms = in_ms;
    q->news |= wait;
    q->publishing = true;
    pthread_mutex_unlock(&e->lock);
    if (!wait)
        send_news(e, q, in_ms);
}

void mq_redis_announce(mq_redis_engine *e, mq_redis_queue *q, int64_t in_ms)
{
    mq_redis_expect(e, q, in_ms);
    publish(e, q, in_ms);
}

/* PREFIX:{NAME}:ready, and "ENGINE MILLISECONDS" or, when it was subscribed, nothing. */
void mq_redis_on_message(void *self, const char *channel, str message)
{
    mq_redis_engine *e = self;
    char name[MQ_NAME_BYTES];
    if (mq_redis_hear(e, channel, message))
        return;
    const char *begin = strchr(channel, '{'), *end = begin ? strrchr(begin, '}') : NULL;
    size_t n = end ? (size_t)(end - begin - 1) : sizeof(name);
    if (n >= sizeof(name))
        return;
    memcpy(name, begin + 1, n);
    name[n] = '\0';
    mq_redis_queue *q = mq_redis_queue_of(e, name);
    size_t self_n = strlen(e->self);
    if (q && !message.p)
        mq_redis_expect(e, q, 0);
    else if (q && message.n > self_n && memcmp(message.p, e->self, self_n) != 0) /* NUL behind it */
        mq_redis_expect(e, q, strtoll(message.p + strcspn(message.p, " "), NULL, 10));
}

/* --- watching --- */

void mq_redis_watch(void *self, mq_watcher *w)
{
    mq_redis_engine *e = self;
    char channel[STEM_BYTES];
    const mq_config *config = mq_config_of(e->mq);
    mq_redis_queue *q = mq_redis_queue_of(e, w->queue);
    int err = q ? 0 : -ENOMEM;
    channel_of(e, w->queue, channel);
    pthread_mutex_lock(&e->lock);
    if (q && q->watchers++ == 0)
        err = redis_subscribe(e->client, channel);
    if (q && !q->listed) {
        q->listed = true;
        q->next_watched = e->watched;
        e->watched = q;
    }
    pthread_mutex_unlock(&e->lock);
    if (err && config->tell)
        config->tell(config->user, 0, "out of memory: a queue's watchers are called once a second only");
    watchers_add(e->watchers, w);
}

void mq_redis_unwatch(void *self, mq_watcher *w)
{
    mq_redis_engine *e = self;
    char channel[STEM_BYTES];
    mq_redis_queue *q = mq_redis_queue_of(e, w->queue);
    channel_of(e, w->queue, channel);
    pthread_mutex_lock(&e->lock);
    if (q && q->watchers > 0 && --q->watchers == 0) {
        q->due_ms = INT64_MAX;
        redis_unsubscribe(e->client, channel);
    }
    pthread_mutex_unlock(&e->lock);
    watchers_remove(e->watchers, w);
}
