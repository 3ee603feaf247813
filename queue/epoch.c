#include "queue/epoch.h"

#include <sched.h>
#include <stdlib.h>

enum { BATCH = 16, BATCHES_KEPT = 4 };

void epoch_init(epoch *e, size_t most_bytes)
{
    atomic_init(&e->now, 1);
    atomic_init(&e->most_bytes, most_bytes);
    e->members = NULL;
    pthread_mutex_init(&e->lock, NULL);
}

void epoch_fini(epoch *e)
{
    pthread_mutex_destroy(&e->lock);
}

void epoch_join(epoch *e, epoch_member *m)
{
    *m = (epoch_member){0};
    pthread_mutex_lock(&e->lock);
    m->next = e->members;
    e->members = m;
    pthread_mutex_unlock(&e->lock);
}

/* Has every member been seen outside, or inside since then? */
static bool is_over(epoch *e, uint64_t stamp)
{
    bool over = true;
    pthread_mutex_lock(&e->lock);
    for (epoch_member *m = e->members; m && over; m = m->next) {
        uint64_t since = atomic_load_explicit(&m->since, memory_order_acquire); /* pairs with epoch_leave */
        over = since == 0 || since >= stamp;
    }
    pthread_mutex_unlock(&e->lock);
    return over;
}

static void free_waiting(epoch_member *m)
{
    while (m->waiting) {
        epoch_garbage *next = m->waiting->next;
        free(m->waiting);
        m->waiting = next;
    }
    m->waiting_bytes = 0;
}

static void close_batch(epoch *e, epoch_member *m)
{
    atomic_thread_fence(memory_order_seq_cst); /* C */
    m->stamp = atomic_fetch_add_explicit(&e->now, 1, memory_order_relaxed) + 1;
    m->waiting = m->fresh;
    m->waiting_bytes = m->fresh_bytes;
    m->fresh = NULL;
    m->fresh_count = m->fresh_bytes = 0;
}

/* Free what can be freed. Most often nobody is inside, and that is all. */
static void tidy(epoch *e, epoch_member *m)
{
    if (m->waiting && is_over(e, m->stamp))
        free_waiting(m);
    if (m->waiting)
        return;
    close_batch(e, m);
    if (is_over(e, m->stamp))
        free_waiting(m);
}

/* A section is short, but its thread may have lost its core in it. */
static void settle(epoch *e, epoch_member *m)
{
    while (m->waiting || m->fresh) {
        tidy(e, m);
        if (m->waiting)
            sched_yield();
    }
}

void epoch_drop(epoch *e, epoch_member *m, epoch_garbage *g, size_t bytes)
{
    size_t most = atomic_load_explicit(&e->most_bytes, memory_order_relaxed);
    g->next = m->fresh;
    m->fresh = g;
    m->fresh_count++;
    m->fresh_bytes += bytes;
    if (m->fresh_bytes + m->waiting_bytes > most || m->fresh_count >= (size_t)BATCHES_KEPT * BATCH)
        settle(e, m);
    else if (m->fresh_count % BATCH == 0 || m->fresh_bytes > most / BATCHES_KEPT)
        tidy(e, m);
}

void epoch_part(epoch *e, epoch_member *m)
{
    settle(e, m);
    pthread_mutex_lock(&e->lock);
    epoch_member **at = &e->members;
    while (*at != m)
        at = &(*at)->next;
    *at = m->next;
    pthread_mutex_unlock(&e->lock);
}
