#include "vm/once.h"

#include <check.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { THREADS = 4, TEXTS = 100 };

static once told;
static atomic_uint news;

static enum once_answer tell(const char *text)
{
    return once_tell(&told, text, strlen(text));
}

START_TEST(a_text_is_new_once)
{
    ck_assert_int_eq(tell("a"), ONCE_NEW);
    ck_assert_int_eq(tell("a"), ONCE_KNOWN);
    ck_assert_int_eq(tell("b"), ONCE_NEW);
    ck_assert_int_eq(tell(""), ONCE_NEW);
    ck_assert_int_eq(tell("a"), ONCE_KNOWN);
}
END_TEST

START_TEST(after_so_many_nothing_is_new)
{
    char text[16];
    for (int i = 1; i <= 2 * ONCE_MOST; i++) {
        snprintf(text, sizeof(text), "%d", i);
        ck_assert_int_eq(tell(text), i < ONCE_MOST ? ONCE_NEW : i == ONCE_MOST ? ONCE_LAST : ONCE_KNOWN);
    }
}
END_TEST

static void *tell_all(void *arg)
{
    char text[16];
    (void)arg;
    for (int i = 0; i < TEXTS; i++) {
        snprintf(text, sizeof(text), "%d", i);
        if (tell(text) != ONCE_KNOWN)
            atomic_fetch_add(&news, 1);
    }
    return NULL;
}

START_TEST(of_threads_that_tell_the_same_one_is_first)
{
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, tell_all, NULL), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    ck_assert_uint_eq(atomic_load(&news), TEXTS);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("once");
    TCase *t = tcase_create("once");
    tcase_add_test(t, a_text_is_new_once);
    tcase_add_test(t, after_so_many_nothing_is_new);
    tcase_add_test(t, of_threads_that_tell_the_same_one_is_first);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
