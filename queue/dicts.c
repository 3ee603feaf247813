#include "queue/dicts.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* Versions begin with the time, so that they go on growing after a restart, unless there were a million
 * changes a second since the last one. They stay below 2^53, which a float holds. */
enum { VERSION_SECOND_BITS = 20 };

typedef struct named {
    struct named *next;
    dict *dict;
    dict_persist *persist; /* NULL: none */
    char *address;         /* of it, or NULL */
    char name[];
} named;

struct dicts {
    pthread_mutex_t lock;
    named *first; /* [lock] an entry stays as it is */
    dict *locks;
    uint64_t first_version;
    bool started; /* [lock] */
    dicts_config config;
};

dicts *dicts_new(const dicts_config *config)
{
    dicts *all = calloc(1, sizeof(*all));
    if (!all)
        return NULL;
    all->config = *config;
    all->first_version = (uint64_t)time(NULL) << VERSION_SECOND_BITS;
    all->locks = dict_new(&(dict_config){
        .max_bytes = DICTS_LOCK_BYTES_MAX, .keeps = true, .first_version = all->first_version});
    if (!all->locks) {
        free(all);
        return NULL;
    }
    pthread_mutex_init(&all->lock, NULL);
    return all;
}

static void named_free(named *n)
{
    if (!n)
        return;
    dict_persist_close(n->persist);
    dict_free(n->dict);
    free(n->address);
    free(n);
}

void dicts_free(dicts *all)
{
    if (!all)
        return;
    while (all->first) {
        named *next = all->first->next;
        named_free(all->first);
        all->first = next;
    }
    dict_free(all->locks);
    pthread_mutex_destroy(&all->lock);
    free(all);
}

int dicts_start(dicts *all)
{
    int err = 0;
    pthread_mutex_lock(&all->lock);
    for (named *n = all->first; n && err == 0; n = n->next)
        if (n->persist)
            err = dict_persist_start(n->persist);
    all->started = true;
    pthread_mutex_unlock(&all->lock);
    return err;
}

void dicts_sync(dicts *all)
{
    if (!all)
        return;
    pthread_mutex_lock(&all->lock);
    for (named *n = all->first; n; n = n->next)
        if (n->persist)
            dict_persist_sync(n->persist);
    pthread_mutex_unlock(&all->lock);
}

static int keep(const dicts *all, named *n, const char *persist, char *error, size_t size)
{
    dict_persist_config config = {n->name, all->config.tell, all->config.user};
    n->address = strdup(persist);
    if (!n->address)
        return -ENOMEM;
    if (!all->config.persists)
        return dict_persist_check(persist, error, size);
    int err = dict_persist_open(n->dict, persist, &config, &n->persist, error, size);
    if (err == 0 && all->started && (err = dict_persist_start(n->persist)) != 0)
        snprintf(error, size, "cannot start its thread: %s", strerror(-err));
    return err;
}

static int named_new(const dicts *all, const char *name, size_t max_bytes, const char *persist, named **ret_n,
                     char *error, size_t size)
{
    size_t bytes = strlen(name) + 1;
    named *n = calloc(1, sizeof(*n) + bytes);
    snprintf(error, size, "out of memory");
    if (!n)
        return -ENOMEM;
    memcpy(n->name, name, bytes);
    n->dict = dict_new(&(dict_config){.max_bytes = max_bytes, .first_version = all->first_version});
    int err = n->dict ? 0 : -ENOMEM;
    if (err == 0 && persist)
        err = keep(all, n, persist, error, size);
    if (err)
        named_free(n);
    else
        *ret_n = n;
    return err;
}

static int reopen(named *n, size_t max_bytes, const char *persist, char *error, size_t size)
{
    if (strcmp(persist ? persist : "", n->address ? n->address : "") != 0) {
        snprintf(error, size,
                 "it is kept at \"%s\" since the server started, and this can change at a restart only",
                 n->address ? n->address : "");
        return -EEXIST;
    }
    dict_set_max_bytes(n->dict, max_bytes);
    return 0;
}

int dicts_open(dicts *all, const char *name, size_t max_bytes, const char *persist, dict **ret_dict,
               char *error, size_t size)
{
    named **at = &all->first;
    pthread_mutex_lock(&all->lock);
    while (*at && strcmp((*at)->name, name) != 0)
        at = &(*at)->next;
    int err = *at ? reopen(*at, max_bytes, persist, error, size)
                  : named_new(all, name, max_bytes, persist, at, error, size);
    if (err == 0)
        *ret_dict = (*at)->dict;
    pthread_mutex_unlock(&all->lock);
    return err;
}

dict *dicts_locks(dicts *all)
{
    return all->locks;
}

int dicts_each(dicts *all, int (*each)(void *user, const char *name, dict *d), void *user)
{
    int result = 0;
    pthread_mutex_lock(&all->lock);
    named *n = all->first;
    pthread_mutex_unlock(&all->lock);
    while (n && result == 0) {
        result = each(user, n->name, n->dict);
        pthread_mutex_lock(&all->lock);
        n = n->next;
        pthread_mutex_unlock(&all->lock);
    }
    return result;
}
