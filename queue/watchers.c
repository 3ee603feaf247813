#include "queue/watchers.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

enum { SHELVES = 64 };

/* A thread that goes through the watchers of a shelf. It lies on the thread's stack. */
typedef struct round {
    struct round *next;
    pthread_t thread;
    const mq_watcher *called; /* whose `ready` is under way */
    mq_watcher *to_come;      /* the next one to look at; watchers_remove moves it on */
} round;

/* The watchers of all queues whose names meet here. */
typedef struct shelf {
    pthread_mutex_t lock;
    pthread_cond_t called; /* one of the calls is over */
    atomic_bool any;       /* a hint: is there a watcher? Written with the lock */
    mq_watcher *list;      /* [lock] */
    round *rounds;         /* [lock] */
    unsigned waiting;      /* [lock] in watchers_remove */
} shelf;

struct watchers {
    shelf shelves[SHELVES];
};

watchers *watchers_new(void)
{
    watchers *all = calloc(1, sizeof(*all));
    for (size_t i = 0; all && i < SHELVES; i++) {
        pthread_mutex_init(&all->shelves[i].lock, NULL);
        pthread_cond_init(&all->shelves[i].called, NULL);
    }
    return all;
}

void watchers_free(watchers *all)
{
    for (size_t i = 0; all && i < SHELVES; i++) {
        pthread_mutex_destroy(&all->shelves[i].lock);
        pthread_cond_destroy(&all->shelves[i].called);
    }
    free(all);
}

/* FNV-1a: names are the app's, so nobody chooses ones that meet. */
static shelf *shelf_of(watchers *all, const char *queue)
{
    uint32_t hash = 2166136261u;
    for (const char *p = queue; *p; p++)
        hash = (hash ^ (unsigned char)*p) * 16777619u;
    return &all->shelves[hash % SHELVES];
}

static void begin(shelf *s, round *r)
{
    r->next = s->rounds;
    s->rounds = r;
}

static void end(shelf *s, const round *r)
{
    round **at = &s->rounds;
    while (*at != r)
        at = &(*at)->next;
    *at = r->next;
}

/* With the lock; it is let go for the call. */
static void call(shelf *s, round *r, const mq_watcher *w)
{
    r->called = w;
    pthread_mutex_unlock(&s->lock);
    w->ready(w->user);
    pthread_mutex_lock(&s->lock);
    r->called = NULL;
    if (s->waiting)
        pthread_cond_broadcast(&s->called);
}

void watchers_add(watchers *all, mq_watcher *w)
{
    shelf *s = shelf_of(all, w->queue);
    round own = {.thread = pthread_self()};
    pthread_mutex_lock(&s->lock);
    mq_watcher **at = &s->list;
    while (*at)
        at = &(*at)->next;
    w->next = NULL;
    *at = w;
    atomic_store_explicit(&s->any, true, memory_order_relaxed);
    begin(s, &own);
    call(s, &own, w);
    end(s, &own);
    pthread_mutex_unlock(&s->lock);
}

/* Does another thread call it just now? */
static bool is_called(const shelf *s, const mq_watcher *w)
{
    for (const round *r = s->rounds; r; r = r->next)
        if (r->called == w && !pthread_equal(r->thread, pthread_self()))
            return true;
    return false;
}

void watchers_remove(watchers *all, mq_watcher *w)
{
    shelf *s = shelf_of(all, w->queue);
    pthread_mutex_lock(&s->lock);
    mq_watcher **at = &s->list;
    while (*at && *at != w)
        at = &(*at)->next;
    if (*at)
        *at = w->next;
    for (round *r = s->rounds; r; r = r->next)
        if (r->to_come == w)
            r->to_come = w->next;
    atomic_store_explicit(&s->any, s->list != NULL, memory_order_relaxed);
    s->waiting++;
    while (is_called(s, w))
        pthread_cond_wait(&s->called, &s->lock);
    s->waiting--;
    pthread_mutex_unlock(&s->lock);
}

/* Nobody is missed by the hint. Whoever made a message ready did so under its queue's lock. A watcher that
 * sets the hint is then called, and takes under the same lock: either it finds the message, or it had the
 * lock before, and what it did before that is seen here. */
void watchers_call(watchers *all, const char *queue)
{
    shelf *s = shelf_of(all, queue);
    if (!atomic_load_explicit(&s->any, memory_order_relaxed))
        return;
    round own = {.thread = pthread_self()};
    pthread_mutex_lock(&s->lock);
    begin(s, &own);
    own.to_come = s->list;
    while (own.to_come) {
        mq_watcher *w = own.to_come;
        own.to_come = w->next;
        if (strcmp(w->queue, queue) == 0)
            call(s, &own, w);
    }
    end(s, &own);
    pthread_mutex_unlock(&s->lock);
}
