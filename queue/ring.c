#include "queue/ring.h"

#include <errno.h>
#include <stdlib.h>

#include "queue/ck.h"

enum { CACHE_LINE = 64, RING_CAPACITY_MAX = 1 << 30 };

struct ring {
    ck_ring_t control; /* ck keeps its head and its tail on lines of their own, if the ring begins on one */
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
    if (r)
        ck_ring_init(&r->control, (unsigned)slots);
    return r;
}

void ring_free(ring *r)
{
    free(r);
}

int ring_push(ring *r, void *item)
{
    return ck_ring_enqueue_spmc(&r->control, r->slots, item) ? 0 : -EAGAIN;
}

int ring_push_many(ring *r, void *item)
{
    return ck_ring_enqueue_mpsc(&r->control, r->slots, item) ? 0 : -EAGAIN;
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
