#include "queue/slab.h"

#include <check.h>
#include <stdalign.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* Kept bytes first, as slab wants it. */
typedef struct thing {
    char *kept;
    uint64_t rest[5];
} thing;

enum { KEPT_BYTES = offsetof(thing, rest), MANY = 1000 };

static int finished;

static void finish(void *object)
{
    thing *t = object;
    free(t->kept);
    finished++;
}

START_TEST(kept_bytes_are_zero_at_first)
{
    slab *s = slab_new(sizeof(thing), KEPT_BYTES, NULL);
    for (int i = 0; i < MANY; i++)
        ck_assert_ptr_null(((thing *)slab_take(s))->kept);
    slab_free(s);
}
END_TEST

START_TEST(kept_bytes_survive_from_give_to_take)
{
    slab *s = slab_new(sizeof(thing), KEPT_BYTES, finish);
    thing *t = slab_take(s);
    t->kept = strdup("still here");
    slab_give(s, t);
    thing *again = slab_take(s);
    ck_assert_ptr_eq(again, t);
    ck_assert_str_eq(again->kept, "still here");
    slab_free(s);
}
END_TEST

START_TEST(objects_are_aligned_for_any_type_and_do_not_overlap)
{
    static thing *all[MANY];
    slab *s = slab_new(sizeof(thing), KEPT_BYTES, NULL);
    for (uint64_t i = 0; i < MANY; i++) {
        all[i] = slab_take(s);
        ck_assert_uint_eq((uintptr_t)all[i] % alignof(max_align_t), 0);
        for (int k = 0; k < 5; k++)
            all[i]->rest[k] = i;
    }
    for (uint64_t i = 0; i < MANY; i++)
        for (int k = 0; k < 5; k++)
            ck_assert_uint_eq(all[i]->rest[k], i);
    slab_free(s);
}
END_TEST

START_TEST(odd_sizes_are_aligned_too)
{
    slab *s = slab_new(1, 0, NULL);
    for (int i = 0; i < 100; i++)
        ck_assert_uint_eq((uintptr_t)slab_take(s) % alignof(max_align_t), 0);
    slab_free(s);
}
END_TEST

START_TEST(in_use_counts_what_is_taken)
{
    thing *all[40];
    slab *s = slab_new(sizeof(thing), KEPT_BYTES, NULL);
    ck_assert_uint_eq(slab_in_use(s), 0);
    for (size_t i = 0; i < 40; i++) {
        all[i] = slab_take(s);
        ck_assert_uint_eq(slab_in_use(s), i + 1);
    }
    for (size_t i = 40; i-- > 0;) {
        slab_give(s, all[i]);
        ck_assert_uint_eq(slab_in_use(s), i);
    }
    slab_free(s);
}
END_TEST

START_TEST(memory_is_used_again_before_more_is_taken)
{
    enum { USE = 100, ROUNDS = 50 };
    thing *all[USE];
    finished = 0;
    slab *s = slab_new(sizeof(thing), KEPT_BYTES, finish);
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < USE; i++)
            all[i] = slab_take(s);
        for (int i = 0; i < USE; i++)
            slab_give(s, all[i]);
    }
    slab_free(s);
    ck_assert_int_ge(finished, USE);
    ck_assert_int_lt(finished, 2 * USE);
}
END_TEST

START_TEST(free_finishes_taken_and_free_objects_once_each)
{
    finished = 0;
    slab *s = slab_new(sizeof(thing), KEPT_BYTES, finish);
    thing *a = slab_take(s);
    thing *b = slab_take(s);
    a->kept = malloc(10);
    b->kept = malloc(10);
    slab_give(s, a);
    slab_free(s);
    ck_assert_int_gt(finished, 1);
}
END_TEST

START_TEST(free_of_null_does_nothing)
{
    slab_free(NULL);
}
END_TEST

static Suite *slab_suite(void)
{
    Suite *s = suite_create("slab");
    TCase *tc = tcase_create("slab");
    tcase_add_test(tc, kept_bytes_are_zero_at_first);
    tcase_add_test(tc, kept_bytes_survive_from_give_to_take);
    tcase_add_test(tc, objects_are_aligned_for_any_type_and_do_not_overlap);
    tcase_add_test(tc, odd_sizes_are_aligned_too);
    tcase_add_test(tc, in_use_counts_what_is_taken);
    tcase_add_test(tc, memory_is_used_again_before_more_is_taken);
    tcase_add_test(tc, free_finishes_taken_and_free_objects_once_each);
    tcase_add_test(tc, free_of_null_does_nothing);
    suite_add_tcase(s, tc);
    return s;
}

int main(void)
{
    SRunner *sr = srunner_create(slab_suite());
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
