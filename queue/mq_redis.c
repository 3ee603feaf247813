#include "queue/mq_redis.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define X(name, alone)                                                                                       \
    extern const char lua_redis_##name[];                                                                    \
    extern const size_t lua_redis_##name##_size;
MQ_REDIS_SCRIPTS(X)
X(common, false)
#undef X

enum { TIMEOUT_LEAST_MS = 10, TIMEOUT_MS = 2000, TIMEOUT_MOST_MS = 600000, DB_MOST = 1000000 };

static void close_engine(void *self)
{
    mq_redis_engine *e = self;
    redis_close(e->client);
    mq_redis_end_full(e);
    for (size_t i = 0; i < QUEUE_BUCKETS; i++)
        while (e->queues[i]) {
            mq_redis_queue *q = e->queues[i];
            e->queues[i] = q->next;
            free(q);
        }
    for (size_t i = 0; i < SCRIPTS; i++)
        free((char *)(uintptr_t)e->scripts[i].text.p);
    watchers_free(e->watchers);
    pthread_mutex_destroy(&e->lock);
    free(e);
}

/* --- parameters --- */

static bool prefix_is_good(const char *prefix)
{
    return mq_name_is_good(str_from(prefix));
}

static int read_parameters(mq_redis_engine *e, redis_options *o, char *error, size_t size)
{
    redis_address *a = &o->address;
    int64_t db = a->db;
    int err = mq_parameter(e->mq, "timeout_ms", TIMEOUT_LEAST_MS, TIMEOUT_MOST_MS, TIMEOUT_MS, &o->timeout_ms,
                           error, size);
    if (!err)
        err = mq_parameter(e->mq, "max", 1, INT64_C(1) << 53, 0, &e->most, error, size);
    if (!err)
        err = mq_text_parameter(e->mq, "prefix", "poolsrv", e->prefix, sizeof(e->prefix), error, size);
    if (!err && !prefix_is_good(e->prefix)) {
        snprintf(error, size, "prefix=%s: letters, digits and \"._-\" are wanted", e->prefix);
        err = -EINVAL;
    }
    if (err || a->host[0])
        return err;
    err = mq_parameter(e->mq, "db", 0, DB_MOST, 0, &db, error, size);
    a->db = (int)db;
    if (!err)
        err = mq_text_parameter(e->mq, "user", "", a->user, sizeof(a->user), error, size);
    return err ? err
               : mq_text_parameter(e->mq, "password", "", a->password, sizeof(a->password), error, size);
}

/* --- opening --- */

static int make_script(redis_script *script, const char *text, size_t n, bool alone)
{
    size_t common = alone ? 0 : lua_redis_common_size;
    char *whole = malloc(common + n + 1);
    if (!whole)
        return -ENOMEM;
    memcpy(whole, lua_redis_common, common);
    memcpy(whole + common, text, n + 1);
    redis_script_init(script, (str){whole, common + n});
    /* cppcheck-suppress memleak ; the script keeps it */
    return 0;
}

static int make_scripts(mq_redis_engine *e)
{
    int err = 0;
#define X(name, alone)                                                                                       \
    if (!err)                                                                                                \
        err = make_script(&e->scripts[SCRIPT_##name], lua_redis_##name, lua_redis_##name##_size, alone);
    MQ_REDIS_SCRIPTS(X)
#undef X
    return err;
}

static int open_client(mq_redis_engine *e, const char *rest, char *error, size_t size)
{
    const mq_config *config = mq_config_of(e->mq);
    redis_options o = {
        .tell = config->tell, .tell_user = config->user, .turn = mq_redis_turn, .turn_user = e};
    if (strncmp(mq_address(e->mq), "redis+unix:", 11) != 0 && strncmp(rest, "//", 2) != 0) {
        snprintf(error, size, "redis://HOST:PORT/DB or redis+unix:PATH is wanted");
        return -EINVAL;
    }
    int err = redis_address_read(str_from(rest), &o.address, error, size);
    if (!err)
        err = read_parameters(e, &o, error, size);
    if (!err)
        err = redis_open(&o, &e->client, error, size);
    return err;
}

static int open_engine(const mq *q, const char *rest, void **ret_self, char *error, size_t size)
{
    mq_redis_engine *e = calloc(1, sizeof(*e));
    if (!e)
        return -ENOMEM;
    e->mq = q;
    pthread_mutex_init(&e->lock, NULL);
    mq_make_id(e->self);
    if (gethostname(e->node, sizeof(e->node) - 1) < 0 || !e->node[0])
        snprintf(e->node, sizeof(e->node), "node");
    e->watchers = watchers_new();
    int err = e->watchers ? make_scripts(e) : -ENOMEM;
    if (!err)
        err = open_client(e, rest, error, size);
    if (err) {
        close_engine(e);
        return err;
    }
    redis_on_message(e->client, mq_redis_on_message, e);
    *ret_self = e;
    return 0;
}

const mq_engine mq_redis = {.scheme = "redis",
                            .survives = true,
                            .open = open_engine,
                            .close = close_engine,
                            .submit = mq_redis_submit,
                            .watch = mq_redis_watch,
                            .unwatch = mq_redis_unwatch,
                            .listen = mq_redis_listen};
