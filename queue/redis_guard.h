/* redis_guard: refuses replies that hiredis would fall over.
 *
 * hiredis 0.14 asserts that each reply belongs to a command: a server that says what it was not asked would
 * end this process. The guard stands between its parser and its reply objects and makes such a reply an error
 * of the connection before it is complete. Thread: the client's. */
#ifndef QUEUE_REDIS_GUARD_H
#define QUEUE_REDIS_GUARD_H

#include <stdbool.h>

struct redisAsyncContext;
struct redisReplyObjectFunctions;

typedef struct redis_guard {
    struct redisAsyncContext *context;
    const struct redisReplyObjectFunctions *functions; /* hiredis' own */
    bool lets_all;                                     /* pushes are read past the callbacks */
    bool refused;
} redis_guard;

/* Set it before a context that was just made. */
void redis_guard_init(redis_guard *guard, struct redisAsyncContext *context);

#endif
