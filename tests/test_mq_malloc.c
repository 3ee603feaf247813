/* Each allocation of the queues in memory fails once, in a life in which every operation is used. Whatever
 * fails says so with a text, nothing is lost that the caller did not hear of, and nothing leaks.
 *
 * The linker sends the product's allocations here (--wrap). */
#include "queue/mq.h"

#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

static atomic_long calls_left, failures_left, failures; /* until one fails; so many fail; so many did */

static _Thread_local bool is_product; /* Check is linked into this program too */

static void be_slow(void);
static atomic_bool is_slow; /* the next allocation is */

static bool fails(void)
{
    if (is_product && atomic_exchange(&is_slow, false))
        be_slow();
    if (!is_product || atomic_load(&failures_left) <= 0 || atomic_fetch_sub(&calls_left, 1) > 0)
        return false;
    if (atomic_fetch_sub(&failures_left, 1) <= 0)
        return false;
    atomic_fetch_add(&failures, 1);
    return true;
}

static void arm(long after, long count)
{
    atomic_store(&failures, 0);
    atomic_store(&calls_left, after);
    atomic_store(&failures_left, count);
}

static void disarm(void)
{
    atomic_store(&failures_left, 0);
}

#define WRAP(type, name, parameters, arguments)                                                              \
    type __real_##name parameters; /* the linker's names */                                                  \
    type __wrap_##name parameters;                                                                           \
    type __wrap_##name parameters                                                                            \
    {                                                                                                        \
        return fails() ? NULL : __real_##name arguments;                                                     \
    }

WRAP(void *, malloc, (size_t n), (n))
WRAP(void *, calloc, (size_t n, size_t size), (n, size))
WRAP(void *, realloc, (void *p, size_t n), (p, n))
WRAP(char *, strdup, (const char *text), (text))
WRAP(char *, strndup, (const char *text, size_t n), (text, n))

int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *), void *user);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *), void *user);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *), void *user)
{
    return fails() ? EAGAIN : __real_pthread_create(thread, attr, run, user);
}

/* --- a life --- */

static mq *q;

static int submit(mq_op *op)
{
    is_product = true;
    int err = mq_call(q, op);
    is_product = false;
    return err;
}

/* Returns: did it succeed? */
static bool call(mq_op *op)
{
    int err = submit(op);
    ck_assert_msg(err == 0 || err == -ENOMEM, "%d: %s", err, op->error);
    ck_assert(err == 0 || *op->error);
    return err == 0;
}

/* How many are in the queue, in whatever state. */
static uint64_t count(const char *queue)
{
    mq_op op = {.verb = MQ_STATS, .queue = queue};
    while (!call(&op))
        ;
    uint64_t n = op.count ? op.stats->ready + op.stats->delayed + op.stats->taken : 0;
    free(op.stats);
    return n;
}

/* Returns: how many are in it now. */
static uint64_t push_all(void)
{
    uint64_t n = 0;
    for (int i = 0; i < 200; i++) {
        char id[16];
        snprintf(id, sizeof id, "%d", i);
        mq_op op = {.verb = MQ_PUSH, .queue = "a", .body = STR("{}"), .id = id};
        op.window_ms = i % 2 ? 600000 : 0;
        op.delay_ms = i % 5 ? 0 : 600000;
        op.wait_ms = 1;
        n += call(&op);
    }
    ck_assert_uint_eq(count("a"), n);
    return n;
}

static mq_message *take(unsigned most, int64_t lease_ms)
{
    mq_op op = {.verb = MQ_TAKE, .queue = "a", .most = most, .lease_ms = lease_ms};
    return call(&op) ? op.messages : NULL;
}

static void settle(mq_verb verb, mq_message *messages, mq_op op)
{
    uint64_t before = count("a") + count("dead");
    op.verb = verb;
    op.queue = "a";
    op.messages = messages;
    bool well = call(&op);
    bool is_gone = verb == MQ_ACK && messages;
    if (!is_gone || !well)
        ck_assert_uint_eq(count("a") + count("dead"), before);
    /* What could not be settled is held still. */
    op.verb = MQ_EXTEND;
    op.lease_ms = 600000;
    for (mq_message *m = messages, *next; m; m = next) {
        next = m->next;
        m->next = NULL;
        op.messages = m;
        int err;
        while ((err = submit(&op)) == -ENOMEM)
            ;
        ck_assert(err == (verb == MQ_EXTEND || verb == MQ_PROGRESS ? 0 : -ESTALE) || (!well && err == 0));
        mq_message_free(m);
    }
}

static void look(void)
{
    mq_op stats = {.verb = MQ_STATS, .queue = ""}, peek = {.verb = MQ_PEEK, .queue = "a", .most = 1000};
    uint64_t in_a = count("a"), n = 0;
    if (call(&stats))
        ck_assert_uint_ge(stats.count, in_a > 0);
    free(stats.stats);
    bool well = call(&peek);
    for (const mq_message *m = peek.messages; m; m = m->next)
        n++;
    ck_assert_uint_eq(n, well ? in_a : 0);
    mq_message_free(peek.messages);
}

static void live(void)
{
    uint64_t pushed = push_all();
    mq_message *stale = take(1, 600000);
    settle(MQ_RETRY, take(20, 0), (mq_op){.delay_ms = 0, .note = "note"});
    settle(MQ_RETRY, take(80, 600000), (mq_op){.delay_ms = 600000, .note = "note"});
    settle(MQ_GIVE_BACK, take(5, 600000), (mq_op){0});
    settle(MQ_EXTEND, take(80, 0), (mq_op){.lease_ms = 600000});
    settle(MQ_PROGRESS, take(1, 0), (mq_op){.progress = 0.5});
    settle(MQ_DEAD, take(5, 0), (mq_op){.to = "dead", .note = "note"});
    ck_assert_uint_eq(count("a") + count("dead"), pushed);
    look();
    mq_op revive = {.verb = MQ_REVIVE, .queue = "dead", .id = ""};
    call(&revive);
    revive.queue = "a";
    call(&revive);
    ck_assert_uint_eq(count("a") + count("dead"), pushed);
    mq_op claim = {.verb = MQ_CLAIM, .queue = "clock", .moment_ms = 1};
    call(&claim);
    /* One that is held while it is delivered again is copied. */
    mq_op again = {.verb = MQ_RETRY, .queue = "a", .messages = stale};
    if (stale)
        call(&again);
    mq_message *some = take(1000, 0);
    mq_message_free(stale);
    settle(MQ_ACK, some, (mq_op){0});
    mq_op purge = {.verb = MQ_PURGE, .queue = "a"};
    call(&purge);
}

/* The first thing that has a time. */
static void live_by_extending(void)
{
    mq_op push = {.verb = MQ_PUSH, .queue = "a", .body = STR("{}")};
    mq_message *m = call(&push) ? take(1, 0) : NULL;
    if (m)
        settle(MQ_EXTEND, m, (mq_op){.lease_ms = 600000});
}

static void (*const lives[])(void) = {live, live_by_extending};

static const long in_a_row[] = {1, 2, 5};

static bool live_once(long after, long count, void (*life)(void))
{
    static const mq_config config = {0};
    char error[MQ_ERROR_BYTES];
    arm(after, count);
    is_product = true;
    int err = mq_open("memory:", &config, &q, error, sizeof error);
    is_product = false;
    ck_assert(err == 0 || (err == -ENOMEM && *error));
    if (err == 0) {
        life();
        disarm();
        mq_op op = {.verb = MQ_PUSH, .queue = "a", .body = STR("1")};
        ck_assert_int_eq(mq_call(q, &op), 0); /* all is well again */
        mq_close(q);
    }
    disarm();
    return atomic_load(&failures) > 0;
}

START_TEST(each_failure_is_survived)
{
    for (size_t i = 0; i < sizeof lives / sizeof lives[0]; i++) {
        long n = 0;
        while (live_once(n, in_a_row[_i], lives[i]))
            n++;
        ck_assert_int_gt(n, i ? 10 : 300); /* or they are not seen */
    }
}
END_TEST

/* --- a lease that ends while its message is settled --- */

/* Wait for something that is due later than the lease, in the middle of an allocation: the thread for times
 * has then seen the lease end. */
static void be_slow(void)
{
    mq_op push = {.verb = MQ_PUSH, .queue = "later", .body = STR("1"), .delay_ms = 150};
    mq_stats stats = {.delayed = 1};
    is_product = false;
    ck_assert(call(&push));
    while (stats.delayed) {
        mq_op op = {.verb = MQ_STATS, .queue = "later"};
        ck_assert(call(&op));
        stats = op.stats[0];
        free(op.stats);
        sched_yield();
    }
    is_product = true;
}

/* Retry it while its lease ends. Returns: the error; -ESTALE: the lease had ended before. */
static int retry_slowly(void)
{
    mq_message *m;
    while (!(m = take(1, 100)))
        sched_yield();
    mq_op op = {.verb = MQ_RETRY, .queue = "a", .messages = m, .note = "note"};
    atomic_store(&is_slow, true);
    int err = submit(&op);
    atomic_store(&is_slow, false);
    mq_message_free(m);
    return err;
}

START_TEST(a_message_that_is_being_settled_is_not_delivered_again)
{
    static const mq_config config = {0};
    char error[MQ_ERROR_BYTES];
    int err;
    ck_assert_int_eq(mq_open("memory:", &config, &q, error, sizeof error), 0);
    mq_op op = {.verb = MQ_PUSH, .queue = "a", .body = STR("1")};
    ck_assert(call(&op));
    while ((err = retry_slowly()) == -ESTALE)
        ;
    ck_assert_int_eq(err, 0);
    mq_message *m = take(10, 0);
    ck_assert_ptr_nonnull(m);
    ck_assert_ptr_null(m->next);
    ck_assert_str_eq(m->note, "note");
    ck_assert_uint_eq(count("a"), 1);
    mq_message_free(m);
    mq_close(q);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("mq_malloc");
    TCase *tests = tcase_create("memory");
    tcase_add_loop_test(tests, each_failure_is_survived, 0, sizeof in_a_row / sizeof in_a_row[0]);
    tcase_add_test(tests, a_message_that_is_being_settled_is_not_delivered_again);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
