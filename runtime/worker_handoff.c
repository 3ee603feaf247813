/* The way of a worker's tasks to heavy workers, and back. */
#include <assert.h>
#include <limits.h>

#include "runtime/heavy.h"
#include "runtime/worker_parts.h"

static void adopt_done_of(worker *w, const heavy *from)
{
    HttpTask *t;
    ring *done = heavy_done_ring(from, w->index);
    while ((t = ring_pop(done)))
        worker_release(w, t);
}

/* A turn with nothing finished costs a load for 64 heavy workers. */
void worker_adopt_done(worker *w)
{
    for (unsigned i = 0; i < w->finished_words; i++) {
        if (!atomic_load_explicit(&w->finished[i], memory_order_relaxed))
            continue;
        uint64_t bits = atomic_exchange_explicit(&w->finished[i], 0, memory_order_acquire);
        for (; bits; bits &= bits - 1)
            adopt_done_of(w, w->pool->heavies[i * 64 + (unsigned)__builtin_ctzll(bits)]);
    }
}

bool worker_is_any_done(const worker *w)
{
    for (unsigned i = 0; i < w->finished_words; i++)
        if (atomic_load_explicit(&w->finished[i], memory_order_relaxed))
            return true;
    return false;
}

/* --- tasks that wait for a heavy worker --- */

static void put_on_shared(worker *w, HttpTask *t)
{
    w->published_ns[w->published++ % w->capacity] = t->ready_ns;
    int err = ring_push(w->shared, t);
    assert(err == 0 && "a shared ring holds every connection's task");
    (void)err;
}

/* When the oldest of them has waited for too long; UINT64_MAX for never. */
static uint64_t stale_ns(const worker *w)
{
    uint64_t most = w->pool->config.max_wait_ns;
    size_t depth = most ? ring_depth(w->shared) : 0;
    return depth ? w->published_ns[(w->published - depth) % w->capacity] + most : UINT64_MAX;
}

/* Who waits while all heavy workers are held shall not wait until one of them looks. They may take the oldest
 * just before it is taken here: then it is a younger one, which goes to the end. */
void worker_refuse_stale(worker *w)
{
    while (stale_ns(w) < w->exec.now_ns) {
        HttpTask *t = ring_pop_shared(w->shared);
        if (!t)
            return;
        if (w->exec.now_ns - t->ready_ns <= w->pool->config.max_wait_ns) {
            put_on_shared(w, t);
            pool_wake_heavy(w->pool);
            return;
        }
        pool_taken(w->pool);
        pool_ran(w->pool, t->cost_ns);
        worker_refuse(t, "The request waited too long for a thread");
        worker_release(w, t);
    }
}

/* Returns: whether there is a place for it among the tasks that wait for heavy workers. */
bool worker_hand_over(worker *w, HttpTask *t, unsigned *ret_retry_s)
{
    t->heavy = pool_admit(w->pool, t, ret_retry_s) == 0;
    return t->heavy;
}

void worker_publish(worker *w)
{
    if (!w->outbox_count)
        return;
    for (size_t i = 0; i < w->outbox_count; i++)
        put_on_shared(w, w->outbox[i]);
    w->outbox_count = 0;
    pool_wake_heavy(w->pool);
}

/* How long the oldest task may go on waiting for a heavy worker: milliseconds, -1 for as long as it likes. */
int worker_patience_ms(const worker *w)
{
    uint64_t then = stale_ns(w);
    if (then == UINT64_MAX)
        return -1;
    uint64_t ms = then > w->exec.now_ns ? (then - w->exec.now_ns) / 1000000 + 1 : 0;
    return ms < INT_MAX ? (int)ms : INT_MAX;
}

ring *worker_shared_ring(worker *w)
{
    return w->shared;
}

void worker_tell_done(worker *w, unsigned heavy_index)
{
    /* Release; pairs with the exchange in adopt_done. Also when the bit is set already: the owner may just
     * have read it, and looked at the ring before the push. */
    atomic_fetch_or_explicit(&w->finished[heavy_index / 64], UINT64_C(1) << heavy_index % 64,
                             memory_order_release);
}
