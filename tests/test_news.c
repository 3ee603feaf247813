/* Notices that do not flood: what each thread of a real pool is told, whatever the speed of those who tell.
 */
#include "runtime/news.h"

#include <check.h>
#include <stdatomic.h>

#include "pool_fixture.h"
#include "runtime/exec.h"
#include "runtime/worker.h"

enum { THREADS = 3, TELLERS = 3, ROUNDS = 20000, SLACK = 1000 };

/* What a thread has been told. */
typedef struct listener {
    pthread_t thread;
    unsigned told, missed;
    unsigned seen; /* of `truth`, when it was told last */
} listener;

static struct {
    listener listeners[THREADS]; /* [fake.lock] */
    unsigned listeners_n;        /* [fake.lock] */
    unsigned done;               /* [fake.lock] notices that have been run */
    atomic_uint truth;
    atomic_uint seated;
} t;

static notices all;
static news *n;

/* [fake.lock] */
static listener *myself(void)
{
    for (unsigned i = 0; i < t.listeners_n; i++)
        if (pthread_equal(t.listeners[i].thread, pthread_self()))
            return &t.listeners[i];
    ck_assert_uint_lt(t.listeners_n, THREADS);
    t.listeners[t.listeners_n].thread = pthread_self();
    return &t.listeners[t.listeners_n++];
}

static runner_result on_notice(void *held, HttpTask *task)
{
    (void)held;
    str text = task->job->arguments;
    ck_assert_str_eq(task->job->name, "dict:d");
    pthread_mutex_lock(&fake.lock);
    listener *l = myself();
    l->told++;
    l->missed += str_eq(text, STR("[missed]"));
    l->seen = atomic_load(&t.truth);
    t.done++;
    pthread_cond_broadcast(&fake.changed);
    pthread_mutex_unlock(&fake.lock);
    if (str_eq(text, STR("[gate]")))
        wait_at_gate();
    task->outcome = TASK_OUTCOME_REPLY;
    return RUNNER_DONE;
}

static void on_seated(void *user, const inbox *to)
{
    (void)user;
    ck_assert_ptr_nonnull(to);
    atomic_fetch_add(&t.seated, 1);
}

static runner notice_runner;

static void begin(unsigned workers, unsigned heavies)
{
    char error[256] = "";
    pool_config config = usual;
    config.workers = workers;
    config.heavies = config.max_heavies = heavies;
    setup();
    memset(&t, 0, sizeof(t));
    notice_runner = fake_runner;
    notice_runner.start = on_notice;
    notice_runner.seated = on_seated;
    ck_assert_int_eq(listen_bind_tcp(&listening, workers, "127.0.0.1", 0, error, sizeof(error)), 0);
    ck_assert_int_eq(listen_start(&listening, error, sizeof(error)), 0);
    config.listen_fds = listening.fds;
    ck_assert_int_eq(pool_new(&config, &notice_runner, &p), 0);
    notices_init(&all, p, &(run_limits){.route = "a listener"});
    n = news_new(&all, "dict:d", STR("[missed]"));
    ck_assert_ptr_nonnull(n);
    ck_assert_int_eq(pool_start(p), 0);
    while (atomic_load(&t.seated) < workers + heavies)
        sched_yield();
}

static void finish(void)
{
    end(POOL_DRAINING);
    ck_assert_uint_eq(atomic_load(&all.pending), 0);
    news_free(n);
    n = NULL;
}

/* Every thread is told once that it has missed something, and listens from then on. */
static void introduce(unsigned threads)
{
    news_tell_missed(n, NULL);
    wait_for_count(&t.done, threads);
    while (atomic_load(&all.pending) > 0)
        sched_yield();
}

START_TEST(every_thread_is_told_in_order)
{
    begin(2, 1);
    introduce(3);
    for (unsigned i = 0; i < 10; i++)
        news_tell(n, STR("[1]"));
    wait_for_count(&t.done, 33);
    for (unsigned i = 0; i < 3; i++) {
        ck_assert_uint_eq(t.listeners[i].told, 11);
        ck_assert_uint_eq(t.listeners[i].missed, 1);
    }
    finish();
}
END_TEST

static void *storm(void *unused)
{
    (void)unused;
    for (unsigned i = 0; i < ROUNDS; i++) {
        atomic_fetch_add(&t.truth, 1);
        if (i % SLACK)
            news_tell(n, STR("[1]"));
        else
            news_tell_missed(n, NULL);
    }
    return NULL;
}

START_TEST(after_a_storm_every_thread_has_seen_the_last_change)
{
    pthread_t tellers[TELLERS];
    begin(2, 1);
    introduce(3);
    for (unsigned i = 0; i < TELLERS; i++)
        ck_assert_int_eq(pthread_create(&tellers[i], NULL, storm, NULL), 0);
    for (unsigned i = 0; i < TELLERS; i++)
        pthread_join(tellers[i], NULL);
    while (atomic_load(&all.pending) > 0)
        sched_yield();
    pthread_mutex_lock(&fake.lock);
    for (unsigned i = 0; i < 3; i++)
        ck_assert_uint_eq(t.listeners[i].seen, TELLERS * ROUNDS);
    pthread_mutex_unlock(&fake.lock);
    finish();
}
END_TEST

START_TEST(a_thread_that_is_held_up_has_so_many_waiting_and_one_for_the_rest)
{
    begin(1, 1);
    introduce(2);
    news_tell(n, STR("[gate]"));
    wait_for_gate(2);
    for (unsigned i = 0; i < 1000; i++)
        news_tell(n, STR("[1]"));
    ck_assert_uint_eq(atomic_load(&all.pending), 2 * NEWS_MOST);
    open_gate();
    wait_for_count(&t.done, 2 * (1 + NEWS_MOST + 1));
    for (unsigned i = 0; i < 2; i++) {
        ck_assert_uint_eq(t.listeners[i].told, 1 + NEWS_MOST + 1);
        ck_assert_uint_eq(t.listeners[i].missed, 2);
    }
    finish();
}
END_TEST

START_TEST(one_thread_alone_can_be_told)
{
    begin(1, 1);
    introduce(2);
    news_tell_missed(n, &worker_exec(p->workers[0])->inbox);
    wait_for_count(&t.done, 3);
    finish();
    ck_assert_uint_eq(t.done, 3);
}
END_TEST

START_TEST(what_threads_do_not_come_to_is_not_told_again_at_the_end)
{
    begin(1, 1);
    introduce(2);
    news_tell(n, STR("[gate]"));
    wait_for_gate(2);
    for (unsigned i = 0; i < 1000; i++)
        news_tell(n, STR("[1]"));
    pool_set_stage(p, POOL_FORCED);
    open_gate();
    ck_assert(pool_wait(p, PATIENCE_S * SECOND));
    finish();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("news");
    TCase *tcase = tcase_create("pool");
    tcase_add_test(tcase, every_thread_is_told_in_order);
    tcase_add_test(tcase, after_a_storm_every_thread_has_seen_the_last_change);
    tcase_add_test(tcase, a_thread_that_is_held_up_has_so_many_waiting_and_one_for_the_rest);
    tcase_add_test(tcase, one_thread_alone_can_be_told);
    tcase_add_test(tcase, what_threads_do_not_come_to_is_not_told_again_at_the_end);
    suite_add_tcase(suite, tcase);
    SRunner *tests = srunner_create(suite);
    srunner_run_all(tests, CK_NORMAL);
    int failed = srunner_ntests_failed(tests);
    srunner_free(tests);
    return failed ? 1 : 0;
}
