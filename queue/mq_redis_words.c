#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "queue/mq_redis.h"

int words_init(words *w, size_t room)
{
    *w = (words){.room = WORDS_INLINE};
    w->p = w->inline_p;
    w->bytes = w->inline_bytes;
    if (room <= WORDS_INLINE)
        return 0;
    w->room = (int)room;
    w->p = calloc(room, sizeof(*w->p));
    w->bytes = calloc(room, sizeof(*w->bytes));
    if (w->p && w->bytes)
        return 0;
    words_fini(w);
    return -ENOMEM;
}

void words_fini(words *w)
{
    if (w->p != w->inline_p)
        free((void *)w->p);
    if (w->bytes != w->inline_bytes)
        free(w->bytes);
}

void words_add(words *w, str word)
{
    w->p[w->n] = word.p ? word.p : "";
    w->bytes[w->n++] = word.n;
}

void words_number(words *w, int64_t number)
{
    char *text = w->numbers[w->numbers_n++];
    snprintf(text, sizeof(w->numbers[0]), "%lld", (long long)number);
    words_add(w, str_from(text));
}

redis_arguments words_arguments(const words *w)
{
    return (redis_arguments){w->n, w->p, w->bytes};
}
