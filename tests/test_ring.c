#include "queue/ring.h"

#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>

/* --- one thread --- */

static int numbers[64];

START_TEST(new_ring_is_empty)
{
    ring *r = ring_new(8);
    ck_assert_uint_eq(ring_depth(r), 0);
    ck_assert_ptr_null(ring_pop(r));
    ck_assert_ptr_null(ring_pop_shared(r));
    ck_assert_ptr_null(ring_pop_many(r));
    ring_free(r);
}
END_TEST

START_TEST(ring_holds_at_least_what_was_asked_for)
{
    for (size_t capacity = 0; capacity <= 40; capacity++) {
        ring *r = ring_new(capacity);
        ck_assert_ptr_nonnull(r);
        ck_assert_uint_ge(ring_capacity(r), capacity);
        for (size_t i = 0; i < capacity; i++)
            ck_assert_int_eq(ring_push(r, &numbers[i]), 0);
        ck_assert_uint_eq(ring_depth(r), capacity);
        ring_free(r);
    }
}
END_TEST

START_TEST(ring_beyond_the_largest_capacity_is_refused)
{
    ck_assert_ptr_null(ring_new((1u << 30) + 1));
    ck_assert_ptr_null(ring_new(SIZE_MAX));
}
END_TEST

START_TEST(push_to_full_ring_returns_eagain)
{
    ring *r = ring_new(5);
    size_t capacity = ring_capacity(r);
    for (size_t i = 0; i < capacity; i++)
        ck_assert_int_eq(ring_push(r, &numbers[i]), 0);
    ck_assert_int_eq(ring_push(r, &numbers[63]), -EAGAIN);
    ck_assert_uint_eq(ring_depth(r), capacity);
    ck_assert_ptr_eq(ring_pop(r), &numbers[0]);
    ck_assert_int_eq(ring_push(r, &numbers[63]), 0);
    ring_free(r);
}
END_TEST

START_TEST(push_many_to_full_ring_returns_eagain)
{
    ring *r = ring_new(5);
    size_t capacity = ring_capacity(r);
    for (size_t i = 0; i < capacity; i++)
        ck_assert_int_eq(ring_push_many(r, &numbers[i]), 0);
    ck_assert_int_eq(ring_push_many(r, &numbers[63]), -EAGAIN);
    ck_assert_ptr_eq(ring_pop_many(r), &numbers[0]);
    ck_assert_int_eq(ring_push_many(r, &numbers[63]), 0);
    ring_free(r);
}
END_TEST

/* The three ways of use, for tests that are the same for all. */
static const struct way {
    int (*push)(ring *r, void *item);
    void *(*pop)(ring *r);
    int producers, consumers;
} ways[] = {
    {ring_push, ring_pop, 1, 1},
    {ring_push, ring_pop_shared, 1, 3},
    {ring_push_many, ring_pop_many, 3, 1},
};

enum { WAYS = sizeof(ways) / sizeof(ways[0]) };

START_TEST(items_come_out_in_order_however_often_the_ring_wraps)
{
    const struct way *way = &ways[_i];
    ring *r = ring_new(7);
    size_t in = 0, out = 0;
    for (int round = 0; round < 1000; round++) {
        size_t n = (size_t)round % 8;
        for (size_t i = 0; i < n; i++)
            ck_assert_int_eq(way->push(r, &numbers[in++ % 64]), 0);
        ck_assert_uint_eq(ring_depth(r), n);
        for (size_t i = 0; i < n; i++)
            ck_assert_ptr_eq(way->pop(r), &numbers[out++ % 64]);
        ck_assert_ptr_null(way->pop(r));
    }
    ring_free(r);
}
END_TEST

START_TEST(free_of_null_does_nothing)
{
    ring_free(NULL);
}
END_TEST

/* --- several threads ---
 *
 * Every item is written before it is pushed, by plain stores, and read after it was popped: a ring that
 * orders too little shows as a wrong sum, and as a race under ThreadSanitizer. `seen` is plain as well, so an
 * item that two consumers get is a race, too. */

enum { SEED = 0x5eed, STRESS_TIMEOUT_S = 240 };

/* Small rings are full and empty all the time, large ones hardly ever. Each time, the processor is given up;
 * on a machine that is busy otherwise that costs a time slice, so the smallest ring gets fewer items. */
static const struct {
    size_t capacity;
    int items;
} sizes[] = {{3, 5000}, {64, 200000}, {4096, 200000}};

enum { SIZES = sizeof(sizes) / sizeof(sizes[0]) };

typedef struct item {
    uint64_t number, check;
    int producer;
    int seen;
} item;

typedef struct stress {
    const struct way *way;
    ring *ring;
    item *items;
    int nitems;
    atomic_int next_producer;
    atomic_int left;   /* items not yet popped */
    atomic_int wrong;  /* items with a wrong payload */
    atomic_int turned; /* items that came before an older one of the same producer */
} stress;

static void *produce(void *arg)
{
    stress *s = arg;
    int me = atomic_fetch_add(&s->next_producer, 1);
    for (int i = me; i < s->nitems; i += s->way->producers) {
        item *one = &s->items[i];
        one->number = (uint64_t)i;
        one->check = (uint64_t)i * SEED;
        one->producer = me;
        while (s->way->push(s->ring, one) != 0)
            sched_yield();
    }
    return NULL;
}

static void inspect(stress *s, item *one, int64_t *last)
{
    one->seen++;
    if (one->check != one->number * SEED || one != &s->items[one->number])
        atomic_fetch_add(&s->wrong, 1);
    if ((int64_t)one->number <= last[one->producer])
        atomic_fetch_add(&s->turned, 1);
    last[one->producer] = (int64_t)one->number;
}

static void *consume(void *arg)
{
    stress *s = arg;
    int64_t last[8] = {-1, -1, -1, -1, -1, -1, -1, -1};
    while (atomic_load(&s->left) > 0) {
        item *one = s->way->pop(s->ring);
        if (!one) {
            sched_yield();
            continue;
        }
        inspect(s, one, last);
        atomic_fetch_sub(&s->left, 1);
    }
    return NULL;
}

static void run_stress(const struct way *way, size_t capacity, int nitems)
{
    stress s = {.way = way, .ring = ring_new(capacity), .nitems = nitems, .left = nitems};
    s.items = calloc((size_t)nitems, sizeof(item));
    pthread_t threads[8];
    int n = 0;
    for (int i = 0; i < way->consumers; i++)
        ck_assert_int_eq(pthread_create(&threads[n++], NULL, consume, &s), 0);
    for (int i = 0; i < way->producers; i++)
        ck_assert_int_eq(pthread_create(&threads[n++], NULL, produce, &s), 0);
    while (n > 0)
        pthread_join(threads[--n], NULL);
    ck_assert_int_eq(atomic_load(&s.wrong), 0);
    ck_assert_int_eq(atomic_load(&s.turned), 0);
    for (int i = 0; i < nitems; i++)
        ck_assert_int_eq(s.items[i].seen, 1);
    ck_assert_uint_eq(ring_depth(s.ring), 0);
    ring_free(s.ring);
    free(s.items);
}

START_TEST(every_item_arrives_once_whole_and_in_order)
{
    run_stress(&ways[_i / SIZES], sizes[_i % SIZES].capacity, sizes[_i % SIZES].items);
}
END_TEST

static Suite *ring_suite(void)
{
    Suite *s = suite_create("ring");
    TCase *tc = tcase_create("one thread");
    tcase_add_test(tc, new_ring_is_empty);
    tcase_add_test(tc, ring_holds_at_least_what_was_asked_for);
    tcase_add_test(tc, ring_beyond_the_largest_capacity_is_refused);
    tcase_add_test(tc, push_to_full_ring_returns_eagain);
    tcase_add_test(tc, push_many_to_full_ring_returns_eagain);
    tcase_add_loop_test(tc, items_come_out_in_order_however_often_the_ring_wraps, 0, WAYS);
    tcase_add_test(tc, free_of_null_does_nothing);
    suite_add_tcase(s, tc);
    tc = tcase_create("several threads");
    tcase_set_timeout(tc, STRESS_TIMEOUT_S);
    tcase_add_loop_test(tc, every_item_arrives_once_whole_and_in_order, 0, WAYS * SIZES);
    suite_add_tcase(s, tc);
    return s;
}

int main(void)
{
    SRunner *sr = srunner_create(ring_suite());
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
