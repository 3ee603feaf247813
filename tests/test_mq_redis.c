/* The queues on Redis when the server, the network or a process fails; what all engines do is in test_mq.c.
 *
 * MQ_KILLS: how many moments the server, and then a client, is killed at (20). MQ_SEED: which moments (1). */
#include "queue/mq.h"

#include <check.h>
#include <pthread.h>
#include <stdatomic.h>

#include "tests/redis_server.h"
#include "tests/tcp_proxy.h"

enum { PATIENCE_S = 60, LONG_MS = 600000, URL_BYTES = 256 };

static redis_server server;
static tcp_proxy proxy;
static mq *q, *other;

static pthread_mutex_t told_lock = PTHREAD_MUTEX_INITIALIZER;
static char told[512];

static void on_tell(void *user, int level, const char *text)
{
    (void)user, (void)level;
    pthread_mutex_lock(&told_lock);
    snprintf(told, sizeof told, "%s", text);
    pthread_mutex_unlock(&told_lock);
}

static const mq_config config = {.tell = on_tell};

static mq *open_url(const char *url, const char *parameters)
{
    mq *opened = NULL;
    char text[2 * URL_BYTES], error[MQ_ERROR_BYTES] = "";
    snprintf(text, sizeof text, "%s%s%s", url, *parameters ? "?" : "", parameters);
    ck_assert_msg(mq_open(text, &config, &opened, error, sizeof error) == 0, "%s", error);
    return opened;
}

static void close_all(void)
{
    mq_close(q);
    mq_close(other);
    q = other = NULL;
    redis_server_stop(&server);
}

static unsigned from_environment(const char *name, unsigned preset)
{
    const char *text = getenv(name);
    return text ? (unsigned)strtoul(text, NULL, 10) : preset;
}

/* --- operations; errors are the caller's --- */

static int push_id(mq *to, const char *body, const char *id, bool *ret_duplicate)
{
    mq_op op = {
        .verb = MQ_PUSH, .queue = "a", .body = str_from(body), .id = id, .window_ms = id ? LONG_MS : 0};
    int err = mq_call(to, &op);
    if (ret_duplicate)
        *ret_duplicate = op.duplicate;
    ck_assert_msg(!err || op.error[0], "an error without a text");
    return err;
}

static int push(mq *to, const char *body)
{
    return push_id(to, body, NULL, NULL);
}

static int take(mq *from, unsigned most, int64_t lease_ms, mq_message **ret)
{
    mq_op op = {.verb = MQ_TAKE, .queue = "a", .most = most, .lease_ms = lease_ms};
    int err = mq_call(from, &op);
    *ret = op.messages;
    return err;
}

static int settle(mq *at, mq_verb verb, mq_message *messages, int64_t ms)
{
    mq_op op = {
        .verb = verb, .queue = "a", .messages = messages, .lease_ms = ms, .delay_ms = ms, .to = "dead"};
    return mq_call(at, &op);
}

static mq_stats stats(mq *of)
{
    mq_op op = {.verb = MQ_STATS, .queue = "a"};
    ck_assert_msg(mq_call(of, &op) == 0, "%s", op.error);
    mq_stats found = op.stats[0];
    free(op.stats);
    return found;
}

static bool is_absence(int err)
{
    return err == -ETIMEDOUT || err == -ENOTCONN;
}

/* Until it works: then the server is there again. */
static void await_service(mq *of)
{
    mq_op op = {.verb = MQ_LAST, .queue = "none"};
    time_t until = time(NULL) + PATIENCE_S;
    while (mq_call(of, &op) != 0) {
        ck_assert_msg(is_absence(op.err), "%d %s", op.err, op.error);
        ck_assert_int_le(time(NULL), until);
    }
}

/* Take until there is something. */
static mq_message *await(mq *from, unsigned most, int64_t lease_ms)
{
    mq_message *list = NULL;
    time_t until = time(NULL) + PATIENCE_S;
    while (!list) {
        ck_assert_int_eq(take(from, most, lease_ms, &list), 0);
        ck_assert_int_le(time(NULL), until);
    }
    return list;
}

static atomic_int calls;

static void on_ready(void *user)
{
    (void)user;
    atomic_fetch_add(&calls, 1);
}

/* --- addresses --- */

START_TEST(addresses_with_passwords_and_databases_reach_the_server)
{
    static const char *const password[] = {"--requirepass", "a&b=%", NULL};
    char url[URL_BYTES], error[MQ_ERROR_BYTES] = "";
    redis_server_start(&server, password);
    snprintf(url, sizeof url, "redis://:a%%26b%%3D%%25@127.0.0.1:%d/2", server.port);
    q = open_url(url, "");
    snprintf(error, sizeof error, "redis://127.0.0.1:%d/2", server.port);
    ck_assert_str_eq(mq_address(q), error);
    ck_assert_int_eq(push(q, "1"), 0);
    other = open_url(server.unix_url, "db=2&password=a%26b%3D%25&prefix=poolsrv&timeout_ms=5000&max=7");
    mq_message *m = await(other, 1, LONG_MS);
    ck_assert_str_eq(m->body.p, "1");
    mq_message_free(m);
    mq_close(other);
    other = open_url(server.unix_url, "db=3&password=a%26b%3D%25");
    ck_assert_uint_eq(stats(other).taken, 0);
    mq_close(other);
    other = open_url(server.unix_url, "db=2&password=a%26b%3D%25&prefix=mine");
    ck_assert_uint_eq(stats(other).taken, 0);
}
END_TEST

START_TEST(addresses_that_are_wrong_are_told_with_what_is_wrong)
{
    static const struct {
        const char *tail, *part;
        int err;
    } all[] = {
        {"?db=99", "database", -EINVAL},
        {"?db=x", "db=x", -EINVAL},
        {"?password=wrong", "password", -EACCES},
        {"?prefix=a{b", "prefix=a{b", -EINVAL},
        {"?timeout_ms=1", "timeout_ms=1", -EINVAL},
        {"?max=0", "max=0", -EINVAL},
        {"?password=%zz", "password", -EINVAL},
        {"?nonsense=1", "nonsense", -EINVAL},
    };
    char url[URL_BYTES], error[MQ_ERROR_BYTES];
    redis_server_start(&server, NULL);
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        mq *none = NULL;
        error[0] = '\0';
        snprintf(url, sizeof url, "%s%s", server.unix_url, all[i].tail);
        ck_assert_int_eq(mq_open(url, &config, &none, error, sizeof error), all[i].err);
        ck_assert_msg(strstr(error, all[i].part), "%s", error);
    }
    static const char *const others[] = {"redis:host", "redis:", "redis://", "redis+unix:", "redis://h:0"};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        mq *none = NULL;
        ck_assert_int_eq(mq_open(others[i], &config, &none, error, sizeof error), -EINVAL);
    }
}
END_TEST

/* What docs say that a user of the server's needs. */
static const char rights[] = "ACL SETUSER app on >secret ~poolsrv:* &poolsrv:* -@all +ping +select +evalsha "
                             "+script|load +publish +subscribe "
                             "+unsubscribe +xadd +xreadgroup +xautoclaim +xack +xdel +xlen +xrange "
                             "+xgroup|create +xinfo|groups +zadd +zrem "
                             "+zcard +zcount +zscore +zrange +zrangebyscore +zremrangebyrank +hget +hset "
                             "+hdel +sadd +smembers +get +set +incr "
                             "+exists +time";

START_TEST(a_user_with_the_documented_rights_can_do_everything)
{
    char url[URL_BYTES];
    mq_watcher w = {.queue = "a", .ready = on_ready};
    redis_server_start(&server, NULL);
    redis_server_do(&server, rights);
    snprintf(url, sizeof url, "redis://app:secret@127.0.0.1:%d/1?max=1000", server.port);
    told[0] = '\0';
    q = open_url(url, "");
    mq_watch(q, &w);
    static const mq_verb settlements[] = {MQ_PROGRESS, MQ_EXTEND, MQ_RETRY, MQ_GIVE_BACK, MQ_DEAD, MQ_ACK};
    for (size_t i = 0; i < sizeof settlements / sizeof settlements[0]; i++) {
        ck_assert_int_eq(push_id(q, "1", i ? NULL : "id", NULL), 0);
        mq_message *m = await(q, 1, LONG_MS);
        ck_assert_int_eq(settle(q, settlements[i], m, settlements[i] == MQ_RETRY ? LONG_MS : 0), 0);
        mq_message_free(m);
    }
    mq_op others[] = {{.verb = MQ_STATS, .queue = ""},
                      {.verb = MQ_STATS, .queue = "a"},
                      {.verb = MQ_PEEK, .queue = "a", .most = 10},
                      {.verb = MQ_REVIVE, .queue = "dead"},
                      {.verb = MQ_REVIVE, .queue = "a"},
                      {.verb = MQ_PURGE, .queue = "a"},
                      {.verb = MQ_CLAIM, .queue = "clock", .moment_ms = 1},
                      {.verb = MQ_LAST, .queue = "clock"}};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        ck_assert_msg(mq_call(q, &others[i]) == 0, "%s", others[i].error);
        free(others[i].stats);
        mq_message_free(others[i].messages);
    }
    mq_unwatch(q, &w);
    mq_close(q);
    url[strcspn(url, "?")] = '\0';
    q = open_url(url, ""); /* without a limit plain pushes are no scripts */
    ck_assert_int_eq(push(q, "1"), 0);
    ck_assert_str_eq(told, "");
}
END_TEST

/* --- a server that is away --- */

START_TEST(a_stopped_server_gives_errors_and_then_goes_on)
{
    bool duplicate;
    redis_server_start(&server, NULL);
    q = open_url(server.unix_url, "timeout_ms=150");
    for (int i = 0; i < 3; i++) {
        char id[16];
        mq_message *none;
        snprintf(id, sizeof id, "id%d", i);
        redis_server_signal(&server, SIGSTOP);
        int err = push_id(q, "1", id, NULL);
        ck_assert(is_absence(err));
        ck_assert(is_absence(take(q, 1, LONG_MS, &none)));
        ck_assert_ptr_null(none);
        redis_server_signal(&server, SIGCONT);
        await_service(q);
        /* Whether it was done is not known; repeating it is safe. */
        ck_assert_int_eq(push_id(q, "1", id, &duplicate), 0);
        ck_assert_uint_eq(stats(q).ready + stats(q).taken, (unsigned)i + 1);
    }
}
END_TEST

static const char *const durable[] = {"--appendonly", "yes", "--appendfsync", "always", NULL};

START_TEST(after_a_restart_all_is_there_and_scripts_are_told_again)
{
    redis_server_start(&server, durable);
    q = open_url(server.unix_url, "timeout_ms=5000");
    ck_assert_int_eq(push(q, "1"), 0);
    ck_assert_int_eq(push(q, "2"), 0);
    mq_op later = {.verb = MQ_PUSH, .queue = "a", .body = STR("3"), .delay_ms = LONG_MS};
    ck_assert_int_eq(mq_call(q, &later), 0);
    mq_message *held = await(q, 1, LONG_MS);
    redis_server_kill(&server);
    redis_server_run(&server);
    await_service(q);
    mq_stats s = stats(q);
    ck_assert_uint_eq(s.ready, 1);
    ck_assert_uint_eq(s.delayed, 1);
    ck_assert_uint_eq(s.taken, 1);
    ck_assert_int_eq(settle(q, MQ_EXTEND, held, 1), 0);
    mq_message *two = await(q, 1, LONG_MS), *again = await(q, 1, LONG_MS);
    ck_assert_str_eq(two->body.p, "2");
    ck_assert_str_eq(again->body.p, "1");
    ck_assert_uint_eq(again->attempt, 2);
    ck_assert_int_eq(settle(q, MQ_ACK, held, 0), -ESTALE);
    ck_assert_int_eq(settle(q, MQ_ACK, two, 0), 0);
    ck_assert_int_eq(settle(q, MQ_ACK, again, 0), 0);
    mq_message_free(held);
    mq_message_free(two);
    mq_message_free(again);
}
END_TEST

START_TEST(with_full_memory_nothing_is_pushed_and_what_is_there_can_be_taken_and_settled)
{
    static const mq_verb verbs[] = {MQ_ACK, MQ_RETRY, MQ_DEAD, MQ_GIVE_BACK, MQ_EXTEND};
    redis_server_start(&server, NULL);
    q = open_url(server.unix_url, "");
    for (int i = 0; i < 5; i++)
        ck_assert_int_eq(push(q, "1"), 0);
    redis_server_do(&server, "CONFIG SET maxmemory 1");
    mq_op full[] = {{.queue = "a", .body = STR("2")},
                    {.queue = "a", .body = STR("2"), .id = "x", .window_ms = LONG_MS},
                    {.queue = "a", .body = STR("2"), .delay_ms = LONG_MS}};
    for (size_t i = 0; i < sizeof full / sizeof full[0]; i++) {
        full[i].verb = MQ_PUSH;
        ck_assert_int_eq(mq_call(q, &full[i]), -ENOSPC);
        ck_assert_ptr_nonnull(strstr(full[i].error, "maxmemory"));
    }
    mq_message *list = await(q, 5, LONG_MS), *next;
    for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++) {
        ck_assert_ptr_nonnull(list);
        next = list->next;
        list->next = NULL;
        ck_assert_int_eq(settle(q, verbs[i], list, verbs[i] == MQ_EXTEND ? 1 : 0), 0);
        mq_message_free(list);
        list = next;
    }
    redis_server_do(&server, "CONFIG SET maxmemory 0");
    list = await(q, 1, LONG_MS); /* the one that was given back */
    ck_assert_uint_eq(list->attempt, 1);
    mq_message_free(list);
    bool duplicate = true;
    ck_assert_int_eq(push_id(q, "2", "x", &duplicate), 0);
    ck_assert(!duplicate); /* the refused one has left no trace */
}
END_TEST

START_TEST(a_slow_server_is_waited_for_or_told)
{
    static const char *const debug[] = {"--enable-debug-command", "yes", NULL};
    redis_server_start(&server, debug);
    q = open_url(server.unix_url, "timeout_ms=200");
    redisContext *direct = redis_server_connect(&server);
    for (int i = 0; i < 6; i++) {
        redisAppendCommand(direct, "DEBUG SLEEP %s", i % 2 ? "0.5" : "0.05");
        int done = 0;
        while (!done)
            redisBufferWrite(direct, &done);
        char id[16];
        bool duplicate;
        snprintf(id, sizeof id, "id%d", i);
        int err = push_id(q, "1", id, &duplicate);
        ck_assert_msg(err == 0 || is_absence(err), "%d", err);

        void *reply;
        ck_assert_int_eq(redisGetReply(direct, &reply), REDIS_OK);
        freeReplyObject(reply);
        await_service(q);
        ck_assert_int_eq(push_id(q, "1", id, &duplicate), 0);
    }
    redisFree(direct);
    ck_assert_uint_eq(stats(q).ready, 6);
}
END_TEST

/* --- several processes --- */

START_TEST(messages_of_a_dead_node_go_to_another)
{
    redis_server_start(&server, NULL);
    q = open_url(server.unix_url, "");
    other = open_url(server.tcp_url, "");
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(push(q, "1"), 0);
    mq_message *held = await(q, 3, 100);
    mq_close(q); /* it never settles them */
    q = NULL;
    unsigned n = 0;
    while (n < 3) {
        mq_message *list = await(other, 3, LONG_MS);
        for (const mq_message *m = list; m; m = m->next, n++)
            ck_assert_uint_eq(m->attempt, 2);
        ck_assert_int_eq(settle(other, MQ_ACK, list, 0), 0);
        mq_message_free(list);
    }
    ck_assert_int_eq(settle(other, MQ_ACK, held, 0), -ESTALE);
    mq_message_free(held);
}
END_TEST

/* A subscriber of the test's own sees that the news comes by the channel, and not by the look once a second.
 */
START_TEST(a_push_is_told_to_the_other_nodes)
{
    redis_server_start(&server, NULL);
    q = open_url(server.unix_url, "");
    other = open_url(server.tcp_url, "");
    mq_watcher w = {.queue = "a", .ready = on_ready};
    mq_watch(other, &w);
    for (;;) {
        redisReply *reply = redis_server_ask(&server, "PUBSUB NUMSUB poolsrv:{a}:ready");
        long long n = reply->element[1]->integer;
        freeReplyObject(reply);
        if (n == 1)
            break;
    }
    redisContext *direct = redis_server_connect(&server);
    freeReplyObject(redisCommand(direct, "SUBSCRIBE poolsrv:{a}:ready"));
    for (int i = 0; i < 20; i++) {
        int before = atomic_load(&calls);
        redisReply *news;
        ck_assert_int_eq(push(q, "1"), 0);
        ck_assert_int_eq(redisGetReply(direct, (void **)&news), REDIS_OK);
        ck_assert_ptr_nonnull(strstr(news->element[2]->str, " 0"));
        freeReplyObject(news);
        while (atomic_load(&calls) == before)
            sched_yield();
    }
    redisFree(direct);
    mq_unwatch(other, &w);
}
END_TEST

START_TEST(messages_whose_leases_are_gone_are_found)
{
    char command[URL_BYTES];
    redis_server_start(&server, NULL);
    q = open_url(server.unix_url, "");
    ck_assert_int_eq(push(q, "1"), 0);
    mq_message *held = await(q, 1, LONG_MS);
    redis_server_do(&server, "DEL poolsrv:{a}:leases");
    snprintf(command, sizeof command, "XCLAIM poolsrv:{a}:s0 poolsrv somebody 0 %s IDLE 3600000 JUSTID",
             held->token + 3);
    redis_server_do(&server, command);
    mq_watcher w = {.queue = "a", .ready = on_ready};
    other = open_url(server.unix_url, "");
    mq_watch(other, &w);
    mq_message *again = await(other, 1, LONG_MS);
    ck_assert_uint_eq(again->attempt, 2);
    mq_unwatch(other, &w);
    mq_close(other);
    other = NULL;
    ck_assert_ptr_nonnull(strstr(told, "\"a\": 1 messages were held"));
    mq_message_free(held);
    mq_message_free(again);
}
END_TEST

enum { CLAIMERS = 4, MOMENTS = 200 };

static atomic_int won[MOMENTS + 1];

static void *claim_all(void *user)
{
    for (int i = 1; i <= MOMENTS; i++) {
        mq_op op = {.verb = MQ_CLAIM, .queue = "clock", .moment_ms = i};
        ck_assert_int_eq(mq_call(user, &op), 0);
        if (!op.duplicate)
            atomic_fetch_add(&won[i], 1);
    }
    return NULL;
}

START_TEST(of_several_nodes_one_claims_a_moment)
{
    pthread_t threads[CLAIMERS];
    redis_server_start(&server, NULL);
    q = open_url(server.unix_url, "");
    other = open_url(server.tcp_url, "");
    for (int i = 0; i < CLAIMERS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, claim_all, i % 2 ? q : other), 0);
    for (int i = 0; i < CLAIMERS; i++)
        pthread_join(threads[i], NULL);
    int all = 0;
    for (int i = 1; i <= MOMENTS; i++) {
        ck_assert_int_le(atomic_load(&won[i]), 1);
        all += atomic_load(&won[i]);
    }
    ck_assert_int_gt(all, 0);
    ck_assert_int_eq(atomic_load(&won[MOMENTS]), 1);
}
END_TEST

/* --- connections that are cut off --- */

/* The next connection. */
static void cut_elsewhere(unsigned *seed)
{
    atomic_store(&proxy.cut, 8 + rand_r(seed) % 1000);
}

/* A push with an id is repeated until it is answered, and an acknowledgement until it is, or stale: then each
 * message is there once, and gone. */
START_TEST(over_cut_off_connections_each_message_with_an_id_is_there_once)
{
    enum { MESSAGES = 150 };
    static bool seen[MESSAGES];
    unsigned seed = from_environment("MQ_SEED", 1), failures = 0, n = 0;
    char text[32], id[32], url[URL_BYTES];
    redis_server_start(&server, NULL);
    memset(&proxy, 0, sizeof proxy);
    proxy.server_port = server.port;
    atomic_store(&proxy.cut, 60);
    tcp_proxy_start(&proxy);
    snprintf(url, sizeof url, "redis://127.0.0.1:%d", proxy.port);
    q = open_url(url, "timeout_ms=5000");
    for (int i = 0; i < MESSAGES; i++) {
        snprintf(text, sizeof text, "%d", i);
        snprintf(id, sizeof id, "id%d", i);
        int err;
        while ((err = push_id(q, text, id, NULL)) != 0) {
            ck_assert_msg(is_absence(err), "%d", err);
            failures++;
            cut_elsewhere(&seed);
        }
    }
    ck_assert_uint_gt(failures, 0);
    other = open_url(server.unix_url, "");
    ck_assert_uint_eq(stats(other).ready, MESSAGES);
    while (n < MESSAGES) {
        mq_message *list = NULL;
        int err = take(q, 3, 50, &list); /* a reply that is cut off leaves them held until the lease ends */
        ck_assert(err == 0 || is_absence(err));
        cut_elsewhere(&seed);
        while (list && (err = settle(q, MQ_ACK, list, 0)) != 0 && err != -ESTALE)
            ck_assert_msg(is_absence(err), "%d", err);
        for (const mq_message *m = list; m; m = m->next) {
            n += !seen[atoi(m->body.p)];
            seen[atoi(m->body.p)] = true;
        }
        mq_message_free(list);
    }
    mq_close(q);
    q = NULL;
    tcp_proxy_stop(&proxy);
}
END_TEST

/* --- kill -9 --- */

enum { NUMBERS = 1000000 };

static struct {
    atomic_bool pushed[NUMBERS]; /* the push was answered with success */
    atomic_bool asked[NUMBERS];  /* an acknowledgement was sent */
    atomic_uint acked[NUMBERS];  /* ... and answered with success: of which attempt */
    atomic_bool found[NUMBERS];  /* it was delivered at the end */
    atomic_int next;             /* number */
    atomic_int steps;            /* pushes and acknowledgements that were answered with success */
    atomic_int after;            /* deliveries of what was acknowledged */
    atomic_bool stop;
} book;

/* A thread may look late at what it was given, when another has taken and acknowledged it already. What
 * counts is the order of the server: attempts count up. */
static void deliver(int number, unsigned attempt)
{
    unsigned acked = atomic_load(&book.acked[number]);
    if (acked && attempt > acked)
        atomic_fetch_add(&book.after, 1);
}

static void *push_numbers(void *user)
{
    while (!atomic_load(&book.stop)) {
        char text[16];
        int i = atomic_fetch_add(&book.next, 1);
        ck_assert_int_lt(i, NUMBERS);
        snprintf(text, sizeof text, "%d", i);
        int err = push(user, text);
        ck_assert_msg(err == 0 || is_absence(err) || err == -EAGAIN, "%d", err);
        if (err == 0) {
            atomic_store(&book.pushed[i], true);
            atomic_fetch_add(&book.steps, 1);
        }
    }
    return NULL;
}

static void *take_numbers(void *user)
{
    while (!atomic_load(&book.stop)) {
        mq_message *list, *next;
        int err = take(user, 5, 200, &list);
        ck_assert_msg(err == 0 || is_absence(err) || err == -EAGAIN, "%d", err);
        for (; list; list = next) {
            next = list->next;
            list->next = NULL;
            int i = atoi(list->body.p);
            deliver(i, list->attempt);
            if (i % 3) { /* a third is left to its lease */
                atomic_store(&book.asked[i], true);
                err = settle(user, MQ_ACK, list, 0);
                ck_assert_msg(err == 0 || is_absence(err) || err == -EAGAIN || err == -ESTALE, "%d", err);
                if (err == 0) {
                    atomic_store(&book.acked[i], list->attempt);
                    atomic_fetch_add(&book.steps, 1);
                }
            }
            mq_message_free(list);
        }
    }
    return NULL;
}

/* Take all that is there, and compare. */
static void balance(mq *from)
{
    unsigned pushed = 0, acked = 0, lost = 0;
    for (;;) {
        mq_message *list;
        ck_assert_int_eq(take(from, 100, LONG_MS, &list), 0);
        mq_stats s = stats(from);
        for (const mq_message *m = list; m; m = m->next) {
            deliver(atoi(m->body.p), m->attempt);
            atomic_store(&book.found[atoi(m->body.p)], true);
        }
        if (list)
            ck_assert_int_eq(settle(from, MQ_ACK, list, 0), 0);
        else if (s.ready + s.delayed + s.taken == 0)
            break;
        mq_message_free(list);
    }
    for (int i = 0; i < atomic_load(&book.next); i++) {
        pushed += atomic_load(&book.pushed[i]);
        acked += atomic_load(&book.acked[i]) > 0;
        lost += atomic_load(&book.pushed[i]) && !atomic_load(&book.asked[i]) && !atomic_load(&book.found[i]);
    }
    printf("%u pushed, %u acknowledged, %u lost, %d delivered after that\n", pushed, acked, lost,
           atomic_load(&book.after));
    fflush(stdout);
    ck_assert_uint_eq(lost, 0);
    ck_assert_int_eq(atomic_load(&book.after), 0);
    ck_assert_uint_gt(pushed, 0);
    ck_assert_uint_gt(acked, 0);
}

enum { PUSHERS = 2, TAKERS = 2, MOMENT_MOST_US = 2000, STEPS_MOST = 100 };

/* A moment of its own between two steps of the others. */
static void wait_us(unsigned *seed)
{
    nanosleep(&(struct timespec){.tv_nsec = rand_r(seed) % MOMENT_MOST_US * 1000L}, NULL);
}

START_TEST(a_server_that_is_killed_loses_nothing_and_delivers_nothing_twice)
{
    unsigned kills = from_environment("MQ_KILLS", 20), seed = from_environment("MQ_SEED", 1);
    pthread_t threads[PUSHERS + TAKERS];
    redis_server_start(&server, durable);
    q = open_url(server.unix_url, "timeout_ms=2000");
    for (int i = 0; i < PUSHERS + TAKERS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, i < PUSHERS ? push_numbers : take_numbers, q), 0);
    for (unsigned i = 0; i < kills; i++) {
        int until = atomic_load(&book.steps) + rand_r(&seed) % STEPS_MOST;
        while (atomic_load(&book.steps) < until)
            sched_yield();
        wait_us(&seed);
        redis_server_kill(&server);
        redis_server_run(&server);
    }
    atomic_store(&book.stop, true);
    for (int i = 0; i < PUSHERS + TAKERS; i++)
        pthread_join(threads[i], NULL);
    await_service(q);
    balance(q);
}
END_TEST

/* What a process that is going to be killed says by a pipe: what, and the number. */
static int report_to = -1;

static void report(char what, int number, unsigned attempt)
{
    int32_t record[3] = {what, number, (int32_t)attempt};
    if (write(report_to, record, sizeof record) != sizeof record)
        _exit(1);
}

static void *push_and_report(void *user)
{
    for (;;) {
        char text[16];
        int i = atomic_fetch_add(&book.next, 1);
        snprintf(text, sizeof text, "%d", i);
        report('n', i, 0);
        if (push(user, text) == 0)
            report('p', i, 0);
    }
    return NULL;
}

static void *take_and_report(void *user)
{
    for (;;) {
        mq_message *list, *next;
        if (take(user, 5, 200, &list) != 0)
            continue;
        for (; list; list = next) {
            next = list->next;
            list->next = NULL;
            int i = atoi(list->body.p);
            report('d', i, list->attempt);
            if (i % 3) {
                report('q', i, list->attempt);
                if (settle(user, MQ_ACK, list, 0) == 0)
                    report('a', i, list->attempt);
            }
            mq_message_free(list);
        }
    }
    return NULL;
}

static _Noreturn void be_killed(const char *url)
{
    mq *own;
    pthread_t thread;
    char error[MQ_ERROR_BYTES];
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (mq_open(url, &config, &own, error, sizeof error) != 0)
        _exit(1);

    for (int i = 0; i < PUSHERS + TAKERS - 1; i++)
        pthread_create(&thread, NULL, i < PUSHERS ? push_and_report : take_and_report, own);
    take_and_report(own);
    _exit(1);
}

static void note(char what, int number, unsigned attempt)
{
    switch (what) {
    case 'n':
        atomic_store(&book.next, number + 1 > atomic_load(&book.next) ? number + 1 : atomic_load(&book.next));
        break;
    case 'p':
        atomic_store(&book.pushed[number], true);
        break;
    case 'q':
        atomic_store(&book.asked[number], true);
        break;
    case 'a':
        atomic_store(&book.acked[number], attempt);
        break;
    case 'd':
        deliver(number, attempt);
        break;
    default:
        break;
    }
}

/* Read so many, or until the other end is closed. */
static void read_reports(int from, unsigned most)
{
    int32_t record[3];
    for (unsigned n = 0; n < most && read(from, record, sizeof record) == sizeof record; n++)
        note((char)record[0], record[1], (unsigned)record[2]);
}

START_TEST(a_client_that_is_killed_loses_nothing_and_delivers_nothing_twice)
{
    unsigned kills = from_environment("MQ_KILLS", 20), seed = from_environment("MQ_SEED", 1);
    redis_server_start(&server, durable);
    for (unsigned i = 0; i < kills; i++) {
        int ends[2];
        ck_assert_int_eq(pipe(ends), 0);
        pid_t pid = fork();
        ck_assert_int_ge(pid, 0);
        if (pid == 0) {
            close(ends[0]);
            report_to = ends[1];
            be_killed(server.unix_url);
        }
        close(ends[1]);
        read_reports(ends[0], 1 + (unsigned)rand_r(&seed) % (4 * STEPS_MOST));
        wait_us(&seed);
        ck_assert_int_eq(kill(pid, SIGKILL), 0);
        read_reports(ends[0], UINT32_MAX);
        close(ends[0]);
        ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
    }
    q = open_url(server.unix_url, "");
    balance(q);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("mq_redis");
    TCase *tests = tcase_create("failures"), *kills = tcase_create("kills");
    tcase_add_checked_fixture(tests, NULL, close_all);
    tcase_add_test(tests, addresses_with_passwords_and_databases_reach_the_server);
    tcase_add_test(tests, addresses_that_are_wrong_are_told_with_what_is_wrong);
    tcase_add_test(tests, a_user_with_the_documented_rights_can_do_everything);
    tcase_add_test(tests, a_stopped_server_gives_errors_and_then_goes_on);
    tcase_add_test(tests, after_a_restart_all_is_there_and_scripts_are_told_again);
    tcase_add_test(tests, with_full_memory_nothing_is_pushed_and_what_is_there_can_be_taken_and_settled);
    tcase_add_test(tests, a_slow_server_is_waited_for_or_told);
    tcase_add_test(tests, messages_of_a_dead_node_go_to_another);
    tcase_add_test(tests, a_push_is_told_to_the_other_nodes);
    tcase_add_test(tests, messages_whose_leases_are_gone_are_found);
    tcase_add_test(tests, of_several_nodes_one_claims_a_moment);
    tcase_add_test(tests, over_cut_off_connections_each_message_with_an_id_is_there_once);
    suite_add_tcase(suite, tests);
    tcase_add_checked_fixture(kills, NULL, close_all);
    tcase_set_timeout(kills, 120 + 5 * from_environment("MQ_KILLS", 20));
    tcase_add_test(kills, a_server_that_is_killed_loses_nothing_and_delivers_nothing_twice);
    tcase_add_test(kills, a_client_that_is_killed_loses_nothing_and_delivers_nothing_twice);
    suite_add_tcase(suite, kills);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
