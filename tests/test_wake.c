#include "queue/wake.h"

#include <check.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdalign.h>
#include <stdlib.h>

#include "queue/ring.h"

/* Far beyond what any machine takes: a poll that lasts as long has missed its wake-up. */
enum { LOST_AFTER_MS = 60000, STRESS_TIMEOUT_S = 240 };

/* What two threads write stands on lines of its own: on one line the processor would keep it in order by
 * itself, fences or not. */
enum { CACHE_LINE = 64 };

static bool is_readable(const wake *w)
{
    struct pollfd p = {.fd = wake_fd(w), .events = POLLIN};
    return poll(&p, 1, 0) == 1;
}

static wake one;

static void set_up(void)
{
    ck_assert_int_eq(wake_init(&one), 0);
}

static void tear_down(void)
{
    wake_fini(&one);
}

START_TEST(new_wake_is_not_readable)
{
    ck_assert(!is_readable(&one));
}
END_TEST

START_TEST(signal_to_a_thread_that_does_not_sleep_writes_nothing)
{
    ck_assert(!wake_signal(&one));
    ck_assert(!is_readable(&one));
}
END_TEST

START_TEST(signal_to_a_sleeper_makes_the_descriptor_readable)
{
    wake_prepare(&one);
    ck_assert(wake_signal(&one));
    ck_assert(is_readable(&one));
}
END_TEST

START_TEST(only_the_first_of_several_signals_ends_a_sleep)
{
    wake_prepare(&one);
    ck_assert(wake_signal(&one));
    ck_assert(!wake_signal(&one));
    ck_assert(!wake_signal(&one));
    wake_clear(&one);
    ck_assert(!is_readable(&one));
}
END_TEST

START_TEST(signal_after_a_cancelled_sleep_writes_nothing)
{
    wake_prepare(&one);
    wake_cancel(&one);
    ck_assert(!wake_signal(&one));
    ck_assert(!is_readable(&one));
}
END_TEST

START_TEST(descriptor_stays_readable_until_it_is_cleared)
{
    wake_prepare(&one);
    wake_signal(&one);
    wake_cancel(&one);
    ck_assert(is_readable(&one));
    wake_clear(&one);
    ck_assert(!is_readable(&one));
}
END_TEST

START_TEST(clear_of_a_descriptor_that_is_not_readable_does_not_block)
{
    wake_clear(&one);
    ck_assert(!is_readable(&one));
}
END_TEST

START_TEST(wake_can_be_used_again_and_again)
{
    for (int i = 0; i < 1000; i++) {
        wake_prepare(&one);
        ck_assert(wake_signal(&one));
        wake_cancel(&one);
        wake_clear(&one);
        ck_assert(!is_readable(&one));
    }
}
END_TEST

START_TEST(fini_twice_closes_once)
{
    wake w;
    ck_assert_int_eq(wake_init(&w), 0);
    wake_fini(&w);
    ck_assert_int_lt(wake_fd(&w), 0);
    wake_fini(&w);
}
END_TEST

/* --- two threads --- */

/* Sleep until something may be there. Returns: false when the wake-up never came. */
static bool nap(wake *w, bool (*there)(void *source, int64_t wanted), void *source, int64_t wanted)
{
    struct pollfd p = {.fd = wake_fd(w), .events = POLLIN};
    int ready = 1;
    wake_prepare(w);
    if (!there(source, wanted))
        ready = poll(&p, 1, LOST_AFTER_MS);
    wake_cancel(w);
    wake_clear(w);
    return ready == 1;
}

enum { ROUNDS = 100000, LOOKS = 251 };

/* A ball that two threads hit by turns. What is published is a relaxed store, so that nothing but wake's own
 * fences keeps it before the look at the sleeper. A wake-up can only be lost while one side goes to sleep and
 * the other hits, and the time from a hit to its answer is always much the same; so each side looks for the
 * ball a number of times that differs from round to round before it sleeps. */
typedef struct side {
    alignas(CACHE_LINE) wake wake;
    alignas(CACHE_LINE) atomic_llong ball; /* [any] the round that this side is to hit */
    alignas(CACHE_LINE) struct side *other;
    bool lost;
} side;

static bool ball_is_here(void *source, int64_t wanted)
{
    side *s = source;
    return atomic_load_explicit(&s->ball, memory_order_relaxed) >= wanted;
}

static bool wait_for_ball(side *s, int64_t round)
{
    for (int64_t looks = round % LOOKS; looks > 0; looks--)
        if (ball_is_here(s, round))
            return true;
    while (!ball_is_here(s, round))
        if (!nap(&s->wake, ball_is_here, s, round))
            return false;
    return true;
}

static void hit(side *s, int64_t round)
{
    atomic_store_explicit(&s->other->ball, round, memory_order_relaxed);
    wake_signal(&s->other->wake);
}

static void *play(void *arg)
{
    side *s = arg;
    for (int64_t round = 1; round <= ROUNDS && !s->lost; round++) {
        s->lost = !wait_for_ball(s, round);
        hit(s, round);
    }
    return NULL;
}

START_TEST(no_wake_up_is_lost_between_two_that_wake_each_other)
{
    side a = {0}, b = {.other = &a};
    pthread_t thread;
    a.other = &b;
    ck_assert_int_eq(wake_init(&a.wake), 0);
    ck_assert_int_eq(wake_init(&b.wake), 0);
    ck_assert_int_eq(pthread_create(&thread, NULL, play, &b), 0);
    for (int64_t round = 1; round <= ROUNDS && !a.lost; round++) {
        hit(&a, round);
        a.lost = !wait_for_ball(&a, round);
    }
    pthread_join(thread, NULL);
    ck_assert(!a.lost);
    ck_assert(!b.lost);
    wake_fini(&a.wake);
    wake_fini(&b.wake);
}
END_TEST

/* The claim itself, without any sleep: of a sleeper that prepares and looks, and a publisher that publishes
 * and signals at the same moment, at least one sees the other. A pair of spinning threads meets before each
 * try; then each waits a little, by turns, so that the two fall on one another in every way. */
enum { TRIES = 300000, SKEW = 121, SPINS = 10000 };

typedef struct duel {
    alignas(CACHE_LINE) wake wake;
    alignas(CACHE_LINE) atomic_int published; /* [any] the try that was published last */
    alignas(CACHE_LINE) atomic_int here[2];   /* [any] how often each side came to the meeting */
    alignas(CACHE_LINE) bool signalled[TRIES + 1];
} duel;

static void meet(duel *d, int me, int times)
{
    atomic_store(&d->here[me], times);
    for (int spins = 0; atomic_load(&d->here[!me]) < times; spins++)
        if (spins > SPINS)
            sched_yield();
}

static void linger(int n)
{
    for (volatile int i = 0; i < n; i++)
        ;
}

static void *challenge(void *arg)
{
    duel *d = arg;
    for (int try = 1; try <= TRIES; try++) {
        meet(d, 1, 2 * try - 1);
        linger(try % SKEW);
        atomic_store_explicit(&d->published, try, memory_order_relaxed);
        d->signalled[try] = wake_signal(&d->wake);
        meet(d, 1, 2 * try);
    }
    return NULL;
}

START_TEST(sleeper_or_publisher_sees_the_other)
{
    static duel duel_of_both; /* too large for the stack, and aligned */
    duel *d = &duel_of_both;
    pthread_t thread;
    int neither = 0;
    ck_assert_int_eq(wake_init(&d->wake), 0);
    ck_assert_int_eq(pthread_create(&thread, NULL, challenge, d), 0);
    for (int try = 1; try <= TRIES; try++) {
        meet(d, 0, 2 * try - 1);
        linger(SKEW / 2);
        wake_prepare(&d->wake);
        bool seen = atomic_load_explicit(&d->published, memory_order_relaxed) == try;
        meet(d, 0, 2 * try);
        neither += !seen && !d->signalled[try];
        wake_cancel(&d->wake);
        if (d->signalled[try])
            wake_clear(&d->wake);
    }
    pthread_join(thread, NULL);
    ck_assert_int_eq(neither, 0);
    wake_fini(&d->wake);
}
END_TEST

enum { ITEMS = 200000 };

/* A publisher that never waits for the sleeper, so that its signals fall on every step of going to sleep. */
typedef struct flow {
    wake wake;
    ring *ring;
    int refused; /* pushes that failed; the publisher's until it is joined */
    int items[ITEMS];
} flow;

static bool ring_has_some(void *source, int64_t wanted)
{
    flow *f = source;
    (void)wanted;
    return ring_depth(f->ring) > 0;
}

static void *publish(void *arg)
{
    flow *f = arg;
    for (int i = 0; i < ITEMS; i++) {
        f->items[i] = i;
        f->refused += ring_push(f->ring, &f->items[i]) != 0;
        wake_signal(&f->wake);
    }
    return NULL;
}

START_TEST(no_wake_up_is_lost_to_a_publisher_that_runs_ahead)
{
    flow *f = calloc(1, sizeof(*f));
    pthread_t thread;
    bool lost = false;
    ck_assert_int_eq(wake_init(&f->wake), 0);
    f->ring = ring_new(ITEMS);
    ck_assert_int_eq(pthread_create(&thread, NULL, publish, f), 0);
    for (int i = 0; i < ITEMS && !lost;) {
        int *item = ring_pop(f->ring);
        if (item)
            ck_assert_int_eq(*item, i++);
        else
            lost = !nap(&f->wake, ring_has_some, f, 0);
    }
    ck_assert(!lost);
    pthread_join(thread, NULL);
    ck_assert_int_eq(f->refused, 0);
    wake_fini(&f->wake);
    ring_free(f->ring);
    free(f);
}
END_TEST

static Suite *wake_suite(void)
{
    Suite *s = suite_create("wake");
    TCase *tc = tcase_create("one thread");
    tcase_add_checked_fixture(tc, set_up, tear_down);
    tcase_add_test(tc, new_wake_is_not_readable);
    tcase_add_test(tc, signal_to_a_thread_that_does_not_sleep_writes_nothing);
    tcase_add_test(tc, signal_to_a_sleeper_makes_the_descriptor_readable);
    tcase_add_test(tc, only_the_first_of_several_signals_ends_a_sleep);
    tcase_add_test(tc, signal_after_a_cancelled_sleep_writes_nothing);
    tcase_add_test(tc, descriptor_stays_readable_until_it_is_cleared);
    tcase_add_test(tc, clear_of_a_descriptor_that_is_not_readable_does_not_block);
    tcase_add_test(tc, wake_can_be_used_again_and_again);
    tcase_add_test(tc, fini_twice_closes_once);
    suite_add_tcase(s, tc);
    tc = tcase_create("two threads");
    tcase_set_timeout(tc, STRESS_TIMEOUT_S);
    tcase_add_test(tc, sleeper_or_publisher_sees_the_other);
    tcase_add_test(tc, no_wake_up_is_lost_between_two_that_wake_each_other);
    tcase_add_test(tc, no_wake_up_is_lost_to_a_publisher_that_runs_ahead);
    suite_add_tcase(s, tc);
    return s;
}

int main(void)
{
    SRunner *sr = srunner_create(wake_suite());
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
