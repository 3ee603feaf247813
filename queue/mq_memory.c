/* mq_memory: queues in the process's memory. They are lost with it.
 *
 * Each queue has a lock, held for moments: messages are made, copied and freed without it. Everything is
 * answered in mq_submit, but a push that waits for room: that one is answered by whoever makes room, or by
 * the thread for times, which is started when the first delay, lease or wait comes. Locks: the table's before
 * a queue's, a queue's before that of the times; never two queues'; none while `done` or `ready` is called.
 */
#include "queue/mq.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "queue/mem_queue.h"
#include "queue/watchers.h"

enum { MAX_PRESET = 100000, SHELVES_LEAST = 64, LEASE_BITS = 40 };

#define NS_PER_MS INT64_C(1000000)
#define WAIT_MAX  (INT64_C(100) * 366 * 86400 * 1000) /* ms; longer ones end then */

typedef struct engine {
    const mq *front;
    uint64_t max; /* messages in a queue */
    siphash_key key;
    watchers *watchers;

    pthread_mutex_t table_lock;
    mem_queue **shelves; /* [table_lock] a power of two of lists; queues stay until the end */
    size_t shelves_n, queues_n;

    pthread_mutex_t time_lock;
    pthread_cond_t time_changed;
    timers times;           /* [time_lock] of queues: when something is due in them */
    bool closing;           /* [time_lock] */
    atomic_bool has_thread; /* written with time_lock */
    pthread_t thread;

    atomic_bool is_closed; /* operations that come from here on are refused */
} engine;

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* ms of a length of time, as ns. */
static uint64_t length_ns(int64_t ms)
{
    return ms <= 0 ? 0 : (uint64_t)((ms < WAIT_MAX ? ms : WAIT_MAX) * NS_PER_MS);
}

/* The moment so many ms from now. */
static int64_t from_now_ms(int64_t ms)
{
    return mq_now_ms() + (int64_t)length_ns(ms) / NS_PER_MS;
}

/* --- the table --- */

static void widen(engine *e)
{
    if (e->queues_n < e->shelves_n)
        return;
    size_t n = e->shelves_n ? e->shelves_n * 2 : SHELVES_LEAST;
    mem_queue **wider = calloc(n, sizeof(mem_queue *));
    if (!wider)
        return; /* it is slower then */
    for (size_t i = 0; i < e->shelves_n; i++)
        while (e->shelves[i]) {
            mem_queue *q = e->shelves[i];
            uint64_t hash = siphash(&e->key, q->name, strlen(q->name));
            e->shelves[i] = q->next;
            q->next = wider[hash & (n - 1)];
            wider[hash & (n - 1)] = q;
        }
    free(e->shelves);
    e->shelves = wider;
    e->shelves_n = n;
}

static mem_queue *lookup(const engine *e, uint64_t hash, const char *name)
{
    mem_queue *q = e->shelves ? e->shelves[hash & (e->shelves_n - 1)] : NULL;
    while (q && strcmp(q->name, name) != 0)
        q = q->next;
    return q;
}

/* Room for it among the times is made here, so that setting its timer cannot fail. */
static mem_queue *add(engine *e, uint64_t hash, const char *name)
{
    widen(e);
    mem_queue *q = e->shelves ? mem_queue_new(name, (uint64_t)e->queues_n << LEASE_BITS) : NULL;
    if (!q)
        return NULL;
    pthread_mutex_lock(&e->time_lock);
    int err = timers_reserve(&e->times, e->queues_n + 1 - e->times.n);
    pthread_mutex_unlock(&e->time_lock);
    if (err) {
        mem_queue_free(q);
        return NULL;
    }
    q->next = e->shelves[hash & (e->shelves_n - 1)];
    e->shelves[hash & (e->shelves_n - 1)] = q;
    e->queues_n++;
    return q;
}

/* NULL: there is none; or, with `make`, memory is short. */
static mem_queue *find(engine *e, const char *name, bool make)
{
    uint64_t hash = siphash(&e->key, name, strlen(name));
    pthread_mutex_lock(&e->table_lock);
    mem_queue *q = lookup(e, hash, name);
    if (!q && make)
        q = add(e, hash, name);
    pthread_mutex_unlock(&e->table_lock);
    return q;
}

/* --- what follows from a change --- */

/* What is to be done without the lock. */
typedef struct after {
    bool ready;   /* something can be taken that could not before */
    mq_op *ended; /* pushes that waited */
} after;

/* Let the thread look here when something is due. With q's lock. */
static void arm(engine *e, mem_queue *q)
{
    uint64_t due_ns = mem_queue_due(q);
    if (due_ns >= q->armed_ns)
        return;
    q->armed_ns = due_ns;
    pthread_mutex_lock(&e->time_lock);
    timers_remove(&e->times, &q->timer);
    timers_add(&e->times, &q->timer, due_ns); /* there is room: add() */
    if (timers_first(&e->times) == &q->timer)
        pthread_cond_signal(&e->time_changed);
    pthread_mutex_unlock(&e->time_lock);
}

static void end(const engine *e, mq_op *op)
{
    if (op->err == -EAGAIN)
        mq_finish(op, -EAGAIN, "queue \"%s\" is full: it holds %llu messages", op->queue,
                  (unsigned long long)e->max);
    else
        mq_finish(op, op->err, NULL);
}

static void follow(engine *e, mem_queue *q, const after *a)
{
    if (a->ready)
        watchers_call(e->watchers, q->name);
    for (mq_op *op = a->ended, *next; op; op = next) {
        next = op->next;
        end(e, op);
    }
}

/* --- pushing --- */

static bool is_checked(const mq_op *op)
{
    return op->id && *op->id && op->window_ms > 0;
}

/* Too many ids within their windows: once for each queue. */
static void tell_of_ids(const engine *e, mem_queue *q)
{
    const mq_config *config = mq_config_of(e->front);
    char text[MQ_ERROR_BYTES];
    if (!config->tell || q->told_of_ids)
        return;
    q->told_of_ids = true;
    snprintf(text, sizeof(text),
             "queue \"%s\": more than %llu ids within their windows; the oldest are forgotten early", q->name,
             (unsigned long long)e->max);
    config->tell(config->user, 1, text);
}

static int remember(engine *e, mem_queue *q, const mq_op *op)
{
    int r = seen_add(&q->ids, &e->key, op->id, now_ns(), length_ns(op->window_ms), e->max);
    if (r > 0)
        tell_of_ids(e, q);
    return r < 0 ? r : 0;
}

/* With q's lock. Returns: 0, it is in the queue or a duplicate; -EAGAIN or -ENOMEM, it is still the caller's.
 */
static int place(engine *e, mem_queue *q, mq_op *op, mem_item **it, bool *ready)
{
    uint64_t delay_ns = length_ns(op->delay_ms);
    op->duplicate = is_checked(op) && seen_has(&q->ids, &e->key, op->id, now_ns(), length_ns(op->window_ms));
    if (op->duplicate)
        return 0;
    if (mem_queue_count(q) >= e->max)
        return -EAGAIN;
    if ((delay_ns && timers_reserve(&q->delays, 1) < 0) || (is_checked(op) && remember(e, q, op) < 0))
        return -ENOMEM;
    q->exists = true;
    mem_item_message(*it)->pushed_ms = mq_now_ms();
    (*it)->ready_ms = mem_item_message(*it)->pushed_ms + (int64_t)delay_ns / NS_PER_MS;
    if (delay_ns)
        mem_queue_delay(q, *it, now_ns() + delay_ns);
    else
        mem_queue_put(q, *it);
    *ready |= delay_ns == 0;
    *it = NULL;
    return 0;
}

/* op->messages keeps its message until there is room. With q's lock. */
static void wait_for_room(mem_queue *q, mq_op *op, mem_item **it)
{
    uint64_t until_ns = now_ns() + length_ns(op->wait_ms);
    op->messages = mem_item_message(*it);
    op->until_ms = (int64_t)until_ns / NS_PER_MS;
    op->next = NULL;
    *q->waiting_end = op;
    q->waiting_end = &op->next;
    if (until_ns < q->waiting_first_ns)
        q->waiting_first_ns = until_ns;
    *it = NULL;
}

/* Take *at out of those that wait, and have it ended. Returns: its message, the caller's. */
static mem_item *end_wait(mem_queue *q, mq_op **at, int err, after *a)
{
    mq_op *op = *at;
    mem_item *it = (mem_item *)(void *)(op->messages + 1);
    *at = op->next;
    if (!op->next)
        q->waiting_end = at;
    op->messages = NULL;
    op->err = err;
    mq_op **last = &a->ended;
    while (*last)
        last = &(*last)->next;
    op->next = NULL;
    *last = op;
    return it;
}

/* There may be room for those that wait. With q's lock. */
static void admit(engine *e, mem_queue *q, after *a)
{
    while (q->waiting) {
        mq_op *op = q->waiting;
        mem_item *it = (mem_item *)(void *)(op->messages + 1);
        int err = place(e, q, op, &it, &a->ready);
        if (err == -EAGAIN)
            return;
        end_wait(q, &q->waiting, err, a);
        mem_item_unref(it);
    }
    q->waiting_first_ns = UINT64_MAX;
}

static int start_thread(engine *e);

static mem_item *item_of(mq_op *op)
{
    if (op->id && *op->id)
        snprintf(op->id_text, sizeof(op->id_text), "%s", op->id);
    else
        mq_make_id(op->id_text);
    mem_item *it = mem_item_new(op->body, op->id_text, NULL, NULL);
    if (it)
        mem_item_message(it)->priority = op->priority < 0                ? 0
                                         : op->priority >= MQ_PRIORITIES ? MQ_PRIORITIES - 1
                                                                         : op->priority;
    return it;
}

static void push(engine *e, mq_op *op)
{
    after a = {0};
    bool waits = false;
    int err = op->delay_ms > 0 || op->wait_ms > 0 ? start_thread(e) : 0;
    mem_queue *q = err ? NULL : find(e, op->queue, true);
    mem_item *it = q ? item_of(op) : NULL;
    if (!it) {
        mq_finish(op, err ? err : -ENOMEM, NULL);
        return;
    }
    pthread_mutex_lock(&q->lock);
    op->err = place(e, q, op, &it, &a.ready);
    waits = op->err == -EAGAIN && op->wait_ms > 0;
    if (waits)
        wait_for_room(q, op, &it);
    if (op->delay_ms > 0 || waits)
        arm(e, q);
    pthread_mutex_unlock(&q->lock);
    mem_item_unref(it);
    follow(e, q, &a);
    if (!waits)
        end(e, op);
}

/* --- taking and settling --- */

static void take(engine *e, mq_op *op)
{
    int err = op->lease_ms > 0 ? start_thread(e) : 0;
    mem_queue *q = err ? NULL : find(e, op->queue, false);
    unsigned most = op->most < MQ_TAKE_MAX ? op->most : MQ_TAKE_MAX;
    int64_t lease_ms = op->lease_ms > 0 ? from_now_ms(op->lease_ms) : 0;
    uint64_t lease_ns = op->lease_ms > 0 ? now_ns() + length_ns(op->lease_ms) : 0;
    op->messages = NULL;
    if (q) {
        pthread_mutex_lock(&q->lock);
        op->messages = mem_queue_take(q, most, lease_ms, lease_ns, &err);
        if (lease_ms && op->messages)
            arm(e, q);
        pthread_mutex_unlock(&q->lock);
    }
    mq_finish(op, err, NULL);
}

/* What came of the messages of one operation. */
typedef struct outcome {
    unsigned n, stale;
    int err;
} outcome;

static void finish_settling(mq_op *op, const outcome *o)
{
    if (o->err)
        mq_finish(op, o->err, NULL);
    else if (o->stale)
        mq_finish(op, -ESTALE, "queue \"%s\": %u of %u messages are not held by this consumer any more",
                  op->queue, o->stale, o->n);
    else
        mq_finish(op, 0, NULL);
}

typedef bool each_held(engine *e, mem_queue *q, mem_item *it, const mq_op *op, outcome *o);

/* Let `each` settle those that are held, with q's lock. It says whether one has become ready. */
static void settle(engine *e, mq_op *op, each_held *each)
{
    mem_queue *q = find(e, op->queue, false);
    after a = {0};
    outcome o = {0};
    if (q)
        pthread_mutex_lock(&q->lock);
    for (const mq_message *m = op->messages; m; m = m->next, o.n++) {
        mem_item *it = q ? mem_queue_held(q, m) : NULL;
        o.stale += !it;
        if (it)
            a.ready |= each(e, q, it, op, &o);
    }
    if (q) {
        admit(e, q, &a);
        arm(e, q);
        pthread_mutex_unlock(&q->lock);
        follow(e, q, &a);
    }
    finish_settling(op, &o);
}

static bool acknowledge(engine *e, mem_queue *q, mem_item *it, const mq_op *op, outcome *o)
{
    (void)e, (void)op, (void)o;
    mem_queue_let_go(q, it);
    mem_item_unref(it);
    return false;
}

static bool extend(engine *e, mem_queue *q, mem_item *it, const mq_op *op, outcome *o)
{
    (void)e;
    bool is_set = op->lease_ms > 0;
    int err = mem_queue_lease(q, it, is_set ? from_now_ms(op->lease_ms) : 0,
                              is_set ? now_ns() + length_ns(op->lease_ms) : 0);
    if (err)
        o->err = err;
    return false;
}

static bool set_progress(engine *e, mem_queue *q, mem_item *it, const mq_op *op, outcome *o)
{
    (void)e, (void)q, (void)o;
    it->progress = op->progress;
    return false;
}

/* --- giving back, retrying, burying: in the place of a message comes another or the same --- */

/* Those of the operation that are held, as a chain: nobody else may settle them now. */
static mem_item *pick(mem_queue *q, const mq_op *op, outcome *o)
{
    mem_item *first = NULL, **end_of = &first;
    if (q)
        pthread_mutex_lock(&q->lock);
    for (const mq_message *m = op->messages; m; m = m->next, o->n++) {
        mem_item *it = q ? mem_queue_held(q, m) : NULL;
        o->stale += !it;
        if (!it)
            continue;
        it->is_settled = true;
        it->previous = it->next = NULL;
        *end_of = it;
        end_of = &it->next;
    }
    if (q)
        pthread_mutex_unlock(&q->lock);
    return first;
}

/* Give each of the chain an heir with these texts, NULL: its own. Without a lock. Returns: 0 or -ENOMEM, then
 * some have none. */
static int find_heirs(mem_item *chain, const char *from, const char *note)
{
    for (mem_item *it = chain; it; it = it->next) {
        if (from || (note && *note))
            it->previous =
                mem_item_copy(it, from ? from : mem_item_from(it), note ? note : mem_item_note(it));
        else
            mq_message_ref(mem_item_message(it->previous = it));
        if (!it->previous)
            return -ENOMEM;
    }
    return 0;
}

/* Those with an heir are taken no more, the others as before. Returns: a chain of the heirs. With q's lock.
 */
static mem_item *replace(mem_queue *q, mem_item *chain)
{
    mem_item *heirs = NULL, **end_of = &heirs;
    while (chain) {
        mem_item *it = chain, *heir = it->previous;
        chain = it->next;
        it->is_settled = false;
        if (!heir)
            continue;
        mem_queue_let_go(q, it);
        mem_item_unref(it);
        heir->next = NULL;
        *end_of = heir;
        end_of = &heir->next;
    }
    return heirs;
}

/* The heirs are given up. With q's lock. */
static void forget_heirs(mem_item *chain)
{
    for (mem_item *it = chain; it; it = it->next) {
        mem_item_unref(it->previous);
        it->previous = NULL;
    }
}

/* Back into the queue after a delay. With q's lock. */
static int put_heirs(mem_queue *q, mem_item *chain, int64_t delay_ms, unsigned n)
{
    uint64_t delay_ns = length_ns(delay_ms), due_ns = now_ns() + delay_ns;
    int64_t ready_ms = from_now_ms(delay_ms);
    int err = delay_ns ? timers_reserve(&q->delays, n) : 0;
    if (err)
        forget_heirs(chain);
    for (mem_item *it = replace(q, chain), *next; it; it = next) {
        next = it->next;
        it->ready_ms = ready_ms;
        if (delay_ns)
            mem_queue_delay(q, it, due_ns);
        else
            mem_queue_put(q, it);
    }
    return err;
}

static void retry(engine *e, mq_op *op)
{
    outcome o = {.err = op->delay_ms > 0 ? start_thread(e) : 0};
    after a = {0};
    mem_queue *q = find(e, op->queue, false);
    mem_item *chain = o.err ? NULL : pick(q, op, &o);
    if (chain) {
        o.err = find_heirs(chain, NULL, op->note);
        pthread_mutex_lock(&q->lock);
        int err = put_heirs(q, chain, op->delay_ms, o.n);
        o.err = err ? err : o.err;
        a.ready = op->delay_ms <= 0;
        arm(e, q);
        pthread_mutex_unlock(&q->lock);
        follow(e, q, &a);
    }
    finish_settling(op, &o);
}

/* The last of the chain first, so that they stand as they did. */
static void put_back(mem_queue *q, mem_item *it)
{
    if (!it)
        return;
    put_back(q, it->next);
    it->attempt--;
    mem_queue_put_first(q, it);
}

static void give_back(engine *e, mq_op *op)
{
    outcome o = {0};
    after a = {.ready = true};
    mem_queue *q = find(e, op->queue, false);
    mem_item *chain = pick(q, op, &o);
    if (chain) {
        find_heirs(chain, NULL, NULL); /* themselves */
        pthread_mutex_lock(&q->lock);
        put_back(q, replace(q, chain));
        pthread_mutex_unlock(&q->lock);
        follow(e, q, &a);
    }
    finish_settling(op, &o);
}

/* They come into `to` however full it is. Without a lock. */
static void bury(engine *e, mem_queue *to, mem_item *chain)
{
    after a = {.ready = true};
    int64_t ready_ms = mq_now_ms();
    pthread_mutex_lock(&to->lock);
    to->exists = true;
    for (mem_item *it = chain, *next; it; it = next) {
        next = it->next;
        it->ready_ms = ready_ms;
        mem_queue_put(to, it);
    }
    pthread_mutex_unlock(&to->lock);
    follow(e, to, &a);
}

static void move_dead(engine *e, mq_op *op)
{
    outcome o = {0};
    after a = {0};
    mem_queue *q = find(e, op->queue, false), *to = find(e, op->to, true);
    mem_item *chain = to ? pick(q, op, &o) : NULL;
    if (!to)
        o.err = -ENOMEM;
    if (chain) {
        o.err = find_heirs(chain, op->queue, op->note);
        pthread_mutex_lock(&q->lock);
        mem_item *dead = replace(q, chain);
        admit(e, q, &a);
        arm(e, q);
        pthread_mutex_unlock(&q->lock);
        if (dead)
            bury(e, to, dead);
        follow(e, q, &a);
    }
    finish_settling(op, &o);
}

/* --- for people --- */

/* A ready one without an origin is as it should be; the others are taken out, as a chain. With q's lock. */
static mem_item *find_revived(mem_queue *q, const char *id)
{
    bool all = !id || !*id;
    mem_item *first = NULL, **end_of = &first;
    for (mem_item *it = mem_queue_after(q, NULL), *next; it; it = next) {
        next = mem_queue_after(q, it);
        if (!*mem_item_from(it) || (!all && strcmp(mem_item_message(it)->id, id) != 0))
            continue;
        mem_queue_remove(q, it);
        *end_of = it;
        end_of = &it->next;
        *end_of = NULL;
    }
    for (size_t i = q->delays.n; i > 0; i--) {
        mem_item *it = (mem_item *)q->delays.heap[i - 1];
        if (all || strcmp(mem_item_message(it)->id, id) == 0) {
            it->next = *end_of;
            *end_of = it;
        }
    }
    for (mem_item *it = *end_of; it; it = it->next)
        mem_queue_remove(q, it);
    return first;
}

/* Back to where it came from, or where it is. Returns: false when there is no memory to make that queue. */
static bool revive_one(engine *e, mem_queue *q, mem_item *it, int64_t now_ms)
{
    after a = {.ready = true};
    mem_queue *to = *mem_item_from(it) ? find(e, mem_item_from(it), true) : q;
    bool found = to != NULL;
    if (!found)
        to = q;
    pthread_mutex_lock(&to->lock);
    to->exists = true;
    it->ready_ms = now_ms;
    if (found && *mem_item_from(it)) {
        it->attempt = 0;
        it->progress = -1;
        it->is_revived = true;
    }
    mem_queue_put(to, it);
    pthread_mutex_unlock(&to->lock);
    follow(e, to, &a);
    return found;
}

static void revive(engine *e, mq_op *op)
{
    after a = {0};
    int err = 0;
    mem_queue *q = find(e, op->queue, false);
    op->count = 0;
    if (q) {
        int64_t now_ms = mq_now_ms();
        pthread_mutex_lock(&q->lock);
        mem_item *chain = find_revived(q, op->id);
        pthread_mutex_unlock(&q->lock);
        for (mem_item *it = chain, *next; it; it = next) {
            next = it->next;
            if (revive_one(e, q, it, now_ms))
                op->count++;
            else
                err = -ENOMEM;
        }
        pthread_mutex_lock(&q->lock);
        admit(e, q, &a);
        arm(e, q);
        pthread_mutex_unlock(&q->lock);
        follow(e, q, &a);
    }
    mq_finish(op, err, NULL);
}

static void purge(engine *e, mq_op *op)
{
    after a = {0};
    mem_queue *q = find(e, op->queue, false);
    op->count = 0;
    if (q) {
        pthread_mutex_lock(&q->lock);
        mem_item *chain = mem_queue_empty(q, &op->count);
        admit(e, q, &a);
        arm(e, q);
        pthread_mutex_unlock(&q->lock);
        mem_chain_unref(chain);
        follow(e, q, &a);
    }
    mq_finish(op, 0, NULL);
}

static void peek(engine *e, mq_op *op)
{
    mem_queue *q = find(e, op->queue, false);
    op->messages = NULL;
    int err = q ? mem_queue_peek(q, op->most < MQ_TAKE_MAX ? op->most : MQ_TAKE_MAX, &op->messages) : 0;
    mq_finish(op, err, NULL);
}

static void add_stats(mem_queue *q, mq_op *op)
{
    pthread_mutex_lock(&q->lock);
    if (q->exists)
        mem_queue_stats(q, &op->stats[op->count++]);
    pthread_mutex_unlock(&q->lock);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const mq_stats *)a)->name, ((const mq_stats *)b)->name);
}

static void add_all_stats(engine *e, mq_op *op)
{
    pthread_mutex_lock(&e->table_lock);
    op->stats = calloc(e->queues_n + 1, sizeof(mq_stats));
    for (size_t i = 0; op->stats && i < e->shelves_n; i++)
        for (mem_queue *q = e->shelves[i]; q; q = q->next)
            add_stats(q, op);
    pthread_mutex_unlock(&e->table_lock);
    if (op->stats)
        qsort(op->stats, op->count, sizeof(mq_stats), by_name);
}

static void stats(engine *e, mq_op *op)
{
    op->count = 0;
    op->stats = NULL;
    if (*op->queue) {
        mem_queue *q = find(e, op->queue, false);
        op->stats = calloc(1, sizeof(mq_stats));
        if (q && op->stats)
            add_stats(q, op);
    } else {
        add_all_stats(e, op);
    }
    mq_finish(op, op->stats ? 0 : -ENOMEM, NULL);
}

static void claim(engine *e, mq_op *op)
{
    mem_queue *q = find(e, op->queue, true);
    if (q) {
        pthread_mutex_lock(&q->lock);
        op->duplicate = op->moment_ms <= q->claimed_ms;
        if (!op->duplicate)
            q->claimed_ms = op->moment_ms;
        pthread_mutex_unlock(&q->lock);
    }
    mq_finish(op, q ? 0 : -ENOMEM, NULL);
}

static void last(engine *e, mq_op *op)
{
    mem_queue *q = find(e, op->queue, false);
    op->moment_ms = 0;
    if (q) {
        pthread_mutex_lock(&q->lock);
        op->moment_ms = q->claimed_ms;
        pthread_mutex_unlock(&q->lock);
    }
    mq_finish(op, 0, NULL);
}

/* --- times --- */

static void end_waits(mem_queue *q, uint64_t until_ns, int err, after *a)
{
    mem_item *chain = NULL;
    q->waiting_first_ns = UINT64_MAX;
    for (mq_op **at = &q->waiting; *at;) {
        uint64_t op_ns = (uint64_t)((*at)->until_ms * NS_PER_MS);
        if (op_ns <= until_ns) {
            mem_item *it = end_wait(q, at, err, a);
            it->next = chain;
            chain = it;
        } else {
            if (op_ns < q->waiting_first_ns)
                q->waiting_first_ns = op_ns;
            at = &(*at)->next;
        }
    }
    mem_chain_unref(chain);
}

static void on_time(engine *e, mem_queue *q)
{
    after a = {0};
    uint64_t ns = now_ns();
    pthread_mutex_lock(&q->lock);
    q->armed_ns = UINT64_MAX;
    a.ready = mem_queue_ripen(q, ns, mq_now_ms());
    if (q->waiting_first_ns <= ns)
        end_waits(q, ns, -EAGAIN, &a);
    arm(e, q);
    pthread_mutex_unlock(&q->lock);
    follow(e, q, &a);
}

static void rest(engine *e, const timer *first)
{
    struct timespec until = {0};
    if (!first) {
        pthread_cond_wait(&e->time_changed, &e->time_lock);
        return;
    }
    until.tv_sec = (time_t)(first->due_ns / 1000000000u);
    until.tv_nsec = (long)(first->due_ns % 1000000000u);
    pthread_cond_timedwait(&e->time_changed, &e->time_lock, &until);
}

static void *run(void *user)
{
    engine *e = user;
    pthread_mutex_lock(&e->time_lock);
    while (!e->closing) {
        timer *first = timers_first(&e->times);
        if (!first || first->due_ns > now_ns()) {
            rest(e, first);
            continue;
        }
        timers_remove(&e->times, first);
        pthread_mutex_unlock(&e->time_lock);
        on_time(e, (mem_queue *)first);
        pthread_mutex_lock(&e->time_lock);
    }
    pthread_mutex_unlock(&e->time_lock);
    return NULL;
}

/* Signals are for the others. */
static int create(engine *e)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int err = pthread_create(&e->thread, NULL, run, e);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!err)
        pthread_setname_np(e->thread, "poolsrv-queues");
    return -err;
}

static int start_thread(engine *e)
{
    if (atomic_load_explicit(&e->has_thread, memory_order_acquire))
        return 0;
    pthread_mutex_lock(&e->time_lock);
    int err = atomic_load_explicit(&e->has_thread, memory_order_relaxed) ? 0 : create(e);
    if (!err)
        atomic_store_explicit(&e->has_thread, true, memory_order_release);
    pthread_mutex_unlock(&e->time_lock);
    return err ? -ENOMEM : 0;
}

static void stop_thread(engine *e)
{
    pthread_mutex_lock(&e->time_lock);
    e->closing = true;
    pthread_cond_signal(&e->time_changed);
    pthread_mutex_unlock(&e->time_lock);
    if (atomic_load_explicit(&e->has_thread, memory_order_relaxed))
        pthread_join(e->thread, NULL);
}

/* --- the engine --- */

static void free_engine(engine *e)
{
    for (size_t i = 0; i < e->shelves_n; i++)
        for (mem_queue *q = e->shelves[i], *next; q; q = next) {
            next = q->next;
            mem_queue_free(q);
        }
    free(e->shelves);
    timers_fini(&e->times);
    watchers_free(e->watchers);
    pthread_mutex_destroy(&e->table_lock);
    pthread_mutex_destroy(&e->time_lock);
    pthread_cond_destroy(&e->time_changed);
    free(e);
}

static void init_locks(engine *e)
{
    pthread_condattr_t monotonic;
    pthread_mutex_init(&e->table_lock, NULL);
    pthread_mutex_init(&e->time_lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&e->time_changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
}

static int on_open(const mq *front, const char *rest_of, void **ret_self, char *error, size_t size)
{
    int64_t max;
    int err = mq_parameter(front, "max", 1, INT32_MAX, MAX_PRESET, &max, error, size);
    if (!err && *rest_of) {
        snprintf(error, size, "nothing but parameters may follow: memory:?max=%d", MAX_PRESET);
        err = -EINVAL;
    }
    if (err)
        return err;
    engine *e = calloc(1, sizeof(*e));
    if (!e)
        return -ENOMEM;
    e->front = front;
    e->max = (uint64_t)max;
    init_locks(e);
    e->watchers = watchers_new();
    err = e->watchers ? siphash_key_make(&e->key) : -ENOMEM;
    if (err)
        free_engine(e);
    else
        *ret_self = e;
    return err;
}

/* Returns: how many messages are lost. */
static uint64_t refuse_waiting(engine *e)
{
    uint64_t lost = 0;
    for (size_t i = 0; i < e->shelves_n; i++)
        for (mem_queue *q = e->shelves[i]; q; q = q->next) {
            after a = {0};
            pthread_mutex_lock(&q->lock);
            end_waits(q, UINT64_MAX, -ESHUTDOWN, &a);
            lost += mem_queue_count(q);
            pthread_mutex_unlock(&q->lock);
            follow(e, q, &a);
        }
    return lost;
}

static void on_close(void *self)
{
    engine *e = self;
    const mq_config *config = mq_config_of(e->front);
    char text[MQ_ERROR_BYTES];
    atomic_store_explicit(&e->is_closed, true, memory_order_relaxed);
    stop_thread(e);
    uint64_t lost = refuse_waiting(e);
    if (lost && config->tell) {
        snprintf(text, sizeof(text), "%s: %llu messages in its queues are lost", mq_address(e->front),
                 (unsigned long long)lost);
        config->tell(config->user, 1, text);
    }
    free_engine(e);
}

static void submit_settling(engine *e, mq_op *op)
{
    switch (op->verb) {
    case MQ_RETRY:
        retry(e, op);
        break;
    case MQ_DEAD:
        if (op->to && *op->to)
            move_dead(e, op);
        else
            settle(e, op, acknowledge);
        break;
    case MQ_GIVE_BACK:
        give_back(e, op);
        break;
    case MQ_EXTEND:
        settle(e, op, extend);
        break;
    default:
        settle(e, op, op->verb == MQ_ACK ? acknowledge : set_progress);
    }
}

static void on_submit(void *self, mq_op *op)
{
    engine *e = self;
    static void (*const verbs[])(engine * e, mq_op * op) = {
        [MQ_PUSH] = push,     [MQ_TAKE] = take,   [MQ_STATS] = stats, [MQ_PEEK] = peek,
        [MQ_REVIVE] = revive, [MQ_PURGE] = purge, [MQ_CLAIM] = claim, [MQ_LAST] = last};
    if (atomic_load_explicit(&e->is_closed, memory_order_relaxed))
        mq_finish(op, -ESHUTDOWN, NULL);
    else if (verbs[op->verb])
        verbs[op->verb](e, op);
    else
        submit_settling(e, op);
}

static void on_watch(void *self, mq_watcher *w)
{
    watchers_add(((engine *)self)->watchers, w);
}

static void on_unwatch(void *self, mq_watcher *w)
{
    watchers_remove(((engine *)self)->watchers, w);
}

const mq_engine mq_memory = {.scheme = "memory",
                             .open = on_open,
                             .close = on_close,
                             .submit = on_submit,
                             .watch = on_watch,
                             .unwatch = on_unwatch};
