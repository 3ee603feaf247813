/* A process that uses the durable engine is killed at a random moment, again and again: what was acknowledged
 * to it is so, and what it held is ready at once. POOLSRV_KILLS says how often. */
#include "tests/mq_driver.h"
#include "tests/mq_ledger.h"

enum { KILLS_PRESET = 30, LINES_MOST = 400, IDS = 8000 };

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

/* After so many of its events, and a moment that differs. */
static void run_and_kill(uint64_t seed)
{
    char seed_text[32];
    driver d;
    uint64_t random = seed * 7919 + 1;
    long lines = (long)(storm_draw(&random) % LINES_MOST);
    snprintf(seed_text, sizeof seed_text, "%llu", (unsigned long long)seed);
    driver_start(&d, (char *[]){"mq_driver", engine_url, "storm", "0", seed_text, NULL});
    for (long i = 0; i < lines && driver_read(&d); i++)
        note_line(&d);
    for (uint64_t turns = storm_draw(&random) % 2000000; turns > 0; turns--)
        __asm__ volatile("");
    driver_kill(&d);
    while (driver_read(&d)) /* what it had said still */
        note_line(&d);
    driver_end(&d);
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

START_TEST(killed_at_any_moment_nothing_acknowledged_is_lost_or_comes_again)
{
    unsigned pushed = 0, ended = 0, found = 0;
    for (row = engines; strcmp(row->name, "sqlite") != 0; row++)
        ;
    for (long i = 0; i < kills(); i++) {
        ledger_clear();
        row->start(engine_url); /* of its own: ids begin anew */
        run_and_kill((uint64_t)i);
        compare_and_empty();
        row->stop();
        pushed += ledger_count(LEDGER_PUSHED);
        ended += ledger_count(LEDGER_ENDED);
        found += ledger_count(LEDGER_FOUND);
    }
    row = NULL;
    ck_assert_uint_gt(ended, 0);
    ck_assert_uint_gt(found, 0);
    printf("%ld kills: %u pushes and %u acknowledgements had returned; %u messages were left\n", kills(),
           pushed, ended, found);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("mq_sqlite_kill");
    TCase *tests = tcase_create("mq_sqlite_kill");
    tcase_set_timeout(tests, 1200);
    tcase_add_test(tests, killed_at_any_moment_nothing_acknowledged_is_lost_or_comes_again);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
