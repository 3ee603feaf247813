#include "queue/civil.h"

/* Years are counted from March on: then the leap day is the last one, and months have a pattern of five. */
enum { CYCLE_YEARS = 400, CYCLE_DAYS = 146097, EPOCH_DAYS = 719468 /* from 0000-03-01 to 1970-01-01 */ };

int64_t civil_to_days(civil_date date)
{
    int64_t year = date.year - (date.month <= 2);
    int64_t cycle = floor_div(year, CYCLE_YEARS), rest = year - cycle * CYCLE_YEARS;
    int month = (date.month + 9) % 12;
    int64_t year_day = (153 * month + 2) / 5 + date.day - 1;
    return cycle * CYCLE_DAYS + rest * 365 + rest / 4 - rest / 100 + year_day - EPOCH_DAYS;
}

civil_date civil_from_days(int64_t days)
{
    days += EPOCH_DAYS;
    int64_t cycle = floor_div(days, CYCLE_DAYS), rest = days - cycle * CYCLE_DAYS;
    int64_t year = (rest - rest / 1460 + rest / 36524 - rest / 146096) / 365;
    int year_day = (int)(rest - (365 * year + year / 4 - year / 100));
    int month = (5 * year_day + 2) / 153; /* 0 is March */
    civil_date date = {.month = month < 10 ? month + 3 : month - 9,
                       .day = year_day - (153 * month + 2) / 5 + 1};
    date.year = cycle * CYCLE_YEARS + year + (date.month <= 2);
    return date;
}

bool civil_is_leap(int64_t year)
{
    return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

int civil_month_days(int64_t year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    return days[month - 1] + (month == 2 && civil_is_leap(year));
}

int civil_weekday(int64_t days)
{
    int64_t since_sunday = days + 4; /* 1970-01-01 was a Thursday */
    return (int)(since_sunday - floor_div(since_sunday, 7) * 7);
}
