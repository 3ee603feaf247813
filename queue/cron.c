#include "queue/cron.h"

#include "queue/civil.h"

enum { HOUR_SECONDS = 3600, MINUTE_SECONDS = 60, MINUTES = 60, HOURS = 24, SEARCH_YEARS = 50 };

static const uint32_t every_hour = (UINT32_C(1) << HOURS) - 1;

static bool has(uint64_t set, int value)
{
    return set >> value & 1;
}

/* The first value in the set that is `from` or more; -1: none. */
static int first_from(uint64_t set, int from)
{
    uint64_t rest = from < 64 ? set >> from : 0;
    return rest ? from + __builtin_ctzll(rest) : -1;
}

static bool day_matches(const cron *c, int day, int weekday)
{
    bool by_date = has(c->days, day), by_weekday = has(c->weekdays, weekday);
    return c->either ? by_date || by_weekday : by_date && by_weekday;
}

/* The first day that matches, from that one on and before another one. */
static bool find_day(const cron *c, int64_t from_day, int64_t until_day, int64_t *ret_day)
{
    civil_date date = civil_from_days(from_day);
    int64_t day = from_day;
    while (day < until_day) {
        int month_days = civil_month_days(date.year, date.month);
        if (has(c->months, date.month)) {
            for (; date.day <= month_days && day < until_day; date.day++, day++) {
                if (day_matches(c, date.day, civil_weekday(day))) {
                    *ret_day = day;
                    return true;
                }
            }
        } else {
            day += month_days - date.day + 1;
        }
        date = (civil_date){date.year + (date.month == 12), date.month % 12 + 1, 1};
    }
    return false;
}

/* The first time of a day that matches, from that second of it on; -1: none is left. */
static int find_time(const cron *c, int from_s)
{
    int from_minute = (from_s + MINUTE_SECONDS - 1) / MINUTE_SECONDS;
    int hour = from_minute / MINUTES;
    int minute = has(c->hours, hour) ? first_from(c->minutes, from_minute % MINUTES) : -1;
    if (minute < 0) {
        hour = first_from(c->hours, hour + 1);
        minute = first_from(c->minutes, 0);
    }
    return hour < 0 || minute < 0 ? -1 : hour * HOUR_SECONDS + minute * MINUTE_SECONDS;
}

/* The first local time that matches, from that one on and before another one. */
static bool find_local(const cron *c, int64_t from_s, int64_t until_s, int64_t *ret_local_s)
{
    int64_t first_day = floor_div(from_s, DAY_SECONDS), until_day = floor_div(until_s - 1, DAY_SECONDS) + 1;
    for (int64_t day = first_day; find_day(c, day, until_day, &day); day++) {
        int time_s = find_time(c, day == first_day ? (int)(from_s - day * DAY_SECONDS) : 0);
        if (time_s >= 0) {
            *ret_local_s = day * DAY_SECONDS + time_s;
            return *ret_local_s < until_s;
        }
    }
    return false;
}

/* An entry that names hours. What the clock has shown or passed up to now was due before. */
static bool next_named(const cron *c, const zone *z, int64_t after_s, int64_t until_s, int64_t *ret_moment_s)
{
    int64_t local_s = 0, from_s = zone_latest_local(z, after_s) + 1;
    if (!find_local(c, from_s, until_s, &local_s))
        return false;
    *ret_moment_s = zone_reach_local(z, local_s);
    return true;
}

/* An entry for every hour: each stretch with one offset for itself. */
static bool next_shown(const cron *c, const zone *z, int64_t after_s, int64_t until_s, int64_t *ret_moment_s)
{
    for (int64_t from_s = after_s + 1; from_s < until_s;) {
        int64_t offset_s = zone_offset_at(z, from_s), change_s = until_s, local_s = 0;
        if (!zone_next_change(z, from_s, &change_s) || change_s > until_s)
            change_s = until_s;
        if (find_local(c, from_s + offset_s, change_s + offset_s, &local_s)) {
            *ret_moment_s = local_s - offset_s;
            return true;
        }
        from_s = change_s;
    }
    return false;
}

bool cron_next(const cron *c, const zone *z, int64_t after_s, int64_t *ret_moment_s)
{
    /* Years -6700 to 10600: beyond, no clock is right. */
    const int64_t far_s = INT64_C(1) << 38;
    if (after_s < -far_s || after_s > far_s)
        return false;
    int64_t until_s = after_s + (int64_t)SEARCH_YEARS * 366 * DAY_SECONDS;
    return (c->hours == every_hour ? next_shown : next_named)(c, z, after_s, until_s, ret_moment_s);
}
