#include "queue/inbox.h"

#include <stddef.h>

void inbox_init(inbox *i, wake *w)
{
    atomic_init(&i->last, NULL);
    i->wake = w;
}

void inbox_post(inbox *i, letter *l)
{
    letter *before = atomic_load_explicit(&i->last, memory_order_relaxed);
    do
        l->next = before;
    while (!atomic_compare_exchange_weak_explicit(&i->last, &before, l, memory_order_release,
                                                  memory_order_relaxed));
    wake_signal(i->wake);
}

letter *inbox_take(inbox *i)
{
    if (inbox_is_empty(i))
        return NULL;
    letter *newest = atomic_exchange_explicit(&i->last, NULL, memory_order_acquire), *first = NULL;
    while (newest) {
        letter *before = newest->next;
        newest->next = first;
        first = newest;
        newest = before;
    }
    return first;
}
