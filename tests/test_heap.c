#include "vm/heap.h"

#include <check.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { SLOTS = 500, STEPS = 100000, MANY = 20000 };

/* A block and what it is filled with. */
typedef struct slot {
    unsigned char *p;
    size_t size;
    unsigned char mark;
} slot;

static uint32_t seed;

static uint32_t pick(uint32_t below)
{
    seed = seed * 1664525u + 1013904223u;
    return (seed >> 8) % below;
}

/* Mostly small sizes, as Lua's are, and each border between the kinds now and then. */
static size_t pick_size(void)
{
    static const size_t borders[] = {1, 15, 16, 17, 511, 512, 513, 4096, 65536};
    switch (pick(4)) {
    case 0:
        return borders[pick(sizeof(borders) / sizeof(borders[0]))];
    case 1:
        return 1 + pick(3000);
    default:
        return 1 + pick(128);
    }
}

static void fill(slot *s)
{
    if (s->size)
        memset(s->p, s->mark, s->size);
}

static void check_fill(const slot *s, size_t n)
{
    size_t i = 0;
    while (i < n && s->p[i] == s->mark)
        i++;
    ck_assert_uint_eq(i, n);
}

START_TEST(small_blocks_of_every_size_are_aligned_and_do_not_overlap)
{
    static slot all[HEAP_SMALL_BYTES + 1][20];
    heap h = {0};
    for (size_t size = 1; size <= HEAP_SMALL_BYTES; size++) {
        for (size_t i = 0; i < 20; i++) {
            slot *s = &all[size][i];
            *s = (slot){heap_resize(&h, NULL, 0, size), size, (unsigned char)(size * 20 + i)};
            ck_assert_ptr_nonnull(s->p);
            ck_assert_uint_eq((uintptr_t)s->p % HEAP_STEP_BYTES, 0);
            fill(s);
        }
    }
    for (size_t size = 1; size <= HEAP_SMALL_BYTES; size++) {
        for (size_t i = 0; i < 20; i++) {
            check_fill(&all[size][i], size);
            ck_assert_ptr_null(heap_resize(&h, all[size][i].p, size, 0));
        }
    }
    heap_fini(&h);
}
END_TEST

START_TEST(a_block_that_was_given_back_is_taken_again)
{
    heap h = {0};
    void *p = heap_resize(&h, NULL, 0, 40);
    heap_resize(&h, p, 40, 0);
    ck_assert_ptr_eq(heap_resize(&h, NULL, 0, 48), p);
    heap_resize(&h, p, 48, 0);
    heap_fini(&h);
}
END_TEST

START_TEST(a_size_that_rounds_to_the_same_stays_where_it_is)
{
    heap h = {0};
    void *p = heap_resize(&h, NULL, 0, 33);
    ck_assert_ptr_eq(heap_resize(&h, p, 33, 48), p);
    ck_assert_uint_eq(h.bytes, 48);
    heap_resize(&h, p, 48, 0);
    heap_fini(&h);
}
END_TEST

/* Lua passes a kind of object in place of an old size when there is no old block. */
START_TEST(the_old_size_of_no_block_counts_for_nothing)
{
    heap h = {0};
    void *p = heap_resize(&h, NULL, 5, 100);
    ck_assert_uint_eq(h.bytes, 100);
    ck_assert_ptr_null(heap_resize(&h, NULL, 7, 0));
    ck_assert_uint_eq(h.bytes, 100);
    heap_resize(&h, p, 100, 0);
    ck_assert_uint_eq(h.bytes, 0);
    heap_fini(&h);
}
END_TEST

START_TEST(blocks_keep_their_bytes_through_every_change_of_size)
{
    static slot slots[SLOTS];
    heap h = {0};
    size_t bytes = 0;
    seed = 1;
    for (int step = 0; step < STEPS; step++) {
        slot *s = &slots[pick(SLOTS)];
        size_t size = pick(3) ? pick_size() : 0;
        void *p = heap_resize(&h, s->p, s->size, size);
        ck_assert(size ? p != NULL : p == NULL);
        bytes += size - s->size;
        ck_assert_uint_eq(h.bytes, bytes);
        s->p = p;
        check_fill(s, s->size < size ? s->size : size);
        *s = (slot){p, size, (unsigned char)step};
        fill(s);
    }
    for (int i = 0; i < SLOTS; i++)
        heap_resize(&h, slots[i].p, slots[i].size, 0);
    ck_assert_uint_eq(h.bytes, 0);
    heap_fini(&h);
}
END_TEST

/* A size keeps one page, and that page its group. */
START_TEST(what_was_much_for_a_while_is_given_back)
{
    enum { SIZES = 6, KEPT_PAGES = 32 + SIZES * 15 };
    static void *all[MANY];
    heap h = {0};
    for (size_t size = 16; size <= HEAP_SMALL_BYTES; size *= 2) {
        for (int i = 0; i < MANY; i++)
            all[i] = heap_resize(&h, NULL, 0, size);
        for (int i = 0; i < MANY; i++)
            heap_resize(&h, all[(i * 7919) % MANY], size, 0);
        ck_assert_uint_le(h.idle_count, KEPT_PAGES);
    }
    heap_fini(&h);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("heap");
    TCase *blocks = tcase_create("blocks");
    tcase_add_test(blocks, small_blocks_of_every_size_are_aligned_and_do_not_overlap);
    tcase_add_test(blocks, a_block_that_was_given_back_is_taken_again);
    tcase_add_test(blocks, a_size_that_rounds_to_the_same_stays_where_it_is);
    tcase_add_test(blocks, the_old_size_of_no_block_counts_for_nothing);
    tcase_add_test(blocks, blocks_keep_their_bytes_through_every_change_of_size);
    tcase_add_test(blocks, what_was_much_for_a_while_is_given_back);
    suite_add_tcase(suite, blocks);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
