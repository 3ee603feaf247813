/* civil: days of the proleptic Gregorian calendar, as counts of days since 1970-01-01.
 *
 * No zone comes in here, and no leap seconds: a day has 86400 seconds. Nothing is kept. Threads: any. */
#ifndef QUEUE_CIVIL_H
#define QUEUE_CIVIL_H

#include <stdbool.h>
#include <stdint.h>

enum { DAY_SECONDS = 86400 };

typedef struct civil_date {
    int64_t year;
    int month; /* 1 to 12 */
    int day;   /* 1 to 31 */
} civil_date;

/* The quotient rounded towards minus infinity, so that the remainder is never negative; b > 0. */
static inline int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

/* Years up to some billions from now. */
int64_t civil_to_days(civil_date date);

/* Any count of days between -2^46 and 2^46. */
civil_date civil_from_days(int64_t days);

bool civil_is_leap(int64_t year);

/* Of that month, 1 to 12. */
int civil_month_days(int64_t year, int month);

/* 0 is Sunday. */
int civil_weekday(int64_t days);

#endif
