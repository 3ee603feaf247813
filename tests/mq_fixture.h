/* mq_fixture: the engines that the contract tests run over, and short names for what they do most.
 *
 * An engine more is a row of `engines`, with functions that make a place for its queues and take it away. One
 * whose open says -ENOSYS is left out. Threads: `q` is for all; the helpers but open and close too. */
#ifndef TESTS_MQ_FIXTURE_H
#define TESTS_MQ_FIXTURE_H

#include "queue/mq.h"

#include "tests/redis_server.h"

#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* A suite uses what it needs. */
#pragma GCC diagnostic ignored "-Wunused-function"

enum { PATIENCE_S = 30, URL_BYTES = 256, LONG_MS = 600000 };

typedef struct engine_row {
    const char *name;
    const char *small; /* parameters by which a queue is full with three messages; NULL: it is never full */
    void (*start)(char url[static URL_BYTES]); /* make its place; the address without parameters */
    void (*stop)(void);                        /* take it away; NULL: nothing to do */
} engine_row;

static void memory_start(char url[static URL_BYTES])
{
    snprintf(url, URL_BYTES, "memory:");
}

/* A file in a folder of its own. */
static char sqlite_folder[64];

static void sqlite_start(char url[static URL_BYTES])
{
    snprintf(sqlite_folder, sizeof sqlite_folder, "/tmp/mq.XXXXXX");
    if (!mkdtemp(sqlite_folder))
        abort(); /* also before there is a test */
    snprintf(url, URL_BYTES, "sqlite:%s/q.db", sqlite_folder);
}

static void sqlite_stop(void)
{
    static const char *const names[] = {"q.db", "q.db-wal", "q.db-shm"};
    char path[128];
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        snprintf(path, sizeof path, "%s/%s", sqlite_folder, names[i]);
        unlink(path);
    }
    rmdir(sqlite_folder);
}

/* One server for all tests, which the program starts before it forks. */
static redis_server redis_for_all;

static void redis_end(void)
{
    redis_server_stop(&redis_for_all);
}

static void redis_begin(char url[static URL_BYTES])
{
    if (!redis_for_all.pid) {
        redis_server_start(&redis_for_all, NULL);
        atexit(redis_end);
    }
    snprintf(url, URL_BYTES, "%s", redis_for_all.unix_url);
}

static void redis_empty(void)
{
    redis_server_do(&redis_for_all, "FLUSHDB");
}

/* The first is memory. */
static const engine_row engines[] = {
    {.name = "memory", .small = "max=3", .start = memory_start},
    {.name = "sqlite", .small = "max=3", .start = sqlite_start, .stop = sqlite_stop},
    {.name = "redis", .small = "max=3", .start = redis_begin, .stop = redis_empty},
};

/* --- open and close --- */

static const engine_row *present[sizeof(engines) / sizeof(engines[0])]; /* those that are not left out */
static int present_n;

static const engine_row *row; /* under test */
static char engine_url[URL_BYTES];
static mq *q;

static atomic_int told; /* how often, and the last level and text */
static int told_level;
static char told_text[512];

static void on_tell(void *user, int level, const char *text)
{
    (void)user;
    told_level = level;
    snprintf(told_text, sizeof told_text, "%s", text);
    atomic_fetch_add(&told, 1);
}

static const mq_config config = {.tell = on_tell};

static int try_open(const char *parameters, mq **ret, char error[static MQ_ERROR_BYTES])
{
    char url[2 * URL_BYTES];
    snprintf(url, sizeof url, "%s%s%s", engine_url, parameters ? "?" : "", parameters ? parameters : "");
    return mq_open(url, &config, ret, error, MQ_ERROR_BYTES);
}

static void open_again(const char *parameters)
{
    char error[MQ_ERROR_BYTES] = "";
    ck_assert_msg(try_open(parameters, &q, error) == 0, "%s", error);
}

/* The i-th of those present, with these parameters or NULL. */
static void open_engine(int i, const char *parameters)
{
    row = present[i];
    row->start(engine_url);
    open_again(parameters);
}

/* Also after each test. */
static void close_engine(void)
{
    mq_close(q);
    q = NULL;
    if (row && row->stop)
        row->stop();
    row = NULL;
}

/* Before the suite is made. */
static void find_engines(void)
{
    for (size_t i = 0; i < sizeof(engines) / sizeof(engines[0]); i++) {
        char error[MQ_ERROR_BYTES];
        row = &engines[i];
        row->start(engine_url);
        if (try_open(NULL, &q, error) != -ENOSYS)
            present[present_n++] = row;
        close_engine();
    }
}

/* --- operations --- */

static void push_op(mq_op *op)
{
    op->verb = MQ_PUSH;
    ck_assert_msg(mq_call(q, op) == 0, "%s", op->error);
    ck_assert_str_ne(op->id_text, "");
}

static void push(const char *queue, const char *body)
{
    mq_op op = {.queue = queue, .body = str_from(body)};
    push_op(&op);
    ck_assert(!op.duplicate);
}

static void push_delayed(const char *queue, const char *body, int64_t delay_ms)
{
    mq_op op = {.queue = queue, .body = str_from(body), .delay_ms = delay_ms};
    push_op(&op);
}

/* Returns: was it a duplicate? */
static bool push_id(const char *queue, const char *id, int64_t window_ms)
{
    mq_op op = {.queue = queue, .body = STR("1"), .id = id, .window_ms = window_ms};
    push_op(&op);
    ck_assert_str_eq(op.id_text, id);
    return op.duplicate;
}

static mq_message *take_leased(const char *queue, unsigned most, int64_t lease_ms)
{
    mq_op op = {.verb = MQ_TAKE, .queue = queue, .most = most, .lease_ms = lease_ms};
    ck_assert_msg(mq_call(q, &op) == 0, "%s", op.error);
    return op.messages;
}

static mq_message *take(const char *queue, unsigned most)
{
    return take_leased(queue, most, LONG_MS);
}

/* Any of MQ_ACK, MQ_RETRY, MQ_DEAD and MQ_GIVE_BACK; the messages are the caller's still. Returns: op.err. */
static int settle_op(mq_verb verb, const char *queue, mq_message *messages, mq_op op)
{
    op.verb = verb;
    op.queue = queue;
    op.messages = messages;
    int err = mq_call(q, &op);
    ck_assert_msg(err == 0 || *op.error, "an error without a text");
    return err;
}

/* The same, well, and free them. */
static void settle(mq_verb verb, const char *queue, mq_message *messages)
{
    ck_assert_ptr_nonnull(messages);
    ck_assert_int_eq(settle_op(verb, queue, messages, (mq_op){.to = ""}), 0);
    mq_message_free(messages);
}

static void ack(const char *queue, mq_message *messages)
{
    settle(MQ_ACK, queue, messages);
}

static void retry_with(const char *queue, mq_message *m, int64_t delay_ms, const char *note)
{
    ck_assert_int_eq(settle_op(MQ_RETRY, queue, m, (mq_op){.delay_ms = delay_ms, .note = note}), 0);
    mq_message_free(m);
}

static void bury(const char *queue, mq_message *m, const char *to, const char *note)
{
    ck_assert_int_eq(settle_op(MQ_DEAD, queue, m, (mq_op){.to = to, .note = note}), 0);
    mq_message_free(m);
}

static mq_message *peek(const char *queue, unsigned most)
{
    mq_op op = {.verb = MQ_PEEK, .queue = queue, .most = most};
    ck_assert_msg(mq_call(q, &op) == 0, "%s", op.error);
    return op.messages;
}

/* All zero when there is no such queue. */
static mq_stats stats_of(const char *queue)
{
    mq_stats found = {.name = ""};
    mq_op op = {.verb = MQ_STATS, .queue = queue};
    ck_assert_msg(mq_call(q, &op) == 0, "%s", op.error);
    ck_assert_uint_le(op.count, 1);
    if (op.count)
        found = op.stats[0];
    free(op.stats);
    return found;
}

static uint64_t count_of(mq_verb verb, const char *queue, const char *id)
{
    mq_op op = {.verb = verb, .queue = queue, .id = id};
    ck_assert_msg(mq_call(q, &op) == 0, "%s", op.error);
    return op.count;
}

/* --- looking --- */

static unsigned length(const mq_message *list)
{
    unsigned n = 0;
    for (; list; list = list->next)
        n++;
    return n;
}

/* The bodies, with a space between. */
static const char *bodies(const mq_message *list)
{
    static _Thread_local char text[4096];
    size_t n = 0;
    text[0] = '\0';
    for (; list && n < sizeof text; list = list->next)
        n += (size_t)snprintf(text + n, sizeof text - n, "%s%.*s", n ? " " : "", (int)list->body.n,
                              list->body.p);
    return text;
}

#define expect_counts(queue, ready_n, delayed_n, taken_n)                                                    \
    do {                                                                                                     \
        mq_stats s_ = stats_of(queue);                                                                       \
        ck_assert_uint_eq(s_.ready, ready_n);                                                                \
        ck_assert_uint_eq(s_.delayed, delayed_n);                                                            \
        ck_assert_uint_eq(s_.taken, taken_n);                                                                \
    } while (0)

/* Take all at once, and expect these bodies in that order; they are acknowledged. */
#define expect_bodies(queue, text)                                                                           \
    do {                                                                                                     \
        mq_message *list_ = take(queue, 100);                                                                \
        ck_assert_str_eq(bodies(list_), text);                                                               \
        if (list_)                                                                                           \
            ack(queue, list_);                                                                               \
    } while (0)

/* --- waiting --- */

/* Something that is counted, and waited for. */
typedef struct tally {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned n;
} tally;

#define TALLY                                                                                                \
    {                                                                                                        \
        .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER                               \
    }

static void tally_add(void *user)
{
    tally *t = user;
    pthread_mutex_lock(&t->lock);
    t->n++;
    pthread_cond_broadcast(&t->changed);
    pthread_mutex_unlock(&t->lock);
}

static unsigned tally_read(tally *t)
{
    pthread_mutex_lock(&t->lock);
    unsigned n = t->n;
    pthread_mutex_unlock(&t->lock);
    return n;
}

/* Until there are more than n. */
static void tally_wait(tally *t, unsigned n)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += PATIENCE_S;
    pthread_mutex_lock(&t->lock);
    while (t->n <= n)
        ck_assert_msg(pthread_cond_timedwait(&t->changed, &t->lock, &until) == 0, "it does not come");
    pthread_mutex_unlock(&t->lock);
}

/* Take when there is something, by a watcher. */
static mq_message *await_leased(const char *queue, unsigned most, int64_t lease_ms)
{
    tally calls = TALLY;
    mq_watcher w = {.queue = queue, .ready = tally_add, .user = &calls};
    mq_message *list = NULL;
    mq_watch(q, &w);
    while (!list) {
        unsigned seen = tally_read(&calls);
        list = take_leased(queue, most, lease_ms);
        if (!list)
            tally_wait(&calls, seen);
    }
    mq_unwatch(q, &w);
    return list;
}

static mq_message *await(const char *queue, unsigned most)
{
    return await_leased(queue, most, LONG_MS);
}

/* An operation that may be answered later. */
typedef struct later {
    mq_op op; /* first */
    tally done;
} later;

static void on_later(mq_op *op)
{
    tally_add(&((later *)op)->done);
}

static void submit_later(later *l)
{
    l->done = (tally)TALLY;
    l->op.done = on_later;
    mq_submit(q, &l->op);
}

static bool is_done(later *l)
{
    return tally_read(&l->done) > 0;
}

static int await_later(later *l)
{
    tally_wait(&l->done, 0);
    return l->op.err;
}

#endif
