#include "api/paths.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct paths {
    pthread_mutex_t lock;
    size_t n; /* [lock] */
    char *list[PATHS_MAX];
};

paths *paths_new(void)
{
    paths *p = calloc(1, sizeof(*p));
    if (p)
        pthread_mutex_init(&p->lock, NULL);
    return p;
}

void paths_free(paths *p)
{
    if (!p)
        return;
    for (size_t i = 0; i < p->n; i++)
        free(p->list[i]);
    pthread_mutex_destroy(&p->lock);
    free(p);
}

static size_t find(const paths *p, const char *path)
{
    size_t i = 0;
    while (i < p->n && strcmp(p->list[i], path) != 0)
        i++;
    return i;
}

int paths_add(paths *p, const char *path)
{
    int err = 0;
    pthread_mutex_lock(&p->lock);
    if (find(p, path) == p->n && p->n < PATHS_MAX) {
        p->list[p->n] = strdup(path);
        err = p->list[p->n] ? 0 : -ENOMEM;
        p->n += err == 0;
    }
    pthread_mutex_unlock(&p->lock);
    return err;
}

const char *paths_at(paths *p, size_t i)
{
    pthread_mutex_lock(&p->lock);
    const char *path = i < p->n ? p->list[i] : NULL;
    pthread_mutex_unlock(&p->lock);
    return path;
}
