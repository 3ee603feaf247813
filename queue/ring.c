#include "queue/ring.h"

#include <errno.h>
#include <pthread.h>
#include <stdalign.h>
#include <stdlib.h>
#include <string.h>

#ifdef POOLSRV_TSAN
/* A consumer that shares the ring copies a slot before it knows that the slot is its own; when it is not, the
 * producer may write there meanwhile, and the copy is thrown away. So the sanitizer is shown that copy of a
 * pointer as an atomic one. It is relaxed: what an item points to is ordered by the ring's counters alone,
 * and an item written too late is still reported. */
static void copy_slot(void *to, const void *from, size_t bytes)
{
    (void)bytes;
    __atomic_store_n((void **)to, __atomic_load_n((void *const *)from, __ATOMIC_RELAXED), __ATOMIC_RELAXED);
}
#define memcpy(to, from, bytes) copy_slot(to, from, bytes)
#endif

#include "queue/ck.h"

enum { CACHE_LINE = 64, RING_CAPACITY_MAX = 1 << 30 };

struct ring {
    ck_ring_t control; /* ck keeps its head and its tail on lines of their own, if the ring begins on one */
    alignas(CACHE_LINE) pthread_mutex_t producers; /* taken by ring_push_many only */
    ck_ring_buffer_t slots[];
};

/* ck keeps one slot free and wants a power of two. */
static size_t slots_for(size_t capacity)
{
    size_t slots = 4;
    while (slots < capacity + 1)
        slots *= 2;
    return slots;
}

ring *ring_new(size_t capacity)
{
    if (capacity > RING_CAPACITY_MAX)
        return NULL;
    size_t slots = slots_for(capacity);
    size_t bytes = sizeof(ring) + slots * sizeof(ck_ring_buffer_t);
    bytes = (bytes + CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE;
    ring *r = aligned_alloc(CACHE_LINE, bytes);
    if (!r)
        return NULL;
    ck_ring_init(&r->control, (unsigned)slots);
    pthread_mutex_init(&r->producers, NULL);
    return r;
}

void ring_free(ring *r)
{
    if (r)
        pthread_mutex_destroy(&r->producers);
    free(r);
}

int ring_push(ring *r, void *item)
{
    return ck_ring_enqueue_spmc(&r->control, r->slots, item) ? 0 : -EAGAIN;
}

/* Not ck's own way for many producers: there each spins until those before it have published, and with more
 * threads than cores the spinning ones keep the one they wait for off the processor. They then advance by an
 * item per time slice, and do not get out of that: 200,000 items from three threads on two cores took more
 * than four seconds in every fourth run. With a lock it is 40 ms at most where nothing else runs, for some 5
 * ns a push when alone. */
int ring_push_many(ring *r, void *item)
{
    pthread_mutex_lock(&r->producers);
    int err = ring_push(r, item);
    pthread_mutex_unlock(&r->producers);
    return err;
}

void *ring_pop(ring *r)
{
    void *item;
    return ck_ring_dequeue_spsc(&r->control, r->slots, &item) ? item : NULL;
}

void *ring_pop_shared(ring *r)
{
    void *item;
    return ck_ring_dequeue_spmc(&r->control, r->slots, &item) ? item : NULL;
}

void *ring_pop_many(ring *r)
{
    void *item;
    return ck_ring_dequeue_mpsc(&r->control, r->slots, &item) ? item : NULL;
}

size_t ring_depth(const ring *r)
{
    return ck_ring_size(&r->control);
}

size_t ring_capacity(const ring *r)
{
    return ck_ring_capacity(&r->control) - 1;
}
