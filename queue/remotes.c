#include "queue/remotes.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct opened {
    struct opened *next;
    remote *store;
    char url[];
} opened;

typedef struct placed {
    struct placed *next;
    remote *store;
    char dict_name[REMOTE_NAME_BYTES];
} placed;

struct remotes {
    remote_tell *tell;
    void *user;
    pthread_mutex_t lock; /* also while one is opened: others that want the same one wait */
    opened *first;        /* [lock] */
    placed *dicts;        /* [lock] */
};

remotes *remotes_new(remote_tell *tell, void *user)
{
    remotes *all = calloc(1, sizeof(*all));
    if (!all)
        return NULL;
    all->tell = tell;
    all->user = user;
    pthread_mutex_init(&all->lock, NULL);
    return all;
}

void remotes_free(remotes *all)
{
    if (!all)
        return;
    while (all->first) {
        opened *next = all->first->next;
        remote_close(all->first->store);
        free(all->first);
        all->first = next;
    }
    while (all->dicts) {
        placed *next = all->dicts->next;
        free(all->dicts);
        all->dicts = next;
    }
    pthread_mutex_destroy(&all->lock);
    free(all);
}

void remotes_settle(remotes *all)
{
    if (!all)
        return;
    pthread_mutex_lock(&all->lock);
    for (opened *o = all->first; o; o = o->next)
        remote_settle(o->store);
    pthread_mutex_unlock(&all->lock);
}

/* [lock] */
static int open_one(remotes *all, const char *url, remote **ret_s, char *error, size_t size)
{
    size_t bytes = strlen(url) + 1;
    opened *o = malloc(sizeof(*o) + bytes);
    snprintf(error, size, "out of memory");
    int err = o ? remote_open(url, all->tell, all->user, &o->store, error, size) : -ENOMEM;
    if (err) {
        free(o);
        return err;
    }
    memcpy(o->url, url, bytes);
    o->next = all->first;
    all->first = o;
    *ret_s = o->store;
    return 0;
}

/* [lock] */
static int get(remotes *all, const char *url, remote **ret_s, char *error, size_t size)
{
    for (opened *o = all->first; o; o = o->next)
        if (strcmp(o->url, url) == 0) {
            *ret_s = o->store;
            return 0;
        }
    return open_one(all, url, ret_s, error, size);
}

int remotes_get(remotes *all, const char *url, remote **ret_s, char *error, size_t size)
{
    pthread_mutex_lock(&all->lock);
    int err = get(all, url, ret_s, error, size);
    pthread_mutex_unlock(&all->lock);
    return err;
}

/* [lock] */
static placed *find(const remotes *all, const char *dict_name)
{
    placed *p = all->dicts;
    while (p && strcmp(p->dict_name, dict_name) != 0)
        p = p->next;
    return p;
}

/* [lock] */
static int place(remotes *all, const char *dict_name, remote *s, char *error, size_t size)
{
    placed *p = find(all, dict_name);
    if (p && p->store != s) {
        snprintf(error, size,
                 "it is in another store since the server started, and this can change at a restart only");
        return -EEXIST;
    }
    if (p)
        return 0;
    if (!(p = calloc(1, sizeof(*p)))) {
        snprintf(error, size, "out of memory");
        return -ENOMEM;
    }
    snprintf(p->dict_name, sizeof(p->dict_name), "%s", dict_name);
    p->store = s;
    p->next = all->dicts;
    all->dicts = p;
    return 0;
}

int remotes_open(remotes *all, const char *dict_name, const char *url, remote **ret_s, char *error,
                 size_t size)
{
    remote *s;
    pthread_mutex_lock(&all->lock);
    int err = get(all, url, &s, error, size);
    if (err == 0)
        err = place(all, dict_name, s, error, size);
    if (err == 0)
        *ret_s = s;
    pthread_mutex_unlock(&all->lock);
    return err;
}

remote *remotes_find(remotes *all, const char *dict_name)
{
    pthread_mutex_lock(&all->lock);
    placed *p = find(all, dict_name);
    pthread_mutex_unlock(&all->lock);
    return p ? p->store : NULL;
}
