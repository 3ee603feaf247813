#include "queue/timers.h"

#include <errno.h>
#include <stdlib.h>

static void place(timers *h, size_t slot, timer *t)
{
    h->heap[slot - 1] = t;
    t->slot = slot;
}

static void rise(timers *h, timer *t, size_t slot)
{
    while (slot > 1 && h->heap[slot / 2 - 1]->due_ns > t->due_ns) {
        place(h, slot, h->heap[slot / 2 - 1]);
        slot /= 2;
    }
    place(h, slot, t);
}

static void sink(timers *h, timer *t, size_t slot)
{
    for (;;) {
        size_t child = slot * 2;
        if (child > h->n)
            break;
        if (child < h->n && h->heap[child]->due_ns < h->heap[child - 1]->due_ns)
            child++;
        if (h->heap[child - 1]->due_ns >= t->due_ns)
            break;
        place(h, slot, h->heap[child - 1]);
        slot = child;
    }
    place(h, slot, t);
}

int timers_reserve(timers *h, size_t more)
{
    if (h->cap - h->n >= more)
        return 0;
    size_t cap = h->cap ? h->cap * 2 : 64;
    if (cap < h->n + more)
        cap = h->n + more;
    timer **heap = realloc(h->heap, cap * sizeof(timer *));
    if (!heap)
        return -ENOMEM;
    h->heap = heap;
    h->cap = cap;
    return 0;
}

void timers_fini(timers *h)
{
    free(h->heap);
    *h = (timers){0};
}

int timers_add(timers *h, timer *t, uint64_t due_ns)
{
    if (timers_reserve(h, 1) < 0)
        return -ENOMEM;
    t->due_ns = due_ns;
    h->n++;
    rise(h, t, h->n);
    return 0;
}

void timers_remove(timers *h, timer *t)
{
    size_t slot = t->slot;
    if (!slot)
        return;
    timer *last = h->heap[h->n - 1];
    h->n--;
    t->slot = 0;
    if (last == t)
        return;
    if (last->due_ns < t->due_ns)
        rise(h, last, slot);
    else
        sink(h, last, slot);
}

timer *timers_first(const timers *h)
{
    return h->n ? h->heap[0] : NULL;
}
