/* What the durable queues cost beside bare SQLite that inserts into a table of the same shape, on the same
 * disk.
 *
 *     load_queue_sqlite [--rounds N] [--folder PATH]
 *
 * Two comparisons, each in rounds in which both sides take turns (A B, B A) on new files: pushes of which 512
 * wait at once against transactions of 512 inserts, and one push at a time against one insert a transaction.
 * Bare SQLite has the engine's own tables, indexes and settings, and prepared statements, and runs in the
 * calling thread. Beside it what taking and acknowledging costs. Prints medians, and the least and the most.
 */
#include "queue/mq.h"

#include <pthread.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { AT_ONCE = 512, BATCHES = 60, MESSAGES = AT_ONCE * BATCHES, SINGLES = 1000, ROUNDS_MOST = 99 };

static const char body[] = "{\"to\":\"somebody@example.org\",\"subject\":\"hello\",\"template\":\"welcome\","
                           "\"values\":{\"name\":\"Somebody\",\"plan\":\"basic\",\"days\":30}}";

static char path[512], url[600];

static void fail(const char *what, const char *why)
{
    fprintf(stderr, "load_queue_sqlite: %s: %s\n", what, why);
    exit(1);
}

static double now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* --- files --- */

static mq *open_queues(void)
{
    static const mq_config config;
    char error[MQ_ERROR_BYTES];
    mq *q;
    if (mq_open(url, &config, &q, error, sizeof(error)))
        fail(url, error);
    return q;
}

static void remove_files(void)
{
    static const char *const ends[] = {"", "-wal", "-shm"};
    char name[600];
    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
        snprintf(name, sizeof(name), "%s%s", path, ends[i]);
        unlink(name);
    }
}

/* --- the engine --- */

typedef struct crowd {
    mq *q;
    mq_op ops[AT_ONCE];
    long left; /* to be submitted; the engine's thread's */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    long done; /* [lock] */
} crowd;

static void count_done(crowd *c)
{
    pthread_mutex_lock(&c->lock);
    if (++c->done == MESSAGES)
        pthread_cond_signal(&c->changed);
    pthread_mutex_unlock(&c->lock);
}

/* Another one in the place of the one that is done. */
static void on_pushed(mq_op *op)
{
    crowd *c = op->user;
    if (op->err)
        fail("push", op->error);
    bool more = c->left > 0;
    c->left -= more;
    if (more)
        mq_submit(c->q, op);
    count_done(c);
}

static double push_at_once(void)
{
    static crowd c = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    c.q = open_queues();
    c.left = MESSAGES - AT_ONCE;
    c.done = 0;
    double begin = now_s();
    for (int i = 0; i < AT_ONCE; i++) {
        c.ops[i] =
            (mq_op){.verb = MQ_PUSH, .queue = "mail", .body = STR(body), .done = on_pushed, .user = &c};
        mq_submit(c.q, &c.ops[i]);
    }
    pthread_mutex_lock(&c.lock);
    while (c.done < MESSAGES)
        pthread_cond_wait(&c.changed, &c.lock);
    pthread_mutex_unlock(&c.lock);
    double took = now_s() - begin;
    mq_close(c.q);
    return MESSAGES / took;
}

static double push_singly(void)
{
    mq *q = open_queues();
    double begin = now_s();
    for (int i = 0; i < SINGLES; i++) {
        mq_op op = {.verb = MQ_PUSH, .queue = "mail", .body = STR(body)};
        if (mq_call(q, &op))
            fail("push", op.error);
    }
    double took = now_s() - begin;
    mq_close(q);
    return took / SINGLES * 1e6;
}

/* Take and acknowledge AT_ONCE at a time what push_at_once has left: messages a second. */
static double take_and_ack(void)
{
    mq *q = open_queues();
    double begin = now_s();
    for (int i = 0; i < BATCHES; i++) {
        mq_op take = {.verb = MQ_TAKE, .queue = "mail", .most = AT_ONCE, .lease_ms = 60000};
        mq_call(q, &take);
        mq_op ack = {.verb = MQ_ACK, .queue = "mail", .messages = take.messages};
        if (take.err || !take.messages || mq_call(q, &ack))
            fail("take", take.err ? take.error : ack.error);
        mq_message_free(take.messages);
    }
    double took = now_s() - begin;
    mq_close(q);
    return MESSAGES / took;
}

/* --- bare --- */

static void execute(sqlite3 *db, const char *sql)
{
    if (sqlite3_exec(db, sql, NULL, NULL, NULL))
        fail(sql, sqlite3_errmsg(db));
}

static void step(sqlite3 *db, sqlite3_stmt *statement)
{
    if (sqlite3_step(statement) != SQLITE_DONE)
        fail("step", sqlite3_errmsg(db));
    sqlite3_reset(statement);
}

static sqlite3_stmt *prepare(sqlite3 *db, const char *sql)
{
    sqlite3_stmt *statement;
    if (sqlite3_prepare_v2(db, sql, -1, &statement, NULL))
        fail(sql, sqlite3_errmsg(db));
    return statement;
}

static void insert(sqlite3 *db, sqlite3_stmt *statement, int64_t n)
{
    char id[MQ_ID_BYTES];
    mq_make_id(id);
    sqlite3_bind_int64(statement, 1, 1800000000000 + n / 10);
    sqlite3_bind_text(statement, 2, id, -1, SQLITE_STATIC);
    sqlite3_bind_text(statement, 3, body, sizeof(body) - 1, SQLITE_STATIC);
    step(db, statement);
}

/* Seconds for so many transactions of so many inserts. */
static double insert_bare(int transactions, int inserts)
{
    sqlite3 *db;
    mq_close(open_queues()); /* its tables and indexes */
    if (sqlite3_open(path, &db))
        fail(path, sqlite3_errmsg(db));
    execute(db, "PRAGMA synchronous = FULL; PRAGMA cache_size = -16000; PRAGMA secure_delete = FAST");
    sqlite3_stmt *begin = prepare(db, "BEGIN IMMEDIATE"), *commit = prepare(db, "COMMIT");
    sqlite3_stmt *one =
        prepare(db, "INSERT INTO message(queue, state, priority, due, ready, attempt, lease, holder,"
                    " progress, pushed, id, source, note, body)"
                    " VALUES('mail', 0, 0, ?1, ?1, 0, 0, 0, -1, ?1, ?2, '', '', ?3)");
    double start = now_s();
    for (int64_t t = 0; t < transactions; t++) {
        step(db, begin);
        for (int64_t i = 0; i < inserts; i++)
            insert(db, one, t * inserts + i);
        step(db, commit);
    }
    double took = now_s() - start;
    sqlite3_finalize(begin);
    sqlite3_finalize(commit);
    sqlite3_finalize(one);
    sqlite3_close(db);
    return took;
}

static double bare_at_once(void)
{
    return MESSAGES / insert_bare(BATCHES, AT_ONCE);
}

static double bare_singly(void)
{
    return insert_bare(SINGLES, 1) / SINGLES * 1e6;
}

/* --- rounds --- */

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(const double *values, int n, double *least, double *most)
{
    double sorted[ROUNDS_MOST];
    memcpy(sorted, values, (size_t)n * sizeof(double));
    qsort(sorted, (size_t)n, sizeof(double), by_size);
    *least = sorted[0];
    *most = sorted[n - 1];
    return n % 2 ? sorted[n / 2] : (sorted[n / 2 - 1] + sorted[n / 2]) / 2;
}

static void print(const char *title, const double *values, int n, const char *unit, int digits)
{
    double least, most, middle = median(values, n, &least, &most);
    printf("%-44s %9.*f %s (%.*f to %.*f)\n", title, digits, middle, unit, digits, least, digits, most);
}

static double on_new_file(double (*measure)(void), double *taking)
{
    remove_files();
    double value = measure();
    if (taking)
        *taking = take_and_ack();
    remove_files();
    return value;
}

static void compare(const char *title, const char *ratio_title, double (*engine)(void), double (*bare)(void),
                    int rounds, const char *unit, bool takes)
{
    double ours[ROUNDS_MOST], theirs[ROUNDS_MOST], ratios[ROUNDS_MOST], taking[ROUNDS_MOST];
    char line[80];
    for (int i = 0; i < rounds; i++) {
        if (i % 2)
            theirs[i] = on_new_file(bare, NULL);
        ours[i] = on_new_file(engine, takes ? &taking[i] : NULL);
        if (i % 2 == 0)
            theirs[i] = on_new_file(bare, NULL);
        ratios[i] = ours[i] / theirs[i];
    }
    snprintf(line, sizeof(line), "%s, queues", title);
    print(line, ours, rounds, unit, 0);
    snprintf(line, sizeof(line), "%s, bare SQLite", title);
    print(line, theirs, rounds, unit, 0);
    print(ratio_title, ratios, rounds, "times", 2);
    if (takes)
        print("taken and acknowledged, 512 at once, queues", taking, rounds, unit, 0);
}

int main(int argc, char **argv)
{
    const char *folder = ".";
    int rounds = 9;
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--rounds") == 0)
            rounds = (int)strtol(argv[i + 1], NULL, 10);
        else if (strcmp(argv[i], "--folder") == 0)
            folder = argv[i + 1];
        else
            rounds = 0;
    }
    if (argc % 2 == 0 || rounds < 1 || rounds > ROUNDS_MOST) {
        fputs("usage: load_queue_sqlite [--rounds N] [--folder PATH]\n", stderr);
        return 2;
    }
    snprintf(path, sizeof(path), "%s/queue_sqlite.%d.db", folder, (int)getpid());
    snprintf(url, sizeof(url), "sqlite:%s", path);
    printf("SQLite %s, %d rounds, bodies of %zu bytes, in %s\n", sqlite3_libversion(), rounds,
           sizeof(body) - 1, folder);
    compare("512 waiting at once", "  throughput, queues to bare", push_at_once, bare_at_once, rounds,
            "a second", true);
    compare("one at a time", "  latency, queues to bare", push_singly, bare_singly, rounds, "us", false);
    return 0;
}
