#include "queue/seen.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { SHELVES_LEAST = 64 };

struct seen_id {
    timer forgotten; /* first: the heap's */
    seen_id *next;
    uint64_t hash, at_ns;
    char text[];
};

void seen_fini(seen *s)
{
    for (timer *t; (t = timers_first(&s->windows)) != NULL;) {
        timers_remove(&s->windows, t);
        free(t);
    }
    timers_fini(&s->windows);
    free(s->shelves);
    *s = (seen){0};
}

static seen_id **shelf_of(const seen *s, uint64_t hash)
{
    return &s->shelves[hash & (s->shelves_n - 1)];
}

static seen_id *find(const seen *s, uint64_t hash, const char *id)
{
    seen_id *one = s->shelves ? *shelf_of(s, hash) : NULL;
    while (one && (one->hash != hash || strcmp(one->text, id) != 0))
        one = one->next;
    return one;
}

bool seen_has(const seen *s, const siphash_key *key, const char *id, uint64_t now_ns, uint64_t window_ns)
{
    const seen_id *one = find(s, siphash(key, id, strlen(id)), id);
    return one && now_ns < one->forgotten.due_ns && now_ns - one->at_ns < window_ns;
}

static void forget(seen *s, timer *t)
{
    seen_id *one = (seen_id *)t, **at = shelf_of(s, one->hash);
    while (*at != one)
        at = &(*at)->next;
    *at = one->next;
    timers_remove(&s->windows, t);
    s->n--;
    free(one);
}

/* As many shelves as there are ids. With fewer it is slower, so it does not matter when there is no memory.
 */
static void widen(seen *s)
{
    if (s->n < s->shelves_n)
        return;
    size_t old_n = s->shelves_n;
    seen_id **old = s->shelves, **wider = calloc(old_n ? old_n * 2 : SHELVES_LEAST, sizeof(seen_id *));
    if (!wider)
        return;
    s->shelves = wider;
    s->shelves_n = old_n ? old_n * 2 : SHELVES_LEAST;
    for (size_t i = 0; i < old_n; i++)
        while (old[i]) {
            seen_id *one = old[i], **to = shelf_of(s, one->hash);
            old[i] = one->next;
            one->next = *to;
            *to = one;
        }
    free(old);
}

static seen_id *insert(seen *s, uint64_t hash, const char *id)
{
    size_t bytes = strlen(id) + 1;
    widen(s);
    if (!s->shelves || timers_reserve(&s->windows, 1) < 0)
        return NULL;
    seen_id *one = calloc(1, sizeof(*one) + bytes);
    if (!one)
        return NULL;
    memcpy(one->text, id, bytes);
    one->hash = hash;
    one->next = *shelf_of(s, hash);
    *shelf_of(s, hash) = one;
    s->n++;
    return one;
}

int seen_add(seen *s, const siphash_key *key, const char *id, uint64_t now_ns, uint64_t window_ns,
             size_t most)
{
    uint64_t hash = siphash(key, id, strlen(id));
    for (timer *t; (t = timers_first(&s->windows)) != NULL && t->due_ns <= now_ns;)
        forget(s, t);
    seen_id *one = find(s, hash, id);
    bool too_early = !one && s->n >= most;
    if (too_early)
        forget(s, timers_first(&s->windows));
    if (!one && !(one = insert(s, hash, id)))
        return -ENOMEM;
    timers_remove(&s->windows, &one->forgotten);
    one->at_ns = now_ns;
    timers_add(&s->windows, &one->forgotten, now_ns + window_ns); /* there is room: it was reserved */
    return too_early;
}
