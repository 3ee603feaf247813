#include <errno.h>
#include <stdlib.h>

#include "queue/mq_redis.h"

/* The fields of an entry, as queue/lua/redis_common.lua lists them. */
static mq_message *of_fields(const redis_reply *fields, str token)
{
    str found[256] = {0};
    for (size_t i = 0; i + 1 < redis_count(fields); i += 2) {
        str name = redis_text(redis_item(fields, i));
        if (name.n == 1)
            found[(unsigned char)name.p[0]] = redis_text(redis_item(fields, i + 1));
    }
    mq_message *m = mq_message_new(found['b'], found['i'].p, found['f'].p, found['n'].p, token.p);
    if (!m)
        return NULL;
    m->attempt = found['a'].p ? (unsigned)strtoul(found['a'].p, NULL, 10) : 0;
    m->progress = found['g'].p ? strtod(found['g'].p, NULL) : -1;
    if (token.n > 3) { /* "s3:MILLISECONDS-NUMBER" */
        m->priority = token.p[1] - '0';
        m->pushed_ms = strtoll(token.p + 3, NULL, 10);
        const char *dash = memchr(token.p, '-', token.n);
        m->handle = (uint64_t)m->pushed_ms;
        m->lease = dash ? strtoull(dash + 1, NULL, 10) : 0;
    }
    if (found['t'].p)
        m->pushed_ms = strtoll(found['t'].p, NULL, 10);
    return m;
}

static mq_message *of_taken(const redis_reply *one)
{
    mq_message *m = of_fields(redis_item(one, 2), redis_text(redis_item(one, 0)));
    if (!m)
        return NULL;
    m->attempt++;
    m->due_ms = redis_integer(redis_item(one, 1));
    m->taken = true;
    return m;
}

static mq_message *of_peeked(const redis_reply *one)
{
    mq_message *m = of_fields(redis_item(one, 3), redis_text(redis_item(one, 1)));
    str progress = redis_text(redis_item(one, 5));
    if (!m)
        return NULL;
    m->taken = str_eq(redis_text(redis_item(one, 0)), STR("taken"));
    m->attempt += m->taken;
    m->due_ms = redis_integer(redis_item(one, 2));
    m->priority = (int)redis_integer(redis_item(one, 4));
    m->progress = progress.p ? strtod(progress.p, NULL) : -1;
    return m;
}

static int list_of(const redis_reply *reply, size_t first, mq_message *(*make)(const redis_reply *),
                   mq_message **ret)
{
    mq_message *list = NULL, **end = &list;
    for (size_t i = first; i < redis_count(reply); i++) {
        *end = make(redis_item(reply, i));
        if (!*end) {
            mq_message_free(list);
            return -ENOMEM;
        }
        end = &(*end)->next;
    }
    *ret = list;
    return 0;
}

int mq_redis_taken(const redis_reply *reply, mq_message **ret)
{
    return list_of(reply, 1, of_taken, ret);
}

int mq_redis_peeked(const redis_reply *reply, mq_message **ret)
{
    return list_of(reply, 0, of_peeked, ret);
}
