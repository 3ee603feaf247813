/* What is the durable engine's own: its file, other processes that have it open, holders that have ended. */
#include "tests/mq_driver.h"
#include "tests/mq_fixture.h"

#include <sqlite3.h>
#include <sys/stat.h>

static const char *path(void)
{
    return engine_url + strlen("sqlite:");
}

static void start(const char *parameters)
{
    for (row = engines; strcmp(row->name, "sqlite") != 0; row++)
        ;
    row->start(engine_url);
    open_again(parameters);
}

static void reopen(const char *parameters)
{
    mq_close(q);
    q = NULL;
    open_again(parameters);
}

static void start_driver(driver *d)
{
    driver_start(d, (char *[]){"mq_driver", engine_url, NULL});
}

/* --- the file, looked at from outside --- */

static sqlite3 *open_file(void)
{
    sqlite3 *db;
    ck_assert_int_eq(sqlite3_open_v2(path(), &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL), 0);
    sqlite3_busy_timeout(db, PATIENCE_S * 1000);
    return db;
}

static void change_file(const char *sql)
{
    sqlite3 *db = open_file();
    ck_assert_msg(sqlite3_exec(db, sql, NULL, NULL, NULL) == 0, "%s", sqlite3_errmsg(db));
    sqlite3_close(db);
}

static int64_t ask_file(const char *sql)
{
    sqlite3 *db = open_file();
    sqlite3_stmt *statement;
    ck_assert_int_eq(sqlite3_prepare_v2(db, sql, -1, &statement, NULL), 0);
    ck_assert_int_eq(sqlite3_step(statement), SQLITE_ROW);
    int64_t number = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    sqlite3_close(db);
    return number;
}

/* --- reopening --- */

START_TEST(all_that_is_known_of_a_message_is_there_again)
{
    start(NULL);
    mq_op op = {.queue = "a", .body = STR("1"), .id = "x", .priority = 4, .window_ms = LONG_MS};
    push_op(&op);
    mq_message *m = take("a", 1);
    int64_t pushed_ms = m->pushed_ms;
    retry_with("a", m, LONG_MS, "why");
    mq_op claim = {.verb = MQ_CLAIM, .queue = "clock", .moment_ms = 7};
    ck_assert_int_eq(mq_call(q, &claim), 0);
    reopen(NULL);
    m = peek("a", 1);
    ck_assert_str_eq(bodies(m), "1");
    ck_assert_str_eq(m->id, "x");
    ck_assert_str_eq(m->note, "why");
    ck_assert_uint_eq(m->attempt, 1);
    ck_assert_int_eq(m->priority, 4);
    ck_assert_int_eq(m->pushed_ms, pushed_ms);
    mq_message_free(m);
    expect_counts("a", 0, 1, 0);
    ck_assert(push_id("a", "x", LONG_MS));
    ck_assert_int_eq(mq_call(q, &claim), 0);
    ck_assert(claim.duplicate);
}
END_TEST

START_TEST(a_name_that_sqlite_takes_for_something_else_is_a_file)
{
    char error[MQ_ERROR_BYTES] = "", folder[] = "/tmp/mq.XXXXXX";
    mq *odd;
    ck_assert_ptr_nonnull(mkdtemp(folder));
    ck_assert_int_eq(chdir(folder), 0);
    ck_assert_msg(mq_open("sqlite::memory:", &config, &odd, error, sizeof error) == 0, "%s", error);
    ck_assert_int_eq(access(":memory:", F_OK), 0);
    mq_close(odd);
    ck_assert_int_eq(unlink(":memory:"), 0);
    ck_assert_int_eq(chdir("/"), 0);
    ck_assert_int_eq(rmdir(folder), 0);
}
END_TEST

/* --- several engines and processes --- */

START_TEST(two_engines_share_a_file)
{
    start(NULL);
    mq *first = q, *second;
    char error[MQ_ERROR_BYTES];
    ck_assert_int_eq(try_open(NULL, &second, error), 0);
    push("a", "1");
    q = second;
    push("a", "2");
    mq_message *m = take("a", 1);
    ck_assert_str_eq(bodies(m), "1");
    q = first;
    expect_counts("a", 1, 0, 1);
    expect_bodies("a", "2");
    q = second;
    ack("a", m);
    mq_close(second);
    q = first;
    expect_counts("a", 0, 0, 0);
}
END_TEST

enum { OPENERS = 8 };

static pthread_barrier_t all_there;

static void *open_and_push(void *user)
{
    char error[MQ_ERROR_BYTES] = "";
    mq **mine = user;
    pthread_barrier_wait(&all_there);
    ck_assert_msg(try_open(NULL, mine, error) == 0, "%s", error);
    mq_op op = {.verb = MQ_PUSH, .queue = "a", .body = STR("1")};
    ck_assert_msg(mq_call(*mine, &op) == 0, "%s", op.error);
    return NULL;
}

START_TEST(many_can_open_a_new_file_at_once)
{
    enum { ROUNDS = 10 };
    pthread_t threads[OPENERS];
    mq *opened[OPENERS];
    pthread_barrier_init(&all_there, NULL, OPENERS);
    for (int round = 0; round < ROUNDS; round++) {
        for (row = engines; strcmp(row->name, "sqlite") != 0; row++)
            ;
        row->start(engine_url);
        for (int i = 0; i < OPENERS; i++)
            ck_assert_int_eq(pthread_create(&threads[i], NULL, open_and_push, &opened[i]), 0);
        for (int i = 0; i < OPENERS; i++)
            pthread_join(threads[i], NULL);
        q = opened[0];
        expect_counts("a", OPENERS, 0, 0);
        for (int i = 1; i < OPENERS; i++)
            mq_close(opened[i]);
        close_engine();
    }
}
END_TEST

START_TEST(what_another_process_pushes_is_noticed)
{
    start(NULL);
    driver d;
    start_driver(&d);
    driver_tell(&d, "pushed", "push b 0"); /* it is there */
    tally calls = TALLY;
    mq_watcher w = {.queue = "a", .ready = tally_add, .user = &calls};
    mq_watch(q, &w);
    tally_wait(&calls, 0);
    ck_assert_ptr_null(take("a", 1));
    driver_tell(&d, "pushed", "push a 1");
    tally_wait(&calls, 1);
    mq_unwatch(q, &w);
    expect_bodies("a", "1");
    driver_end(&d);
}
END_TEST

START_TEST(another_process_hears_of_what_is_pushed_here)
{
    start(NULL);
    driver d;
    start_driver(&d);
    driver_tell(&d, "watching", "watch a");
    ck_assert(driver_read(&d));
    ck_assert_str_eq(d.line, "ready a"); /* once, to begin with */
    push("a", "1");
    ck_assert(driver_read(&d));
    ck_assert_str_eq(d.line, "ready a");
    driver_end(&d);
}
END_TEST

START_TEST(room_that_another_process_makes_is_noticed)
{
    start("max=1");
    driver d;
    start_driver(&d);
    push("a", "1");
    later l = {.op = {.verb = MQ_PUSH, .queue = "a", .body = STR("2"), .wait_ms = LONG_MS}};
    submit_later(&l);
    driver_tell(&d, "took 1 1", "take a 0");
    ck_assert(!is_done(&l));
    driver_tell(&d, "acknowledged", "ack");
    ck_assert_int_eq(await_later(&l), 0);
    expect_bodies("a", "2");
    driver_end(&d);
}
END_TEST

/* --- holders --- */

static const char *const leases[] = {"0", "600000"};

START_TEST(what_a_dead_process_held_is_ready_at_once)
{
    start(NULL);
    driver d;
    start_driver(&d);
    push("a", "1");
    char line[64];
    snprintf(line, sizeof line, "take a %s", leases[_i]);
    driver_tell(&d, "took 1 1", "%s", line);
    ck_assert_ptr_null(take("a", 1)); /* it lives */
    driver_kill(&d);
    while (driver_read(&d))
        ;
    driver_end(&d);
    mq_message *m = take("a", 1);
    ck_assert_str_eq(bodies(m), "1");
    ck_assert_uint_eq(m->attempt, 2);
    ack("a", m);
    ck_assert_int_eq(ask_file("SELECT count(*) FROM holder"), 1); /* this one */
}
END_TEST

START_TEST(a_dead_process_that_nobody_has_waited_for_is_dead)
{
    start(NULL);
    driver d;
    start_driver(&d);
    push("a", "1");
    driver_tell(&d, "took 1 1", "take a 0");
    driver_kill(&d);
    while (driver_read(&d)) /* its end of the pipe is closed before it is gone */
        ;
    siginfo_t info;
    ck_assert_int_eq(waitid(P_PID, (id_t)d.pid, &info, WEXITED | WNOWAIT), 0);
    expect_bodies("a", "1");
    driver_end(&d);
}
END_TEST

START_TEST(a_watcher_hears_of_what_a_dead_process_held)
{
    start(NULL);
    driver d;
    start_driver(&d);
    push("a", "1");
    driver_tell(&d, "took 1 1", "take a 0");
    tally calls = TALLY;
    mq_watcher w = {.queue = "a", .ready = tally_add, .user = &calls};
    mq_watch(q, &w);
    tally_wait(&calls, 0);
    driver_kill(&d);
    while (driver_read(&d))
        ;
    driver_end(&d);
    tally_wait(&calls, 1);
    mq_unwatch(q, &w);
    expect_bodies("a", "1");
}
END_TEST

/* What is known of a holder, changed into somebody else's; and whether a message of each lease is free then.
 */
static const struct {
    const char *change;
    bool endless, leased;
} holders[] = {
    {"start = start", false, false},
    {"start = start + 1", true, true},               /* its number is another process's now */
    {"pid = 99999999", true, true},                  /* nobody's */
    {"place = 'x' || place", true, false},           /* of a boot before; or another machine's */
    {"place = place || '1', pid = 1", false, false}, /* in another container: nobody knows */
    {"place = ''", false, false},
};

START_TEST(who_is_dead_is_told_from_who_is_not)
{
    start(NULL);
    push("endless", "1");
    push("leased", "1");
    mq_message *a = take_leased("endless", 1, 0), *b = take_leased("leased", 1, LONG_MS);
    char sql[128];
    snprintf(sql, sizeof sql, "UPDATE holder SET %s", holders[_i].change);
    change_file(sql);
    reopen(NULL);
    ck_assert_uint_eq(stats_of("endless").ready, holders[_i].endless);
    ck_assert_uint_eq(stats_of("leased").ready, holders[_i].leased);
    mq_message_free(a);
    mq_message_free(b);
}
END_TEST

/* --- what is refused --- */

static void expect_refusal(const char *url, int err, const char *text)
{
    char error[MQ_ERROR_BYTES] = "";
    mq *none = NULL;
    ck_assert_int_eq(mq_open(url, &config, &none, error, sizeof error), err);
    ck_assert_ptr_null(none);
    ck_assert_msg(strncmp(error, "sqlite:", 7) == 0 && strstr(error, text), "%s", error);
}

START_TEST(what_is_no_place_for_a_file_is_refused)
{
    expect_refusal("sqlite:", -EINVAL, "names no file");
    expect_refusal("sqlite:/tmp", -EISDIR, "but a folder");
    expect_refusal("sqlite:/dev/null", -EISDIR, "it is no file");
    expect_refusal("sqlite:/nowhere/at/all/q.db", -ENOENT, "there is no folder /nowhere/at/all");
    expect_refusal("sqlite:nowhere/q.db", -ENOENT, "there is no folder nowhere");
}
END_TEST

START_TEST(files_of_others_are_refused_and_left_alone)
{
    start(NULL);
    close_engine();
    row = &engines[1];
    row->start(engine_url);
    FILE *text = fopen(path(), "w");
    for (int i = 0; i < 1000; i++)
        fputs("this is no database\n", text);
    fclose(text);
    expect_refusal(engine_url, -EINVAL, "it is no database of SQLite");
    struct stat is;
    ck_assert_int_eq(stat(path(), &is), 0);
    ck_assert_int_eq(is.st_size, 20000);
    ck_assert_int_eq(unlink(path()), 0);
    change_file("CREATE TABLE theirs(a); INSERT INTO theirs VALUES(1)");
    expect_refusal(engine_url, -EINVAL, "of another program");
    ck_assert_int_eq(ask_file("SELECT count(*) FROM sqlite_schema"), 1);
    ck_assert_int_eq(ask_file("SELECT count(*) FROM pragma_journal_mode WHERE journal_mode = 'delete'"), 1);
}
END_TEST

START_TEST(a_newer_version_is_refused_with_both_numbers)
{
    start(NULL);
    mq_close(q);
    q = NULL;
    change_file("PRAGMA user_version = 99");
    expect_refusal(engine_url, -EINVAL, "version 99 of the tables, and this program knows 1");
    change_file("PRAGMA user_version = 1");
    open_again(NULL);
}
END_TEST

START_TEST(a_damaged_file_is_refused)
{
    start(NULL);
    push("a", "1");
    mq_close(q);
    q = NULL;
    int fd = open(path(), O_RDWR);
    char noise[4096];
    memset(noise, 0x5a, sizeof noise);
    ck_assert_int_eq(pwrite(fd, noise, sizeof noise - 200, 100), (ssize_t)sizeof noise - 200);
    close(fd);
    char error[MQ_ERROR_BYTES] = "";
    ck_assert_int_lt(try_open(NULL, &q, error), 0);
    ck_assert_msg(strstr(error, "damaged") != NULL, "%s", error);
}
END_TEST

/* Root may write everywhere: so another user tries, who owns neither. */
START_TEST(what_may_not_be_written_is_refused)
{
    enum { NOBODY = 65534 };
    start(NULL);
    mq_close(q);
    q = NULL;
    if (geteuid() == 0)
        ck_assert_int_eq(chmod(sqlite_folder, 0755), 0);
    else
        ck_assert_int_eq(chmod(path(), 0444), 0);
    ck_assert(geteuid() != 0 || seteuid(NOBODY) == 0);
    expect_refusal(engine_url, -EACCES, "may not write the file");
    char url[URL_BYTES + 8];
    if (geteuid() != NOBODY)
        ck_assert_int_eq(chmod(sqlite_folder, 0555), 0);
    snprintf(url, sizeof url, "%s.new", engine_url);
    expect_refusal(url, -EACCES, "may not write to the folder");
    ck_assert(geteuid() != NOBODY || seteuid(0) == 0);
    ck_assert_int_eq(chmod(sqlite_folder, 0755), 0);
}
END_TEST

/* --- groups --- */

/* Another connection has the file, so that what is submitted meanwhile comes into one group. */
static sqlite3 *hold_file(void)
{
    sqlite3 *db = open_file();
    ck_assert_int_eq(sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL), 0);
    return db;
}

static void let_file_go(sqlite3 *db)
{
    ck_assert_int_eq(sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL), 0);
    sqlite3_close(db);
}

START_TEST(one_bad_operation_does_not_touch_the_others_of_its_group)
{
    start("max=2");
    push_id("full", "x", 0);
    push_id("full", "y", 0);
    push_id("a", "x", LONG_MS);
    later l[] = {
        {.op = {.verb = MQ_STATS, .queue = ""}}, /* the first may be a group of its own */
        {.op = {.verb = MQ_PUSH, .queue = "a", .body = STR("1")}},
        {.op = {.verb = MQ_PUSH, .queue = "not a name", .body = STR("1")}},
        {.op = {.verb = MQ_PUSH, .queue = "a", .body = STR("1"), .id = "not an id"}},
        {.op = {.verb = MQ_PUSH, .queue = "full", .body = STR("1")}},
        {.op = {.verb = MQ_PUSH, .queue = "a", .body = STR("1"), .id = "x", .window_ms = 1000}},
        {.op = {.verb = MQ_PUSH, .queue = "b", .body = STR("2")}},
    };
    static const int errors[] = {0, 0, -EINVAL, -EINVAL, -EAGAIN, 0, 0};
    sqlite3 *db = hold_file();
    for (size_t i = 0; i < sizeof l / sizeof l[0]; i++)
        submit_later(&l[i]);
    let_file_go(db);
    for (size_t i = 0; i < sizeof l / sizeof l[0]; i++) {
        ck_assert_int_eq(await_later(&l[i]), errors[i]);
        ck_assert(!errors[i] || l[i].op.error[0]);
    }
    free(l[0].op.stats);
    ck_assert(l[5].op.duplicate);
    expect_counts("a", 2, 0, 0);
    expect_counts("b", 1, 0, 0);
    expect_counts("full", 2, 0, 0);
}
END_TEST

START_TEST(a_file_that_another_keeps_is_waited_for_and_then_an_error)
{
    start("busy_ms=30");
    sqlite3 *db = hold_file();
    mq_op op = {.verb = MQ_PUSH, .queue = "a", .body = STR("1")};
    ck_assert_int_eq(mq_call(q, &op), -ETIMEDOUT);
    ck_assert_ptr_nonnull(strstr(op.error, path()));
    ck_assert_ptr_nonnull(strstr(op.error, "busy_ms"));
    let_file_go(db);
    ck_assert_int_eq(mq_call(q, &op), 0);
    expect_counts("a", 1, 0, 0);
}
END_TEST

START_TEST(a_file_that_was_removed_is_told_of_and_begun_anew)
{
    start(NULL);
    push("a", "1");
    int before = atomic_load(&told);
    ck_assert_int_eq(unlink(path()), 0);
    push("a", "2");
    ck_assert_int_eq(atomic_load(&told), before + 1);
    ck_assert_ptr_nonnull(strstr(told_text, "removed or replaced"));
    reopen(NULL);
    expect_bodies("a", "2");
}
END_TEST

/* --- upkeep --- */

START_TEST(ids_are_forgotten_when_their_windows_are_over)
{
    enum { IDS = 40 };
    char id[32];
    start(NULL);
    for (int i = 0; i < IDS; i++) {
        snprintf(id, sizeof id, "%d", i);
        push_id("a", id, LONG_MS);
    }
    ck_assert_int_eq(ask_file("SELECT count(*) FROM seen"), IDS);
    change_file("UPDATE seen SET until = 1");
    for (int i = 0; i < 3; i++) {
        snprintf(id, sizeof id, "new%d", i);
        push_id("a", id, LONG_MS);
    }
    ck_assert_int_eq(ask_file("SELECT count(*) FROM seen"), 3);
}
END_TEST

START_TEST(the_log_does_not_grow_with_what_is_pushed)
{
    enum { MESSAGES = 1500, BODY_BYTES = 20000, LOG_MOST = 20 << 20 };
    static char body[BODY_BYTES];
    char log[URL_BYTES];
    struct stat is;
    start(NULL);
    memset(body, '1', sizeof body);
    for (int i = 0; i < MESSAGES; i++) {
        mq_op op = {.queue = "a", .body = {body, sizeof body}};
        push_op(&op);
    }
    snprintf(log, sizeof log, "%s-wal", path());
    ck_assert_int_eq(stat(log, &is), 0);
    ck_assert_int_lt(is.st_size, LOG_MOST);
    ck_assert_int_eq(stat(path(), &is), 0);
    ck_assert_int_gt(is.st_size, MESSAGES * BODY_BYTES - LOG_MOST);
}
END_TEST

/* --- how statements find their rows --- */

static const struct {
    const char *name, *sql;
} statements[] = {
#define STATEMENT(name, sql) {#name, sql},
#include "queue/mq_sqlite_statements.def"
#undef STATEMENT
};

static const char *sql_of(const char *name)
{
    for (size_t i = 0; i < sizeof statements / sizeof statements[0]; i++)
        if (strcmp(statements[i].name, name) == 0)
            return statements[i].sql;
    ck_abort_msg("no statement %s", name);
    return NULL;
}

/* A step of a plan that goes through a table as a whole, or sorts. Holders are few. */
static bool is_slow(const char *detail)
{
    static const char *const tables[] = {"SCAN message", "SCAN large", "SCAN seen", "SCAN claim"};
    for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++)
        if (strncmp(detail, tables[i], strlen(tables[i])) == 0)
            return true;
    return strstr(detail, "TEMP B-TREE FOR ORDER BY") || strstr(detail, "AUTOMATIC");
}

static void check_plan(sqlite3 *db, const char *name, const char *sql)
{
    char text[2048];
    sqlite3_stmt *plan;
    snprintf(text, sizeof text, "EXPLAIN QUERY PLAN %s", sql);
    ck_assert_msg(sqlite3_prepare_v2(db, text, -1, &plan, NULL) == 0, "%s: %s", name, sqlite3_errmsg(db));
    while (sqlite3_step(plan) == SQLITE_ROW) {
        const char *detail = (const char *)sqlite3_column_text(plan, 3);
        ck_assert_msg(!is_slow(detail), "%s: %s", name, detail);
    }
    sqlite3_finalize(plan);
}

START_TEST(no_statement_goes_through_a_table_or_sorts)
{
    start(NULL);
    sqlite3 *db = open_file();
    for (size_t i = 0; i < sizeof statements / sizeof statements[0]; i++)
        check_plan(db, statements[i].name, statements[i].sql);
    sqlite3_close(db);
}
END_TEST

/* The steps of SQLite's machine that it takes to take one message. */
static int steps_of_take(sqlite3 *db)
{
    sqlite3_stmt *take_one;
    ck_assert_int_eq(sqlite3_prepare_v2(db, sql_of("TAKE"), -1, &take_one, NULL), 0);
    sqlite3_bind_text(take_one, 1, "a", -1, SQLITE_STATIC);
    sqlite3_bind_int(take_one, 2, 1);
    ck_assert_int_eq(sqlite3_step(take_one), SQLITE_ROW);
    ck_assert_int_eq(sqlite3_step(take_one), SQLITE_DONE);
    int steps = sqlite3_stmt_status(take_one, SQLITE_STMTSTATUS_VM_STEP, 0);
    sqlite3_finalize(take_one);
    return steps;
}

static void fill(sqlite3 *db, int n)
{
    char sql[512];
    snprintf(
        sql, sizeof sql,
        "WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM n WHERE i < %d) INSERT INTO message"
        "(queue, state, priority, due, ready, attempt, lease, holder, progress, pushed, id, source, note, "
        "body)"
        " SELECT 'a', 0, i %% 10, i, i, 0, 0, 0, -1, i, i, '', '', '1' FROM n",
        n);
    ck_assert_msg(sqlite3_exec(db, sql, NULL, NULL, NULL) == 0, "%s", sqlite3_errmsg(db));
}

START_TEST(taking_one_of_many_takes_no_more_steps_than_of_few)
{
    start(NULL);
    sqlite3 *db = open_file();
    fill(db, 100);
    int few = steps_of_take(db);
    fill(db, 300000);
    ck_assert_int_eq(steps_of_take(db), few);
    sqlite3_close(db);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("mq_sqlite");
    TCase *tests = tcase_create("mq_sqlite");
    tcase_set_timeout(tests, 120);
    tcase_add_checked_fixture(tests, NULL, close_engine);
    tcase_add_test(tests, all_that_is_known_of_a_message_is_there_again);
    tcase_add_test(tests, a_name_that_sqlite_takes_for_something_else_is_a_file);
    tcase_add_test(tests, two_engines_share_a_file);
    tcase_add_test(tests, many_can_open_a_new_file_at_once);
    tcase_add_test(tests, what_another_process_pushes_is_noticed);
    tcase_add_test(tests, another_process_hears_of_what_is_pushed_here);
    tcase_add_test(tests, room_that_another_process_makes_is_noticed);
    tcase_add_loop_test(tests, what_a_dead_process_held_is_ready_at_once, 0, 2);
    tcase_add_test(tests, a_dead_process_that_nobody_has_waited_for_is_dead);
    tcase_add_test(tests, a_watcher_hears_of_what_a_dead_process_held);
    tcase_add_loop_test(tests, who_is_dead_is_told_from_who_is_not, 0, sizeof holders / sizeof holders[0]);
    tcase_add_test(tests, what_is_no_place_for_a_file_is_refused);
    tcase_add_test(tests, files_of_others_are_refused_and_left_alone);
    tcase_add_test(tests, a_newer_version_is_refused_with_both_numbers);
    tcase_add_test(tests, a_damaged_file_is_refused);
    tcase_add_test(tests, what_may_not_be_written_is_refused);
    tcase_add_test(tests, one_bad_operation_does_not_touch_the_others_of_its_group);
    tcase_add_test(tests, a_file_that_another_keeps_is_waited_for_and_then_an_error);
    tcase_add_test(tests, a_file_that_was_removed_is_told_of_and_begun_anew);
    tcase_add_test(tests, ids_are_forgotten_when_their_windows_are_over);
    tcase_add_test(tests, the_log_does_not_grow_with_what_is_pushed);
    tcase_add_test(tests, no_statement_goes_through_a_table_or_sorts);
    tcase_add_test(tests, taking_one_of_many_takes_no_more_steps_than_of_few);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
