#include "queue/mq.h"

#include <errno.h>

static int on_open(const mq *q, const char *rest, void **ret_self, char *error, size_t size)
{
    (void)q, (void)rest, (void)ret_self, (void)error, (void)size;
    return -ENOSYS;
}

const mq_engine mq_redis = {.scheme = "redis", .open = on_open};
