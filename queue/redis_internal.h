/* What the files of the Redis client share: redis.c (its thread), redis_command.c, redis_subscribe.c. */
#ifndef QUEUE_REDIS_INTERNAL_H
#define QUEUE_REDIS_INTERNAL_H

#include <pthread.h>
#include <stdbool.h>

#include "queue/redis.h"
#include "queue/redis_link.h"
#include "queue/wake.h"

typedef struct redis_command {
    struct redis_command *next;
    redis *owner;
    char *bytes; /* as hiredis formats it; a script's is kept until it is answered */
    size_t n;
    int64_t until_ms;
    const redis_script *script;
    unsigned tries; /* of a script that the server did not know */
    bool late;      /* its deadline has ended the connection */
    redis_done *done;
    void *user;
} redis_command;

/* A queue of them, in the order of their deadlines, since all have the same time. */
typedef struct redis_commands {
    redis_command *first, **end;
} redis_commands;

typedef struct redis_channel {
    struct redis_channel *next;
    bool sent;     /* [client] on the connection that there is */
    bool unwanted; /* [lock] to be unsubscribed and freed by the client's thread */
    char name[];
} redis_channel;

struct redis {
    redis_options options;
    char name[384]; /* of the server, for messages */
    pthread_t thread;
    bool has_thread;
    wake wake;

    pthread_mutex_t lock;
    pthread_cond_t tried_changed;
    redis_commands incoming;           /* [lock] */
    redis_channel *channels;           /* [lock] */
    bool channels_changed;             /* [lock] */
    bool turn_wanted;                  /* [lock] */
    bool closing;                      /* [lock] nothing is accepted any more */
    bool tried;                        /* [lock] the first attempt has ended, with ... */
    int tried_err;                     /* [lock] */
    char tried_why[REDIS_ERROR_BYTES]; /* [lock] */

    redis_link commands;      /* [client] */
    redis_commands waiting;   /* [client] for a connection */
    redis_commands under_way; /* [client] sent, in the order in which their replies come */
    const redis_script *told; /* [client] the script whose text was sent last and is not confirmed yet */
    bool was_there;           /* [client] for telling that it is gone, or back, once each */
    bool is_missed;           /* [client] */
    bool is_hopeless;         /* [client] */

    redis_link subscriptions; /* [client] */
    bool refused_told;        /* [client] that the server refuses them */
    redis_message *on_message;
    void *message_user;
    int64_t turn_ms; /* [client] when the turn is due */
};

/* redis.c: say "SERVER: WHAT: WHY". */
void redis_tell(redis *r, int level, const char *what, const char *why);

/* --- redis_command.c; thread: the client's --- */

void redis_commands_init(redis_commands *list);
/* Take over what came, and send what can be sent. */
void redis_commands_send(redis *r);
/* End what is past its deadline. `reading`: replies are coming in just now. */
void redis_commands_expire(redis *r, int64_t now_ms, bool reading);
/* When that has to be looked at again. */
int64_t redis_commands_due(const redis *r);
/* End what waits to be sent. */
void redis_commands_refuse(redis *r, int err);

/* --- redis_subscribe.c --- */

void redis_subscriptions_init(redis *r);
/* Say to the server what has changed. Returns: false, there are none, so no connection is needed.
 * Thread: the client's. */
bool redis_subscriptions_send(redis *r);
void redis_subscriptions_fini(redis *r);

#endif
