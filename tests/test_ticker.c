#include "runtime/ticker.h"

#include <check.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "runtime/clock.h"

enum { PATIENCE_S = 20, STORM_TICKS = 8, STORM_ROUNDS = 2000, STORM_THREADS = 3 };

#define SECOND UINT64_C(1000000000)
#define NEVER  (clock_now_ns() + 3600 * SECOND)

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static ticker *k;

/* A tick that counts its calls, and may wait in one. */
typedef struct counter {
    tick tick;             /* first */
    unsigned calls, again; /* [lock] */
    bool hold, inside;     /* [lock] */
    char name;
} counter;

static char order[16]; /* [lock] names in the order of their calls */

static void on_tick(void *user)
{
    counter *c = user;
    pthread_mutex_lock(&lock);
    c->calls++;
    c->inside = true;
    if (c->name)
        order[strlen(order)] = c->name;
    pthread_cond_broadcast(&changed);
    while (c->hold)
        pthread_cond_wait(&changed, &lock);
    bool again = c->again > 0;
    c->again -= again;
    c->inside = false;
    pthread_mutex_unlock(&lock);
    if (again)
        ck_assert_int_eq(ticker_set(k, &c->tick, clock_now_ns()), 0);
}

static counter new_counter(void)
{
    return (counter){.tick = {.call = on_tick}};
}

static void wait_for_calls(const counter *c, unsigned n)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += PATIENCE_S;
    pthread_mutex_lock(&lock);
    while (c->calls < n)
        ck_assert_int_eq(pthread_cond_timedwait(&changed, &lock, &until), 0);
    pthread_mutex_unlock(&lock);
}

static void set(counter *c, uint64_t due_ns)
{
    c->tick.user = c;
    ck_assert_int_eq(ticker_set(k, &c->tick, due_ns), 0);
}

static void set_up(void)
{
    memset(order, 0, sizeof order);
    ck_assert_int_eq(ticker_new(&k), 0);
}

static void tear_down(void)
{
    ticker_free(k);
}

START_TEST(tick_that_is_due_is_called_once)
{
    counter c = new_counter(), later = new_counter();
    set(&c, clock_now_ns());
    wait_for_calls(&c, 1);
    set(&later, clock_now_ns());
    wait_for_calls(&later, 1);
    ck_assert_uint_eq(c.calls, 1);
}
END_TEST

START_TEST(ticks_are_called_in_the_order_of_their_times)
{
    counter a = new_counter(), b = new_counter(), c = new_counter();
    uint64_t now = clock_now_ns();
    a.name = 'a', b.name = 'b', c.name = 'c';
    set(&c, now + SECOND / 20);
    set(&a, now + SECOND / 100);
    set(&b, now + SECOND / 40);
    wait_for_calls(&c, 1);
    ck_assert_str_eq(order, "abc");
}
END_TEST

START_TEST(no_tick_is_called_before_its_time)
{
    counter c = new_counter();
    uint64_t due_ns = clock_now_ns() + SECOND / 50;
    set(&c, due_ns);
    wait_for_calls(&c, 1);
    ck_assert_uint_ge(clock_now_ns(), due_ns);
}
END_TEST

START_TEST(set_again_moves_a_tick)
{
    counter c = new_counter();
    set(&c, NEVER);
    set(&c, clock_now_ns());
    wait_for_calls(&c, 1);
}
END_TEST

START_TEST(tick_may_set_itself_again)
{
    counter c = new_counter();
    c.again = 4;
    set(&c, clock_now_ns());
    wait_for_calls(&c, 5);
}
END_TEST

START_TEST(tick_that_is_cleared_is_not_called)
{
    counter c = new_counter(), other = new_counter();
    set(&c, clock_now_ns() + SECOND / 50);
    ticker_clear(k, &c.tick);
    set(&other, clock_now_ns() + SECOND / 25);
    wait_for_calls(&other, 1);
    ck_assert_uint_eq(c.calls, 0);
    ticker_clear(k, &c.tick); /* one that is not set */
}
END_TEST

static void *release(void *user)
{
    counter *c = user;
    pthread_mutex_lock(&lock);
    c->hold = false;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
    return NULL;
}

/* Also one that sets itself again in that call. */
START_TEST(clear_waits_for_a_call_that_is_under_way)
{
    counter c = new_counter(), other = new_counter();
    pthread_t thread;
    c.hold = true;
    c.again = UINT_MAX;
    set(&c, clock_now_ns());
    wait_for_calls(&c, 1);
    ck_assert_int_eq(pthread_create(&thread, NULL, release, &c), 0);
    ticker_clear(k, &c.tick);
    unsigned calls = c.calls; /* nobody else touches it any more */
    ck_assert(!c.inside);
    pthread_join(thread, NULL);
    set(&other, clock_now_ns());
    wait_for_calls(&other, 1);
    ck_assert_uint_eq(c.calls, calls);
}
END_TEST

static void clear_oneself(void *user)
{
    counter *c = user;
    ck_assert_int_eq(ticker_set(k, &c->tick, clock_now_ns()), 0);
    ticker_clear(k, &c->tick);
    on_tick(c);
}

START_TEST(tick_may_clear_itself)
{
    counter c = {.tick = {.call = clear_oneself}}, other = new_counter();
    set(&c, clock_now_ns());
    wait_for_calls(&c, 1);
    set(&other, clock_now_ns());
    wait_for_calls(&other, 1);
    ck_assert_uint_eq(c.calls, 1);
}
END_TEST

START_TEST(free_forgets_what_is_set)
{
    counter c = new_counter();
    ticker *other;
    ck_assert_int_eq(ticker_new(&other), 0);
    c.tick.user = &c;
    ck_assert_int_eq(ticker_set(other, &c.tick, NEVER), 0);
    ticker_free(other);
    ck_assert_uint_eq(c.calls, 0);
    ticker_free(NULL);
}
END_TEST

/* --- many threads --- */

static counter storm[STORM_TICKS];

/* Each has ticks of its own, which it sets, moves and clears; at the end none may be called any more. */
static void *set_and_clear(void *arg)
{
    unsigned seed = (unsigned)(uintptr_t)arg;
    for (unsigned i = 0; i < STORM_ROUNDS; i++) {
        counter *c = &storm[rand_r(&seed) % STORM_TICKS];
        if (rand_r(&seed) % 3)
            ck_assert_int_eq(ticker_set(k, &c->tick, clock_now_ns() + (unsigned)rand_r(&seed) % 50000), 0);
        else
            ticker_clear(k, &c->tick);
    }
    return NULL;
}

START_TEST(ticks_are_set_and_cleared_by_many_threads)
{
    pthread_t threads[STORM_THREADS];
    for (unsigned i = 0; i < STORM_TICKS; i++) {
        storm[i] = new_counter();
        storm[i].tick.user = &storm[i];
    }
    for (uintptr_t i = 0; i < STORM_THREADS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, set_and_clear, (void *)(i + 1)), 0);
    for (unsigned i = 0; i < STORM_THREADS; i++)
        pthread_join(threads[i], NULL);
    for (unsigned i = 0; i < STORM_TICKS; i++) {
        ticker_clear(k, &storm[i].tick);
        memset(&storm[i], 0xff, sizeof storm[i]); /* its memory is the caller's again */
    }
}
END_TEST

static Suite *ticker_suite(void)
{
    Suite *s = suite_create("ticker");
    TCase *tc = tcase_create("ticks");
    tcase_add_checked_fixture(tc, set_up, tear_down);
    tcase_add_test(tc, tick_that_is_due_is_called_once);
    tcase_add_test(tc, ticks_are_called_in_the_order_of_their_times);
    tcase_add_test(tc, no_tick_is_called_before_its_time);
    tcase_add_test(tc, set_again_moves_a_tick);
    tcase_add_test(tc, tick_may_set_itself_again);
    tcase_add_test(tc, tick_that_is_cleared_is_not_called);
    tcase_add_test(tc, clear_waits_for_a_call_that_is_under_way);
    tcase_add_test(tc, tick_may_clear_itself);
    tcase_add_test(tc, free_forgets_what_is_set);
    tcase_add_test(tc, ticks_are_set_and_cleared_by_many_threads);
    suite_add_tcase(s, tc);
    return s;
}

int main(void)
{
    SRunner *sr = srunner_create(ticker_suite());
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
