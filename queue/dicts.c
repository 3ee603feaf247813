#include "queue/dicts.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

/* Versions begin with the time, so that they go on growing after a restart, unless there were a million
 * changes a second since the last one. They stay below 2^53, which a float holds. */
enum { VERSION_SECOND_BITS = 20 };

typedef struct named {
    struct named *next;
    dict *dict;
    char name[];
} named;

struct dicts {
    pthread_mutex_t lock;
    named *first; /* [lock] an entry stays as it is */
    dict *locks;
    uint64_t first_version;
};

dicts *dicts_new(void)
{
    dicts *all = calloc(1, sizeof(*all));
    if (!all)
        return NULL;
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

void dicts_free(dicts *all)
{
    if (!all)
        return;
    while (all->first) {
        named *next = all->first->next;
        dict_free(all->first->dict);
        free(all->first);
        all->first = next;
    }
    dict_free(all->locks);
    pthread_mutex_destroy(&all->lock);
    free(all);
}

static named *named_new(const dicts *all, const char *name, size_t max_bytes)
{
    size_t bytes = strlen(name) + 1;
    named *n = malloc(sizeof(*n) + bytes);
    dict *d = dict_new(&(dict_config){.max_bytes = max_bytes, .first_version = all->first_version});
    if (!n || !d) {
        free(n);
        dict_free(d);
        return NULL;
    }
    *n = (named){.dict = d};
    memcpy(n->name, name, bytes);
    return n;
}

int dicts_open(dicts *all, const char *name, size_t max_bytes, dict **ret_dict)
{
    named **at = &all->first;
    int err = 0;
    pthread_mutex_lock(&all->lock);
    while (*at && strcmp((*at)->name, name) != 0)
        at = &(*at)->next;
    if (*at)
        dict_set_max_bytes((*at)->dict, max_bytes);
    else if (!(*at = named_new(all, name, max_bytes)))
        err = -ENOMEM;
    if (*at)
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
