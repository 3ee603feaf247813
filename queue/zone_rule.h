/* zone_rule: the rule of a time zone for each year, as "CET-1CEST,M3.5.0,M10.5.0/3".
 *
 * POSIX.1-2017, 8.3, with what RFC 8536, 3.3.1 adds: hours from -167 to 167, and daylight saving all year.
 * The rule's years have no beginning and no end. Threads: plain data. */
#ifndef QUEUE_ZONE_RULE_H
#define QUEUE_ZONE_RULE_H

#include <stdbool.h>
#include <stdint.h>

#include "queue/str.h"

typedef enum zone_day_kind {
    ZONE_DAY_JULIAN, /* Jn: 1 to 365, and 29 February is not counted */
    ZONE_DAY_COUNT,  /* n: 0 to 365, and it is */
    ZONE_DAY_WEEK    /* Mm.w.d: day d of week w of month m; week 5 is the last one */
} zone_day_kind;

/* When one of the two times begins, in each year. */
typedef struct zone_turn {
    zone_day_kind kind;
    int day;         /* of the year, or of the week with 0 for Sunday */
    int month, week; /* of ZONE_DAY_WEEK */
    int32_t time_s;  /* from that day's midnight on; may be before it, or days later */
} zone_turn;

typedef struct zone_rule {
    int32_t standard_s, daylight_s; /* east of UTC */
    bool turns;                     /* daylight saving is there */
    zone_turn to_daylight, to_standard;
} zone_rule;

/* Returns: false when it is no such rule. POSIX leaves open when daylight saving is if only its name is
 * there; that is refused too. */
bool zone_rule_parse(str text, zone_rule *ret_rule);

/* Moments between -2^61 and 2^61. */
int32_t zone_rule_offset_at(const zone_rule *rule, int64_t moment_s);

/* The first turn after that moment. Returns: false when the rule has none. */
bool zone_rule_next(const zone_rule *rule, int64_t moment_s, int64_t *ret_moment_s);

#endif
