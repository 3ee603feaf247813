#include "queue/mem_queue.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

enum { SLOTS_LEAST = 64, RIPEN_MOST = 256 };

#define RETRY_LEASE_NS UINT64_C(100000000)

mem_queue *mem_queue_new(const char *name, uint64_t leases)
{
    size_t bytes = strlen(name) + 1;
    mem_queue *q = calloc(1, sizeof(*q) + bytes);
    if (!q)
        return NULL;
    memcpy(q->name, name, bytes);
    pthread_mutex_init(&q->lock, NULL);
    q->armed_ns = q->waiting_first_ns = UINT64_MAX;
    q->last_lease = leases;
    q->waiting_end = &q->waiting;
    return q;
}

void mem_queue_free(mem_queue *q)
{
    for (uint32_t i = 0; i < q->slots_used; i++) {
        mem_item *it = q->slots[i].item;
        if (it)
            mem_queue_let_go(q, it);
        mem_item_unref(it);
    }
    uint64_t count;
    mem_chain_unref(mem_queue_empty(q, &count));
    timers_fini(&q->delays);
    timers_fini(&q->leases);
    seen_fini(&q->ids);
    free(q->slots);
    pthread_mutex_destroy(&q->lock);
    free(q);
}

/* --- items --- */

static const mq_message *message_of(const mem_item *it)
{
    return (const mq_message *)(const void *)it - 1;
}

const char *mem_item_from(const mem_item *it)
{
    return it->is_revived ? "" : message_of(it)->from;
}

const char *mem_item_note(const mem_item *it)
{
    return it->is_revived ? "" : message_of(it)->note;
}

mem_item *mem_item_new(str body, const char *id, const char *from, const char *note)
{
    mq_message *m = mq_message_new_with(sizeof(mem_item), body, id, from, note, NULL);
    if (!m)
        return NULL;
    mem_item *it = (mem_item *)(void *)(m + 1);
    it->progress = -1;
    return it;
}

mem_item *mem_item_copy(const mem_item *it, const char *from, const char *note)
{
    const mq_message *m = message_of(it);
    mem_item *copy = mem_item_new(m->body, m->id, from, note);
    if (!copy)
        return NULL;
    mem_item_message(copy)->priority = m->priority;
    mem_item_message(copy)->pushed_ms = m->pushed_ms;
    copy->attempt = it->attempt;
    copy->progress = it->progress;
    copy->ready_ms = it->ready_ms;
    return copy;
}

void mem_item_unref(mem_item *it)
{
    if (it)
        mq_message_unref(mem_item_message(it));
}

void mem_chain_unref(mem_item *chain)
{
    while (chain) {
        mem_item *next = chain->next;
        mem_item_unref(chain);
        chain = next;
    }
}

/* --- ready and delayed --- */

uint64_t mem_queue_count(const mem_queue *q)
{
    return q->ready_n + q->taken_n + q->delays.n;
}

void mem_queue_put(mem_queue *q, mem_item *it)
{
    int priority = mem_item_message(it)->priority;
    mem_list *list = &q->ready[priority];
    it->next = NULL;
    it->previous = list->last;
    *(list->last ? &list->last->next : &list->first) = it;
    list->last = it;
    q->filled |= 1u << priority;
    q->ready_n++;
}

void mem_queue_put_first(mem_queue *q, mem_item *it)
{
    int priority = mem_item_message(it)->priority;
    mem_list *list = &q->ready[priority];
    it->previous = NULL;
    it->next = list->first;
    *(list->first ? &list->first->previous : &list->last) = it;
    list->first = it;
    q->filled |= 1u << priority;
    q->ready_n++;
}

void mem_queue_delay(mem_queue *q, mem_item *it, uint64_t due_ns)
{
    timers_add(&q->delays, &it->timer, due_ns);
}

static void unlink_ready(mem_queue *q, mem_item *it)
{
    int priority = mem_item_message(it)->priority;
    mem_list *list = &q->ready[priority];
    *(it->previous ? &it->previous->next : &list->first) = it->next;
    *(it->next ? &it->next->previous : &list->last) = it->previous;
    if (!list->first)
        q->filled &= ~(1u << priority);
    q->ready_n--;
}

void mem_queue_remove(mem_queue *q, mem_item *it)
{
    if (timer_is_set(&it->timer))
        timers_remove(&q->delays, &it->timer);
    else
        unlink_ready(q, it);
}

mem_item *mem_queue_after(const mem_queue *q, const mem_item *it)
{
    if (it && it->next)
        return it->next;
    unsigned below = it ? (1u << message_of(it)->priority) - 1 : ~0u;
    unsigned left = q->filled & below;
    return left ? q->ready[31 - __builtin_clz(left)].first : NULL;
}

mem_item *mem_queue_empty(mem_queue *q, uint64_t *ret_count)
{
    mem_item *chain = NULL;
    *ret_count = q->ready_n + q->delays.n;
    for (int i = 0; i < MQ_PRIORITIES; i++)
        if (q->ready[i].first) {
            q->ready[i].last->next = chain;
            chain = q->ready[i].first;
            q->ready[i] = (mem_list){0};
        }
    for (size_t i = 0; i < q->delays.n; i++) {
        mem_item *it = (mem_item *)q->delays.heap[i];
        it->next = chain;
        it->timer.slot = 0;
        chain = it;
    }
    q->delays.n = q->ready_n = 0;
    q->filled = 0;
    return chain;
}

/* --- taken --- */

/* So many slots more can be had without failing. */
static int reserve_slots(mem_queue *q, uint64_t more)
{
    uint64_t wanted = q->taken_n + more, cap = q->slots_cap ? q->slots_cap : SLOTS_LEAST;
    if (wanted <= q->slots_cap)
        return 0;
    while (cap < wanted)
        cap *= 2;
    mem_slot *slots = cap <= UINT32_MAX ? realloc(q->slots, cap * sizeof(mem_slot)) : NULL;
    if (!slots)
        return -ENOMEM;
    q->slots = slots;
    q->slots_cap = (uint32_t)cap;
    return 0;
}

static uint32_t new_slot(mem_queue *q)
{
    if (!q->first_free)
        return q->slots_used++;
    uint32_t slot = q->first_free - 1;
    q->first_free = q->slots[slot].next_free;
    return slot;
}

/* One that nobody else has, since its message will be written to: itself, or a copy when the last one that it
 * was given to has it still. */
static mem_item *own(mem_item *it)
{
    if (!mq_message_is_shared(mem_item_message(it)))
        return it;
    return mem_item_copy(it, mem_item_from(it), mem_item_note(it));
}

static mq_message *deliver(mem_queue *q, mem_item *it, int64_t lease_ms, uint64_t lease_ns)
{
    mq_message *m = mem_item_message(it);
    it->slot = new_slot(q);
    q->slots[it->slot].item = it;
    q->taken_n++;
    it->lease = ++q->last_lease;
    it->lease_ms = lease_ms;
    it->attempt++;
    it->progress = -1;
    if (lease_ms)
        timers_add(&q->leases, &it->timer, lease_ns); /* there is room: it was reserved */
    m->next = NULL;
    m->from = mem_item_from(it);
    m->note = mem_item_note(it);
    m->attempt = it->attempt;
    m->due_ms = lease_ms;
    m->taken = true;
    m->handle = it->slot;
    m->lease = it->lease;
    mq_message_ref(m);
    return m;
}

mq_message *mem_queue_take(mem_queue *q, unsigned most, int64_t lease_ms, uint64_t lease_ns, int *ret_err)
{
    mq_message *list = NULL, **end = &list;
    uint64_t n = most < q->ready_n ? most : q->ready_n;
    *ret_err = 0;
    if (n == 0)
        return NULL;
    if (reserve_slots(q, n) < 0 || (lease_ms && timers_reserve(&q->leases, n) < 0))
        *ret_err = -ENOMEM;
    for (; n > 0 && !*ret_err; n--) {
        mem_item *it = mem_queue_after(q, NULL);
        assert(it && "n of them are ready");
        mem_item *mine = it ? own(it) : NULL;
        if (!mine) {
            *ret_err = list ? 0 : -ENOMEM;
            break;
        }
        unlink_ready(q, it);
        if (mine != it)
            mem_item_unref(it);
        *end = deliver(q, mine, lease_ms, lease_ns);
        end = &(*end)->next;
    }
    return list;
}

mem_item *mem_queue_held(const mem_queue *q, const mq_message *m)
{
    mem_item *it = m->handle < q->slots_used ? q->slots[m->handle].item : NULL;
    return it && m->lease && it->lease == m->lease && !it->is_settled ? it : NULL;
}

void mem_queue_let_go(mem_queue *q, mem_item *it)
{
    timers_remove(&q->leases, &it->timer);
    q->slots[it->slot].item = NULL;
    q->slots[it->slot].next_free = q->first_free;
    q->first_free = it->slot + 1;
    q->taken_n--;
    it->lease = 0;
    it->is_settled = false;
}

int mem_queue_lease(mem_queue *q, mem_item *it, int64_t lease_ms, uint64_t lease_ns)
{
    if (lease_ms && timers_reserve(&q->leases, 1) < 0)
        return -ENOMEM;
    timers_remove(&q->leases, &it->timer);
    if (lease_ms)
        timers_add(&q->leases, &it->timer, lease_ns);
    it->lease_ms = lease_ms;
    return 0;
}

/* --- times --- */

static uint64_t earlier(uint64_t ns, const timers *h)
{
    const timer *first = timers_first(h);
    return first && first->due_ns < ns ? first->due_ns : ns;
}

uint64_t mem_queue_due(const mem_queue *q)
{
    return earlier(earlier(q->waiting_first_ns, &q->delays), &q->leases);
}

/* A lease has ended. While its holder settles it, that comes first. */
static bool end_lease(mem_queue *q, mem_item *it, uint64_t now_ns, int64_t now_ms)
{
    if (it->is_settled) {
        timers_remove(&q->leases, &it->timer);
        timers_add(&q->leases, &it->timer, now_ns + RETRY_LEASE_NS);
        return false;
    }
    mem_queue_let_go(q, it);
    it->ready_ms = now_ms;
    mem_queue_put(q, it);
    return true;
}

bool mem_queue_ripen(mem_queue *q, uint64_t now_ns, int64_t now_ms)
{
    bool any = false;
    for (int i = 0; i < RIPEN_MOST && earlier(UINT64_MAX, &q->delays) <= now_ns; i++, any = true) {
        timer *t = timers_first(&q->delays);
        timers_remove(&q->delays, t);
        mem_queue_put(q, (mem_item *)t);
    }
    for (int i = 0; i < RIPEN_MOST && earlier(UINT64_MAX, &q->leases) <= now_ns; i++)
        any |= end_lease(q, (mem_item *)timers_first(&q->leases), now_ns, now_ms);
    return any;
}

/* --- looking --- */

void mem_queue_stats(const mem_queue *q, mq_stats *ret)
{
    *ret = (mq_stats){.ready = q->ready_n, .delayed = q->delays.n, .taken = q->taken_n};
    strncpy(ret->name, q->name, sizeof(ret->name) - 1);
    for (int i = 0; i < MQ_PRIORITIES; i++) {
        const mem_item *first = q->ready[i].first;
        if (first && (!ret->oldest_ms || first->ready_ms < ret->oldest_ms))
            ret->oldest_ms = first->ready_ms;
    }
}

/* A message as it was when it was looked at. */
typedef struct sight {
    mem_item *item; /* held */
    const char *from, *note;
    int64_t due_ms;
    double progress;
    unsigned attempt;
    bool taken;
} sight;

static sight look_at(mem_item *it)
{
    mq_message_ref(mem_item_message(it));
    return (sight){.item = it,
                   .from = mem_item_from(it),
                   .note = mem_item_note(it),
                   .due_ms = it->lease ? it->lease_ms : it->ready_ms,
                   .progress = it->progress,
                   .attempt = it->attempt,
                   .taken = it->lease != 0};
}

/* The places in the heap that may hold the next one: those below one that was looked at. The earliest comes
 * last. */
typedef struct frontier {
    size_t *places, n;
} frontier;

static void add_place(frontier *f, const timers *h, size_t place)
{
    size_t i = f->n++;
    for (; i > 0 && h->heap[f->places[i - 1]]->due_ns < h->heap[place]->due_ns; i--)
        f->places[i] = f->places[i - 1];
    f->places[i] = place;
}

static size_t look_at_delayed(const timers *h, frontier *f, sight *to, size_t most)
{
    size_t n = 0;
    f->n = 0;
    if (h->n)
        add_place(f, h, 0);
    while (n < most && f->n) {
        size_t place = f->places[--f->n];
        to[n++] = look_at((mem_item *)h->heap[place]);
        for (size_t child = 2 * place + 1; child <= 2 * place + 2 && child < h->n; child++)
            add_place(f, h, child);
    }
    return n;
}

static size_t look(mem_queue *q, frontier *f, sight *to, size_t most)
{
    size_t n = 0;
    pthread_mutex_lock(&q->lock);
    for (mem_item *it = NULL; n < most && (it = mem_queue_after(q, it)) != NULL;)
        to[n++] = look_at(it);
    n += look_at_delayed(&q->delays, f, to + n, most - n);
    for (uint32_t i = 0; n < most && i < q->slots_used; i++)
        if (q->slots[i].item)
            to[n++] = look_at(q->slots[i].item);
    pthread_mutex_unlock(&q->lock);
    return n;
}

static mq_message *copy_of(const sight *s)
{
    const mq_message *m = mem_item_message(s->item);
    mq_message *copy = mq_message_new(m->body, m->id, s->from, s->note, NULL);
    if (!copy)
        return NULL;
    copy->priority = m->priority;
    copy->pushed_ms = m->pushed_ms;
    copy->attempt = s->attempt;
    copy->due_ms = s->due_ms;
    copy->progress = s->progress;
    copy->taken = s->taken;
    return copy;
}

int mem_queue_peek(mem_queue *q, unsigned most, mq_message **ret)
{
    sight *sights = malloc((most + 1) * sizeof(*sights));
    frontier f = {.places = malloc((most + 2) * sizeof(size_t))};
    size_t n = sights && f.places ? look(q, &f, sights, most) : 0;
    int err = sights && f.places ? 0 : -ENOMEM;
    mq_message *list = NULL, **end = &list;
    for (size_t i = 0; i < n; i++) {
        if (!err && !(*end = copy_of(&sights[i])))
            err = -ENOMEM;
        if (!err)
            end = &(*end)->next;
        mem_item_unref(sights[i].item);
    }
    free(sights);
    free(f.places);
    if (err)
        mq_message_free(list);
    else
        *ret = list;
    return err;
}
