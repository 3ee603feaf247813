#include "runtime/queue_stats.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/clock.h"

void queue_stats_init(queue_stats *s)
{
    *s = (queue_stats){0};
    pthread_mutex_init(&s->lock, NULL);
}

void queue_stats_fini(queue_stats *s)
{
    pthread_mutex_destroy(&s->lock);
    free(s->list);
}

static void on_stats(mq_op *op)
{
    queue_stats *s = op->user;
    void (*done)(void *with) = s->done;
    void *with = s->with;
    pthread_mutex_lock(&s->lock);
    mq_stats *old = op->stats;
    if (!op->err) {
        old = s->list;
        s->list = op->stats;
        s->count = op->count;
        s->known_ns = clock_now_ns();
    }
    op->stats = NULL;
    s->asking = false;
    pthread_mutex_unlock(&s->lock);
    free(old);
    done(with);
}

bool queue_stats_ask(queue_stats *s, mq *queues, void (*done)(void *with), void *with)
{
    pthread_mutex_lock(&s->lock);
    bool busy = s->asking;
    s->asking = true;
    pthread_mutex_unlock(&s->lock);
    if (busy)
        return false;
    s->op = (mq_op){.verb = MQ_STATS, .queue = "", .done = on_stats, .user = s};
    s->done = done;
    s->with = with;
    mq_submit(queues, &s->op);
    return true;
}

int queue_stats_get(queue_stats *s, mq_stats **ret_list, uint64_t *ret_count, double *ret_age_s)
{
    int err = -ENOENT;
    pthread_mutex_lock(&s->lock);
    if (s->known_ns) {
        mq_stats *list = malloc((s->count + 1) * sizeof(*list));
        err = list ? 0 : -ENOMEM;
        if (list) {
            memcpy(list, s->list, s->count * sizeof(*list));
            *ret_list = list;
            *ret_count = s->count;
            *ret_age_s = (double)(clock_now_ns() - s->known_ns) / 1e9;
        }
    }
    pthread_mutex_unlock(&s->lock);
    return err;
}
