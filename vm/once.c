#include "vm/once.h"

/* FNV-1a. Two texts that meet cost one warning. */
static uint64_t hash(const char *text, size_t n)
{
    uint64_t h = 14695981039346656037u;
    for (size_t i = 0; i < n; i++)
        h = (h ^ (unsigned char)text[i]) * 1099511628211u;
    return h ? h : 1;
}

/* A slot is written once, and nothing else hangs on it: relaxed. */
enum once_answer once_tell(once *o, const char *text, size_t n)
{
    uint64_t h = hash(text, n);
    for (size_t i = 0; i < ONCE_SLOTS; i++) {
        _Atomic uint64_t *slot = &o->slots[(h + i) % ONCE_SLOTS];
        uint64_t found = atomic_load_explicit(slot, memory_order_relaxed);
        if (found == h)
            return ONCE_KNOWN;
        if (found != 0)
            continue;
        if (atomic_load_explicit(&o->count, memory_order_relaxed) >= ONCE_MOST)
            return ONCE_KNOWN;
        if (atomic_compare_exchange_strong_explicit(slot, &found, h, memory_order_relaxed,
                                                    memory_order_relaxed)) {
            unsigned before = atomic_fetch_add_explicit(&o->count, 1, memory_order_relaxed);
            return before + 1 == ONCE_MOST ? ONCE_LAST : ONCE_NEW;
        }
        if (found == h)
            return ONCE_KNOWN;
    }
    return ONCE_KNOWN;
}
