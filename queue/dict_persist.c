#include "queue/dict_persist.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "queue/dict_internal.h"
#include "queue/dict_store.h"

enum { ERROR_BYTES = 512, NS_PER_MS = 1000000, KEYS_AT_ONCE = 1 << 30 };

static const dict_store *const stores[] = {&dict_sqlite};

struct dict_persist {
    dict *dict;
    dict_port *port; /* the thread's; before it runs, the opener's */
    const dict_store *store;
    void *self; /* likewise */
    dict_persist_config config;
    dict_watcher watcher;
    siphash_key hash_key;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t work, written;
    dict_table noted; /* [lock] keys to be written: entries without values */
    bool all;         /* [lock] to be written all over, as it was emptied */
    bool loading;     /* [lock] what is stored comes from there */
    bool hurry, quit; /* [lock] */
    bool writing;     /* [lock] it writes just now */
    bool started;     /* [owner] there is a thread */
    bool failed;      /* [thread] the last write */
    uint64_t passes;  /* [lock] writes that were tried */
};

/* --- addresses --- */

static const dict_store *store_of(const char *address, const char **ret_rest)
{
    for (size_t i = 0; i < sizeof(stores) / sizeof(stores[0]); i++) {
        size_t n = strlen(stores[i]->scheme);
        if (strncmp(address, stores[i]->scheme, n) == 0 && address[n] == ':' && address[n + 1]) {
            *ret_rest = address + n + 1;
            return stores[i];
        }
    }
    return NULL;
}

int dict_persist_check(const char *address, char *error, size_t size)
{
    const char *rest;
    if (store_of(address, &rest))
        return 0;
    snprintf(error, size, "expected \"sqlite:PATH\", not \"%s\"", address);
    return -EINVAL;
}

/* --- noting --- */

static dict_entry *noted_new(uint64_t hash, str key)
{
    dict_entry *e = malloc(sizeof(*e) + key.n);
    if (!e)
        return NULL;
    e->hash = hash;
    e->key_bytes = (uint32_t)key.n;
    e->value_bytes = 0;
    if (key.n)
        memcpy(e->bytes, key.p, key.n);
    return e;
}

/* Nobody reads beside the holder of the lock, so a row that was replaced can be freed. */
static bool note(dict_persist *p, str key)
{
    uint64_t hash = siphash_1_3(&p->hash_key, key.p, key.n);
    if (dict_table_find(&p->noted, hash, key))
        return true;
    epoch_garbage *row;
    size_t bytes;
    dict_entry *e = noted_new(hash, key);
    if (!e || dict_table_grow(&p->noted, &row, &bytes) < 0) {
        free(e);
        return false;
    }
    free(row);
    dict_table_put(&p->noted, dict_table_seek(&p->noted, hash, key), e);
    return true;
}

static size_t noted_count(const dict_persist *p)
{
    return atomic_load_explicit(&p->noted.live, memory_order_relaxed);
}

/* A key that is stored while a flush goes on may be told of before or after it: so all is looked at then. */
static void on_changed(void *user, dict_event event, str key, uint64_t version)
{
    dict_persist *p = user;
    (void)version;
    pthread_mutex_lock(&p->lock);
    bool was_idle = noted_count(p) == 0 && !p->all;
    if (event == DICT_FLUSHED)
        p->all = true;
    else if (!(p->loading && event == DICT_STORED) && !note(p, key))
        p->all = true;
    if (was_idle)
        pthread_cond_signal(&p->work);
    pthread_mutex_unlock(&p->lock);
}

/* --- writing --- */

static int64_t wall_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / NS_PER_MS;
}

/* As it is now. What changes after this is noted again. */
static int write_key(dict_persist *p, str key, buf *into, char *error)
{
    dict_record r = {.key = key};
    uint64_t ttl_ns;
    int err = dict_peek(p->port, key, into, &r.value, &ttl_ns);
    if (err == -ENOENT)
        return p->store->remove(p->self, key, error, ERROR_BYTES);
    if (err) {
        snprintf(error, ERROR_BYTES, "out of memory");
        return err;
    }
    r.expires_ms = ttl_ns == UINT64_MAX ? 0 : wall_ms() + (int64_t)(ttl_ns / NS_PER_MS) + 1;
    return p->store->put(p->self, &r, error, ERROR_BYTES);
}

static int write_noted(dict_persist *p, dict_row *noted, char *error)
{
    dict_table_view v = {noted, noted->mask + 1};
    buf into = {0};
    int err = 0;
    for (size_t i = 0; i < v.end && err == 0; i++) {
        const dict_entry *e = dict_table_at(v, i);
        if (e)
            err = write_key(p, dict_entry_key(e), &into, error);
    }
    buf_fini(&into);
    return err;
}

static int write_all(dict_persist *p, char *error)
{
    buf keys = {0}, into = {0};
    size_t n, length;
    int err = p->store->clear(p->self, error, ERROR_BYTES);
    if (err == 0 && (err = dict_keys(p->port, KEYS_AT_ONCE, &keys, &n)) < 0)
        snprintf(error, ERROR_BYTES, "out of memory");
    for (size_t at = 0; at < keys.n && err == 0; at += sizeof(length) + length) {
        memcpy(&length, keys.p + at, sizeof(length));
        err = write_key(p, (str){keys.p + at + sizeof(length), length}, &into, error);
    }
    buf_fini(&keys);
    buf_fini(&into);
    return err;
}

/* One transaction. */
static int write_out(dict_persist *p, dict_row *noted, bool all, char *error)
{
    int err = p->store->begin(p->self, error, ERROR_BYTES);
    if (err)
        return err;
    err = all ? write_all(p, error) : write_noted(p, noted, error);
    if (err == 0)
        err = p->store->commit(p->self, error, ERROR_BYTES);
    if (err)
        p->store->rollback(p->self);
    return err;
}

static void tell(const dict_persist *p, int level, const char *what, const char *why)
{
    char text[ERROR_BYTES + 128];
    snprintf(text, sizeof(text), "shared.dict(\"%s\"): %s%s", p->config.dict_name, what, why);
    if (p->config.tell)
        p->config.tell(p->config.user, level, text);
}

/* Once for each time that it begins to fail. */
static void tell_outcome(dict_persist *p, int err, const char *error)
{
    if (err && !p->failed)
        tell(p, 0, "cannot be written, and is tried again every second: ", error);
    else if (!err && p->failed)
        tell(p, 2, "is written again", "");
    p->failed = err != 0;
}

/* What could not be written is noted again. */
static void free_noted(dict_persist *p, dict_row *r, bool again)
{
    dict_table_view v = {r, r->mask + 1};
    for (size_t i = 0; i < v.end; i++) {
        dict_entry *e = dict_table_at(v, i);
        if (e && again && !note(p, dict_entry_key(e)))
            p->all = true;
        free(e);
    }
    free(r);
}

/* Thread: its own, with the lock, which is not held while it writes. */
static void write_once(dict_persist *p)
{
    char error[ERROR_BYTES] = "out of memory";
    bool all = p->all;
    dict_row *noted = dict_table_clear(&p->noted);
    int err = noted ? 0 : -ENOMEM;
    p->all = p->hurry = false;
    p->writing = true;
    pthread_mutex_unlock(&p->lock);
    if (err == 0)
        err = write_out(p, noted, all, error);
    tell_outcome(p, err, error);
    pthread_mutex_lock(&p->lock);
    if (noted)
        free_noted(p, noted, err != 0);
    p->all = p->all || (all && err);
    p->passes++;
    p->writing = false;
    pthread_cond_broadcast(&p->written);
}

/* Let more come, unless somebody waits for it. */
static void gather(dict_persist *p)
{
    struct timespec until;
    uint64_t ms = p->failed ? DICT_PERSIST_RETRY_MS : DICT_PERSIST_MS;
    clock_gettime(CLOCK_MONOTONIC, &until);
    uint64_t ns = (uint64_t)until.tv_nsec + ms * NS_PER_MS;
    until.tv_sec += (time_t)(ns / 1000000000u);
    until.tv_nsec = (long)(ns % 1000000000u);
    while (!p->hurry && !p->quit && pthread_cond_timedwait(&p->work, &p->lock, &until) != ETIMEDOUT)
        ;
}

static void *run(void *arg)
{
    dict_persist *p = arg;
    pthread_mutex_lock(&p->lock);
    while (!p->quit) {
        if (noted_count(p) == 0 && !p->all && !p->hurry) {
            pthread_cond_wait(&p->work, &p->lock);
            continue;
        }
        gather(p);
        write_once(p);
    }
    if (noted_count(p) || p->all)
        write_once(p);
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

/* --- opening and closing --- */

static void load_one(void *user, const dict_record *r)
{
    dict_persist *p = user;
    dict_change how = {.when = DICT_ALWAYS};
    int64_t left_ms = r->expires_ms ? r->expires_ms - wall_ms() : 0;
    if (r->expires_ms && left_ms <= 0) {
        on_changed(p, DICT_EXPIRED, r->key, 0); /* so its row goes */
        return;
    }
    how.ttl_ns = (uint64_t)left_ms * NS_PER_MS;
    if (dict_put(p->port, r->key, &r->value, &how, NULL) < 0)
        tell(p, 1, "a value that was kept does not fit any more and is left out", "");
}

static int load(dict_persist *p, char *error, size_t size)
{
    p->loading = true;
    dict_watch(p->dict, &p->watcher);
    int err = p->store->load(p->self, load_one, p, error, size);
    pthread_mutex_lock(&p->lock);
    p->loading = false;
    pthread_mutex_unlock(&p->lock);
    if (err)
        dict_unwatch(p->dict, &p->watcher);
    return err;
}

static void init_signals(dict_persist *p)
{
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->work, &monotonic);
    pthread_cond_init(&p->written, NULL);
    pthread_condattr_destroy(&monotonic);
}

static void release(dict_persist *p)
{
    if (p->self)
        p->store->close(p->self);
    dict_port_free(p->port);
    dict_table_fini(&p->noted);
    pthread_mutex_destroy(&p->lock);
    pthread_cond_destroy(&p->work);
    pthread_cond_destroy(&p->written);
    free(p);
}

int dict_persist_open(dict *d, const char *address, const dict_persist_config *config, dict_persist **ret_p,
                      char *error, size_t size)
{
    const char *rest = NULL;
    int err = dict_persist_check(address, error, size);
    if (err)
        return err;
    dict_persist *p = calloc(1, sizeof(*p));
    snprintf(error, size, "out of memory");
    if (!p)
        return -ENOMEM;
    *p = (dict_persist){.dict = d, .store = store_of(address, &rest), .config = *config};
    p->watcher = (dict_watcher){.changed = on_changed, .user = p};
    init_signals(p);
    p->port = dict_port_new(d);
    if (dict_table_init(&p->noted) < 0 || !p->port || siphash_key_make(&p->hash_key) < 0)
        err = -ENOMEM;
    if (err == 0)
        err = p->store->open(rest, config->dict_name, &p->self, error, size);
    if (err == 0)
        err = load(p, error, size);
    if (err)
        release(p);
    else
        *ret_p = p;
    return err;
}

int dict_persist_start(dict_persist *p)
{
    int err = pthread_create(&p->thread, NULL, run, p);
    p->started = err == 0;
    return -err;
}

void dict_persist_sync(dict_persist *p)
{
    if (!p->started)
        return;
    pthread_mutex_lock(&p->lock);
    uint64_t wanted = p->passes + 1 + p->writing; /* one under way may have begun before the last change */
    p->hurry = true;
    pthread_cond_signal(&p->work);
    while (p->passes < wanted)
        pthread_cond_wait(&p->written, &p->lock);
    pthread_mutex_unlock(&p->lock);
}

void dict_persist_close(dict_persist *p)
{
    if (!p)
        return;
    dict_unwatch(p->dict, &p->watcher);
    pthread_mutex_lock(&p->lock);
    p->quit = true;
    pthread_cond_signal(&p->work);
    pthread_mutex_unlock(&p->lock);
    if (p->started)
        pthread_join(p->thread, NULL);
    release(p);
}
