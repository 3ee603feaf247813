/* Threads that are lost in a handler, and what becomes of all they had. */
#include "runtime/lost.h"

#include <sys/resource.h>

#include "runtime/watchdog.h"
#include "tests/pool_fixture.h"

enum { LIMIT_MS = 20 };

#define MS (SECOND / 1000)

/* Handlers may take that long, and as much grace. */
static pool_config limited(void)
{
    pool_config config = usual;
    config.handler_timeout_ns = config.least_limit_ns = LIMIT_MS * MS;
    return config;
}

static void wait_until(bool (*is_so)(unsigned n), unsigned n)
{
    uint64_t until_ns = clock_now_ns() + PATIENCE_S * SECOND;
    while (!is_so(n)) {
        ck_assert_uint_lt(clock_now_ns(), until_ns);
        sched_yield();
    }
}

static bool are_lost(unsigned n)
{
    return atomic_load(&p->lost.now) == n;
}

static bool are_retired(unsigned n)
{
    return atomic_load(&p->lost.retired) == n;
}

static bool are_abandoned(unsigned n)
{
    return atomic_load(&fake.abandoned) == n;
}

static bool are_waiting(unsigned n)
{
    pthread_mutex_lock(&fake.lock);
    bool so = fake.waiting >= n;
    pthread_mutex_unlock(&fake.lock);
    return so;
}

static void expect_closed(int fd)
{
    char byte;
    ck_assert_int_eq(recv(fd, &byte, 1, 0), 0);
    close(fd);
}

/* All that were lost come back, and the pool ends as if nothing had been. */
static void end_with_retired(unsigned n)
{
    open_gate();
    wait_until(are_retired, n);
    ck_assert(are_lost(0));
    ck_assert_uint_eq(atomic_load(&fake.abandoned), n);
    end(POOL_DRAINING);
}

static const char *const gates[] = {"/gate", "/heavy-gate"};

START_TEST(client_of_a_lost_thread_gets_504_and_the_place_is_taken)
{
    start(limited());
    int fd = client();
    ask(fd, gates[_i]);
    expect(fd, 504, "{\"error\":\"Gateway Timeout\",\"status\":504");
    expect_closed(fd);
    ck_assert(are_lost(1));
    fd = client();
    ask(fd, _i ? "/heavy" : "/");
    expect(fd, 200, "done");
    close(fd);
    ck_assert_uint_eq(atomic_load(&fake.sent), 2);
    end_with_retired(1);
}
END_TEST

START_TEST(tasks_queued_behind_a_lost_thread_are_run_by_the_spare)
{
    pool_config config = limited();
    config.handler_timeout_ns = 0;
    config.cpu_limit_ns = LIMIT_MS * MS; /* those that wait have time enough */
    int stuck, fds[20];
    start(config);
    atomic_store(&fake.spin_on, true);
    ask(stuck = client(), _i ? "/heavy-spin" : "/spin");
    wait_for_count(&fake.spinning, 1);
    ask_all(fds, 20, _i ? "/heavy" : "/");
    expect(stuck, 504, "Gateway Timeout");
    expect_all(fds, 20, 200, "done");
    close(stuck);
    atomic_store(&fake.spin_on, false);
    end_with_retired(1);
}
END_TEST

START_TEST(tasks_parked_in_a_lost_vm_get_503)
{
    int fds[20], stuck;
    pool_config config = limited();
    config.handler_timeout_ns = 0;
    config.cpu_limit_ns = LIMIT_MS * MS;
    start(config);
    ask_all(fds, 20, _i ? "/heavy-ever" : "/ever");
    for (uint64_t until_ns = clock_now_ns() + PATIENCE_S * SECOND; atomic_load(&fake.started) < 20;)
        ck_assert_uint_lt(clock_now_ns(), until_ns);
    atomic_store(&fake.spin_on, true);
    ask(stuck = client(), _i ? "/heavy-spin" : "/spin");
    expect_all(fds, 20, 503, "was lost");
    expect(stuck, 504, "Gateway Timeout");
    close(stuck);
    ck_assert_uint_eq(atomic_load(&fake.cancelled), 0);
    atomic_store(&fake.spin_on, false);
    end_with_retired(1);
}
END_TEST

static const char *const waits[] = {"/park-wait", "/heavy-park-wait"};

START_TEST(thread_lost_in_a_resumed_handler_is_relieved)
{
    pool_config config = limited();
    config.handler_timeout_ns = config.least_limit_ns = 100 * MS; /* it parks for 20 */
    start(config);
    int fd = client();
    ask(fd, waits[_i]);
    expect(fd, 504, "Gateway Timeout");
    expect_closed(fd);
    end_with_retired(1);
}
END_TEST

static const char *const closes[] = {"/ever-close", "/heavy-ever-close"};

/* Past its deadline the coroutine is to be closed, and that does not end. */
START_TEST(thread_lost_while_a_handler_is_given_up_is_relieved)
{
    start(limited());
    int fd = client();
    ask(fd, closes[_i]);
    expect(fd, 504, "Gateway Timeout");
    expect_closed(fd);
    ask(fd = client(), _i ? "/heavy" : "/");
    expect(fd, 200, "done");
    close(fd);
    end_with_retired(1);
}
END_TEST

START_TEST(thread_lost_in_a_collection_of_garbage_is_relieved)
{
    start(limited());
    atomic_store(&fake.idle_at_gate, true);
    int fd = client();
    ask(fd, "/");
    expect(fd, 200, "done");
    wait_until(are_lost, 1);
    ask(fd, "/");
    expect(fd, 200, "done");
    close(fd);
    end_with_retired(1);
}
END_TEST

START_TEST(client_that_leaves_while_its_thread_is_lost_does_no_harm)
{
    start(limited());
    int fd = client();
    ask(fd, gates[_i]);
    wait_for_gate(1);
    struct linger reset = {.l_onoff = 1};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
    close(fd);
    wait_until(are_lost, 1);
    ask(fd = client(), "/");
    expect(fd, 200, "done");
    close(fd);
    end_with_retired(1);
}
END_TEST

START_TEST(lost_request_without_a_socket_is_told_of_when_the_thread_comes_back)
{
    start(limited());
    injected *stuck = new_injected("/gate");
    ck_assert_int_eq(pool_inject(p, &stuck->task), 0);
    wait_until(are_lost, 1);
    injected *next = new_injected("/");
    ck_assert_int_eq(pool_inject(p, &next->task), 0);
    ck_assert_int_eq(wait_injected(next), 200);
    open_gate();
    ck_assert_int_eq(wait_injected(stuck), 503);
    free_injected(stuck);
    free_injected(next);
    end_with_retired(1);
}
END_TEST

START_TEST(place_is_taken_once_there_is_a_vm)
{
    start(limited());
    atomic_store(&fake.no_vm, true);
    int fd = client();
    ask(fd, "/gate");
    for (uint64_t until_ns = clock_now_ns() + PATIENCE_S * SECOND; !atomic_load(&fake.troubles);)
        ck_assert_uint_lt(clock_now_ns(), until_ns);
    ck_assert(are_lost(0));
    atomic_store(&fake.no_vm, false);
    expect(fd, 504, "Gateway Timeout");
    close(fd);
    end_with_retired(1);
}
END_TEST

START_TEST(drain_ends_although_a_thread_is_lost)
{
    start(limited());
    int fd = client();
    ask(fd, gates[_i]);
    wait_for_gate(1);
    pool_set_stage(p, POOL_DRAINING);
    expect(fd, 504, "Gateway Timeout");
    close(fd);
    ck_assert(pool_wait(p, PATIENCE_S * SECOND));
    ck_assert(lost_any(&p->lost));
    open_gate(); /* it comes back when nobody is left to take its task */
    wait_until(are_retired, 1);
    end(POOL_DRAINING);
}
END_TEST

START_TEST(each_place_can_be_lost_again_and_again)
{
    pool_config config = limited();
    config.workers = 3;
    config.heavies = config.max_heavies = 3;
    start(config);
    for (unsigned round = 1; round <= 3; round++) {
        int fds[12];
        for (unsigned i = 0; i < 12; i++)
            ask(fds[i] = client(), i % 2 ? "/gate" : "/heavy-gate");
        for (unsigned i = 0; i < 12; i++) {
            char text[REPLY_BYTES];
            int status = answer(fds[i], text);
            ck_assert(status == 504 || status == 503); /* those that waited too long for their turn */
            close(fds[i]);
        }
        set_gate(true);
        wait_until(are_lost, 0);
        set_gate(false);
    }
    unsigned lost = atomic_load(&p->lost.retired);
    ck_assert_uint_ge(lost, 6);
    end_with_retired(lost);
}
END_TEST

START_TEST(no_more_threads_are_lost_than_lost_max)
{
    enum { ALL = LOST_MAX + 1 };
    int fds[ALL];
    pool_config config = limited();
    config.heavies = config.max_heavies = ALL;
    config.handler_timeout_ns = config.least_limit_ns = SECOND; /* by then all are at the gate */
    start(config);
    ask_all(fds, ALL, "/heavy-gate");
    wait_until(are_waiting, ALL);
    wait_until(are_lost, LOST_MAX);
    for (uint64_t until_ns = clock_now_ns() + PATIENCE_S * SECOND; atomic_load(&fake.troubles) <= LOST_MAX;)
        ck_assert_uint_lt(clock_now_ns(), until_ns);
    ck_assert(are_lost(LOST_MAX));
    open_gate();
    unsigned done = 0;
    for (unsigned i = 0; i < ALL; i++) {
        char text[REPLY_BYTES];
        int status = answer(fds[i], text);
        ck_assert(status == 200 || status == 504);
        done += status == 200;
        close(fds[i]);
    }
    ck_assert_uint_eq(done, 1);
    end_with_retired(LOST_MAX);
}
END_TEST

/* Handlers end just when their threads are about to be lost: each request has one reply all the same, and
 * each task and VM one owner. */
START_TEST(runs_that_end_while_they_are_taken_have_one_end)
{
    enum { AT_ONCE = 8, ROUNDS = 12 };
    pool_config config = limited();
    config.workers = config.heavies = config.max_heavies = 2;
    start(config);
    unsigned replies[2] = {0};
    for (unsigned round = 0; round < ROUNDS; round++) {
        int fds[AT_ONCE];
        atomic_store(&fake.nap_ns, (LIMIT_MS + WATCHDOG_GRACE_MS) * MS + round % 6 * MS);
        for (unsigned i = 0; i < AT_ONCE; i++)
            ask(fds[i] = client(), i % 2 ? "/nap" : "/heavy-nap");
        for (unsigned i = 0; i < AT_ONCE; i++) {
            char text[REPLY_BYTES];
            int status = answer(fds[i], text);
            ck_assert_msg(status == 200 || status == 503 || status == 504, "%d", status);
            replies[status == 200]++;
            close(fds[i]);
        }
    }
    wait_until(are_lost, 0);
    ck_assert_uint_eq(replies[0] + replies[1], AT_ONCE * ROUNDS);
    ck_assert(are_abandoned(atomic_load(&p->lost.retired)));
    end(POOL_DRAINING);
}
END_TEST

/* The end of a thread in the midst of it may need a library, which could not be opened then. */
START_TEST(thread_comes_back_when_no_descriptor_is_left)
{
    struct rlimit before, none = {0};
    start(limited());
    int fd = client();
    ask(fd, gates[_i]);
    expect(fd, 504, "Gateway Timeout");
    close(fd);
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
    none.rlim_max = before.rlim_max;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
    open_gate();
    wait_until(are_retired, 1);
    usleep(100000);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
    end_with_retired(1);
}
END_TEST

/* Its end looks for news of lost threads, and is to take in no request over that. */
START_TEST(pool_that_never_started_ends_though_a_client_asks)
{
    pool_config config = limited();
    char error[256] = "";
    socklen_t size = sizeof(address);
    ck_assert_int_eq(listen_bind_tcp(&listening, 1, "127.0.0.1", 0, error, sizeof(error)), 0);
    ck_assert_int_eq(listen_start(&listening, error, sizeof(error)), 0);
    ck_assert_int_eq(getsockname(listening.fds[0], (struct sockaddr *)&address, &size), 0);
    config.listen_fds = listening.fds;
    ck_assert_int_eq(pool_new(&config, &fake_runner, &p), 0);
    int fd = client();
    ask(fd, "/");
    pool_free(p);
    p = NULL;
    listen_close(&listening);
    close(fd);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("lost");
    TCase *t = tcase_create("lost");
    tcase_add_checked_fixture(t, setup, NULL);
    tcase_set_timeout(t, 60);
    tcase_add_loop_test(t, client_of_a_lost_thread_gets_504_and_the_place_is_taken, 0, 2);
    tcase_add_loop_test(t, tasks_queued_behind_a_lost_thread_are_run_by_the_spare, 0, 2);
    tcase_add_loop_test(t, tasks_parked_in_a_lost_vm_get_503, 0, 2);
    tcase_add_loop_test(t, thread_lost_in_a_resumed_handler_is_relieved, 0, 2);
    tcase_add_loop_test(t, thread_lost_while_a_handler_is_given_up_is_relieved, 0, 2);
    tcase_add_test(t, thread_lost_in_a_collection_of_garbage_is_relieved);
    tcase_add_loop_test(t, client_that_leaves_while_its_thread_is_lost_does_no_harm, 0, 2);
    tcase_add_test(t, lost_request_without_a_socket_is_told_of_when_the_thread_comes_back);
    tcase_add_test(t, place_is_taken_once_there_is_a_vm);
    tcase_add_loop_test(t, drain_ends_although_a_thread_is_lost, 0, 2);
    tcase_add_test(t, each_place_can_be_lost_again_and_again);
    tcase_add_test(t, no_more_threads_are_lost_than_lost_max);
    tcase_add_test(t, runs_that_end_while_they_are_taken_have_one_end);
    tcase_add_loop_test(t, thread_comes_back_when_no_descriptor_is_left, 0, 2);
    tcase_add_test(t, pool_that_never_started_ends_though_a_client_asks);
    suite_add_tcase(s, t);
    return s;
}

int main(void)
{
    SRunner *r = srunner_create(suite());
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
