#include "queue/tally.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* FNV-1a. Names are the app's, not the clients': nobody aims at a chain. */
static size_t chain_of(const char *queue)
{
    uint32_t hash = UINT32_C(2166136261);
    for (const char *c = queue; *c; c++)
        hash = (hash ^ (unsigned char)*c) * UINT32_C(16777619);
    return hash % TALLY_CHAINS;
}

tally *tally_find(const tallies *all, const char *queue)
{
    for (tally *t = all->chains[chain_of(queue)]; t; t = t->chain)
        if (strcmp(t->queue, queue) == 0)
            return t;
    return NULL;
}

tally *tally_of(tallies *all, const char *queue)
{
    tally **chain = &all->chains[chain_of(queue)];
    tally *t = tally_find(all, queue);
    if (t)
        return t;
    t = calloc(1, sizeof(*t));
    if (!t)
        return NULL;
    snprintf(t->queue, sizeof(t->queue), "%s", queue);
    t->total = -1;
    t->chain = *chain;
    *chain = t;
    t->next = all->first;
    all->first = t;
    return t;
}

void tallies_clear(tallies *all)
{
    while (all->first) {
        tally *t = all->first;
        all->first = t->next;
        free(t);
    }
    memset(all, 0, sizeof(*all));
}
