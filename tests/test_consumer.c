#include "runtime/consumer.h"

#include <pthread.h>

#include "tests/pool_fixture.h"

enum { VERBS = MQ_LAST + 1, STORM_MESSAGES = 3000, STORM_THREADS = 3, SPENT = 20000 };

/* --- an engine that fails when it is told to, or answers late: the memory engine behind a door --- */

typedef struct door {
    mq *inner;
    mq_op *held, **held_end; /* [lock] operations that wait at the door */
    bool late, shut;         /* [lock] held until the door's thread lets them through; until `shut` is over */
    bool closing;            /* [lock] */
    int fail[VERBS];         /* [lock] how many of a verb are to fail ... */
    int error[VERBS];        /* [lock] ... and how */
    unsigned seen[VERBS];    /* [lock] how many have come */
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
} door;

static door d;

static int fail_of(mq_verb verb)
{
    pthread_mutex_lock(&d.lock);
    d.seen[verb]++;
    int err = d.fail[verb] ? d.error[verb] : 0;
    d.fail[verb] -= d.fail[verb] > 0;
    pthread_cond_broadcast(&d.changed);
    pthread_mutex_unlock(&d.lock);
    return err;
}

static void let_in(mq_op *op)
{
    int err = fail_of(op->verb);
    if (err)
        mq_finish(op, err, "queue \"%s\": the door is stuck", op->queue);
    else
        mq_submit(d.inner, op);
}

static void *door_main(void *arg)
{
    (void)arg;
    pthread_mutex_lock(&d.lock);
    for (;;) {
        while (!d.closing && (!d.held || d.shut))
            pthread_cond_wait(&d.changed, &d.lock);
        mq_op *op = d.held;
        if (!op)
            break;
        d.held = op->next;
        if (!d.held)
            d.held_end = &d.held;
        bool closing = d.closing;
        pthread_mutex_unlock(&d.lock);
        if (closing)
            mq_finish(op, -ESHUTDOWN, NULL);
        else
            let_in(op);
        pthread_mutex_lock(&d.lock);
    }
    pthread_mutex_unlock(&d.lock);
    return NULL;
}

static int door_open(const mq *q, const char *rest, void **ret_self, char *error, size_t size)
{
    d.held_end = &d.held;
    *ret_self = &d;
    (void)rest;
    if (pthread_create(&d.thread, NULL, door_main, NULL) != 0)
        return -EAGAIN;
    return mq_open("memory:", mq_config_of(q), &d.inner, error, size);
}

static void door_close(void *self)
{
    (void)self;
    pthread_mutex_lock(&d.lock);
    d.closing = true;
    pthread_cond_broadcast(&d.changed);
    pthread_mutex_unlock(&d.lock);
    pthread_join(d.thread, NULL);
    mq_close(d.inner);
}

static void door_submit(void *self, mq_op *op)
{
    (void)self;
    pthread_mutex_lock(&d.lock);
    bool wait = d.late && !d.closing, closing = d.closing;
    if (wait) {
        op->next = NULL;
        *d.held_end = op;
        d.held_end = &op->next;
        pthread_cond_broadcast(&d.changed);
    }
    pthread_mutex_unlock(&d.lock);
    if (closing)
        mq_finish(op, -ESHUTDOWN, NULL);
    else if (!wait)
        let_in(op);
}

static void door_watch(void *self, mq_watcher *w)
{
    (void)self;
    mq_watch(d.inner, w);
}

static void door_unwatch(void *self, mq_watcher *w)
{
    (void)self;
    mq_unwatch(d.inner, w);
}

static const mq_engine door_engine = {.scheme = "door",
                                      .survives = true,
                                      .open = door_open,
                                      .close = door_close,
                                      .submit = door_submit,
                                      .watch = door_watch,
                                      .unwatch = door_unwatch};

static void have_fail(mq_verb verb, int count, int err)
{
    pthread_mutex_lock(&d.lock);
    d.fail[verb] = count;
    d.error[verb] = err;
    pthread_mutex_unlock(&d.lock);
}

static void set_door(bool late, bool shut)
{
    pthread_mutex_lock(&d.lock);
    d.late = late;
    d.shut = shut;
    pthread_cond_broadcast(&d.changed);
    pthread_mutex_unlock(&d.lock);
}

static unsigned seen(mq_verb verb)
{
    pthread_mutex_lock(&d.lock);
    unsigned n = d.seen[verb];
    pthread_mutex_unlock(&d.lock);
    return n;
}

static bool any_is_held(void)
{
    pthread_mutex_lock(&d.lock);
    bool any = d.held != NULL;
    pthread_mutex_unlock(&d.lock);
    return any;
}

/* --- jobs: the message says what they do --- */

static atomic_uint runs, running_now, most_running, most_in_batch;
static atomic_uint told, told_again;
static pthread_mutex_t text_lock = PTHREAD_MUTEX_INITIALIZER;
static char told_text[512]; /* [text_lock] the last */

static void begin_work(const job *j)
{
    unsigned n = atomic_fetch_add(&running_now, 1) + 1, most = atomic_load(&most_running), in_batch = 0;
    while (n > most && !atomic_compare_exchange_weak(&most_running, &most, n))
        ;
    for (const mq_message *m = j->messages; m; m = m->next)
        in_batch++;
    most = atomic_load(&most_in_batch);
    while (in_batch > most && !atomic_compare_exchange_weak(&most_in_batch, &most, in_batch))
        ;
    atomic_fetch_add(&runs, 1);
}

static runner_result end_work(HttpTask *t)
{
    atomic_fetch_sub(&running_now, 1);
    t->status = 200;
    t->outcome = TASK_OUTCOME_REPLY;
    return RUNNER_DONE;
}

static runner_result run_job(fake_vm *vm, HttpTask *t)
{
    job *j = t->job;
    const char *body = j->messages->body.p;
    begin_work(j);
    if (strcmp(body, "\"gate\"") == 0)
        wait_at_gate();
    if (strcmp(body, "\"park\"") == 0 || strcmp(body, "\"ever\"") == 0) {
        t->vm = vm;
        t->wake_ns = strcmp(body, "\"ever\"") == 0 ? 3600 * SECOND : SECOND / 100;
        return RUNNER_PARKED;
    }
    end_work(t);
    if (strcmp(body, "\"fail\"") == 0) {
        j->failed = true;
        ck_assert_int_eq(buf_add(&j->result, "it went wrong", 13), 0);
        t->outcome = TASK_OUTCOME_ERROR;
    }
    return RUNNER_DONE;
}

static void cancel_job(HttpTask *t)
{
    end_work(t);
}

static void on_tell(void *user, int level, const char *text)
{
    (void)user;
    (void)level;
    atomic_fetch_add(&told, 1);
    if (strstr(text, "again"))
        atomic_fetch_add(&told_again, 1);
    pthread_mutex_lock(&text_lock);
    snprintf(told_text, sizeof(told_text), "%s", text);
    pthread_mutex_unlock(&text_lock);
}

/* --- what is under test --- */

static mq *queues;
static ticker *ticking;
static consumer *c;

static const consumer_config plain = {
    .queue = "work",
    .dead_letter = "work.dead",
    .concurrency = 1,
    .retries = 2,
    .backoff = BACKOFF_CONSTANT,
    .delay_s = 0.001,
    .max_delay_s = 1,
    .lease_s = 3600,
    .tell = on_tell,
};

static void set_up(void)
{
    char error[256] = "";
    const mq_config config = {.tell = on_tell};
    setup();
    fake.run_job = run_job;
    fake.resume_job = end_work;
    fake.cancel_job = cancel_job;
    d = (door){.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    ck_assert_msg(mq_open_engine(&door_engine, "door:", &config, &queues, error, sizeof error) == 0, "%s",
                  error);
    ck_assert_int_eq(ticker_new(&ticking), 0);
}

static pool_config heavies(unsigned n)
{
    pool_config config = usual;
    config.heavies = n;
    return config;
}

static void make(consumer_config config)
{
    ck_assert_int_eq(consumer_new(&config, queues, ticking, &c), 0);
}

static void begin(consumer_config config, unsigned threads)
{
    start(heavies(threads));
    make(config);
    consumer_start(c, p);
}

/* As a server ends. */
static void finish(enum pool_stage stage)
{
    consumer_stop(c);
    end(stage);
    ck_assert(consumer_settle(c, PATIENCE_S * 1000));
    ck_assert_uint_eq(consumer_count(c).running, 0);
}

static void tear_down(void)
{
    ticker_free(ticking);
    mq_close(queues);
    consumer_free(c);
    c = NULL;
}

/* --- messages --- */

static void push_with(const char *queue, const char *body, int priority)
{
    mq_op op = {.verb = MQ_PUSH, .queue = queue, .body = str_from(body), .priority = priority};
    ck_assert_int_eq(mq_call(d.inner, &op), 0);
}

static void push(const char *body)
{
    push_with("work", body, 0);
}

static void push_many(const char *body, unsigned n)
{
    while (n-- > 0)
        push(body);
}

static mq_stats stats_of(const char *queue)
{
    mq_op op = {.verb = MQ_STATS, .queue = queue};
    mq_stats s = {0};
    ck_assert_int_eq(mq_call(d.inner, &op), 0);
    if (op.count)
        s = op.stats[0];
    free(op.stats);
    return s;
}

static void expect_left(uint64_t ready, uint64_t taken)
{
    mq_stats s = stats_of("work");
    ck_assert_uint_eq(s.ready, ready);
    ck_assert_uint_eq(s.taken, taken);
    ck_assert_uint_eq(s.delayed, 0);
}

/* The first of a queue; to be freed. */
static mq_message *first_of(const char *queue)
{
    mq_op op = {.verb = MQ_PEEK, .queue = queue, .most = 1};
    ck_assert_int_eq(mq_call(d.inner, &op), 0);
    ck_assert_ptr_nonnull(op.messages);
    return op.messages;
}

#define until(condition)                                                                                     \
    do {                                                                                                     \
        uint64_t until_ns = clock_now_ns() + PATIENCE_S * SECOND;                                            \
        while (!(condition)) {                                                                               \
            ck_assert_msg(clock_now_ns() < until_ns, "it does not come: %s", #condition);                    \
            sched_yield();                                                                                   \
        }                                                                                                    \
    } while (0)

#define count(field) consumer_count(c).field

/* Have so many messages delivered once more than they can be tried, and ready again. */
static void spend(unsigned n, unsigned tries)
{
    for (; tries; tries--) {
        mq_op op = {.verb = MQ_TAKE, .queue = "work", .lease_ms = 1};
        for (unsigned left = n; left; left -= op.most) {
            op.most = left < MQ_TAKE_MAX ? left : MQ_TAKE_MAX;
            op.messages = NULL;
            ck_assert_int_eq(mq_call(d.inner, &op), 0);
            mq_message_free(op.messages);
        }
        until(stats_of("work").taken == 0);
    }
}

/* --- the usual --- */

START_TEST(messages_are_run_and_acknowledged)
{
    push("\"early\"");
    begin(plain, 2);
    push("\"late\"");
    until(count(done) == 2);
    finish(POOL_DRAINING);
    expect_left(0, 0);
    ck_assert_uint_eq(atomic_load(&runs), 2);
    ck_assert_uint_eq(atomic_load(&told), 0);
}
END_TEST

START_TEST(no_more_jobs_run_at_a_time_than_its_concurrency)
{
    consumer_config config = plain;
    config.concurrency = 2;
    push_many("\"gate\"", 10);
    begin(config, 5);
    wait_for_gate(2);
    ck_assert_uint_eq(count(running), 2);
    expect_left(8, 2);
    open_gate();
    until(count(done) == 10);
    ck_assert_uint_eq(atomic_load(&most_running), 2);
    finish(POOL_DRAINING);
}
END_TEST

START_TEST(jobs_that_wait_hold_their_places)
{
    consumer_config config = plain;
    config.concurrency = 3;
    push_many("\"park\"", 30);
    begin(config, 2);
    until(count(done) == 30);
    ck_assert_uint_le(atomic_load(&most_running), 3);
    finish(POOL_DRAINING);
}
END_TEST

START_TEST(job_that_fails_is_tried_again_and_then_dead)
{
    push("\"fail\"");
    begin(plain, 1);
    until(count(dead) == 1);
    ck_assert_uint_eq(count(retried), 2);
    ck_assert_uint_eq(atomic_load(&runs), 3);
    finish(POOL_DRAINING);
    mq_message *m = first_of("work.dead");
    ck_assert_str_eq(m->note, "it went wrong");
    ck_assert_str_eq(m->from, "work");
    ck_assert_uint_eq(m->attempt, 3);
    mq_message_free(m);
    expect_left(0, 0);
}
END_TEST

START_TEST(without_a_queue_for_dead_letters_they_are_let_go)
{
    consumer_config config = plain;
    config.dead_letter = "";
    config.retries = 0;
    push("\"fail\"");
    begin(config, 1);
    until(count(dead) == 1);
    ck_assert_uint_eq(atomic_load(&runs), 1);
    finish(POOL_DRAINING);
    expect_left(0, 0);
    ck_assert_uint_eq(stats_of("work.dead").ready, 0);
}
END_TEST

START_TEST(job_that_waits_beyond_its_timeout_has_failed)
{
    consumer_config config = plain;
    config.retries = 0;
    config.limits.wall_ns = SECOND / 100;
    push("\"ever\"");
    begin(config, 1);
    until(count(dead) == 1);
    finish(POOL_DRAINING);
    mq_message *m = first_of("work.dead");
    ck_assert_str_eq(m->note, "it took longer than the consumer's timeout");
    mq_message_free(m);
    ck_assert_ptr_nonnull(strstr(told_text, "queue work: a job was ended"));
}
END_TEST

START_TEST(batch_has_what_there_is_up_to_its_size)
{
    consumer_config config = plain;
    config.batch = 4;
    push("\"gate\"");
    begin(config, 2);
    wait_for_gate(1);
    push_many("\"x\"", 10);
    open_gate();
    until(count(done) == 11);
    ck_assert_uint_eq(atomic_load(&runs), 1 + 3);
    ck_assert_uint_eq(atomic_load(&most_in_batch), 4);
    finish(POOL_DRAINING);
}
END_TEST

START_TEST(each_message_of_a_batch_that_fails_is_settled_by_its_own_tries)
{
    consumer_config config = plain;
    config.batch = 10;
    config.retries = 1;
    push_with("work", "\"fail\"", 9);
    spend(1, 1); /* this one has had a try */
    push_many("\"fail\"", 3);
    begin(config, 1);
    until(count(dead) == 4);
    ck_assert_uint_eq(count(retried), 3);
    finish(POOL_DRAINING);
    ck_assert_uint_eq(stats_of("work.dead").ready, 4);
}
END_TEST

START_TEST(message_that_was_delivered_too_often_is_dead_without_another_try)
{
    push("\"x\"");
    spend(1, 3);
    begin(plain, 1);
    until(count(dead) == 1);
    ck_assert_uint_eq(atomic_load(&runs), 0);
    finish(POOL_DRAINING);
    mq_message *m = first_of("work.dead");
    ck_assert_str_eq(m->note, "the process ended in each of its tries");
    mq_message_free(m);
}
END_TEST

START_TEST(spent_messages_between_others_make_no_more_jobs_than_there_are_places)
{
    consumer_config config = plain;
    config.batch = 3;
    config.concurrency = 2;
    config.retries = 0;
    for (int i = 0; i < 3; i++)
        push_with("work", "\"gate\"", 9 - 2 * i);
    spend(3, 1);
    for (int i = 0; i < 3; i++)
        push_with("work", "\"gate\"", 8 - 2 * i);
    begin(config, 4);
    wait_for_gate(1);
    until(count(dead) == 3);
    push_many("\"gate\"", 3);
    ck_assert_uint_le(count(running), 2);
    open_gate();
    until(count(done) == 6);
    ck_assert_uint_le(atomic_load(&most_running), 2);
    finish(POOL_DRAINING);
}
END_TEST

START_TEST(many_spent_messages_take_no_more_stack_than_one)
{
    consumer_config config = plain;
    config.retries = 0;
    config.dead_letter = "";
    push_many("\"x\"", SPENT);
    spend(SPENT, 1);
    begin(config, 1);
    until(count(dead) == SPENT);
    finish(POOL_DRAINING);
}
END_TEST

START_TEST(leases_are_extended_while_jobs_run)
{
    consumer_config config = plain;
    config.lease_s = 0.05;
    push("\"gate\"");
    begin(config, 2);
    wait_for_gate(1);
    until(seen(MQ_EXTEND) >= 10); /* several leases */
    expect_left(0, 1);
    open_gate();
    until(count(done) == 1);
    ck_assert_uint_eq(atomic_load(&runs), 1);
    finish(POOL_DRAINING);
    ck_assert_uint_eq(count(stale), 0);
}
END_TEST

START_TEST(delays_grow_as_their_kind_says)
{
    consumer_config config = {.delay_s = 2, .max_delay_s = 60};
    static const int64_t exponential[] = {2000, 4000, 8000, 16000, 32000, 60000, 60000};
    for (unsigned i = 0; i < 7; i++) {
        config.backoff = BACKOFF_EXPONENTIAL;
        ck_assert_int_eq(consumer_delay_ms(&config, i + 1), exponential[i]);
        config.backoff = BACKOFF_LINEAR;
        ck_assert_int_eq(consumer_delay_ms(&config, i + 1), 2000 * (int64_t)(i + 1));
        config.backoff = BACKOFF_CONSTANT;
        ck_assert_int_eq(consumer_delay_ms(&config, i + 1), 2000);
    }
    config.backoff = BACKOFF_EXPONENTIAL;
    ck_assert_int_eq(consumer_delay_ms(&config, 1000000000), 60000);
    config.max_delay_s = 1;
    ck_assert_int_eq(consumer_delay_ms(&config, 1), 1000);
}
END_TEST

/* --- the end --- */

START_TEST(what_is_not_run_when_the_server_is_forced_to_stop_is_given_back)
{
    consumer_config config = plain;
    config.concurrency = 4;
    push_many("\"gate\"", 1);
    begin(config, 1);
    wait_for_gate(1);
    push_many("\"ever\"", 2); /* they wait for the thread */
    until(count(running) == 3);
    consumer_stop(c);
    pool_set_stage(p, POOL_FORCED);
    open_gate();
    end(POOL_FORCED);
    ck_assert(consumer_settle(c, PATIENCE_S * 1000));
    ck_assert_uint_eq(count(done), 1);
    ck_assert_uint_eq(count(given_back), 2);
    expect_left(2, 0);
    mq_message *m = first_of("work");
    ck_assert_uint_eq(m->attempt, 0);
    mq_message_free(m);
}
END_TEST

START_TEST(what_waits_when_the_server_is_forced_to_stop_is_given_back)
{
    push("\"ever\"");
    begin(plain, 1);
    until(atomic_load(&runs) == 1);
    finish(POOL_FORCED);
    ck_assert_uint_eq(count(given_back), 1);
    expect_left(1, 0);
}
END_TEST

START_TEST(drain_waits_for_jobs_and_takes_no_more)
{
    push("\"gate\"");
    begin(plain, 1);
    wait_for_gate(1);
    consumer_stop(c);
    push("\"x\"");
    pool_set_stage(p, POOL_DRAINING);
    open_gate();
    finish(POOL_DRAINING);
    ck_assert_uint_eq(count(done), 1);
    expect_left(1, 0);
}
END_TEST

START_TEST(stop_before_the_start_and_twice_is_fine)
{
    make(plain);
    consumer_stop(c);
    consumer_stop(c);
    ck_assert(consumer_settle(c, 0));
}
END_TEST

START_TEST(what_is_taken_while_it_stops_is_given_back)
{
    set_door(true, true);
    push_many("\"x\"", 2);
    start(heavies(1));
    make(plain);
    consumer_start(c, p);
    until(any_is_held());
    consumer_stop(c);
    set_door(true, false);
    until(count(given_back) == 1);
    finish(POOL_DRAINING);
    expect_left(2, 0);
    ck_assert_uint_eq(atomic_load(&runs), 0);
}
END_TEST

START_TEST(close_of_the_queues_ends_what_is_under_way)
{
    push("\"x\"");
    begin(plain, 1);
    until(count(done) == 1);
    set_door(true, true);
    push("\"x\"");
    until(any_is_held()); /* the take */
    consumer_stop(c);
    end(POOL_DRAINING);
    ck_assert(!consumer_settle(c, 0));
}
END_TEST

START_TEST(close_of_the_queues_ends_what_is_to_be_settled)
{
    consumer_config config = plain;
    config.batch = 5;
    push_many("\"fail\"", 5);
    set_door(false, true);
    begin(config, 1);
    set_door(true, true);
    until(any_is_held()); /* the first of the messages; or the take, if that was not faster */
    consumer_stop(c);
    end(POOL_DRAINING);
    ck_assert(!consumer_settle(c, 0));
}
END_TEST

/* --- troubles --- */

START_TEST(take_that_fails_is_told_once_and_tried_again)
{
    have_fail(MQ_TAKE, 2, -EIO);
    push("\"x\"");
    begin(plain, 1);
    until(count(done) == 1);
    finish(POOL_DRAINING);
    ck_assert_uint_eq(atomic_load(&told), 2);
    ck_assert_uint_eq(atomic_load(&told_again), 1);
}
END_TEST

START_TEST(outcome_is_written_down_again_when_the_trouble_passes)
{
    have_fail(MQ_ACK, 2, -ENOTCONN);
    push("\"x\"");
    begin(plain, 1);
    until(count(done) == 1);
    ck_assert_uint_eq(atomic_load(&runs), 1);
    finish(POOL_DRAINING);
    expect_left(0, 0);
    ck_assert_uint_eq(atomic_load(&told), 0);
}
END_TEST

START_TEST(outcome_that_cannot_be_written_down_is_told)
{
    have_fail(MQ_ACK, 1, -EPROTO);
    push("\"x\"");
    begin(plain, 1);
    until(atomic_load(&told) == 1);
    finish(POOL_DRAINING);
    expect_left(0, 1);
    ck_assert_ptr_nonnull(strstr(told_text, "queue work: the outcome of a job"));
    ck_assert_ptr_nonnull(strstr(told_text, "the door is stuck"));
}
END_TEST

START_TEST(outcome_that_waits_to_be_written_down_is_given_up_at_the_end)
{
    have_fail(MQ_ACK, 1000, -ENOTCONN);
    push("\"x\"");
    begin(plain, 1);
    until(seen(MQ_ACK) >= 1);
    consumer_stop(c);
    end(POOL_DRAINING);
    (void)consumer_settle(c, 0);
    until(consumer_settle(c, 0));
    ck_assert_uint_eq(atomic_load(&told), 1);
    expect_left(0, 1);
}
END_TEST

START_TEST(lease_that_was_lost_is_counted)
{
    have_fail(MQ_ACK, 1, -ESTALE);
    push("\"x\"");
    begin(plain, 1);
    until(count(stale) == 1);
    finish(POOL_DRAINING);
    ck_assert_uint_eq(count(done), 0);
    ck_assert_uint_eq(atomic_load(&told), 0);
}
END_TEST

/* --- many threads --- */

static void *push_storm(void *arg)
{
    static const char *const bodies[] = {"\"x\"", "\"fail\"", "\"park\"", "\"x\"", "\"x\"", "\"x\""};
    unsigned seed = (unsigned)(uintptr_t)arg;
    for (unsigned i = 0; i < STORM_MESSAGES / STORM_THREADS; i++)
        push(bodies[(unsigned)rand_r(&seed) % 6]);
    return NULL;
}

/* Whatever its engine does, every message ends once, as done or as dead. */
START_TEST(every_message_ends_once)
{
    pthread_t threads[STORM_THREADS];
    consumer_config config = plain;
    config.concurrency = 4;
    config.batch = _i & 1 ? 3 : 0;
    set_door(_i & 2, false);
    have_fail(MQ_TAKE, 1, -EIO);
    have_fail(MQ_ACK, 5, -EIO);
    have_fail(MQ_RETRY, 5, -ENOTCONN);
    have_fail(MQ_DEAD, 5, -EAGAIN);
    begin(config, 4);
    for (uintptr_t i = 0; i < STORM_THREADS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, push_storm, (void *)(i + 1)), 0);
    for (unsigned i = 0; i < STORM_THREADS; i++)
        pthread_join(threads[i], NULL);
    until(count(done) + count(dead) == STORM_MESSAGES);
    ck_assert_uint_le(atomic_load(&most_running), 4);
    finish(POOL_DRAINING);
    expect_left(0, 0);
    ck_assert_uint_eq(stats_of("work.dead").ready, count(dead));
}
END_TEST

/* What is under way when it stops is done, dead or there still: nothing is lost. */
START_TEST(stop_in_the_storm_loses_nothing)
{
    pthread_t threads[STORM_THREADS];
    consumer_config config = plain;
    config.concurrency = 4;
    set_door(_i & 1, false);
    begin(config, 3);
    for (uintptr_t i = 0; i < STORM_THREADS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, push_storm, (void *)(i + 1)), 0);
    until(count(done) > 100);
    consumer_stop(c);
    pool_set_stage(p, _i & 2 ? POOL_FORCED : POOL_DRAINING);
    for (unsigned i = 0; i < STORM_THREADS; i++)
        pthread_join(threads[i], NULL);
    finish(_i & 2 ? POOL_FORCED : POOL_DRAINING);
    mq_stats s = stats_of("work");
    ck_assert_uint_eq(s.taken, 0);
    ck_assert_uint_eq(s.ready + s.delayed + count(done) + count(dead), STORM_MESSAGES);
}
END_TEST

static Suite *consumer_suite(void)
{
    Suite *s = suite_create("consumer");
    TCase *tc = tcase_create("messages");
    tcase_add_checked_fixture(tc, set_up, tear_down);
    tcase_add_test(tc, messages_are_run_and_acknowledged);
    tcase_add_test(tc, no_more_jobs_run_at_a_time_than_its_concurrency);
    tcase_add_test(tc, jobs_that_wait_hold_their_places);
    tcase_add_test(tc, job_that_fails_is_tried_again_and_then_dead);
    tcase_add_test(tc, without_a_queue_for_dead_letters_they_are_let_go);
    tcase_add_test(tc, job_that_waits_beyond_its_timeout_has_failed);
    tcase_add_test(tc, batch_has_what_there_is_up_to_its_size);
    tcase_add_test(tc, each_message_of_a_batch_that_fails_is_settled_by_its_own_tries);
    tcase_add_test(tc, message_that_was_delivered_too_often_is_dead_without_another_try);
    tcase_add_test(tc, spent_messages_between_others_make_no_more_jobs_than_there_are_places);
    tcase_add_test(tc, many_spent_messages_take_no_more_stack_than_one);
    tcase_add_test(tc, leases_are_extended_while_jobs_run);
    tcase_add_test(tc, delays_grow_as_their_kind_says);
    suite_add_tcase(s, tc);
    tc = tcase_create("the end");
    tcase_add_checked_fixture(tc, set_up, tear_down);
    tcase_add_test(tc, what_is_not_run_when_the_server_is_forced_to_stop_is_given_back);
    tcase_add_test(tc, what_waits_when_the_server_is_forced_to_stop_is_given_back);
    tcase_add_test(tc, drain_waits_for_jobs_and_takes_no_more);
    tcase_add_test(tc, stop_before_the_start_and_twice_is_fine);
    tcase_add_test(tc, what_is_taken_while_it_stops_is_given_back);
    tcase_add_test(tc, close_of_the_queues_ends_what_is_under_way);
    tcase_add_test(tc, close_of_the_queues_ends_what_is_to_be_settled);
    suite_add_tcase(s, tc);
    tc = tcase_create("troubles");
    tcase_add_checked_fixture(tc, set_up, tear_down);
    tcase_add_test(tc, take_that_fails_is_told_once_and_tried_again);
    tcase_add_test(tc, outcome_is_written_down_again_when_the_trouble_passes);
    tcase_add_test(tc, outcome_that_cannot_be_written_down_is_told);
    tcase_add_test(tc, outcome_that_waits_to_be_written_down_is_given_up_at_the_end);
    tcase_add_test(tc, lease_that_was_lost_is_counted);
    suite_add_tcase(s, tc);
    tc = tcase_create("many threads");
    tcase_add_checked_fixture(tc, set_up, tear_down);
    tcase_add_loop_test(tc, every_message_ends_once, 0, 4);
    tcase_add_loop_test(tc, stop_in_the_storm_loses_nothing, 0, 4);
    suite_add_tcase(s, tc);
    return s;
}

int main(void)
{
    SRunner *sr = srunner_create(consumer_suite());
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
