#include <hiredis/hiredis.h>
#include <stdlib.h>

#include "queue/redis.h"

str redis_text(const redis_reply *reply)
{
    if (!reply || (reply->type != REDIS_REPLY_STRING && reply->type != REDIS_REPLY_STATUS))
        return (str){NULL, 0};
    return (str){reply->str, reply->len};
}

int64_t redis_integer(const redis_reply *reply)
{
    if (reply && reply->type == REDIS_REPLY_INTEGER)
        return reply->integer;
    str text = redis_text(reply); /* hiredis puts a NUL behind it */
    return text.p ? strtoll(text.p, NULL, 10) : 0;
}

size_t redis_count(const redis_reply *reply)
{
    return reply && reply->type == REDIS_REPLY_ARRAY ? reply->elements : 0;
}

const redis_reply *redis_item(const redis_reply *reply, size_t i)
{
    return i < redis_count(reply) ? reply->element[i] : NULL;
}
