/* tally: what a group of operations has changed in each queue, to be added to the file's figures at its end.
 *
 * Threads: one. */
#ifndef QUEUE_TALLY_H
#define QUEUE_TALLY_H

#include <stdbool.h>
#include <stdint.h>

#include "queue/mq.h"

enum { TALLY_CHAINS = 64 };

typedef enum tally_state { TALLY_READY, TALLY_DELAYED, TALLY_TAKEN, TALLY_STATES } tally_state;

typedef struct tally {
    struct tally *next;  /* of the group */
    struct tally *chain; /* of the same hash */
    int64_t change[TALLY_STATES];
    int64_t total; /* messages in the file, without these changes; negative: not read yet */
    bool news;     /* a message has become ready */
    char queue[MQ_NAME_BYTES];
} tally;

typedef struct tallies {
    tally *first;
    tally *chains[TALLY_CHAINS];
} tallies;

/* The one of that queue, made when there is none. Returns: NULL when memory is short. */
tally *tally_of(tallies *all, const char *queue);

/* Returns: NULL when nothing is known of that queue. */
tally *tally_find(const tallies *all, const char *queue);

/* Forget them all. */
void tallies_clear(tallies *all);

/* A message has come into that state: +1; or left it: -1. */
static inline void tally_change(tally *t, tally_state state, int64_t by)
{
    t->change[state] += by;
    t->news = t->news || (state == TALLY_READY && by > 0);
}

static inline int64_t tally_changes(const tally *t)
{
    return t->change[TALLY_READY] + t->change[TALLY_DELAYED] + t->change[TALLY_TAKEN];
}

#endif
