/* What the files of a store share: store.c (its life, watching), remote_operation.c. */
#ifndef QUEUE_REMOTE_INTERNAL_H
#define QUEUE_REMOTE_INTERNAL_H

#include <pthread.h>
#include <stdio.h>

#include "queue/redis.h"
#include "queue/remote.h"

enum { REMOTE_PREFIX_BYTES = 64, REMOTE_STEM_BYTES = REMOTE_PREFIX_BYTES + REMOTE_NAME_BYTES + 24 };

#define REMOTE_SCRIPTS(X) X(put) X(add) X(delete) X(touch)

#define X(name) REMOTE_SCRIPT_##name,
typedef enum remote_script { REMOTE_SCRIPTS(X) REMOTE_SCRIPT_COUNT } remote_script;
#undef X

struct remote {
    redis *client;
    char prefix[REMOTE_PREFIX_BYTES];
    redis_script scripts[REMOTE_SCRIPT_COUNT];

    pthread_mutex_t lock;
    pthread_cond_t idle;
    unsigned under_way; /* [lock] operations */

    pthread_mutex_t watch_lock; /* held while a watcher is called */
    struct watch *watches;      /* [watch_lock] */
};

/* Returns: the text's length. */
static inline size_t remote_channel(const remote *s, const char *dict_name,
                                    char text[static REMOTE_STEM_BYTES])
{
    return (size_t)snprintf(text, REMOTE_STEM_BYTES, "%s:dict:{%s}:changes", s->prefix, dict_name);
}

#endif
