/* cron: calendar times by an expression of five fields, as in POSIX's crontab and Vixie's cron.
 *
 *     minute  hour  day-of-month  month  day-of-week
 *     0-59    0-23  1-31          1-12   0-7, 0 and 7 are Sunday
 *              or a name: jan ... dec, sun ... sat, in any case
 *
 * A field is `*`, a number or name, a range 1-5, one of these with a step (star and ranges only: "*" "/5",
 * 10-50/10), or several of them with commas between. A range of days of the week may end on Sunday as 0 or
 * sun: fri-sun. If day-of-month and day-of-week are both restricted, a day needs to match one of them; a
 * field that begins with `*` is not restricted, and then a day has to match both. Instead of the fields:
 * @hourly,
 * @daily or @midnight, @weekly, @monthly, @yearly or @annually.
 *
 * Daylight saving. An entry that names hours (its hour field leaves some out) has one run for each time that
 * it names: it is due when the clock on the wall first shows that time or has passed it. A time that falls
 * into a gap is due at the first moment after the gap, several such times once together; a time in an overlap
 * is due the first time, and not again. An entry for every hour is due whenever the clock on the wall shows
 * one of its minutes: every ten minutes stays every ten minutes while the clock is put forward and back. The
 * same goes for every other change of a zone's offset.
 *
 * Threads: any; an entry is plain data. */
#ifndef QUEUE_CRON_H
#define QUEUE_CRON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "queue/str.h"
#include "queue/zone.h"

/* One bit for each value, bit 0 for value 0. */
typedef struct cron {
    uint64_t minutes;
    uint32_t hours, days, months, weekdays; /* Sunday is bit 0 alone */
    bool either;                            /* a day has to match days or weekdays, else both */
} cron;

/* Returns: 0, or -EINVAL with `error` naming the field, what was found there and what is expected; also for
 * a date that no year has, as 30 February. */
int cron_parse(str text, cron *ret_cron, char *error, size_t size);

/* The first moment after that one at which the entry is due, in Unix time. Costs a look at each day that is
 * skipped in a month that counts, never at each minute.
 * Returns: false when there is none within 50 years: a weekday on 29 February may take 40. */
bool cron_next(const cron *c, const zone *z, int64_t after_s, int64_t *ret_moment_s);

#endif
