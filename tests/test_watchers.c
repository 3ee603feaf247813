#include "queue/watchers.h"

#include <check.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

static watchers *all;

static void set_up(void)
{
    all = watchers_new();
    ck_assert_ptr_nonnull(all);
}

static void tear_down(void)
{
    watchers_free(all);
}

static void count(void *user)
{
    atomic_fetch_add((atomic_int *)user, 1);
}

START_TEST(a_watcher_is_called_when_it_is_added_and_for_its_queue)
{
    atomic_int calls = 0;
    mq_watcher w = {.queue = "a", .ready = count, .user = &calls};
    watchers_call(all, "a");
    watchers_add(all, &w);
    ck_assert_int_eq(calls, 1);
    watchers_call(all, "a");
    ck_assert_int_eq(calls, 2);
    watchers_remove(all, &w);
    watchers_call(all, "a");
    ck_assert_int_eq(calls, 2);
}
END_TEST

/* More queues than lists that hold them, so some meet. */
START_TEST(watchers_of_other_queues_are_not_called)
{
    enum { QUEUES = 300 };
    static atomic_int calls[QUEUES];
    static mq_watcher w[QUEUES];
    static char names[QUEUES][8];
    for (int i = 0; i < QUEUES; i++) {
        snprintf(names[i], sizeof names[i], "q%d", i);
        w[i] = (mq_watcher){.queue = names[i], .ready = count, .user = &calls[i]};
        watchers_add(all, &w[i]);
    }
    for (int i = 0; i < QUEUES; i += 2)
        watchers_call(all, names[i]);
    for (int i = 0; i < QUEUES; i++) {
        ck_assert_int_eq(calls[i], i % 2 ? 1 : 2);
        watchers_remove(all, &w[i]);
    }
}
END_TEST

/* --- from inside a call --- */

static mq_watcher first, second, third;
static atomic_int others;

static void remove_all(void *user)
{
    (void)user;
    if (atomic_fetch_add(&others, 1) == 0)
        return; /* when it is added */
    watchers_remove(all, &first);
    watchers_remove(all, &second);
    memset(&first, 0x55, sizeof first);
    memset(&second, 0x55, sizeof second);
}

START_TEST(a_call_may_remove_its_watcher_and_the_next_one)
{
    atomic_int calls = 0, last = 0;
    atomic_store(&others, 0);
    first = (mq_watcher){.queue = "a", .ready = remove_all};
    second = (mq_watcher){.queue = "a", .ready = count, .user = &calls};
    third = (mq_watcher){.queue = "a", .ready = count, .user = &last};
    watchers_add(all, &first);
    watchers_add(all, &second);
    watchers_add(all, &third);
    watchers_call(all, "a");
    ck_assert_int_eq(calls, 1); /* when it was added */
    ck_assert_int_eq(last, 2);
    watchers_call(all, "a");
    ck_assert_int_eq(others, 2);
    ck_assert_int_eq(last, 3);
    watchers_remove(all, &third);
}
END_TEST

static int depth;

static void call_again(void *user)
{
    atomic_fetch_add((atomic_int *)user, 1);
    if (depth++ < 5)
        watchers_call(all, "a");
}

START_TEST(a_call_may_call_them_again)
{
    atomic_int calls = 0;
    mq_watcher w = {.queue = "a", .ready = call_again, .user = &calls};
    depth = 0;
    watchers_add(all, &w);
    ck_assert_int_eq(calls, 6);
    watchers_remove(all, &w);
}
END_TEST

/* --- between threads --- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static bool is_inside, may_end; /* [lock] */
static atomic_bool has_ended;

static void stay(void *user)
{
    if (atomic_fetch_add((atomic_int *)user, 1) == 0)
        return;
    pthread_mutex_lock(&lock);
    is_inside = true;
    pthread_cond_broadcast(&changed);
    while (!may_end)
        pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
    atomic_store(&has_ended, true);
}

static void *call_a(void *user)
{
    watchers_call(all, user);
    return NULL;
}

static void *let_end(void *user)
{
    pthread_mutex_lock(&lock);
    may_end = true;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
    return user;
}

START_TEST(removing_waits_until_no_other_thread_is_inside)
{
    char name[] = "a";
    atomic_int calls = 0;
    pthread_t caller, ender;
    mq_watcher w = {.queue = "a", .ready = stay, .user = &calls};
    watchers_add(all, &w);
    ck_assert_int_eq(pthread_create(&caller, NULL, call_a, name), 0);
    pthread_mutex_lock(&lock);
    while (!is_inside)
        pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
    ck_assert_int_eq(pthread_create(&ender, NULL, let_end, NULL), 0);
    watchers_remove(all, &w);
    ck_assert(atomic_load(&has_ended));
    pthread_join(caller, NULL);
    pthread_join(ender, NULL);
}
END_TEST

static pthread_t earlier;

static void outlast(void *user)
{
    let_end(user);
    pthread_join(earlier, NULL);
}

START_TEST(a_thread_may_be_done_before_one_that_began_later)
{
    char name[] = "a";
    atomic_int calls = 0;
    mq_watcher w = {.queue = "a", .ready = stay, .user = &calls}, later = {.queue = "a", .ready = outlast};
    watchers_add(all, &w);
    ck_assert_int_eq(pthread_create(&earlier, NULL, call_a, name), 0);
    pthread_mutex_lock(&lock);
    while (!is_inside)
        pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
    watchers_add(all, &later);
    ck_assert(atomic_load(&has_ended));
    watchers_remove(all, &later);
    watchers_remove(all, &w);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("watchers");
    TCase *tests = tcase_create("watchers");
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_test(tests, a_watcher_is_called_when_it_is_added_and_for_its_queue);
    tcase_add_test(tests, watchers_of_other_queues_are_not_called);
    tcase_add_test(tests, a_call_may_remove_its_watcher_and_the_next_one);
    tcase_add_test(tests, a_call_may_call_them_again);
    tcase_add_test(tests, removing_waits_until_no_other_thread_is_inside);
    tcase_add_test(tests, a_thread_may_be_done_before_one_that_began_later);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
