#include "runtime/linger.h"

#include <check.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static uv_loop_t loop;
static lingering l;

static void set_up(void)
{
    ck_assert_int_eq(uv_loop_init(&loop), 0);
    l = (lingering){.loop = &loop};
}

static void tear_down(void)
{
    linger_close_all(&l);
    ck_assert_uint_eq(l.count + l.closing, 0);
    ck_assert_int_eq(uv_loop_close(&loop), 0);
}

/* One that lingers. Returns: the client's end. */
static int add(void)
{
    int ends[2];
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    shutdown(ends[0], SHUT_WR);
    linger_add(&l, ends[0]);
    return ends[1];
}

static bool is_open(int client)
{
    return send(client, "x", 1, MSG_NOSIGNAL | MSG_DONTWAIT) == 1;
}

static void expire(uv_handle_t *handle, void *user)
{
    (void)user;
    if (handle->type == UV_TIMER)
        uv_timer_start((uv_timer_t *)handle, ((uv_timer_t *)handle)->timer_cb, 0, 0);
}

START_TEST(what_still_comes_is_read_until_the_client_closes)
{
    static const char bytes[100000];
    int client = add();
    ck_assert_int_gt(send(client, bytes, sizeof(bytes), MSG_NOSIGNAL | MSG_DONTWAIT), 0);
    uv_run(&loop, UV_RUN_ONCE);
    ck_assert(is_open(client));
    close(client);
    uv_run(&loop, UV_RUN_DEFAULT);
    ck_assert_uint_eq(l.count, 0);
}
END_TEST

START_TEST(who_stays_is_closed_when_the_time_is_over)
{
    int client = add();
    uv_run(&loop, UV_RUN_NOWAIT);
    ck_assert(is_open(client));
    uv_walk(&loop, expire, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    ck_assert_uint_eq(l.count, 0);
    ck_assert(!is_open(client));
    close(client);
}
END_TEST

START_TEST(more_than_the_most_are_closed_at_once)
{
    int clients[LINGER_MAX];
    for (int i = 0; i < LINGER_MAX; i++)
        clients[i] = add();
    int more = add();
    ck_assert(!is_open(more));
    ck_assert(is_open(clients[0]));
    /* The first, the last and one between. */
    close(clients[LINGER_MAX / 2]);
    close(clients[LINGER_MAX - 1]);
    close(clients[0]);
    while (l.count > LINGER_MAX - 3)
        uv_run(&loop, UV_RUN_ONCE);
    int again = add();
    ck_assert(is_open(again));
    linger_close_all(&l);
    for (int i = 1; i < LINGER_MAX - 1; i++) {
        if (i == LINGER_MAX / 2)
            continue;
        ck_assert(!is_open(clients[i]));
        close(clients[i]);
    }
    close(again);
    close(more);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("linger");
    TCase *t = tcase_create("linger");
    tcase_add_checked_fixture(t, set_up, tear_down);
    tcase_add_test(t, what_still_comes_is_read_until_the_client_closes);
    tcase_add_test(t, who_stays_is_closed_when_the_time_is_over);
    tcase_add_test(t, more_than_the_most_are_closed_at_once);
    suite_add_tcase(s, t);
    SRunner *runner = srunner_create(s);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
