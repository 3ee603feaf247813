/* dict: what a read and a change of a shared dictionary cost, beside other ways to share one.
 *
 * Each thread does the same: of ten operations nine read a small value and one replaces it, keys at random.
 * The ways differ in what keeps a reader and a writer apart; the table and the entries are the same.
 *   dict    queue/dict as it is
 *   rwlock  64 parts with a pthread_rwlock each
 *   mutex   64 parts with a mutex each
 *   ck      64 parts, each a ck_hs with a lock for writers; ck_epoch for readers
 * The processor time of an operation is printed, and how long the slowest took: somebody may hold a lock, and
 * lose the core. What drawing a key costs is measured beside it and not taken off.
 *
 * Usage: load_dict WAY THREADS KEYS [SECONDS] */
#include <ck_epoch.h>
#include <ck_hs.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "queue/dict.h"
#include "queue/dict_table.h"
#include "queue/siphash.h"

enum { PARTS = 64, PART_BITS = 6, THREADS_MAX = 64, KEYS_MAX = 1 << 20, WRITE_ONE_IN = 10 };

typedef struct part {
    alignas(64) pthread_rwlock_t rwlock;
    pthread_mutex_t mutex;
    dict_table table;
    ck_hs_t set;
} part;

static part parts[PARTS];
static siphash_key hash_key;
static dict *shared;
static ck_epoch_t ck_global;
static unsigned keys;
static char (*names)[16];
static uint64_t ends_ns;

typedef struct worker {
    alignas(64) pthread_t thread;
    ck_epoch_record_t record;
    dict_port *port;
    uint64_t random, count, cpu_ns, slowest_ns;
    buf into;
} worker;

static uint64_t now_ns(clockid_t which)
{
    struct timespec t;
    clock_gettime(which, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t draw(worker *w)
{
    w->random ^= w->random << 13;
    w->random ^= w->random >> 7;
    w->random ^= w->random << 17;
    return w->random;
}

static dict_entry *new_entry(uint64_t hash, str key, int64_t value)
{
    dict_entry *e = calloc(1, sizeof(*e) + key.n);
    if (!e)
        abort();
    e->hash = hash;
    e->key_bytes = (uint32_t)key.n;
    e->type = DICT_INTEGER;
    atomic_init(&e->digits, (uint64_t)value);
    memcpy(e->bytes, key.p, key.n);
    return e;
}

static int64_t read_entry(dict_entry *e)
{
    if (!atomic_load_explicit(&e->used, memory_order_relaxed))
        atomic_store_explicit(&e->used, 1, memory_order_relaxed);
    return (int64_t)atomic_load_explicit(&e->digits, memory_order_relaxed);
}

/* --- the ways --- */

static void dict_op(worker *w, str key, bool write)
{
    dict_value v = {.type = DICT_INTEGER, .integer = 5};
    if (write)
        dict_put(w->port, key, &v, &(dict_change){.when = DICT_ALWAYS}, NULL);
    else if (dict_get(w->port, key, &w->into, &v, NULL) < 0)
        abort();
}

static void locked_op(part *p, uint64_t hash, str key, bool write)
{
    if (!write) {
        dict_entry *e = dict_table_find(&p->table, hash, key);
        if (!e || read_entry(e) != 5)
            abort();
        return;
    }
    size_t bytes;
    epoch_garbage *row;
    dict_entry *e = new_entry(hash, key, 5);
    dict_table_grow(&p->table, &row, &bytes);
    free(row);
    dict_place at = dict_table_seek(&p->table, hash, key);
    dict_table_put(&p->table, at, e);
    free(at.now);
}

static void rwlock_op(worker *w, str key, bool write)
{
    (void)w;
    uint64_t hash = siphash_1_3(&hash_key, key.p, key.n);
    part *p = &parts[hash >> (64 - PART_BITS)];
    if (write)
        pthread_rwlock_wrlock(&p->rwlock);
    else
        pthread_rwlock_rdlock(&p->rwlock);
    locked_op(p, hash, key, write);
    pthread_rwlock_unlock(&p->rwlock);
}

static void mutex_op(worker *w, str key, bool write)
{
    (void)w;
    uint64_t hash = siphash_1_3(&hash_key, key.p, key.n);
    part *p = &parts[hash >> (64 - PART_BITS)];
    pthread_mutex_lock(&p->mutex);
    locked_op(p, hash, key, write);
    pthread_mutex_unlock(&p->mutex);
}

typedef struct ck_item {
    ck_epoch_entry_t reclaim;
    uint64_t hash;
    dict_entry *entry; /* its key is what is compared */
} ck_item;

static unsigned long ck_hash(const void *object, unsigned long seed)
{
    (void)seed;
    return ((const ck_item *)object)->hash;
}

static bool ck_same(const void *a, const void *b)
{
    const ck_item *x = a, *y = b;
    return x->hash == y->hash && x->entry->key_bytes == y->entry->key_bytes &&
           memcmp(x->entry->bytes, y->entry->bytes, x->entry->key_bytes) == 0;
}

static void ck_reclaim(ck_epoch_entry_t *e)
{
    ck_item *i = (ck_item *)e; /* its first field */
    free(i->entry);
    free(i);
}

static void *ck_alloc(size_t n)
{
    return malloc(n);
}

/* A row that was replaced: never freed here, as it grows a few times only. */
static void ck_release(void *p, size_t n, bool defer)
{
    (void)p;
    (void)n;
    (void)defer;
}

static struct ck_malloc ck_memory = {.malloc = ck_alloc, .free = ck_release};

static void ck_op(worker *w, str key, bool write)
{
    uint64_t hash = siphash_1_3(&hash_key, key.p, key.n);
    part *p = &parts[hash >> (64 - PART_BITS)];
    if (write) {
        void *old = NULL;
        ck_item *i = calloc(1, sizeof(*i));
        if (!i)
            abort();
        *i = (ck_item){.hash = hash, .entry = new_entry(hash, key, 5)};
        pthread_mutex_lock(&p->mutex);
        ck_hs_set(&p->set, hash, i, &old);
        pthread_mutex_unlock(&p->mutex);
        if (old)
            ck_epoch_call(&w->record, &((ck_item *)old)->reclaim, ck_reclaim);
        if (draw(w) % 16 == 0)
            ck_epoch_poll(&w->record);
        return;
    }
    alignas(dict_entry) char room[sizeof(dict_entry) + 16];
    dict_entry *wanted = (dict_entry *)(void *)room;
    wanted->key_bytes = (uint32_t)key.n;
    memcpy(wanted->bytes, key.p, key.n);
    ck_item like = {.hash = hash, .entry = wanted};
    ck_epoch_begin(&w->record, NULL);
    ck_item *i = ck_hs_get(&p->set, hash, &like);
    if (!i || read_entry(i->entry) != 5)
        abort();
    ck_epoch_end(&w->record, NULL);
}

static void draw_op(worker *w, str key, bool write)
{
    (void)w;
    if (write && key.n == 0)
        abort();
}

static const struct {
    const char *name;
    void (*op)(worker *w, str key, bool write);
} ways[] = {{"dict", dict_op}, {"rwlock", rwlock_op}, {"mutex", mutex_op}, {"ck", ck_op}, {"draw", draw_op}};

static void (*op)(worker *w, str key, bool write);

/* --- threads --- */

static void *work(void *arg)
{
    worker *w = arg;
    uint64_t last = now_ns(CLOCK_MONOTONIC), cpu = now_ns(CLOCK_THREAD_CPUTIME_ID);
    while (last < ends_ns) {
        for (int i = 0; i < 64; i++) {
            uint64_t r = draw(w);
            char *name = names[(r >> 8) % keys];
            op(w, (str){name, strlen(name)}, (r & 0xff) * WRITE_ONE_IN < 256);
        }
        uint64_t now = now_ns(CLOCK_MONOTONIC);
        w->slowest_ns = now - last > w->slowest_ns ? now - last : w->slowest_ns;
        last = now;
        w->count += 64;
    }
    w->cpu_ns = now_ns(CLOCK_THREAD_CPUTIME_ID) - cpu;
    return NULL;
}

static void prepare(void)
{
    siphash_key_make(&hash_key);
    ck_epoch_init(&ck_global);
    shared = dict_new(&(dict_config){.max_bytes = (size_t)1 << 30});
    for (int i = 0; i < PARTS; i++) {
        pthread_rwlock_init(&parts[i].rwlock, NULL);
        pthread_mutex_init(&parts[i].mutex, NULL);
        dict_table_init(&parts[i].table);
        ck_hs_init(&parts[i].set, CK_HS_MODE_SPMC | CK_HS_MODE_OBJECT, ck_hash, ck_same, &ck_memory, 64, 1);
    }
    names = calloc(keys, sizeof(*names));
    for (unsigned i = 0; i < keys; i++)
        snprintf(names[i], sizeof(names[i]), "key:%u", i);
}

int main(int argc, char **argv)
{
    static worker workers[THREADS_MAX];
    unsigned threads = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 0;
    keys = argc > 3 ? (unsigned)strtoul(argv[3], NULL, 10) : 0;
    for (size_t i = 0; argc > 1 && i < sizeof(ways) / sizeof(ways[0]); i++)
        if (strcmp(ways[i].name, argv[1]) == 0)
            op = ways[i].op;
    if (!op || threads < 1 || threads > THREADS_MAX || keys < 1 || keys > KEYS_MAX) {
        fprintf(stderr, "usage: load_dict dict|rwlock|mutex|ck|draw THREADS KEYS [SECONDS]\n");
        return 2;
    }
    prepare();
    for (unsigned i = 0; i < threads; i++) {
        workers[i].random = i + 88172645463325252u;
        workers[i].port = dict_port_new(shared);
        ck_epoch_register(&ck_global, &workers[i].record, NULL);
    }
    for (unsigned i = 0; i < keys; i++)
        op(&workers[0], (str){names[i], strlen(names[i])}, true);
    ends_ns = now_ns(CLOCK_MONOTONIC) + (uint64_t)((argc > 4 ? strtod(argv[4], NULL) : 1) * 1e9);
    for (unsigned i = 0; i < threads; i++)
        pthread_create(&workers[i].thread, NULL, work, &workers[i]);
    uint64_t count = 0, cpu_ns = 0, slowest_ns = 0;
    for (unsigned i = 0; i < threads; i++) {
        pthread_join(workers[i].thread, NULL);
        count += workers[i].count;
        cpu_ns += workers[i].cpu_ns;
        slowest_ns = workers[i].slowest_ns > slowest_ns ? workers[i].slowest_ns : slowest_ns;
    }
    printf("%-6s %u threads, %u keys: %.1f ns of processor time an operation; 64 took %.2f ms at most\n",
           argv[1], threads, keys, (double)cpu_ns / (double)count, (double)slowest_ns / 1e6);
    for (unsigned i = 0; i < threads; i++)
        dict_port_free(workers[i].port);
    dict_free(shared);
    return 0;
}
