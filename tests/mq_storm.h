/* mq_storm: a thread that pushes messages to a queue, takes them and settles them, at random, and says what
 * has come of each. Ids are numbers. For tests that end it in the middle of that. */
#ifndef TESTS_MQ_STORM_H
#define TESTS_MQ_STORM_H

#include "queue/mq.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STORM_BODY_BYTES = 6000, STORM_TAKE = 3 };

typedef enum storm_event {
    STORM_PUSHED = 'P',  /* that has returned, well */
    STORM_REFUSED = 'R', /* or not */
    STORM_TAKEN = 'T',
    STORM_ENDING = 'e', /* it is going to be acknowledged */
    STORM_ENDED = 'E',  /* and is */
    STORM_BACK = 'B'    /* it is going to be given back, or retried */
} storm_event;

typedef struct storm {
    mq *q;
    const char *queue;
    uint64_t random; /* not 0 */
    long next, last; /* ids to push */
    long operations; /* how many at most; negative: without end */
    int64_t lease_ms;
    bool goes_on; /* after an error */
    void (*report)(struct storm *s, storm_event event, long id);
    void (*failed)(struct storm *s, const mq_op *op); /* NULL: nobody asks */
    void *user;
} storm;

/* xorshift64* */
static uint64_t storm_draw(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * UINT64_C(2685821657736338717);
}

/* The body that belongs to an id: now and then a large one. */
static size_t storm_body(long id, char body[static STORM_BODY_BYTES])
{
    size_t n = (size_t)snprintf(body, STORM_BODY_BYTES, "\"%ld ", id);
    size_t end = id % 7 == 0 ? STORM_BODY_BYTES - 1 : n + (size_t)(id % 50);
    memset(body + n, 'a' + (int)(id % 26), end - n);
    body[end] = '"';
    return end + 1;
}

/* Returns: did it go well? */
static bool storm_call(storm *s, mq_op *op)
{
    op->queue = s->queue;
    s->operations -= s->operations > 0;
    bool well = mq_call(s->q, op) == 0;
    if (!well && s->failed)
        s->failed(s, op);
    return well;
}

static bool storm_push(storm *s)
{
    char body[STORM_BODY_BYTES], id[32];
    long number = s->next++;
    snprintf(id, sizeof id, "%ld", number);
    mq_op op = {.verb = MQ_PUSH, .body = {body, storm_body(number, body)}, .id = id};
    op.priority = (int)(storm_draw(&s->random) % 3);
    op.window_ms = number % 2 ? 1000 : 0;
    bool well = storm_call(s, &op);
    s->report(s, well ? STORM_PUSHED : STORM_REFUSED, number);
    return well;
}

static bool storm_settle(storm *s, mq_message *m)
{
    bool ends = storm_draw(&s->random) % 4 > 0;
    long id = strtol(m->id, NULL, 10);
    mq_op op = {.verb = ends ? MQ_ACK : storm_draw(&s->random) % 2 ? MQ_RETRY : MQ_GIVE_BACK};
    op.messages = m;
    op.note = "once more";
    /* Before: another thread may have it as soon as it is back. */
    s->report(s, ends ? STORM_ENDING : STORM_BACK, id);
    bool well = storm_call(s, &op);
    if (!well)
        s->report(s, STORM_TAKEN, id); /* still */
    else if (ends)
        s->report(s, STORM_ENDED, id);
    return well;
}

static bool storm_take(storm *s)
{
    mq_op op = {.verb = MQ_TAKE, .lease_ms = s->lease_ms};
    op.most = 1 + (unsigned)(storm_draw(&s->random) % STORM_TAKE);
    bool well = storm_call(s, &op);
    for (mq_message *m = op.messages; m; m = m->next)
        s->report(s, STORM_TAKEN, strtol(m->id, NULL, 10));
    for (mq_message *m = op.messages, *next; m && (well || s->goes_on); m = next) {
        next = m->next;
        m->next = NULL; /* each by itself */
        well = storm_settle(s, m) && well;
        mq_message_free(m);
        op.messages = next;
    }
    mq_message_free(op.messages);
    return well;
}

/* Until an error, unless it goes on then, or the operations or the ids are used up. */
static void storm_run(storm *s)
{
    bool well = true;
    while ((well || s->goes_on) && s->next < s->last && s->operations != 0)
        well = storm_draw(&s->random) % 2 ? storm_push(s) : storm_take(s);
}

#endif
