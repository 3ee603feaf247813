/* redis_link: one connection to a Redis server, and its being made anew.
 *
 * It goes from down over connecting and greeting (password, database, a first answer) to ready, and back to
 * down at any time. Its owner polls the descriptor and says what came. Thread: the client's. */
#ifndef QUEUE_REDIS_LINK_H
#define QUEUE_REDIS_LINK_H

#include <poll.h>
#include <stdbool.h>

#include "queue/redis.h"
#include "queue/redis_guard.h"

typedef enum redis_link_state { LINK_DOWN, LINK_CONNECTING, LINK_GREETING, LINK_READY } redis_link_state;

typedef struct redis_link {
    const redis_options *options;
    struct redisAsyncContext *context; /* NULL: there is none */
    redis_link_state state;
    redis_guard guard;
    bool wants_read, wants_write;
    int64_t until_ms;            /* of connecting, of greeting */
    int64_t retry_ms;            /* while there is none: when to try again */
    unsigned failures;           /* since it was ready last */
    int err;                     /* why it is not there: 0, -errno ... */
    char why[REDIS_ERROR_BYTES]; /* ... and as a text */

    /* It has become ready, or has ended. */
    void (*changed)(struct redis_link *l);
    /* If set, what comes once it is ready is read by this, past hiredis' callbacks. Returns: 0, or -1: read
     * no more, the reason stands in the context. */
    int (*read)(struct redis_link *l);
    void *user;
} redis_link;

/* Begin to connect, if it is down and the time has come. */
void redis_link_open(redis_link *l, int64_t now_ms);

/* End it for that reason. All commands under way are called back first. */
void redis_link_close(redis_link *l, int err, const char *why);

/* Give up connecting or greeting that takes too long. */
void redis_link_expire(redis_link *l, int64_t now_ms);

/* When one of the two above is due; INT64_MAX: not before something happens. */
int64_t redis_link_due(const redis_link *l);

/* What to poll for. Returns: false if there is nothing. */
bool redis_link_poll(const redis_link *l, struct pollfd *ret);
void redis_link_handle(redis_link *l, short events);

/* Send what waits to be sent, as far as it goes. */
void redis_link_flush(redis_link *l);

/* Fill in `err` and `why` from what hiredis knows, where they are not known yet. */
void redis_link_note(redis_link *l);

/* What an error that the server answered means, as redis.h has it. */
int redis_error_of(const char *text);

#endif
