/* A dictionary in a real redis-server: operations of many threads, watchers, and servers that stop. What each
 * operation answers is in tests/e2e/test_shared.py, which compares it with a dictionary in memory. */
#include "queue/remotes.h"

#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

#include "redis_server.h"

enum { THREADS = 4, ROUNDS = 300 };

static redis_server server;
static remotes *all;
static remote *r;

static void no_tell(void *user, int level, const char *text)
{
    (void)user;
    (void)level;
    (void)text;
}

static void begin(void)
{
    char error[256] = "", url[256];
    redis_server_start(&server, NULL);
    snprintf(url, sizeof(url), "%s?timeout_ms=500", server.unix_url);
    all = remotes_new(no_tell, NULL);
    ck_assert_ptr_nonnull(all);
    ck_assert_msg(remotes_open(all, "d", url, &r, error, sizeof(error)) == 0, "%s", error);
}

static void end(void)
{
    remotes_settle(all);
    remotes_free(all);
    redis_server_stop(&server);
}

static remote_op op_of(remote_verb verb, const char *key)
{
    return (remote_op){.verb = verb,
                       .dict = "d",
                       .key = str_from(key),
                       .value = {.type = DICT_INTEGER, .integer = 1},
                       .init = {.type = DICT_INTEGER}};
}

static void *count(void *unused)
{
    (void)unused;
    for (unsigned i = 0; i < ROUNDS; i++) {
        remote_op op = op_of(REMOTE_ADD, "n");
        remote_call(r, &op);
        ck_assert_msg(op.err == 0, "%s", op.error);
        buf_fini(&op.bytes);
    }
    return NULL;
}

START_TEST(counters_of_many_threads_are_exact)
{
    pthread_t threads[THREADS];
    for (unsigned i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, count, NULL), 0);
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    remote_op op = op_of(REMOTE_GET, "n");
    remote_call(r, &op);
    ck_assert_int_eq(op.err, 0);
    ck_assert_int_eq(op.value.integer, THREADS * ROUNDS);
    buf_fini(&op.bytes);
}
END_TEST

START_TEST(versions_grow_and_conditions_hold)
{
    remote_op put = op_of(REMOTE_PUT, "k");
    remote_call(r, &put);
    uint64_t first = put.version;
    ck_assert_uint_gt(first, 0);
    put.how = (dict_change){.when = DICT_IF_VERSION, .version = first};
    remote_call(r, &put);
    ck_assert_int_eq(put.err, 0);
    ck_assert_uint_gt(put.version, first);
    remote_call(r, &put);
    ck_assert_int_eq(put.err, -ESTALE);
    put.how = (dict_change){.when = DICT_IF_ABSENT};
    remote_call(r, &put);
    ck_assert_int_eq(put.err, -EEXIST);
    buf_fini(&put.bytes);
}
END_TEST

START_TEST(flush_takes_thousands_and_no_other_dictionary)
{
    char key[32] = "";
    remote_op put = op_of(REMOTE_PUT, key);
    for (unsigned i = 0; i < 2500; i++) {
        put.key.n = (size_t)snprintf(key, sizeof(key), "%u", i);
        remote_call(r, &put);
        ck_assert_int_eq(put.err, 0);
    }
    put.dict = "other";
    remote_call(r, &put);
    buf_fini(&put.bytes);
    remote_op n = op_of(REMOTE_COUNT, "");
    remote_call(r, &n);
    ck_assert_uint_eq(n.count, 2500);
    n.verb = REMOTE_FLUSH;
    remote_call(r, &n);
    ck_assert_int_eq(n.err, 0);
    n.verb = REMOTE_COUNT;
    remote_call(r, &n);
    ck_assert_uint_eq(n.count, 0);
    n.dict = "other";
    remote_call(r, &n);
    ck_assert_uint_eq(n.count, 1);
    buf_fini(&n.bytes);
}
END_TEST

/* --- watching --- */

static atomic_uint sets, flushes;

static void on_change(void *user, dict_event event, str key, uint64_t version)
{
    (void)user;
    if (event == DICT_STORED) {
        ck_assert(str_eq(key, STR("a b")));
        ck_assert_uint_gt(version, 0);
    }
    atomic_fetch_add(event == DICT_STORED ? &sets : &flushes, 1);
}

static void put_until_heard(unsigned before)
{
    for (time_t until = time(NULL) + REDIS_SERVER_PATIENCE_S; atomic_load(&sets) == before;) {
        remote_op put = op_of(REMOTE_PUT, "a b");
        remote_call(r, &put);
        buf_fini(&put.bytes);
        ck_assert(time(NULL) < until);
    }
}

START_TEST(watchers_are_told_also_after_a_restart)
{
    dict_watcher w = {.changed = on_change};
    ck_assert_int_eq(remote_watch(r, "d", &w), 0);
    put_until_heard(0);
    unsigned before = atomic_load(&flushes);
    ck_assert_uint_gt(before, 0); /* subscribed */
    redis_server_kill(&server);
    redis_server_run(&server);
    put_until_heard(atomic_load(&sets));
    ck_assert_uint_gt(atomic_load(&flushes), before);
    remote_unwatch(r, &w);
}
END_TEST

/* --- trouble --- */

static atomic_uint ended;

static void on_ended(remote_op *op)
{
    ck_assert(op->err == -ETIMEDOUT || op->err == -ENOTCONN);
    atomic_fetch_add(&ended, 1);
}

START_TEST(settling_waits_for_what_is_not_answered)
{
    enum { N = 100 };
    static remote_op ops[N];
    redis_server_signal(&server, SIGSTOP);
    for (unsigned i = 0; i < N; i++) {
        ops[i] = op_of(i % 2 ? REMOTE_GET : REMOTE_PUT, "k");
        ops[i].done = on_ended;
        remote_submit(r, &ops[i]);
    }
    remotes_settle(all);
    ck_assert_uint_eq(atomic_load(&ended), N);
    for (unsigned i = 0; i < N; i++)
        buf_fini(&ops[i].bytes);
    redis_server_signal(&server, SIGCONT);
}
END_TEST

START_TEST(an_address_is_of_one_client_and_a_name_of_one_address)
{
    char error[256], url[256];
    remote *again = NULL;
    snprintf(url, sizeof(url), "%s?timeout_ms=500", server.unix_url);
    ck_assert_int_eq(remotes_get(all, url, &again, error, sizeof(error)), 0);
    ck_assert_ptr_eq(again, r);
    ck_assert_ptr_eq(remotes_find(all, "d"), r);
    ck_assert_ptr_null(remotes_find(all, "e"));
    ck_assert_int_eq(remotes_open(all, "d", server.tcp_url, &again, error, sizeof(error)), -EEXIST);
}
END_TEST

static const struct {
    const char *url, *problem;
} addresses[] = {
    {"redis://localhost", NULL},
    {"redis://:pw@localhost:1/2?timeout_ms=10&prefix=a.b", NULL},
    {"redis+unix:/x?db=3&user=u&password=p%40", NULL},
    {"memory:", "redis://HOST:PORT/DB"},
    {"redis:localhost", "redis://HOST:PORT/DB"},
    {"redis://localhost?timeout_ms=9", "timeout_ms"},
    {"redis://localhost?timeout_ms=99999999999999999999", "timeout_ms"},
    {"redis://localhost?prefix=a%20b", "prefix"},
    {"redis://localhost?prefix=", "prefix"},
    {"redis://localhost?db=3", "db"},
    {"redis+unix:/x?db=x", "db"},
    {"redis+unix:/x?max=1&db=3", "max"},
};

START_TEST(addresses_are_read)
{
    char error[256] = "";
    int err = remote_check(addresses[_i].url, error, sizeof(error));
    ck_assert_int_eq(err, addresses[_i].problem ? -EINVAL : 0);
    if (addresses[_i].problem)
        ck_assert_msg(strstr(error, addresses[_i].problem) == error, "%s", error);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("remote");
    TCase *tcase = tcase_create("server");
    tcase_add_checked_fixture(tcase, begin, end);
    tcase_add_test(tcase, counters_of_many_threads_are_exact);
    tcase_add_test(tcase, versions_grow_and_conditions_hold);
    tcase_add_test(tcase, flush_takes_thousands_and_no_other_dictionary);
    tcase_add_test(tcase, watchers_are_told_also_after_a_restart);
    tcase_add_test(tcase, settling_waits_for_what_is_not_answered);
    tcase_add_test(tcase, an_address_is_of_one_client_and_a_name_of_one_address);
    suite_add_tcase(suite, tcase);
    tcase = tcase_create("addresses");
    tcase_add_loop_test(tcase, addresses_are_read, 0, sizeof(addresses) / sizeof(addresses[0]));
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? 1 : 0;
}
