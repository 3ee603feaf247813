#include "queue/redis_guard.h"

#include <hiredis/async.h>

/* Is this the beginning of a reply that nobody waits for? Then there is no object for it. */
static redis_guard *pass(const redisReadTask *task)
{
    redis_guard *guard = task->privdata;
    if (task->parent || guard->lets_all || guard->context->replies.head)
        return guard;
    guard->refused = true;
    return NULL;
}

static void *on_string(const redisReadTask *task, char *bytes, size_t n)
{
    redis_guard *guard = pass(task);
    return guard ? guard->functions->createString(task, bytes, n) : NULL;
}

static void *on_array(const redisReadTask *task, int n)
{
    redis_guard *guard = pass(task);
    return guard ? guard->functions->createArray(task, n) : NULL;
}

static void *on_integer(const redisReadTask *task, long long value)
{
    redis_guard *guard = pass(task);
    return guard ? guard->functions->createInteger(task, value) : NULL;
}

static void *on_nil(const redisReadTask *task)
{
    redis_guard *guard = pass(task);
    return guard ? guard->functions->createNil(task) : NULL;
}

static redisReplyObjectFunctions guarded = {on_string, on_array, on_integer, on_nil, freeReplyObject};

void redis_guard_init(redis_guard *guard, struct redisAsyncContext *context)
{
    redisReader *reader = context->c.reader;
    *guard = (redis_guard){.context = context, .functions = reader->fn};
    reader->fn = &guarded;
    reader->privdata = guard;
}
