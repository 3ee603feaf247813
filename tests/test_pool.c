/* The threads and rings. */
#include "runtime/pool.h"

#include "tests/pool_fixture.h"

/* --- lanes --- */

START_TEST(light_task_is_answered)
{
    start(usual);
    int fd = client();
    for (int i = 0; i < 3; i++) {
        ask(fd, "/");
        expect(fd, 200, "done");
    }
    close(fd);
    end(POOL_DRAINING);
    ck_assert_uint_eq(atomic_load(&fake.started), 3);
    ck_assert_uint_eq(atomic_load(&fake.sent), 3);
}
END_TEST

START_TEST(every_reply_takes_its_time_the_servers_own_too)
{
    start(usual);
    int fd = client();
    ask(fd, "/");
    expect(fd, 200, "done");
    ask(fd, "/heavy");
    expect(fd, 200, "done");
    ask(fd, "/nowhere");
    expect(fd, 404, "Not Found");
    /* A fault that every libmicrohttpd leaves to the server. */
    static const char odd_name[] = "GET / HTTP/1.1\r\nHost: test\r\nX[1]: 1\r\n\r\n";
    ck_assert_int_eq(send(fd, odd_name, strlen(odd_name), MSG_NOSIGNAL), (int)strlen(odd_name));
    expect(fd, 400, "a header's name");
    close(fd);
    end(POOL_DRAINING);
    ck_assert_uint_eq(atomic_load(&fake.sent), 4);
    ck_assert_uint_eq(atomic_load(&fake.timeless), 0);
}
END_TEST

START_TEST(heavy_task_is_answered)
{
    start(usual);
    int fd = client();
    for (int i = 0; i < 3; i++) {
        ask(fd, "/heavy");
        expect(fd, 200, "done");
    }
    close(fd);
    end(POOL_DRAINING);
    ck_assert_uint_eq(atomic_load(&fake.sent), 3);
}
END_TEST

START_TEST(busy_heavy_worker_does_not_hold_up_a_light_task)
{
    start(usual);
    int slow = client(), fast = client();
    ask(slow, "/heavy/gate");
    wait_for_gate(1);
    ask(fast, "/");
    expect(fast, 200, "done");
    open_gate();
    expect(slow, 200, "done");
    close(slow);
    close(fast);
    end(POOL_DRAINING);
}
END_TEST

START_TEST(heavy_tasks_are_spread_over_idle_heavy_workers)
{
    pool_config config = usual;
    config.heavies = 4;
    start(config);
    int fds[4];
    for (int i = 0; i < 4; i++)
        ask(fds[i] = client(), "/heavy/gate");
    wait_for_gate(4);
    open_gate();
    for (int i = 0; i < 4; i++) {
        expect(fds[i], 200, "done");
        close(fds[i]);
    }
    end(POOL_DRAINING);
}
END_TEST

static const char *const parking[] = {"/park", "/heavy/park"};

START_TEST(parked_task_is_resumed_on_the_thread_where_it_parked)
{
    pool_config config = usual;
    config.workers = config.heavies = 2;
    start(config);
    int fds[20];
    for (int i = 0; i < 20; i++)
        ask(fds[i] = client(), parking[_i]);
    for (int i = 0; i < 20; i++) {
        expect(fds[i], 200, "resumed");
        close(fds[i]);
    }
    end(POOL_DRAINING);
    ck_assert_uint_eq(atomic_load(&fake.resumed), 20);
    ck_assert_uint_eq(atomic_load(&fake.cancelled), 0);
}
END_TEST

START_TEST(parked_task_does_not_hold_its_thread)
{
    start(usual);
    int parked = client(), other = client();
    ask(parked, _i ? "/heavy/ever" : "/ever");
    ask(other, _i ? "/heavy" : "/");
    expect(other, 200, "done");
    close(parked);
    close(other);
    end(POOL_FORCED);
}
END_TEST

/* --- sharing a batch --- */

enum { BATCH = 16 };

/* Light for its short runs, and so for good: what the machine does meanwhile is not to change it. */
static void make_light(lane *l)
{
    while (!lane_ran(l, &(lane_run){.held_ns = 1, .service_ns = 1}, 1))
        ;
    l->pinned = true;
}

/* A batch of light tasks, each of which takes a while, that the worker finds all at once, while `busy` of the
 * heavy workers are. Returns: how many of them ran on heavy workers. */
static unsigned run_batch(pool_config config, lane_policy policy, unsigned busy)
{
    int fds[BATCH], spinning[2], holder;
    lane_init(&fake.light, policy, false, 0);
    if (policy == LANE_AUTO)
        make_light(&fake.light);
    start(config);
    atomic_store(&fake.spin_on, true);
    ask_all(spinning, busy, "/heavy/spin");
    wait_for_count(&fake.spinning, busy);
    for (int i = 0; i < BATCH; i++) {
        ask(fds[i] = client(), "/");
        expect(fds[i], 200, "done");
    }
    ask(holder = client(), "/gate"); /* it holds the worker while they come */
    wait_for_gate(1);
    for (int i = 0; i < BATCH; i++)
        ask(fds[i], "/work");
    open_gate();
    expect_all(&holder, 1, 200, "done");
    expect_all(fds, BATCH, 200, "done");
    atomic_store(&fake.spin_on, false);
    expect_all(spinning, busy, 200, "done");
    end(POOL_DRAINING);
    ck_assert_uint_eq(atomic_load(&fake.started), busy + BATCH + 1 + BATCH);
    return atomic_load(&fake.light_on_heavy);
}

START_TEST(long_batch_is_shared_with_a_heavy_worker_that_rests)
{
    pool_config config = usual;
    config.cores = 8;
    unsigned shared = run_batch(config, LANE_AUTO, 0);
    ck_assert_uint_ge(shared, 1);
    ck_assert_uint_lt(shared, BATCH);
}
END_TEST

START_TEST(batch_is_not_shared_when_there_is_no_core_for_it)
{
    pool_config config = usual;
    config.cores = 1;
    ck_assert_uint_eq(run_batch(config, LANE_AUTO, 0), 0);
}
END_TEST

START_TEST(batch_is_not_shared_when_other_heavy_workers_have_the_cores)
{
    pool_config config = usual;
    config.heavies = 3;
    config.cores = 3;
    ck_assert_uint_eq(run_batch(config, LANE_AUTO, 2), 0);
}
END_TEST

START_TEST(batch_is_not_shared_when_all_handlers_are_to_run_in_one_place)
{
    pool_config config = usual;
    config.cores = 8;
    ck_assert_uint_eq(run_batch(config, LANE_ALL_LIGHT, 0), 0);
}
END_TEST

/* --- limits --- */

START_TEST(task_parked_beyond_the_handler_timeout_is_cancelled_with_503)
{
    pool_config config = usual;
    config.handler_timeout_ns = SECOND / 20;
    start(config);
    int fd = client();
    ask(fd, _i ? "/heavy/ever" : "/ever");
    expect(fd, 503, "took too long");
    ask(fd, "/");
    expect(fd, 200, "done");
    close(fd);
    end(POOL_DRAINING);
    ck_assert_uint_eq(atomic_load(&fake.cancelled), 1);
}
END_TEST

START_TEST(tasks_beyond_max_queue_get_503_with_retry_after)
{
    pool_config config = usual;
    config.max_queue = 2;
    start(config);
    int running = client(), fds[2], refused = client();
    ask(running, "/heavy/gate");
    wait_for_gate(1);
    for (int i = 0; i < 2; i++) {
        /* The light reply on the same connection says that the worker has gone round since. */
        fds[i] = client();
        ask(fds[i], "/");
        expect(fds[i], 200, "done");
        ask(fds[i], "/heavy");
    }
    for (int i = 0; i < 5; i++) {
        ask(refused, "/");
        expect(refused, 200, "done");
    }
    ask(refused, "/heavy");
    expect(refused, 503, "Retry-After: ");
    open_gate();
    expect(running, 200, "done");
    for (int i = 0; i < 2; i++) {
        expect(fds[i], 200, "done");
        close(fds[i]);
    }
    ask(refused, "/heavy");
    expect(refused, 200, "done");
    close(running);
    close(refused);
    end(POOL_DRAINING);
}
END_TEST

/* --- more heavy workers --- */

static const pool_config growing = {
    .workers = 2,
    .heavies = 1,
    .max_heavies = 4,
    .heavy_idle_ns = 3600 * SECOND,
    .max_connections = 100,
    .max_queue = 100,
    .forced_read_ns = 3600 * SECOND,
    .http = {.header_room = 16384, .max_body = 1 << 20, .limits = {.idle_ns = 60 * SECOND}},
};

START_TEST(blocked_heavy_workers_are_joined_by_others)
{
    int fds[4];
    start(growing);
    ask_all(fds, 4, "/heavy/gate");
    wait_for_gate(4);
    ck_assert_uint_eq(pool_heavies_of(p).running, 4);
    ck_assert_uint_eq(pool_heavies_of(p).busy, 4);
    open_gate();
    expect_all(fds, 4, 200, "done");
    end(POOL_DRAINING);
    ck_assert_uint_eq(atomic_load(&fake.dismissed), 0);
}
END_TEST

START_TEST(there_are_never_more_heavy_workers_than_max_heavies)
{
    int fds[20];
    start(growing);
    ask_all(fds, 20, "/heavy/gate");
    wait_for_gate(4);
    open_gate();
    expect_all(fds, 20, 200, "done");
    end(POOL_DRAINING);
    ck_assert_uint_eq(atomic_load(&fake.entered), 2 + 4);
}
END_TEST

START_TEST(without_max_heavies_there_are_as_many_as_heavies)
{
    int fds[3];
    pool_config config = growing;
    config.max_heavies = 0;
    start(config);
    ask_all(fds, 3, "/heavy/gate");
    wait_for_gate(1);
    ck_assert_uint_eq(pool_heavies_of(p).max, 1);
    open_gate();
    expect_all(fds, 3, 200, "done");
    end(POOL_DRAINING);
    ck_assert_uint_eq(atomic_load(&fake.entered), 2 + 1);
}
END_TEST

START_TEST(idle_heavy_workers_beyond_the_usual_number_end_and_come_again)
{
    pool_config config = growing;
    config.heavy_idle_ns = 1;
    start(config);
    for (int round = 0; round < 10; round++) {
        int fds[4];
        set_gate(false);
        ask_all(fds, 4, "/heavy/gate");
        wait_for_gate(4);
        open_gate();
        expect_all(fds, 4, 200, "done");
        wait_for_heavies(1);
    }
    int fd = client();
    ask(fd, "/heavy");
    expect(fd, 200, "done");
    close(fd);
    end(POOL_DRAINING);
    ck_assert_uint_ge(atomic_load(&fake.dismissed), 10 * 3);
    ck_assert_uint_eq(atomic_load(&fake.left) - atomic_load(&fake.dismissed), 2 + 1);
}
END_TEST

/* Tasks come while heavy workers end of themselves: none may be left lying. */
START_TEST(no_task_is_lost_to_a_heavy_worker_that_ends)
{
    pool_config config = growing;
    config.heavy_idle_ns = 1;
    start(config);
    open_gate();
    int blocked = client(), fd = client();
    for (int round = 0; round < 20; round++) {
        set_gate(false);
        ask(blocked, "/heavy/gate");
        wait_for_gate(1);
        /* The usual one is blocked: each of these needs another. */
        for (int i = 0; i < 10; i++) {
            ask(fd, "/heavy");
            expect(fd, 200, "done");
        }
        open_gate();
        expect(blocked, 200, "done");
    }
    close(blocked);
    close(fd);
    end(POOL_DRAINING);
}
END_TEST

START_TEST(task_that_parked_on_a_heavy_worker_beyond_the_usual_number_is_resumed_there)
{
    pool_config config = growing;
    config.heavy_idle_ns = 1;
    start(config);
    int blocked = client(), fds[10];
    ask(blocked, "/heavy/gate");
    wait_for_gate(1);
    ask_all(fds, 10, "/heavy/park");
    expect_all(fds, 10, 200, "resumed");
    open_gate();
    expect(blocked, 200, "done");
    close(blocked);
    wait_for_heavies(1);
    end(POOL_DRAINING);
    ck_assert_uint_eq(atomic_load(&fake.resumed), 10);
}
END_TEST

START_TEST(heavy_workers_that_compute_for_long_are_joined_by_others)
{
    pool_config config = growing;
    config.max_heavies = 2;
    start(config);
    atomic_store(&fake.spin_on, true);
    int spinning = client(), other = client();
    ask(spinning, "/heavy/spin");
    wait_for_count(&fake.spinning, 1);
    ask(other, "/heavy");
    expect(other, 200, "done");
    atomic_store(&fake.spin_on, false);
    expect(spinning, 200, "done");
    close(spinning);
    close(other);
    end(POOL_DRAINING);
}
END_TEST

START_TEST(heavy_worker_more_that_gets_no_vm_is_told_of_and_tried_again)
{
    start(growing);
    int blocked = client(), other = client();
    ask(blocked, "/heavy/gate");
    wait_for_gate(1);
    atomic_store(&fake.no_vm, true);
    ask(other, "/heavy");
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += PATIENCE_S;
    pthread_mutex_lock(&p->lock);
    while (atomic_load(&fake.troubles) == 0 || pool_heavies_of(p).running != 1)
        ck_assert_int_eq(pthread_cond_timedwait(&p->changed, &p->lock, &until), 0);
    pthread_mutex_unlock(&p->lock);
    atomic_store(&fake.no_vm, false);
    expect(other, 200, "done");
    open_gate();
    expect(blocked, 200, "done");
    close(blocked);
    close(other);
    end(POOL_DRAINING);
}
END_TEST

START_TEST(drain_starts_heavy_workers_that_it_needs)
{
    int fds[3];
    start(growing);
    ask_all(fds, 3, "/heavy/gate");
    wait_for_gate(1);
    pool_set_stage(p, POOL_DRAINING);
    wait_for_gate(3);
    open_gate();
    expect_all(fds, 3, 200, "Connection: close");
    end(POOL_DRAINING);
}
END_TEST

START_TEST(forced_stop_answers_what_waits_for_blocked_heavy_workers)
{
    int fds[4];
    start(growing);
    ask_all(fds, 4, "/heavy/gate");
    wait_for_gate(4);
    int waits = client();
    ask(waits, "/");
    expect(waits, 200, "done");
    ask(waits, "/heavy");
    wait_for_waiting(1); /* what has been sent need not have come */
    pool_set_stage(p, POOL_FORCED);
    open_gate();
    expect_all(fds, 4, 200, "done");
    expect(waits, 503, "stopping");
    close(waits);
    end(POOL_FORCED);
}
END_TEST

/* --- how long tasks may wait --- */

START_TEST(task_is_refused_when_the_expected_wait_is_too_long)
{
    pool_config config = usual;
    config.max_wait_ns = 15 * SECOND;
    start(config);
    lane_served(&fake.heavy, 10 * SECOND);
    int running = client(), waits = client(), refused = client();
    ask(running, "/heavy/gate"); /* it rests: no wait is expected, whatever the task takes */
    wait_for_gate(1);
    ask(waits, "/"); /* the reply says that the worker has gone round */
    expect(waits, 200, "done");
    ask(waits, "/heavy"); /* behind 10 seconds */
    ask(refused, "/");
    expect(refused, 200, "done");
    ask(refused, "/heavy"); /* behind 20 seconds, 5 too many */
    expect(refused, 503, "Retry-After: 6\r\n");
    ck_assert_uint_eq(atomic_load(&p->waiting), 1);
    open_gate();
    expect(running, 200, "done");
    expect(waits, 200, "done");
    ask(refused, "/heavy");
    expect(refused, 200, "done");
    close(running);
    close(waits);
    close(refused);
    end(POOL_DRAINING);
    ck_assert_uint_eq(atomic_load(&fake.started), 2 + 3);
}
END_TEST

START_TEST(nothing_is_expected_of_what_has_been_answered_or_left)
{
    pool_config config = usual;
    config.max_wait_ns = SECOND;
    start(config);
    lane_served(&fake.heavy, SECOND / 2);
    for (int i = 0; i < 50; i++) {
        struct linger reset = {.l_onoff = 1, .l_linger = 0};
        int fd = client();
        ask(fd, i % 2 ? "/heavy" : "/heavy/park");
        if (i % 3)
            expect(fd, 200, i % 2 ? "done" : "resumed");
        else
            setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
        close(fd);
    }
    pool_set_stage(p, POOL_DRAINING);
    ck_assert(pool_wait(p, PATIENCE_S * SECOND));
    ck_assert_uint_eq(atomic_load(&p->due_ns), 0);
    ck_assert_uint_eq(atomic_load(&p->waiting), 0);
    end(POOL_DRAINING);
}
END_TEST

START_TEST(tasks_that_block_are_expected_to_share_all_threads_there_may_be)
{
    lane blocking;
    HttpTask t = {.lane = &blocking};
    unsigned retry_s;
    start(growing);
    lane_init(&blocking, LANE_AUTO, false, 0);
    lane_served(&blocking, 8 * SECOND);
    ck_assert_int_eq(pool_admit(p, &t, &retry_s), 0);
    ck_assert_uint_eq(t.cost_ns, 8 * SECOND);
    pool_taken(p);
    pool_ran(p, t.cost_ns);
    lane_ran(&blocking, &(lane_run){8 * SECOND, 8 * SECOND, 8 * SECOND}, 1);
    ck_assert_int_eq(pool_admit(p, &t, &retry_s), 0);
    ck_assert_uint_eq(t.cost_ns, 2 * SECOND);
    pool_taken(p);
    pool_ran(p, t.cost_ns);
    ck_assert_uint_eq(atomic_load(&p->due_ns), 0);
    end(POOL_DRAINING);
}
END_TEST

START_TEST(task_of_a_route_that_never_ran_is_expected_to_take_what_others_take)
{
    lane fresh;
    HttpTask t = {.lane = &fresh};
    unsigned retry_s;
    start(usual);
    lane_init(&fresh, LANE_AUTO, false, 0);
    atomic_store(&p->mean_ns, 3 * SECOND);
    ck_assert_int_eq(pool_admit(p, &t, &retry_s), 0);
    ck_assert_uint_eq(t.cost_ns, 3 * SECOND);
    pool_taken(p);
    pool_ran(p, t.cost_ns);
    end(POOL_DRAINING);
}
END_TEST

/* --- the end --- */

START_TEST(drain_waits_for_running_and_parked_tasks)
{
    start(usual);
    int running = client(), parked = client(), heavy_parked = client();
    ask(running, "/heavy/gate");
    wait_for_gate(1);
    ask(parked, "/park");
    ask(heavy_parked, "/heavy/park");
    pool_set_stage(p, POOL_DRAINING);
    open_gate();
    expect(running, 200, "Connection: close");
    expect(parked, 200, "resumed");
    expect(heavy_parked, 200, "resumed");
    close(running);
    close(parked);
    close(heavy_parked);
    end(POOL_DRAINING);
}
END_TEST

START_TEST(forced_stop_evicts_parked_tasks_with_503)
{
    start(usual);
    int fds[10];
    for (int i = 0; i < 10; i++) {
        fds[i] = client();
        ask(fds[i], _i ? "/heavy" : "/");
        expect(fds[i], 200, "done");
        ask(fds[i], _i ? "/heavy/ever" : "/ever");
    }
    pool_set_stage(p, POOL_DRAINING);
    ck_assert(!pool_wait(p, SECOND / 10));
    pool_set_stage(p, POOL_FORCED);
    for (int i = 0; i < 10; i++) {
        expect(fds[i], 503, "stopping");
        close(fds[i]);
    }
    end(POOL_FORCED);
    ck_assert_uint_eq(atomic_load(&fake.resumed), 0);
    ck_assert_uint_eq(atomic_load(&fake.started), 10 + atomic_load(&fake.cancelled));
}
END_TEST

START_TEST(pool_without_clients_ends_at_once)
{
    pool_config config = usual;
    config.workers = config.heavies = 3;
    start(config);
    end(_i ? POOL_FORCED : POOL_DRAINING);
    ck_assert_uint_eq(atomic_load(&fake.entered), 6);
}
END_TEST

START_TEST(pool_whose_threads_get_no_vm_does_not_start)
{
    atomic_store(&fake.no_vm, true);
    ck_assert_int_lt(try_start(usual), 0);
    pool_free(p);
    listen_close(&listening);
}
END_TEST

START_TEST(free_of_null_is_fine)
{
    pool_free(NULL);
}
END_TEST

/* --- clients that leave --- */

START_TEST(tasks_of_clients_that_left_are_freed_once)
{
    static const char *const paths[] = {"/", "/heavy", "/park", "/heavy/park"};
    start(usual);
    for (unsigned i = 0; i < 200; i++) {
        struct linger reset = {.l_onoff = 1, .l_linger = 0};
        int fd = client();
        for (unsigned k = 0; k < 1 + i % 3; k++)
            ask(fd, paths[i % 4]);
        if (i % 2)
            setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
        close(fd);
    }
    int fd = client();
    ask(fd, "/heavy");
    expect(fd, 200, "done");
    close(fd);
    end(POOL_DRAINING);
    ck_assert_uint_le(atomic_load(&fake.resumed) + atomic_load(&fake.cancelled), atomic_load(&fake.started));
}
END_TEST

/* --- without a socket --- */

START_TEST(injected_task_is_run_and_told_of_its_end)
{
    start(usual);
    injected *quick = new_injected("/"), *parked = new_injected("/park");
    ck_assert_int_eq(pool_inject(p, &quick->task), 0);
    ck_assert_int_eq(pool_inject(p, &parked->task), 0);
    ck_assert_int_eq(wait_injected(quick), 200);
    ck_assert_int_eq(wait_injected(parked), 200);
    free_injected(quick);
    free_injected(parked);
    end(POOL_DRAINING);
}
END_TEST

START_TEST(inject_beyond_max_queue_returns_eagain)
{
    pool_config config = usual;
    config.max_queue = 1;
    start(config);
    injected *running = new_injected("/gate"), *waits = new_injected("/"), *refused = new_injected("/");
    ck_assert_int_eq(pool_inject(p, &running->task), 0);
    wait_for_gate(1);
    ck_assert_int_eq(pool_inject(p, &waits->task), 0);
    ck_assert_int_eq(pool_inject(p, &refused->task), -EAGAIN);
    open_gate();
    ck_assert_int_eq(wait_injected(running), 200);
    ck_assert_int_eq(wait_injected(waits), 200);
    free_injected(running);
    free_injected(waits);
    free_injected(refused);
    end(POOL_DRAINING);
}
END_TEST

START_TEST(forced_stop_answers_injected_tasks_with_503)
{
    start(usual);
    injected *parked = new_injected("/ever");
    ck_assert_int_eq(pool_inject(p, &parked->task), 0);
    end(POOL_FORCED);
    ck_assert_int_eq(wait_injected(parked), 503);
    free_injected(parked);
}
END_TEST

START_TEST(task_that_waited_too_long_is_answered_without_running_it)
{
    pool_config config = usual;
    config.max_wait_ns = PATIENCE_S * SECOND;
    start(config);
    injected *late = new_injected("/"), *in_time = new_injected("/");
    late->task.ready_ns = clock_now_ns() - 2 * PATIENCE_S * SECOND;
    in_time->task.ready_ns = clock_now_ns();
    ck_assert_int_eq(pool_inject(p, &late->task), 0);
    ck_assert_int_eq(wait_injected(late), 503);
    ck_assert_int_eq(pool_inject(p, &in_time->task), 0);
    ck_assert_int_eq(wait_injected(in_time), 200);
    free_injected(late);
    free_injected(in_time);
    end(POOL_DRAINING);
    ck_assert_uint_eq(atomic_load(&fake.started), 1);
}
END_TEST

START_TEST(task_past_the_handler_timeout_is_answered_without_running_it)
{
    pool_config config = usual;
    config.handler_timeout_ns = PATIENCE_S * SECOND;
    start(config);
    injected *late = new_injected("/");
    late->task.ready_ns = clock_now_ns() - 2 * PATIENCE_S * SECOND;
    ck_assert_int_eq(pool_inject(p, &late->task), 0);
    ck_assert_int_eq(wait_injected(late), 503);
    free_injected(late);
    end(POOL_DRAINING);
    ck_assert_uint_eq(atomic_load(&fake.started), 0);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("pool");
    TCase *t = tcase_create("pool");
    tcase_add_checked_fixture(t, setup, NULL);
    tcase_set_timeout(t, 60);
    tcase_add_test(t, light_task_is_answered);
    tcase_add_test(t, every_reply_takes_its_time_the_servers_own_too);
    tcase_add_test(t, heavy_task_is_answered);
    tcase_add_test(t, busy_heavy_worker_does_not_hold_up_a_light_task);
    tcase_add_test(t, heavy_tasks_are_spread_over_idle_heavy_workers);
    tcase_add_loop_test(t, parked_task_is_resumed_on_the_thread_where_it_parked, 0, 2);
    tcase_add_loop_test(t, parked_task_does_not_hold_its_thread, 0, 2);
    tcase_add_test(t, long_batch_is_shared_with_a_heavy_worker_that_rests);
    tcase_add_test(t, batch_is_not_shared_when_there_is_no_core_for_it);
    tcase_add_test(t, batch_is_not_shared_when_other_heavy_workers_have_the_cores);
    tcase_add_test(t, batch_is_not_shared_when_all_handlers_are_to_run_in_one_place);
    tcase_add_loop_test(t, task_parked_beyond_the_handler_timeout_is_cancelled_with_503, 0, 2);
    tcase_add_test(t, tasks_beyond_max_queue_get_503_with_retry_after);
    tcase_add_test(t, blocked_heavy_workers_are_joined_by_others);
    tcase_add_test(t, there_are_never_more_heavy_workers_than_max_heavies);
    tcase_add_test(t, without_max_heavies_there_are_as_many_as_heavies);
    tcase_add_test(t, idle_heavy_workers_beyond_the_usual_number_end_and_come_again);
    tcase_add_test(t, no_task_is_lost_to_a_heavy_worker_that_ends);
    tcase_add_test(t, task_that_parked_on_a_heavy_worker_beyond_the_usual_number_is_resumed_there);
    tcase_add_test(t, heavy_workers_that_compute_for_long_are_joined_by_others);
    tcase_add_test(t, heavy_worker_more_that_gets_no_vm_is_told_of_and_tried_again);
    tcase_add_test(t, drain_starts_heavy_workers_that_it_needs);
    tcase_add_test(t, forced_stop_answers_what_waits_for_blocked_heavy_workers);
    tcase_add_test(t, task_is_refused_when_the_expected_wait_is_too_long);
    tcase_add_test(t, nothing_is_expected_of_what_has_been_answered_or_left);
    tcase_add_test(t, tasks_that_block_are_expected_to_share_all_threads_there_may_be);
    tcase_add_test(t, task_of_a_route_that_never_ran_is_expected_to_take_what_others_take);
    tcase_add_test(t, task_that_waited_too_long_is_answered_without_running_it);
    tcase_add_test(t, task_past_the_handler_timeout_is_answered_without_running_it);
    tcase_add_test(t, drain_waits_for_running_and_parked_tasks);
    tcase_add_loop_test(t, forced_stop_evicts_parked_tasks_with_503, 0, 2);
    tcase_add_loop_test(t, pool_without_clients_ends_at_once, 0, 2);
    tcase_add_test(t, pool_whose_threads_get_no_vm_does_not_start);
    tcase_add_test(t, free_of_null_is_fine);
    tcase_add_test(t, tasks_of_clients_that_left_are_freed_once);
    tcase_add_test(t, injected_task_is_run_and_told_of_its_end);
    tcase_add_test(t, inject_beyond_max_queue_returns_eagain);
    tcase_add_test(t, forced_stop_answers_injected_tasks_with_503);
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
