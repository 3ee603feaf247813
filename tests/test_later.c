#include "runtime/later.h"

#include <check.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>

enum { MOST = 64, FAR = 1000000 };

static laters *all;
static atomic_int freed;

static void count_free(later *l)
{
    atomic_fetch_add(&freed, 1);
    free(l);
}

static void set_up(void)
{
    atomic_store(&freed, 0);
    ck_assert_int_eq(laters_new(MOST, &all), 0);
}

static void tear_down(void)
{
    laters_free(all);
}

static later *begin(void *waiter, uint64_t due_ns)
{
    later *l = malloc(sizeof(*l));
    ck_assert_int_eq(later_begin(all, l, waiter, due_ns, count_free), 0);
    return l;
}

static bool is_readable(void)
{
    struct pollfd p = {.fd = laters_fd(all), .events = POLLIN};
    return poll(&p, 1, 0) == 1;
}

START_TEST(what_has_ended_comes_back_to_its_waiter)
{
    int waiter;
    later *l = begin(&waiter, FAR);
    ck_assert(!is_readable());
    ck_assert_ptr_null(laters_next(all, 0));
    later_end(l);
    ck_assert(is_readable());
    ck_assert_ptr_eq(laters_next(all, 0), l);
    ck_assert(l->over);
    ck_assert_ptr_eq(l->waiter, &waiter);
    ck_assert(!is_readable());
    ck_assert_ptr_null(laters_next(all, FAR));
    ck_assert_int_eq(atomic_load(&freed), 0);
    later_unref(l);
    ck_assert_int_eq(atomic_load(&freed), 1);
}
END_TEST

START_TEST(what_is_late_comes_back_without_its_end)
{
    later *l = begin(NULL, 10), *other = begin(NULL, 20);
    ck_assert_uint_eq(laters_due_ns(all), 10);
    ck_assert_ptr_null(laters_next(all, 9));
    ck_assert_ptr_eq(laters_next(all, 10), l);
    ck_assert(!l->over);
    later_unref(l);
    ck_assert_uint_eq(laters_due_ns(all), 20);
    ck_assert_int_eq(atomic_load(&freed), 0);
    later_end(l); /* at last: nobody waits */
    ck_assert_ptr_null(laters_next(all, 10));
    ck_assert_int_eq(atomic_load(&freed), 1);
    later_end(other);
    ck_assert(later_try(other));
    later_unref(other);
    ck_assert_uint_eq(laters_due_ns(all), UINT64_MAX);
}
END_TEST

START_TEST(try_is_true_only_of_what_has_ended)
{
    later *l = begin(NULL, FAR);
    ck_assert(!later_try(l));
    later_end(l);
    ck_assert(later_try(l));
    ck_assert_ptr_null(laters_any(all));
    later_unref(l);
    ck_assert_int_eq(atomic_load(&freed), 1);
}
END_TEST

START_TEST(forgotten_one_is_freed_when_it_ends)
{
    later *l = begin(NULL, FAR);
    later_forget(l);
    ck_assert_ptr_null(laters_any(all));
    ck_assert_int_eq(atomic_load(&freed), 0);
    later_end(l);
    ck_assert_ptr_null(laters_next(all, FAR));
    ck_assert_int_eq(atomic_load(&freed), 1);
}
END_TEST

START_TEST(what_is_worked_on_when_the_owner_ends_is_freed_by_its_worker)
{
    later *waited = begin(NULL, FAR), *forgotten = begin(NULL, FAR), *ended = begin(NULL, FAR);
    later_forget(forgotten);
    later_end(ended);
    laters_free(all);
    ck_assert_int_eq(atomic_load(&freed), 1);
    later_end(waited);
    later_end(forgotten);
    ck_assert_int_eq(atomic_load(&freed), 3);
    all = NULL;
}
END_TEST

START_TEST(more_than_may_be_worked_on_are_refused)
{
    later *list[MOST], one;
    for (int i = 0; i < MOST; i++)
        list[i] = begin(NULL, FAR);
    ck_assert_int_eq(later_begin(all, &one, NULL, FAR, count_free), -EAGAIN);
    later_forget(list[0]); /* it is worked on still */
    ck_assert_int_eq(later_begin(all, &one, NULL, FAR, count_free), -EAGAIN);
    later_end(list[0]);
    list[0] = begin(NULL, FAR);
    for (int i = 0; i < MOST; i++)
        later_end(list[i]);
}
END_TEST

/* --- several threads --- */

enum { WORKERS = 4, ROUNDS = 2000 };

typedef struct work {
    later later; /* first */
    atomic_int *ready;
    int result;
} work;

static work *_Atomic hands[WORKERS];
static atomic_bool over;

static void free_work(later *l)
{
    atomic_fetch_add(&freed, 1);
    free(l);
}

static void *end_what_comes(void *arg)
{
    work *_Atomic *hand = arg;
    while (!atomic_load(&over)) {
        work *w = atomic_exchange(hand, NULL);
        if (!w)
            continue;
        w->result = 42; /* what ThreadSanitizer is to see the owner read */
        later_end(&w->later);
    }
    return NULL;
}

/* Half of them are given up, just when they may be ending. Returns: how many ended in time. */
static int take_all(uint64_t now_ns)
{
    int n = 0;
    for (later *l = laters_next(all, now_ns); l; l = laters_next(all, now_ns)) {
        if (l->over)
            ck_assert_int_eq(((work *)l)->result, 42);
        n += l->over;
        later_unref(l);
    }
    return n;
}

START_TEST(each_is_freed_once_whoever_is_first)
{
    pthread_t threads[WORKERS];
    int begun = 0;
    atomic_store(&over, false);
    for (int i = 0; i < WORKERS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, end_what_comes, (void *)&hands[i]), 0);
    while (begun < ROUNDS) {
        work *w = calloc(1, sizeof(*w));
        if (later_begin(all, &w->later, NULL, begun % 2 ? 0 : FAR, free_work) < 0) {
            free(w);
            take_all(1);
            continue;
        }
        work *none = NULL;
        while (!atomic_compare_exchange_weak(&hands[begun % WORKERS], &none, w))
            none = NULL;
        take_all((uint64_t)(begun % 2));
        begun++;
    }
    while (atomic_load(&freed) < ROUNDS - MOST || laters_due_ns(all) != UINT64_MAX)
        take_all(1);
    laters_free(all); /* while some may be ending */
    all = NULL;
    while (atomic_load(&freed) < ROUNDS)
        ;
    atomic_store(&over, true);
    for (int i = 0; i < WORKERS; i++)
        pthread_join(threads[i], NULL);
    ck_assert_int_eq(atomic_load(&freed), ROUNDS);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("later");
    TCase *tc = tcase_create("later");
    tcase_add_checked_fixture(tc, set_up, tear_down);
    tcase_add_test(tc, what_has_ended_comes_back_to_its_waiter);
    tcase_add_test(tc, what_is_late_comes_back_without_its_end);
    tcase_add_test(tc, try_is_true_only_of_what_has_ended);
    tcase_add_test(tc, forgotten_one_is_freed_when_it_ends);
    tcase_add_test(tc, what_is_worked_on_when_the_owner_ends_is_freed_by_its_worker);
    tcase_add_test(tc, more_than_may_be_worked_on_are_refused);
    tcase_add_test(tc, each_is_freed_once_whoever_is_first);
    suite_add_tcase(s, tc);
    SRunner *sr = srunner_create(s);
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
