#include "queue/cron.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { ERROR_BYTES = 256, FIELDS = 5, TABLE = 64 };

static char error[ERROR_BYTES];

static bool have_zones(void)
{
    if (access("/usr/share/zoneinfo/Europe/Berlin", R_OK) == 0)
        return true;
    fprintf(stderr, "test_cron: skipped: what needs time zones: tzdata is not there\n");
    return false;
}

static cron parse(const char *text)
{
    cron c = {0};
    ck_assert_msg(cron_parse(str_from(text), &c, error, sizeof(error)) == 0, "%s: %s", text, error);
    return c;
}

static zone *load(const char *name)
{
    zone *z = NULL;
    unsetenv("TZDIR");
    ck_assert_msg(zone_load(str_from(name), &z, error, sizeof(error)) == 0, "%s", error);
    return z;
}

/* "2026-03-29 01:00", in UTC. */
static int64_t moment(const char *text)
{
    struct tm tm = {0};
    const char *end = strptime(text, "%Y-%m-%d %H:%M", &tm);
    ck_assert_msg(end && *end == '\0', "%s", text);
    return timegm(&tm);
}

static const char *show(int64_t moment_s, char text[32])
{
    time_t second = moment_s;
    struct tm tm;
    strftime(text, 32, "%Y-%m-%d %H:%M:%S", gmtime_r(&second, &tm));
    return text;
}

/* --- by hand --- */

static const struct {
    const char *text, *zone, *after;
    const char *due[6]; /* in UTC */
} cases[] = {
    {"0 12 * * *", "UTC", "2026-01-01 12:00", {"2026-01-02 12:00", "2026-01-03 12:00"}},
    {"*/15 9-10 * * mon-fri", "UTC", "2026-11-27 10:40", {"2026-11-27 10:45", "2026-11-30 09:00"}},
    {"5,10-20/5 1 * * *",
     "UTC",
     "2026-01-01 00:00",
     {"2026-01-01 01:05", "2026-01-01 01:10", "2026-01-01 01:15", "2026-01-01 01:20", "2026-01-02 01:05"}},
    {"0 0 13 * fri",
     "UTC",
     "2026-02-06 00:00",
     {"2026-02-13 00:00", "2026-02-20 00:00", "2026-02-27 00:00", "2026-03-06 00:00", "2026-03-13 00:00"}},
    {"0 0 13 * *", "UTC", "2026-02-06 00:00", {"2026-02-13 00:00", "2026-03-13 00:00"}},
    {"0 0 */2 * fri",
     "UTC",
     "2026-02-06 00:00",
     {"2026-02-13 00:00", "2026-02-27 00:00", "2026-03-13 00:00"}},
    {"0 0 1-7 * */7", "UTC", "2026-02-02 00:00", {"2026-03-01 00:00", "2026-04-05 00:00"}},
    {"0 0 * * 7", "UTC", "2026-02-02 00:00", {"2026-02-08 00:00", "2026-02-15 00:00"}},
    {"0 0 * * 5-7",
     "UTC",
     "2026-02-02 00:00",
     {"2026-02-06 00:00", "2026-02-07 00:00", "2026-02-08 00:00", "2026-02-13 00:00"}},
    {"0 0 * * Sat-Sun",
     "UTC",
     "2026-02-02 00:00",
     {"2026-02-07 00:00", "2026-02-08 00:00", "2026-02-14 00:00"}},
    {"0 0 29 2 *", "UTC", "2096-03-01 00:00", {"2104-02-29 00:00", "2108-02-29 00:00"}},
    {"0 0 29 feb */7", "UTC", "2088-03-01 00:00", {"2128-02-29 00:00"}},
    {"0 0 31 * *", "UTC", "2026-01-31 00:00", {"2026-03-31 00:00", "2026-05-31 00:00"}},
    {"0 0 31 2 mon", "UTC", "2026-01-31 00:00", {"2026-02-02 00:00", "2026-02-09 00:00"}},
    {"  @Yearly\t", "UTC", "2026-01-01 00:00", {"2027-01-01 00:00"}},
    {"@annually", "UTC", "2025-12-31 23:59", {"2026-01-01 00:00"}},
    {"@monthly", "UTC", "2026-01-01 00:00", {"2026-02-01 00:00"}},
    {"@weekly", "UTC", "2026-01-01 00:00", {"2026-01-04 00:00"}},
    {"@daily", "Europe/Berlin", "2026-01-01 00:00", {"2026-01-01 23:00"}},
    {"@midnight", "America/New_York", "2026-01-01 00:00", {"2026-01-01 05:00"}},
    {"@hourly", "Asia/Kolkata", "2026-01-01 00:00", {"2026-01-01 00:30", "2026-01-01 01:30"}},
    /* A gap: 2:00 to 3:00 in Berlin on 29 March 2026 is not there, and 3:00 is 1:00 in UTC. */
    {"30 2 * * *",
     "Europe/Berlin",
     "2026-03-28 00:00",
     {"2026-03-28 01:30", "2026-03-29 01:00", "2026-03-30 00:30"}},
    {"0,20,40 2 * * *",
     "Europe/Berlin",
     "2026-03-28 12:00",
     {"2026-03-29 01:00", "2026-03-30 00:00", "2026-03-30 00:20"}},
    {"0 2,3 * * *", "Europe/Berlin", "2026-03-28 12:00", {"2026-03-29 01:00", "2026-03-30 00:00"}},
    {"0 */2 * * *",
     "Europe/Berlin",
     "2026-03-28 22:30",
     {"2026-03-28 23:00", "2026-03-29 01:00", "2026-03-29 02:00"}},
    {"*/20 * * * *",
     "Europe/Berlin",
     "2026-03-29 00:10",
     {"2026-03-29 00:20", "2026-03-29 00:40", "2026-03-29 01:00", "2026-03-29 01:20"}},
    {"30 * * * *",
     "Europe/Berlin",
     "2026-03-28 23:40",
     {"2026-03-29 00:30", "2026-03-29 01:30", "2026-03-29 02:30"}},
    /* An overlap: 2:00 to 3:00 on 25 October 2026 is there twice, from 0:00 and from 1:00 in UTC on. */
    {"30 2 * * *", "Europe/Berlin", "2026-10-24 12:00", {"2026-10-25 00:30", "2026-10-26 01:30"}},
    {"30 2 * * *", "Europe/Berlin", "2026-10-25 01:10", {"2026-10-26 01:30"}},
    {"*/30 2-3 * * *",
     "Europe/Berlin",
     "2026-10-24 12:00",
     {"2026-10-25 00:00", "2026-10-25 00:30", "2026-10-25 02:00", "2026-10-25 02:30", "2026-10-26 01:00"}},
    {"*/30 * * * *",
     "Europe/Berlin",
     "2026-10-24 23:40",
     {"2026-10-25 00:00", "2026-10-25 00:30", "2026-10-25 01:00", "2026-10-25 01:30", "2026-10-25 02:00",
      "2026-10-25 02:30"}},
    {"0 * * * *",
     "America/New_York",
     "2026-11-01 04:30",
     {"2026-11-01 05:00", "2026-11-01 06:00", "2026-11-01 07:00"}},
    {"0 0-23 * * *",
     "America/New_York",
     "2026-11-01 04:30",
     {"2026-11-01 05:00", "2026-11-01 06:00", "2026-11-01 07:00"}},
    /* Half an hour: 2:00 is put to 2:30 on 4 October, and back to 1:30 on 5 April. */
    {"15 2 * * *", "Australia/Lord_Howe", "2026-10-02 20:00", {"2026-10-03 15:30", "2026-10-04 15:15"}},
    {"45 1 * * *", "Australia/Lord_Howe", "2026-04-03 20:00", {"2026-04-04 14:45", "2026-04-05 15:15"}},
    {"*/30 * * * *",
     "Australia/Lord_Howe",
     "2026-04-04 14:10",
     {"2026-04-04 14:30", "2026-04-04 15:00", "2026-04-04 15:30"}},
    /* A day that was not: after 29 December 2011 came the 31st, at 10:00 in UTC. */
    {"0 12 * * *",
     "Pacific/Apia",
     "2011-12-29 00:00",
     {"2011-12-29 22:00", "2011-12-30 10:00", "2011-12-30 22:00"}},
    {"0 * 30 12 *", "Pacific/Apia", "2011-12-29 00:00", {"2012-12-29 10:00", "2012-12-29 11:00"}},
    /* Midnight is in the gap. */
    {"@daily", "America/Havana", "2026-03-07 12:00", {"2026-03-08 05:00", "2026-03-09 04:00"}},
    {"@yearly", "UTC", "1899-06-01 00:00", {"1900-01-01 00:00"}},
};

START_TEST(entries_are_due_when_they_say)
{
    if (strcmp(cases[_i].zone, "UTC") != 0 && !have_zones())
        return;
    zone *z = load(cases[_i].zone);
    cron c = parse(cases[_i].text);
    int64_t after_s = moment(cases[_i].after);
    for (size_t i = 0; i < 6 && cases[_i].due[i]; i++) {
        char text[32];
        ck_assert(cron_next(&c, z, after_s, &after_s));
        ck_assert_msg(after_s == moment(cases[_i].due[i]), "%s in %s is due at %s, not at %s", cases[_i].text,
                      cases[_i].zone, show(after_s, text), cases[_i].due[i]);
    }
    zone_free(z);
}
END_TEST

START_TEST(seconds_before_and_at_a_moment)
{
    cron c = parse("30 2 * * *");
    zone *z = load("UTC");
    int64_t due_s = moment("2026-01-01 02:30"), next_s = 0;
    ck_assert(cron_next(&c, z, due_s - 1, &next_s));
    ck_assert_int_eq(next_s, due_s);
    ck_assert(cron_next(&c, z, due_s, &next_s));
    ck_assert_int_eq(next_s, due_s + 86400);
    ck_assert(cron_next(&c, z, due_s - 59, &next_s));
    ck_assert_int_eq(next_s, due_s);
    zone_free(z);
}
END_TEST

START_TEST(what_is_never_due_is_told)
{
    zone *z = load("UTC");
    int64_t next_s = 7;
    cron c = parse("* * * * *");
    ck_assert(!cron_next(&c, z, INT64_MAX, &next_s));
    ck_assert(!cron_next(&c, z, INT64_MIN, &next_s));
    c.months = 0;
    ck_assert(!cron_next(&c, z, 0, &next_s));
    c = parse("0 0 30 1 *");
    c.months = 1u << 2;
    ck_assert(!cron_next(&c, z, 0, &next_s));
    ck_assert_int_eq(next_s, 7);
    zone_free(z);
}
END_TEST

/* --- what is refused --- */

static const struct {
    const char *text, *error;
} refused[] = {
    {"", "found 0 fields, expected five: minute, hour, day of month, month, day of week"},
    {"*", "found 1 field, expected five: minute, hour, day of month, month, day of week"},
    {"0 * * * * *", "found 6 fields, expected five: minute, hour, day of month, month, day of week"},
    {"@often",
     "found \"@often\", expected @hourly, @daily, @midnight, @weekly, @monthly, @yearly, @annually or "
     "five fields"},
    {"60 * * * *", "minute: found \"60\", expected 0 to 59"},
    {"x * * * *", "minute: found \"x\", expected 0 to 59"},
    {"-1 * * * *", "minute: found \"-1\", expected 0 to 59"},
    {"1- * * * *", "minute: found \"1-\", expected 0 to 59"},
    {"1-2-3 * * * *", "minute: found \"1-2-3\", expected 0 to 59"},
    {"0001 * * * *", "minute: found \"0001\", expected 0 to 59"},
    {"1, * * * *", "minute: found \"\", expected 0 to 59"},
    {", * * * *", "minute: found \"\", expected 0 to 59"},
    {"** * * * *", "minute: found \"**\", expected 0 to 59"},
    {"*-5 * * * *", "minute: found \"*-5\", expected 0 to 59"},
    {"30-10 * * * *", "minute: found \"30-10\", expected a range from less to more"},
    {"5/10 * * * *", "minute: found \"5/10\", expected `*` or a range before a step"},
    {"/10 * * * *", "minute: found \"\", expected 0 to 59"},
    {"*/0 * * * *", "minute: found \"*/0\", expected a step of 1 to 60 behind the slash"},
    {"*/61 * * * *", "minute: found \"*/61\", expected a step of 1 to 60 behind the slash"},
    {"*/ * * * *", "minute: found \"*/\", expected a step of 1 to 60 behind the slash"},
    {"*/5/5 * * * *", "minute: found \"*/5/5\", expected a step of 1 to 60 behind the slash"},
    {"0 24 * * *", "hour: found \"24\", expected 0 to 23"},
    {"0 */25 * * *", "hour: found \"*/25\", expected a step of 1 to 24 behind the slash"},
    {"0 0 0 * *", "day of month: found \"0\", expected 1 to 31"},
    {"0 0 32 * *", "day of month: found \"32\", expected 1 to 31"},
    {"0 0 mon * *", "day of month: found \"mon\", expected 1 to 31"},
    {"0 0 * 0 *", "month: found \"0\", expected 1 to 12 or jan to dec"},
    {"0 0 * 13 *", "month: found \"13\", expected 1 to 12 or jan to dec"},
    {"0 0 * january *", "month: found \"january\", expected 1 to 12 or jan to dec"},
    {"0 0 * * 8", "day of week: found \"8\", expected 0 to 7 or sun to sat"},
    {"0 0 * * fri-mon", "day of week: found \"fri-mon\", expected a range from less to more"},
    {"0 0 * * mon\n", "day of week: found \"mon?\", expected 0 to 7 or sun to sat"},
    {"0 0 30 2 *", "day of month: found \"30\", which month \"2\" has in no year"},
    {"0 0 31 feb,apr,jun,sep,nov *",
     "day of month: found \"31\", which month \"feb,apr,jun,sep,nov\" has in no year"},
    {"0 0 30 2 */2", "day of month: found \"30\", which month \"2\" has in no year"},
    {"0 0 0123456789012345678901234567890123456789x * *",
     "day of month: found \"0123456789012345678901234567890123456789...\", expected 1 to 31"},
};

START_TEST(errors_name_the_field_and_what_is_expected)
{
    cron c = {.minutes = 7};
    ck_assert_int_eq(cron_parse(str_from(refused[_i].text), &c, error, sizeof(error)), -EINVAL);
    ck_assert_str_eq(error, refused[_i].error);
    ck_assert_uint_eq(c.minutes, 7);
}
END_TEST

START_TEST(a_nul_is_no_blank)
{
    cron c;
    ck_assert_int_eq(cron_parse((str){"0 0 * * *\0", 10}, &c, error, sizeof(error)), -EINVAL);
    ck_assert_str_eq(error, "day of week: found \"*?\", expected 0 to 7 or sun to sat");
}
END_TEST

/* --- beside an oracle that looks at every minute of a year, with the C library's time zones --- */

typedef struct minute {
    int64_t local; /* in minutes */
    signed char fields[FIELDS];
} minute;

enum { BEFORE = 3 * 1440, MINUTES = 366 * 1440 + BEFORE, EXPRESSIONS = 40 };

typedef struct year {
    int64_t start_s; /* of the minutes, some of which are before the year */
    minute minutes[MINUTES];
    int64_t due[MINUTES];
    size_t due_count;
} year;

/* An expression that is made together with what it means. */
typedef struct meaning {
    char text[512];
    bool values[FIELDS][TABLE];
    bool star[FIELDS];
} meaning;

static uint64_t state;

static int chance(int n)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (int)((state >> 33) % (uint64_t)n);
}

static const int least[FIELDS] = {0, 0, 1, 1, 0}, most[FIELDS] = {59, 23, 31, 12, 7};

static void fields_of(const struct tm *tm, signed char fields[FIELDS])
{
    const int all[FIELDS] = {tm->tm_min, tm->tm_hour, tm->tm_mday, tm->tm_mon + 1, tm->tm_wday};
    for (int i = 0; i < FIELDS; i++)
        fields[i] = (signed char)all[i];
}

static void write_value(meaning *m, int field, int value)
{
    static const char *const months[] = {"",    "Jan", "feb", "MAR", "apr", "mAy", "jun",
                                         "jul", "aug", "sep", "oct", "nov", "dec"};
    static const char *const days[] = {"sun", "Mon", "tue", "wed", "THU", "fri", "sat", "7"};
    size_t n = strlen(m->text);
    if (field >= 3 && chance(2))
        snprintf(m->text + n, sizeof(m->text) - n, "%s", field == 3 ? months[value] : days[value]);
    else
        snprintf(m->text + n, sizeof(m->text) - n, "%d", value);
}

static void write_text(meaning *m, const char *text)
{
    size_t n = strlen(m->text);
    snprintf(m->text + n, sizeof(m->text) - n, "%s", text);
}

static int any_value(int field)
{
    /* Clocks are put forward and back at night. */
    int top = field == 1 && chance(2) ? 3 : most[field];
    return least[field] + chance(top - least[field] + 1);
}

static void make_item(meaning *m, int field, bool first)
{
    int from = least[field], to = most[field], step = 1, kind = chance(4);
    if (kind == 0) {
        write_text(m, "*");
        m->star[field] |= first;
    } else {
        from = any_value(field);
        to = kind == 1 ? from + chance(most[field] - from + 1) : from;
        write_value(m, field, from);
        if (kind == 1) {
            write_text(m, "-");
            write_value(m, field, to);
        }
    }
    if (kind < 2 && chance(3)) {
        char text[16];
        step = 1 + chance(most[field] - least[field] + 1);
        step = chance(2) ? step : 1 + (step - 1) % 4;
        snprintf(text, sizeof(text), "/%d", step);
        write_text(m, text);
    }
    for (int i = from; i <= to; i += step)
        m->values[field][field == 4 ? i % 7 : i] = true;
}

static void make_field(meaning *m, int field)
{
    if (field > 0)
        write_text(m, chance(4) ? " " : " \t ");
    if (chance(field >= 2 ? 2 : 4) == 0) {
        write_text(m, "*");
        m->star[field] = true;
        memset(m->values[field], true, TABLE);
        return;
    }
    int items = chance(3) ? 1 : 1 + chance(3);
    for (int i = 0; i < items; i++) {
        if (i > 0)
            write_text(m, ",");
        make_item(m, field, i == 0);
    }
}

static bool day_is_meant(const meaning *m, const signed char fields[FIELDS])
{
    bool date = m->values[2][(int)fields[2]], weekday = m->values[4][(int)fields[4]];
    bool either = !m->star[2] && !m->star[4];
    return m->values[3][(int)fields[3]] && (either ? date || weekday : date && weekday);
}

static bool is_meant(const meaning *m, const signed char fields[FIELDS])
{
    return m->values[0][(int)fields[0]] && m->values[1][(int)fields[1]] && day_is_meant(m, fields);
}

static bool local_is_meant(const meaning *m, int64_t local)
{
    signed char fields[FIELDS];
    time_t second = local * 60;
    struct tm tm;
    fields_of(gmtime_r(&second, &tm), fields);
    return is_meant(m, fields);
}

static bool is_ever_meant(const meaning *m)
{
    for (time_t second = 0; second < 40L * 366 * 86400; second += 86400) {
        struct tm tm;
        signed char fields[FIELDS];
        fields_of(gmtime_r(&second, &tm), fields);
        if (day_is_meant(m, fields))
            return true;
    }
    return false;
}

static bool every_hour_is_meant(const meaning *m)
{
    for (int i = 0; i < 24; i++) {
        if (!m->values[1][i])
            return false;
    }
    return true;
}

/* Walks through the year as a cron daemon that wakes every minute. */
static void find_due(year *y, const meaning *m)
{
    int64_t high = INT64_MIN;
    bool hourly = every_hour_is_meant(m);
    y->due_count = 0;
    for (size_t i = 0; i < MINUTES; i++) {
        const minute *now = &y->minutes[i];
        bool due = false;
        if (hourly) {
            due = is_meant(m, now->fields);
        } else if (now->local > high) {
            due = is_meant(m, now->fields);
            for (int64_t lost = high + 1; i > 0 && !due && lost < now->local; lost++)
                due = local_is_meant(m, lost);
        }
        if (now->local > high)
            high = now->local;
        if (due && i >= BEFORE)
            y->due[y->due_count++] = y->start_s + (int64_t)i * 60;
    }
}

static year *make_year(const char *name, int number)
{
    year *y = calloc(1, sizeof(*y));
    ck_assert_ptr_nonnull(y);
    setenv("TZ", name, 1);
    tzset();
    struct tm first = {.tm_year = number - 1900, .tm_mday = 1};
    y->start_s = timegm(&first) - BEFORE * 60;
    for (size_t i = 0; i < MINUTES; i++) {
        time_t second = y->start_s + (time_t)i * 60;
        struct tm tm;
        if (!localtime_r(&second, &tm) || tm.tm_sec != 0)
            ck_abort_msg("%s is not whole minutes from UTC in %d", name, number);
        fields_of(&tm, y->minutes[i].fields);
        y->minutes[i].local = timegm(&tm) / 60;
    }
    return y;
}

static void assert_next(const year *y, const cron *c, const zone *z, const meaning *m, int64_t after_s,
                        size_t i)
{
    char ours[32], theirs[32];
    int64_t next_s = 0, end_s = y->start_s + (int64_t)MINUTES * 60;
    bool found = cron_next(c, z, after_s, &next_s) && next_s < end_s;
    bool wanted = i < y->due_count;
    if (found != wanted || (found && next_s != y->due[i]))
        ck_abort_msg("%s after %ld: %s, for the oracle %s", m->text, (long)after_s,
                     found ? show(next_s, ours) : "none", wanted ? show(y->due[i], theirs) : "none");
}

static void compare(year *y, const zone *z, const meaning *m)
{
    cron c;
    if (cron_parse(str_from(m->text), &c, error, sizeof(error)) < 0) {
        ck_assert_msg(!is_ever_meant(m), "%s: %s", m->text, error);
        return;
    }
    find_due(y, m);
    int64_t after_s = y->start_s + (int64_t)BEFORE * 60 - 1;
    for (size_t i = 0; i <= y->due_count; i++) {
        assert_next(y, &c, z, m, after_s, i);
        after_s = i < y->due_count ? y->due[i] : after_s;
    }
    for (size_t i = 0; i < y->due_count; i += 1 + (size_t)chance(50)) {
        int64_t from_s = i > 0 ? y->due[i - 1] : y->start_s + (int64_t)BEFORE * 60 - 1;
        assert_next(y, &c, z, m, from_s + chance((int)(y->due[i] - from_s)), i);
    }
}

static const struct {
    const char *zone;
    int year;
} years[] = {
    {"UTC", 2024},
    {"Europe/Berlin", 2026},
    {"Europe/Berlin", 1947}, /* by two hours in the summer */
    {"America/New_York", 2026},
    {"America/St_Johns", 2006}, /* a minute after midnight */
    {"America/Havana", 2026},   /* at midnight */
    {"Australia/Lord_Howe", 2026},
    {"Asia/Kolkata", 2026},
    {"Africa/Casablanca", 2026}, /* four changes in that year */
    {"Africa/Casablanca", 2060}, /* written out */
    {"Europe/Dublin", 2026},
    {"Europe/Dublin", 2050},     /* by the rule */
    {"Pacific/Apia", 2011},      /* a day that was not */
    {"Pacific/Kwajalein", 1969}, /* a day that was twice, nearly */
    {"Pacific/Kwajalein", 1993},
    {"Antarctica/Troll", 2026},
    {"Asia/Pyongyang", 2015}, /* half an hour back for good */
    {"America/Nuuk", 2023},
    {"Pacific/Chatham", 2026},
};

START_TEST(next_agrees_with_an_oracle_that_looks_at_every_minute)
{
    if (!have_zones())
        return;
    year *y = make_year(years[_i].zone, years[_i].year);
    zone *z = load(years[_i].zone);
    state = (uint64_t)_i + 1;
    for (int n = 0; n < EXPRESSIONS; n++) {
        meaning m = {0};
        for (int field = 0; field < FIELDS; field++)
            make_field(&m, field);
        compare(y, z, &m);
    }
    zone_free(z);
    free(y);
}
END_TEST

static Suite *cron_suite(void)
{
    Suite *s = suite_create("cron");
    TCase *tc = tcase_create("cron");
    tcase_add_loop_test(tc, entries_are_due_when_they_say, 0, sizeof(cases) / sizeof(cases[0]));
    tcase_add_test(tc, seconds_before_and_at_a_moment);
    tcase_add_test(tc, what_is_never_due_is_told);
    tcase_add_loop_test(tc, errors_name_the_field_and_what_is_expected, 0,
                        sizeof(refused) / sizeof(refused[0]));
    tcase_add_test(tc, a_nul_is_no_blank);
    suite_add_tcase(s, tc);
    TCase *oracle = tcase_create("oracle");
    tcase_set_timeout(oracle, 120);
    tcase_add_loop_test(oracle, next_agrees_with_an_oracle_that_looks_at_every_minute, 0,
                        sizeof(years) / sizeof(years[0]));
    suite_add_tcase(s, oracle);
    return s;
}

int main(void)
{
    SRunner *sr = srunner_create(cron_suite());
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
