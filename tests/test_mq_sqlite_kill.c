/* A process that uses the durable engine is killed at a random moment, again and again: what was acknowledged
 * to it is so, and what it held is ready at once. POOLSRV_KILLS says how often. */
#include "tests/mq_driver.h"
#include "tests/mq_ledger.h"

#include <limits.h>

enum { KILLS_PRESET = 30, LINES_MOST = 400 };

static long kills(void)
{
    const char *text = getenv("POOLSRV_KILLS");
    return text ? strtol(text, NULL, 10) : KILLS_PRESET;
}

static void note_line(const driver *d)
{
    long id;
    char event;
    ck_assert_msg(sscanf(d->line, "%c %ld", &event, &id) == 2 && d->line[1] == ' ', "%s", d->line);
    ledger_note((storm_event)event, id);
}

/* Of another process that may be there, ids are other ones. */
static void start_storm(driver *d, const char *first, uint64_t seed)
{
    char seed_text[32];
    snprintf(seed_text, sizeof seed_text, "%llu", (unsigned long long)seed);
    driver_start(d, (char *[]){"mq_driver", engine_url, "storm", (char *)(uintptr_t)first, seed_text, NULL});
}

static void note_lines(driver *d, long n)
{
    for (; n > 0 && driver_read(d); n--)
        note_line(d);
}

/* At a moment that differs, and then hear what it had said still. */
static void kill_storm(driver *d, uint64_t *random)
{
    for (uint64_t turns = storm_draw(random) % 2000000; turns > 0; turns--)
        __asm__ volatile("");
    driver_kill(d);
    note_lines(d, LONG_MAX);
    driver_end(d);
}

static void run_one(uint64_t seed)
{
    driver d;
    uint64_t random = seed * 7919 + 1;
    start_storm(&d, "0", seed);
    note_lines(&d, (long)(storm_draw(&random) % LINES_MOST));
    kill_storm(&d, &random);
}

/* One of two is killed; the other has to go on, with what the first has left in the middle of. */
static void run_two(uint64_t seed)
{
    driver first, second;
    uint64_t random = seed * 7919 + 1;
    start_storm(&first, "0", seed);
    start_storm(&second, "8000", seed + 1000);
    note_lines(&first, 1 + (long)(storm_draw(&random) % LINES_MOST));
    kill_storm(&first, &random);
    for (int i = 0; i < LINES_MOST; i++) {
        ck_assert_msg(driver_read(&second), "the other has ended too");
        note_line(&second);
    }
    kill_storm(&second, &random);
}

static void compare_and_empty(void)
{
    open_again(NULL);
    ledger_compare("a");
    expect_counts("a", ledger_count(LEDGER_FOUND), 0, 0); /* nothing is held by the dead */
    for (mq_message *list; (list = take("a", MQ_TAKE_MAX)) != NULL;)
        ack("a", list);
    mq_close(q);
    q = NULL;
}

static void run_and_compare(long n, void (*run)(uint64_t seed), const char *title)
{
    unsigned pushed = 0, ended = 0, found = 0;
    for (row = engines; strcmp(row->name, "sqlite") != 0; row++)
        ;
    for (long i = 0; i < n; i++) {
        ledger_clear();
        row->start(engine_url); /* a new file: ids begin anew */
        run((uint64_t)i);
        compare_and_empty();
        row->stop();
        pushed += ledger_count(LEDGER_PUSHED);
        ended += ledger_count(LEDGER_ENDED);
        found += ledger_count(LEDGER_FOUND);
    }
    row = NULL;
    ck_assert_uint_gt(ended, 0);
    ck_assert_uint_gt(found, 0);
    printf("%ld times %s: %u pushes and %u acknowledgements had returned; %u messages were left\n", n, title,
           pushed, ended, found);
}

START_TEST(killed_at_any_moment_nothing_acknowledged_is_lost_or_comes_again)
{
    run_and_compare(kills(), run_one, "one process killed");
}
END_TEST

START_TEST(a_process_goes_on_when_another_is_killed)
{
    run_and_compare((kills() + 2) / 3, run_two, "two processes killed, one after the other");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("mq_sqlite_kill");
    TCase *tests = tcase_create("mq_sqlite_kill");
    tcase_set_timeout(tests, 1200);
    tcase_add_test(tests, killed_at_any_moment_nothing_acknowledged_is_lost_or_comes_again);
    tcase_add_test(tests, a_process_goes_on_when_another_is_killed);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
