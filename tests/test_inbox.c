#include "queue/inbox.h"

#include <check.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>

#include "queue/await.h"

enum { POSTERS = 4, LETTERS = 20000, PATIENCE_MS = 20000 };

static wake bell;
static inbox box;

static void set_up(void)
{
    ck_assert_int_eq(wake_init(&bell), 0);
    inbox_init(&box, &bell);
}

static void tear_down(void)
{
    wake_fini(&bell);
}

START_TEST(empty_inbox_gives_nothing)
{
    ck_assert(inbox_is_empty(&box));
    ck_assert_ptr_null(inbox_take(&box));
}
END_TEST

START_TEST(letters_are_taken_in_the_order_in_which_they_were_posted)
{
    letter letters[3] = {{.kind = 0}, {.kind = 1}, {.kind = 2}};
    for (int i = 0; i < 3; i++)
        inbox_post(&box, &letters[i]);
    ck_assert(!inbox_is_empty(&box));
    const letter *l = inbox_take(&box);
    for (int i = 0; i < 3; i++, l = l->next)
        ck_assert_ptr_eq(l, &letters[i]);
    ck_assert_ptr_null(l);
    ck_assert(inbox_is_empty(&box));
}
END_TEST

START_TEST(letter_can_be_posted_again_when_it_was_taken)
{
    letter l = {.kind = 7};
    for (int i = 0; i < 3; i++) {
        inbox_post(&box, &l);
        ck_assert_ptr_eq(inbox_take(&box), &l);
        ck_assert_ptr_null(l.next);
    }
}
END_TEST

static bool is_readable(int timeout_ms)
{
    struct pollfd fd = {.fd = wake_fd(&bell), .events = POLLIN};
    return poll(&fd, 1, timeout_ms) == 1;
}

START_TEST(post_wakes_an_owner_that_sleeps)
{
    letter l = {.kind = 0};
    wake_prepare(&bell);
    ck_assert(!is_readable(0));
    inbox_post(&box, &l);
    ck_assert(is_readable(PATIENCE_MS));
}
END_TEST

/* --- many threads --- */

typedef struct numbered {
    letter letter; /* first */
    unsigned number;
} numbered;

static numbered sent[POSTERS][LETTERS];

static void *post_all(void *arg)
{
    numbered *mine = arg;
    for (unsigned i = 0; i < LETTERS; i++) {
        mine[i].number = i;
        inbox_post(&box, &mine[i].letter);
    }
    return NULL;
}

/* As the threads of a pool do it. */
static letter *take_or_sleep(void)
{
    letter *l = inbox_take(&box);
    if (l)
        return l;
    wake_prepare(&bell);
    if (inbox_is_empty(&box)) {
        ck_assert_msg(is_readable(PATIENCE_MS), "a wake-up was lost");
        wake_clear(&bell);
    }
    wake_cancel(&bell);
    return inbox_take(&box);
}

START_TEST(each_letter_of_many_posters_arrives_once_and_in_its_posters_order)
{
    pthread_t threads[POSTERS];
    unsigned next[POSTERS] = {0}, left = POSTERS * LETTERS;
    for (int i = 0; i < POSTERS; i++) {
        for (int j = 0; j < LETTERS; j++)
            sent[i][j].letter.kind = i;
        ck_assert_int_eq(pthread_create(&threads[i], NULL, post_all, sent[i]), 0);
    }
    while (left)
        for (letter *l = take_or_sleep(), *after; l; l = after, left--) {
            const numbered *n = (const numbered *)l;
            after = l->next;
            ck_assert_uint_eq(n->number, next[l->kind]++);
        }
    for (int i = 0; i < POSTERS; i++)
        pthread_join(threads[i], NULL);
    ck_assert(inbox_is_empty(&box));
}
END_TEST

/* --- awaits --- */

typedef struct work {
    await await; /* first */
    int result;
} work;

static atomic_int freed;

static void free_work(await *a)
{
    free(a);
    atomic_fetch_add(&freed, 1);
}

static void *end_all(void *arg)
{
    work **all = arg;
    for (unsigned i = 0; i < LETTERS; i++) {
        all[i]->result = (int)i;
        await_end(&all[i]->await);
    }
    return NULL;
}

START_TEST(await_is_freed_once_whoever_lets_go_last)
{
    static work *all[LETTERS];
    pthread_t thread;
    unsigned left = LETTERS;
    atomic_store(&freed, 0);
    for (unsigned i = 0; i < LETTERS; i++) {
        all[i] = malloc(sizeof(work));
        ck_assert_ptr_nonnull(all[i]);
        await_init(&all[i]->await, &box, free_work);
        await_ref(&all[i]->await); /* the waiter's */
    }
    ck_assert_int_eq(pthread_create(&thread, NULL, end_all, all), 0);
    for (unsigned i = 0; i < LETTERS; i += 2) /* who does not wait any more */
        await_unref(&all[i]->await);
    while (left)
        for (letter *l = take_or_sleep(), *after; l; l = after, left--) {
            work *w = (work *)l;
            int number = w->result;
            after = l->next;
            await_unref(&w->await);
            if (number % 2)
                await_unref(&w->await);
        }
    pthread_join(thread, NULL);
    ck_assert_int_eq(atomic_load(&freed), LETTERS);
    await_unref(NULL);
}
END_TEST

static Suite *inbox_suite(void)
{
    Suite *s = suite_create("inbox");
    TCase *tc = tcase_create("one thread");
    tcase_add_checked_fixture(tc, set_up, tear_down);
    tcase_add_test(tc, empty_inbox_gives_nothing);
    tcase_add_test(tc, letters_are_taken_in_the_order_in_which_they_were_posted);
    tcase_add_test(tc, letter_can_be_posted_again_when_it_was_taken);
    tcase_add_test(tc, post_wakes_an_owner_that_sleeps);
    suite_add_tcase(s, tc);
    tc = tcase_create("several threads");
    tcase_add_checked_fixture(tc, set_up, tear_down);
    tcase_add_test(tc, each_letter_of_many_posters_arrives_once_and_in_its_posters_order);
    tcase_add_test(tc, await_is_freed_once_whoever_lets_go_last);
    suite_add_tcase(s, tc);
    return s;
}

int main(void)
{
    SRunner *sr = srunner_create(inbox_suite());
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
