/* Who is told of a dictionary's changes. A watcher is called without the lock, and marked busy meanwhile. */
#include "queue/dict_internal.h"

void dict_watch(dict *d, dict_watcher *w)
{
    pthread_mutex_lock(&d->watch_lock);
    w->busy = 0;
    w->leaving = false;
    w->next = d->watchers;
    d->watchers = w;
    atomic_store_explicit(&d->is_watched, true, memory_order_relaxed);
    pthread_mutex_unlock(&d->watch_lock);
}

/* Whoever is busy may stand on it to go on from there, so it stays linked until nobody is. */
void dict_unwatch(dict *d, dict_watcher *w)
{
    pthread_mutex_lock(&d->watch_lock);
    w->leaving = true;
    while (w->busy)
        pthread_cond_wait(&d->watch_idle, &d->watch_lock);
    dict_watcher **at = &d->watchers;
    while (*at != w)
        at = &(*at)->next;
    *at = w->next;
    atomic_store_explicit(&d->is_watched, d->watchers != NULL, memory_order_relaxed);
    pthread_mutex_unlock(&d->watch_lock);
}

void dict_tell_watchers(dict *d, dict_event event, str key, uint64_t version)
{
    pthread_mutex_lock(&d->watch_lock);
    for (dict_watcher *w = d->watchers; w; w = w->next) {
        if (w->leaving)
            continue;
        w->busy++;
        pthread_mutex_unlock(&d->watch_lock);
        w->changed(w->user, event, key, version);
        pthread_mutex_lock(&d->watch_lock);
        if (--w->busy == 0)
            pthread_cond_broadcast(&d->watch_idle);
    }
    pthread_mutex_unlock(&d->watch_lock);
}
