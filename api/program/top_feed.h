/* top_feed: asks a server for its metrics again and again, on a thread of its own.
 *
 * A server that does not answer must not stop the keys from working. Whoever waits for answers polls the
 * descriptor. Threads: one uses it; the other is inside. */
#ifndef PROGRAM_TOP_FEED_H
#define PROGRAM_TOP_FEED_H

#include <stdint.h>

#include "api/program/top_shot.h"

typedef struct top_feed top_feed;

/* What came of one question. */
typedef struct top_answer {
    int code;       /* 0, or why there is no shot: as scrape_get */
    top_shot *shot; /* the receiver's */
    ps_error why;
    uint64_t at_ns; /* of CLOCK_MONOTONIC */
} top_answer;

/* Ask now, and then every interval_ms; a question that takes longer than that is waited for. Copies the
 * address. Returns: 0, PS_ENOMEM or PS_ESYSTEM. */
int top_feed_start(const char *address, int interval_ms, top_feed **ret_feed);

/* End it, without waiting for an answer that is under way. NULL is fine. */
void top_feed_stop(top_feed *f);

/* Readable when there is an answer. */
int top_feed_fd(const top_feed *f);

/* The latest answer, if there is one that was not taken yet. */
bool top_feed_take(top_feed *f, top_answer *ret_answer);

/* The clock of the answers. */
uint64_t top_feed_now_ns(void);

#endif
