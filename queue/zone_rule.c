#include "queue/zone_rule.h"

#include "queue/civil.h"

/* --- reading --- */

typedef struct cursor {
    const char *p, *end;
} cursor;

static bool at(const cursor *c, char wanted)
{
    return c->p < c->end && *c->p == wanted;
}

static bool skip(cursor *c, char wanted)
{
    bool there = at(c, wanted);
    c->p += there;
    return there;
}

static bool is_digit(const cursor *c)
{
    return c->p < c->end && *c->p >= '0' && *c->p <= '9';
}

static bool is_letter(const cursor *c)
{
    return c->p < c->end && ((*c->p >= 'a' && *c->p <= 'z') || (*c->p >= 'A' && *c->p <= 'Z'));
}

/* Of three digits at most. */
static bool read_number(cursor *c, int least, int most, int *ret)
{
    int n = 0, digits = 0;
    for (; is_digit(c) && digits < 3; digits++)
        n = n * 10 + (*c->p++ - '0');
    *ret = n;
    return digits > 0 && !is_digit(c) && n >= least && n <= most;
}

/* What the clock is called there does not matter, only where the name ends. */
static bool skip_name(cursor *c)
{
    bool quoted = skip(c, '<');
    const char *from = c->p;
    while (is_letter(c) || (quoted && (is_digit(c) || at(c, '+') || at(c, '-'))))
        c->p++;
    return c->p - from >= 3 && (!quoted || skip(c, '>'));
}

/* [+-]hh[:mm[:ss]] */
static bool read_time(cursor *c, int hours_max, int32_t *ret_s)
{
    bool minus = skip(c, '-');
    if (!minus)
        skip(c, '+');
    int hours = 0, minutes = 0, seconds = 0;
    if (!read_number(c, 0, hours_max, &hours))
        return false;
    if (skip(c, ':')) {
        if (!read_number(c, 0, 59, &minutes))
            return false;
        if (skip(c, ':') && !read_number(c, 0, 59, &seconds))
            return false;
    }
    int32_t all = hours * 3600 + minutes * 60 + seconds;
    *ret_s = minus ? -all : all;
    return true;
}

static bool read_day(cursor *c, zone_turn *t)
{
    if (skip(c, 'M')) {
        t->kind = ZONE_DAY_WEEK;
        return read_number(c, 1, 12, &t->month) && skip(c, '.') && read_number(c, 1, 5, &t->week) &&
               skip(c, '.') && read_number(c, 0, 6, &t->day);
    }
    t->kind = skip(c, 'J') ? ZONE_DAY_JULIAN : ZONE_DAY_COUNT;
    return read_number(c, t->kind == ZONE_DAY_JULIAN, 365, &t->day);
}

static bool read_turn(cursor *c, zone_turn *t)
{
    t->time_s = 2 * 3600;
    return skip(c, ',') && read_day(c, t) && (!skip(c, '/') || read_time(c, 167, &t->time_s));
}

bool zone_rule_parse(str text, zone_rule *ret_rule)
{
    enum { HOURS_MAX = 24 };
    cursor c = {text.p, text.p + text.n};
    zone_rule rule = {0};
    /* What is written there counts to the west. */
    if (!skip_name(&c) || !read_time(&c, HOURS_MAX, &rule.standard_s))
        return false;
    rule.standard_s = -rule.standard_s;
    rule.daylight_s = rule.standard_s + 3600;
    rule.turns = c.p < c.end;
    if (rule.turns) {
        if (!skip_name(&c))
            return false;
        if (!at(&c, ',')) {
            if (!read_time(&c, HOURS_MAX, &rule.daylight_s))
                return false;
            rule.daylight_s = -rule.daylight_s;
        }
        if (!read_turn(&c, &rule.to_daylight) || !read_turn(&c, &rule.to_standard) || c.p != c.end)
            return false;
    }
    *ret_rule = rule;
    return true;
}

/* --- its years --- */

static int64_t week_day(const zone_turn *t, int64_t year)
{
    int64_t first = civil_to_days((civil_date){year, t->month, 1});
    int ahead = (t->day - civil_weekday(first) + 7) % 7 + 7 * (t->week - 1);
    if (ahead >= civil_month_days(year, t->month))
        ahead -= 7; /* the fifth one is the fourth */
    return first + ahead;
}

static int64_t day_of(const zone_turn *t, int64_t year)
{
    if (t->kind == ZONE_DAY_WEEK)
        return week_day(t, year);
    int64_t first = civil_to_days((civil_date){year, 1, 1});
    if (t->kind == ZONE_DAY_COUNT)
        return first + t->day;
    return first + t->day - 1 + (t->day >= 60 && civil_is_leap(year));
}

/* The clock shows the time of the turn as it goes before it. */
static int64_t moment_of(const zone_rule *rule, int64_t year, bool daylight)
{
    const zone_turn *t = daylight ? &rule->to_daylight : &rule->to_standard;
    int32_t before_s = daylight ? rule->standard_s : rule->daylight_s;
    return day_of(t, year) * DAY_SECONDS + t->time_s - before_s;
}

static int64_t year_of(int64_t moment_s)
{
    return civil_from_days(floor_div(moment_s, DAY_SECONDS)).year;
}

/* A turn may lie some days outside of its year, so those of the years beside it may be the latest one too. Of
 * two at once the one of the later year counts: daylight saving that lasts all year ends as it begins. */
int32_t zone_rule_offset_at(const zone_rule *rule, int64_t moment_s)
{
    if (!rule->turns)
        return rule->standard_s;
    int64_t year = year_of(moment_s), latest = INT64_MIN;
    bool daylight = false;
    for (int64_t y = year - 2; y <= year + 1; y++) {
        for (int to = 0; to < 2; to++) {
            int64_t turn = moment_of(rule, y, to == 0);
            if (turn <= moment_s && turn >= latest) {
                latest = turn;
                daylight = to == 0;
            }
        }
    }
    return daylight ? rule->daylight_s : rule->standard_s;
}

bool zone_rule_next(const zone_rule *rule, int64_t moment_s, int64_t *ret_moment_s)
{
    if (!rule->turns)
        return false;
    int64_t year = year_of(moment_s), next = INT64_MAX;
    for (int64_t y = year - 1; y <= year + 2; y++) {
        for (int to = 0; to < 2; to++) {
            int64_t turn = moment_of(rule, y, to == 0);
            if (turn > moment_s && turn < next)
                next = turn;
        }
    }
    *ret_moment_s = next;
    return true;
}
