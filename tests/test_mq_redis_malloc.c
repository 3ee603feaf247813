/* Each allocation of the queues on Redis fails once, in a life in which every operation is used: on the
 * caller's thread and on the client's. Whatever fails says so with a text, no message is lost, and nothing
 * leaks.
 *
 * The linker sends the product's allocations here (--wrap); hiredis' own are not among them. */
#include "queue/mq.h"

#include <check.h>
#include <pthread.h>
#include <stdatomic.h>

#include "tests/redis_server.h"

static atomic_long calls_left, failures; /* until one fails, negative: none does; so many did */
static _Thread_local bool is_tester;     /* this thread's are not the product's */

static bool fails(void)
{
    if (is_tester || atomic_fetch_sub(&calls_left, 1) != 0)
        return false;
    atomic_fetch_add(&failures, 1);
    return true;
}

#define WRAP(type, name, parameters, arguments)                                                              \
    type __real_##name parameters; /* the linker's names */                                                  \
    type __wrap_##name parameters;                                                                           \
    type __wrap_##name parameters                                                                            \
    {                                                                                                        \
        return fails() ? NULL : __real_##name arguments;                                                     \
    }

WRAP(void *, malloc, (size_t n), (n))
WRAP(void *, calloc, (size_t n, size_t size), (n, size))
WRAP(char *, strdup, (const char *text), (text))
WRAP(char *, strndup, (const char *text, size_t n), (text, n))

static redis_server server;
static mq *q;

static void on_tell(void *user, int level, const char *text)
{
    (void)user, (void)level, (void)text;
}

static int open_queues(void)
{
    static const mq_config config = {.tell = on_tell};
    char error[MQ_ERROR_BYTES] = "";
    is_tester = false;
    int err = mq_open(server.unix_url, &config, &q, error, sizeof error);
    is_tester = true;
    ck_assert_msg(err == 0 || err == -ENOMEM, "%d %s", err, error);
    ck_assert(err == 0 || *error);
    return err;
}

/* One that fails is done again: only one allocation fails. */
static void call(mq_op *op)
{
    mq_op again = *op;
    is_tester = false;
    int err = mq_call(q, op);
    if (err) {
        ck_assert_int_eq(err, -ENOMEM);
        ck_assert(*op->error);
        *op = again;
        err = mq_call(q, op);
    }
    is_tester = true;
    ck_assert_msg(err == 0, "%s", op->error);
}

static mq_message *take(unsigned most)
{
    mq_message *list = NULL;
    while (!list) {
        mq_op op = {.verb = MQ_TAKE, .queue = "a", .most = most, .lease_ms = 20}; /* it may be lost */
        call(&op);
        list = op.messages;
    }
    return list;
}

/* Its lease may be over by now. */
static void settle(mq_verb verb, mq_message *messages)
{
    mq_op op = {
        .verb = verb, .queue = "a", .messages = messages, .to = "dead", .lease_ms = 1, .note = "note"};
    is_tester = false;
    int err = mq_call(q, &op);
    is_tester = true;
    ck_assert_msg(err == 0 || err == -ENOMEM || err == -ESTALE, "%d %s", err, op.error);
    mq_message_free(messages);
}

static void on_ready(void *user)
{
    (void)user;
}

static void use_all(void)
{
    static const mq_verb verbs[] = {MQ_PROGRESS, MQ_EXTEND, MQ_RETRY, MQ_GIVE_BACK, MQ_DEAD};
    mq_watcher w = {.queue = "a", .ready = on_ready};
    is_tester = false;
    mq_watch(q, &w);
    is_tester = true;
    mq_op pushes[] = {{.body = STR("1")},
                      {.body = STR("2"), .id = "id", .window_ms = 600000},
                      {.body = STR("3"), .delay_ms = 1}};
    for (size_t i = 0; i < 3; i++) {
        pushes[i].verb = MQ_PUSH;
        pushes[i].queue = "a";
        call(&pushes[i]);
    }
    for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++)
        settle(verbs[i], take(1));
    mq_op others[] = {{.verb = MQ_STATS, .queue = ""},
                      {.verb = MQ_STATS, .queue = "a"},
                      {.verb = MQ_PEEK, .queue = "a", .most = 10},
                      {.verb = MQ_REVIVE, .queue = "dead"},
                      {.verb = MQ_CLAIM, .queue = "clock", .moment_ms = 1},
                      {.verb = MQ_LAST, .queue = "clock"}};
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        call(&others[i]);
        mq_message_free(others[i].messages);
        free(others[i].stats);
    }
    mq_unwatch(q, &w);
}

/* All three are there yet. */
static void drain(void)
{
    bool seen[4] = {false};
    mq_op revive = {.verb = MQ_REVIVE, .queue = "dead"};
    call(&revive);
    while (!seen[1] || !seen[2] || !seen[3]) {
        mq_message *m = take(1);
        seen[m->body.p[0] - '0'] = true;
        settle(MQ_ACK, m);
    }
}

START_TEST(each_allocation_fails_once)
{
    long n = 0;
    is_tester = true;
    redis_server_start(&server, NULL);
    for (bool failed = true; failed; n++) {
        redis_server_do(&server, "FLUSHALL");
        redis_server_do(&server, "SCRIPT FLUSH");
        atomic_store(&failures, 0);
        atomic_store(&calls_left, n);
        if (open_queues() == 0) {
            use_all();
            failed = atomic_load(&failures) > 0;
            atomic_store(&calls_left, -1);
            drain();
            mq_close(q);
        }
    }
    printf("%ld allocations\n", n - 1);
    ck_assert_int_gt(n, 50);
}
END_TEST

static void stop(void)
{
    redis_server_stop(&server);
}

int main(void)
{
    is_tester = true;
    atomic_store(&calls_left, -1);
    Suite *suite = suite_create("mq_redis_malloc");
    TCase *tests = tcase_create("malloc");
    tcase_add_checked_fixture(tests, NULL, stop);
    tcase_add_test(tests, each_allocation_fails_once);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
