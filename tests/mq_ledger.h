/* mq_ledger: what was promised to those who pushed and acknowledged messages, to be compared with what a
 * queue holds after a crash. Ids are numbers (tests/mq_storm.h). Threads: any. */
#ifndef TESTS_MQ_LEDGER_H
#define TESTS_MQ_LEDGER_H

#include "tests/mq_fixture.h"
#include "tests/mq_storm.h"

enum { LEDGER_IDS = 1 << 16 };

enum {
    LEDGER_PUSHED = 1,
    LEDGER_REFUSED = 2,
    LEDGER_HELD = 4,
    LEDGER_ENDING = 8,
    LEDGER_ENDED = 16,
    LEDGER_FOUND = 32
};

static atomic_uchar ledger[LEDGER_IDS];

static unsigned ledger_get(long id)
{
    return atomic_load(&ledger[id]);
}

static void ledger_set(long id, unsigned what)
{
    atomic_fetch_or(&ledger[id], (unsigned char)what);
}

static void ledger_note(storm_event event, long id)
{
    ck_assert_int_ge(id, 0);
    ck_assert_int_lt(id, LEDGER_IDS);
    if (event == STORM_ENDING || event == STORM_BACK)
        atomic_fetch_and(&ledger[id], (unsigned char)~LEDGER_HELD);
    ledger_set(id, event == STORM_PUSHED    ? LEDGER_PUSHED
                   : event == STORM_REFUSED ? LEDGER_REFUSED
                   : event == STORM_TAKEN   ? LEDGER_HELD
                   : event == STORM_ENDING  ? LEDGER_ENDING
                   : event == STORM_ENDED   ? LEDGER_ENDED
                                            : 0);
}

static void ledger_clear(void)
{
    for (long id = 0; id < LEDGER_IDS; id++)
        atomic_store(&ledger[id], 0);
}

static void ledger_find(const mq_message *m)
{
    char body[STORM_BODY_BYTES];
    long id = strtol(m->id, NULL, 10);
    ck_assert_msg(!(ledger_get(id) & LEDGER_ENDED), "%ld was acknowledged and is there again", id);
    ck_assert_msg(!(ledger_get(id) & LEDGER_FOUND), "%ld is there twice", id);
    ck_assert_uint_eq(m->body.n, storm_body(id, body));
    ck_assert_mem_eq(m->body.p, body, m->body.n);
    ledger_set(id, LEDGER_FOUND);
}

/* What is in the queue is what has to be, and whole; and its figures say so too. */
static void ledger_compare(const char *queue)
{
    enum { LOSABLE = LEDGER_PUSHED | LEDGER_ENDING | LEDGER_FOUND };
    mq_message *list = peek(queue, MQ_TAKE_MAX);
    mq_stats s = stats_of(queue);
    ck_assert_uint_lt(length(list), MQ_TAKE_MAX); /* else there may be more */
    ck_assert_uint_eq(s.ready + s.delayed + s.taken, length(list));
    for (const mq_message *m = list; m; m = m->next)
        ledger_find(m);
    mq_message_free(list);
    for (long id = 0; id < LEDGER_IDS; id++)
        ck_assert_msg((ledger_get(id) & LOSABLE) != LEDGER_PUSHED, "%ld was pushed and is lost", id);
}

/* How many of all have these marks. */
static unsigned ledger_count(unsigned marks)
{
    unsigned n = 0;
    for (long id = 0; id < LEDGER_IDS; id++)
        n += (ledger_get(id) & marks) == marks;
    return n;
}

#endif
