/* The durable engine on a disk whose power is cut, which is full, or which fails (tests/cut_vfs.h): nothing
 * that was acknowledged to a caller may be lost, or be delivered again. POOLSRV_CUTS says how many times each
 * is tried. */
#include "tests/cut_vfs.h"
#include "tests/mq_ledger.h"

enum { THREADS = 4, CUTS_PRESET = 30, OPERATIONS = 80 };

static long cuts(void)
{
    const char *text = getenv("POOLSRV_CUTS");
    return text ? strtol(text, NULL, 10) : CUTS_PRESET;
}

static void on_report(storm *s, storm_event event, long id)
{
    (void)s;
    ledger_note(event, id);
}

static void *storm_main(void *user)
{
    storm_run(user);
    return NULL;
}

/* Threads that push and settle, until `model` says it is enough. */
static void run_storms(const storm *model, uint64_t seed)
{
    pthread_t threads[THREADS];
    storm storms[THREADS];
    for (int i = 0; i < THREADS; i++) {
        storms[i] = *model;
        storms[i].q = q;
        storms[i].queue = "a";
        storms[i].random = seed * THREADS + (uint64_t)i + 1;
        storms[i].next = i * (LEDGER_IDS / THREADS);
        storms[i].last = (i + 1) * (LEDGER_IDS / THREADS);
        storms[i].report = on_report;
        ck_assert_int_eq(pthread_create(&threads[i], NULL, storm_main, &storms[i]), 0);
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
}

static void begin(void)
{
    cut_register();
    ledger_clear();
    for (row = engines; strcmp(row->name, "sqlite") != 0; row++)
        ;
    row->start(engine_url);
}

static void expect_sound_file(void)
{
    sqlite3 *db;
    sqlite3_stmt *check;
    ck_assert_int_eq(sqlite3_open_v2(engine_url + strlen("sqlite:"), &db, SQLITE_OPEN_READWRITE, NULL), 0);
    ck_assert_int_eq(sqlite3_prepare_v2(db, "PRAGMA integrity_check", -1, &check, NULL), 0);
    ck_assert_int_eq(sqlite3_step(check), SQLITE_ROW);
    ck_assert_str_eq((const char *)sqlite3_column_text(check, 0), "ok");
    sqlite3_finalize(check);
    sqlite3_close(db);
}

/* --- power --- */

/* After how many calls: mostly soon, now and then so late that the log was brought into the file meanwhile.
 */
static long moment_of(uint64_t *random)
{
    uint64_t most = storm_draw(random) % 5 == 0 ? 20000 : 600;
    return (long)(storm_draw(random) % most);
}

static void cut_once(uint64_t seed)
{
    static const storm model = {.lease_ms = LONG_MS, .operations = -1};
    uint64_t random = seed * 7919 + 1;
    char error[MQ_ERROR_BYTES];
    bool early = seed % 8 == 0; /* while the file is being made */
    begin();
    if (early)
        cut_arm(CUT_POWER, (long)(storm_draw(&random) % 60), 1, seed);
    int err = try_open(NULL, &q, error);
    ck_assert(early || !err);
    if (!early)
        cut_arm(CUT_POWER, moment_of(&random), 1, seed);
    if (!err)
        run_storms(&model, seed);
    mq_close(q);
    q = NULL;
    cut_restore(seed % 3 == 0);
    open_again(NULL);
    ledger_compare("a");
    expect_sound_file();
    close_engine();
}

START_TEST(a_power_cut_loses_nothing_that_was_acknowledged)
{
    unsigned pushed = 0, ended = 0;
    for (long seed = 0; seed < cuts(); seed++) {
        cut_once((uint64_t)seed);
        pushed += ledger_count(LEDGER_PUSHED);
        ended += ledger_count(LEDGER_ENDED);
    }
    ck_assert_uint_gt(pushed, ended); /* there was something to lose */
    ck_assert_uint_gt(ended, 0);
    printf("%ld power cuts: %u pushes and %u acknowledgements that had returned\n", cuts(), pushed, ended);
}
END_TEST

/* A check that finds nothing proves nothing: a disk that only says it has synced loses messages. */
START_TEST(a_disk_that_lies_is_found_out)
{
    static const storm model = {.lease_ms = LONG_MS, .operations = OPERATIONS};
    begin();
    open_again(NULL);
    cut_lies(true);
    run_storms(&model, 1);
    cut_arm(CUT_POWER, 0, 1, 1);
    mq_close(q);
    cut_restore(true);
    cut_lies(false);
    open_again(NULL);
    mq_message *list = peek("a", MQ_TAKE_MAX);
    for (const mq_message *m = list; m; m = m->next)
        ledger_find(m);
    mq_message_free(list);
    ck_assert_uint_gt(ledger_count(LEDGER_PUSHED), ledger_count(LEDGER_PUSHED | LEDGER_FOUND) +
                                                       ledger_count(LEDGER_PUSHED | LEDGER_ENDED));
    close_engine();
}
END_TEST

/* --- full, and bad --- */

static atomic_uint failures;

static void on_failed(storm *s, const mq_op *op)
{
    int wanted = *(int *)s->user;
    if (op->err == -ESTALE) /* it was settled, and the answer was an error */
        return;
    ck_assert_int_eq(op->err, wanted);
    ck_assert_msg(strstr(op->error, "q.db") != NULL, "%s", op->error);
    atomic_fetch_add(&failures, 1);
}

static void fail_once(cut_fault fault, int err, uint64_t seed)
{
    storm model = {
        .lease_ms = LONG_MS, .operations = OPERATIONS, .goes_on = true, .failed = on_failed, .user = &err};
    uint64_t random = seed * 7919 + 1;
    begin();
    open_again(NULL);
    cut_arm(fault, (long)(storm_draw(&random) % 300), 1 + (long)(storm_draw(&random) % 40), seed);
    run_storms(&model, seed);
    cut_disarm();
    push("b", "1"); /* it goes on */
    expect_bodies("b", "1");
    ledger_compare("a");
    ck_assert_uint_le(stats_of("a").taken, ledger_count(LEDGER_HELD)); /* nothing is held by nobody */
    if (fault == CUT_FULL)
        ck_assert_uint_eq(ledger_count(LEDGER_REFUSED | LEDGER_FOUND), 0);
    mq_close(q);
    q = NULL;
    expect_sound_file();
    close_engine();
    cut_restore(true);
}

START_TEST(a_full_disk_fails_its_operations_only)
{
    for (long seed = 0; seed < cuts(); seed++)
        fail_once(CUT_FULL, -ENOSPC, (uint64_t)seed);
    ck_assert_uint_gt(atomic_load(&failures), 0);
}
END_TEST

START_TEST(a_failing_disk_fails_its_operations_only)
{
    for (long seed = 0; seed < cuts(); seed++)
        fail_once(CUT_BAD, -EIO, (uint64_t)seed);
    ck_assert_uint_gt(atomic_load(&failures), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("mq_sqlite_faults");
    TCase *tests = tcase_create("mq_sqlite_faults");
    tcase_set_timeout(tests, 600);
    tcase_add_test(tests, a_power_cut_loses_nothing_that_was_acknowledged);
    tcase_add_test(tests, a_disk_that_lies_is_found_out);
    tcase_add_test(tests, a_full_disk_fails_its_operations_only);
    tcase_add_test(tests, a_failing_disk_fails_its_operations_only);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
