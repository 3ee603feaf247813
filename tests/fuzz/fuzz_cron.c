/* A cron expression, a moment and a time zone: "EXPRESSION\n", eight bytes, then a TZif file, or else a rule
 * of which a file is made.
 *
 * An expression is taken if and only if a second reader takes it, and means the same. A zone's pieces follow
 * each other, and its local times come back. When an entry is next due is looked for anew, second by second;
 * nothing may be due before, and at that moment it has to be. */
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "queue/civil.h"
#include "queue/cron.h"
#include "queue/zone.h"

enum { FIELDS = 5, TEXT_BYTES = 512, WALK_SECONDS = 4000, WALK_PIECES = 40, ERROR_BYTES = 256 };

static void must(bool truth)
{
    if (!truth)
        abort();
}

static void must_be_told(const char *error)
{
    must(error[0] != '\0');
    for (; *error; error++)
        must(*error >= ' ' && *error <= '~');
}

/* --- a second reader --- */

static const char *const names[FIELDS][12] = {
    [3] = {"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"},
    [4] = {"sun", "mon", "tue", "wed", "thu", "fri", "sat"},
};

static const int least[FIELDS] = {0, 0, 1, 1, 0}, most[FIELDS] = {59, 23, 31, 12, 7};

static bool read_digits(const char *text, int *ret)
{
    size_t n = strspn(text, "0123456789");
    if (n < 1 || n > 3 || text[n] != '\0')
        return false;
    *ret = atoi(text);
    return true;
}

static bool read_value(int field, const char *text, int *ret)
{
    for (int i = 0; i < 12; i++) {
        if (names[field][i] && strcasecmp(names[field][i], text) == 0) {
            *ret = i + least[field];
            return true;
        }
    }
    return read_digits(text, ret) && *ret >= least[field] && *ret <= most[field];
}

static bool read_item(int field, char *text, bool values[64])
{
    int from = least[field], to = most[field], step = 1;
    char *slash = strchr(text, '/'), *minus;
    if (slash)
        *slash = '\0';
    if (strcmp(text, "*") != 0) {
        minus = strchr(text, '-');
        if (minus)
            *minus = '\0';
        if ((slash && !minus) || !read_value(field, text, &from))
            return false;
        to = from;
        if (minus && !read_value(field, minus + 1, &to))
            return false;
        if (field == 4 && from > 0 && to == 0 && minus)
            to = 7;
    }
    if (slash && (!read_digits(slash + 1, &step) || step == 0 || step > most[field] - least[field] + 1))
        return false;
    for (int i = from; i <= to; i += step)
        values[field == 4 ? i % 7 : i] = true;
    return from <= to;
}

typedef struct meaning {
    bool values[FIELDS][64];
    bool either;
} meaning;

static bool day_is_meant(const meaning *m, int month, int day, int weekday)
{
    bool a = m->values[2][day], b = m->values[4][weekday];
    return m->values[3][month] && (m->either ? a || b : a && b);
}

static bool is_ever_meant(const meaning *m)
{
    /* 2000 to 2027: 29 February on every day of the week. */
    for (int64_t day = 10957; day < 10957 + 28 * 366; day++) {
        civil_date date = civil_from_days(day);
        if (day_is_meant(m, date.month, date.day, civil_weekday(day)))
            return true;
    }
    return false;
}

static const char *const nicknames[][2] = {
    {"@yearly", "0 0 1 1 *"},   {"@annually", "0 0 1 1 *"}, {"@monthly", "0 0 1 * *"},
    {"@weekly", "0 0 * * sun"}, {"@daily", "0 0 * * *"},    {"@midnight", "0 0 * * *"},
    {"@hourly", "0 */1 * * *"},
};

/* Writes into text. */
static bool read_meaning(char *text, meaning *m)
{
    char *left = NULL, *item;
    int n = 0;
    bool star[FIELDS] = {false};
    *m = (meaning){.either = false};
    for (char *field = strtok_r(text, " \t", &left); field; field = strtok_r(NULL, " \t", &left), n++) {
        if (n == FIELDS)
            return false;
        star[n] = field[0] == '*';
        while ((item = strsep(&field, ",")) != NULL) {
            if (!read_item(n, item, m->values[n]))
                return false;
        }
    }
    m->either = !star[2] && !star[4];
    return n == FIELDS && is_ever_meant(m);
}

static bool read_whole(str s, meaning *m)
{
    char text[TEXT_BYTES];
    while (s.n > 0 && (s.p[0] == ' ' || s.p[0] == '\t'))
        s = (str){s.p + 1, s.n - 1};
    while (s.n > 0 && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t'))
        s.n--;
    if (s.n > 0 && memchr(s.p, '\0', s.n))
        return false;
    snprintf(text, sizeof(text), "%.*s", (int)s.n, s.p);
    for (size_t i = 0; i < sizeof(nicknames) / sizeof(nicknames[0]); i++) {
        if (strcasecmp(text, nicknames[i][0]) == 0)
            strcpy(text, nicknames[i][1]);
    }
    return read_meaning(text, m);
}

static void must_mean(const cron *c, const meaning *m)
{
    const uint64_t sets[FIELDS] = {c->minutes, c->hours, c->days, c->months, c->weekdays};
    for (int field = 0; field < FIELDS; field++) {
        for (int i = 0; i < 64; i++)
            must((sets[field] >> i & 1) == m->values[field][i]);
    }
    must(c->either == m->either);
}

/* --- a zone --- */

static int64_t local_at(const zone *z, int64_t moment_s)
{
    return moment_s + zone_offset_at(z, moment_s);
}

static void check_local(const zone *z, int64_t local_s, int64_t known_s)
{
    int64_t moments_s[2] = {0, 0};
    int n = zone_from_local(z, local_s, moments_s);
    bool seen = n == 2;
    for (int i = 0; i < n; i++) {
        must(local_at(z, moments_s[i]) == local_s);
        seen |= moments_s[i] == known_s;
    }
    must(n < 2 || moments_s[0] < moments_s[1]);
    must(n >= 1 || known_s == INT64_MAX);
    must(seen || known_s == INT64_MAX);
    int64_t reached_s = zone_reach_local(z, local_s);
    must(local_at(z, reached_s) >= local_s && zone_latest_local(z, reached_s - 1) < local_s);
    must(n == 0 || reached_s <= moments_s[0]);
}

static void check_piece(const zone *z, int64_t from_s, int64_t until_s)
{
    int32_t offset_s = zone_offset_at(z, from_s);
    must(offset_s >= -ZONE_WEST_MAX && offset_s <= ZONE_EAST_MAX);
    must(until_s > from_s);
    must(zone_offset_at(z, until_s - 1) == offset_s);
    must(zone_offset_at(z, from_s + (until_s - from_s) / 2) == offset_s);
    must(zone_latest_local(z, from_s) >= from_s + offset_s);
    check_local(z, from_s + offset_s, from_s);
    check_local(z, until_s - 1 + offset_s, until_s - 1);
    check_local(z, until_s + offset_s, INT64_MAX);
}

static void check_zone(const zone *z, int64_t moment_s)
{
    for (int i = 0; i < WALK_PIECES; i++) {
        int64_t until_s = moment_s + 1;
        bool more = zone_next_change(z, moment_s, &until_s);
        check_piece(z, moment_s, until_s);
        if (!more)
            return;
        moment_s = until_s;
    }
}

static void check_ends(const zone *z, int64_t any_s)
{
    int64_t moments_s[2];
    zone_offset_at(z, any_s);
    zone_next_change(z, any_s, moments_s);
    zone_from_local(z, any_s, moments_s);
    zone_reach_local(z, any_s);
    zone_latest_local(z, any_s);
}

/* --- what is due --- */

static bool local_is_meant(const meaning *m, int64_t local_s)
{
    int64_t day = floor_div(local_s, DAY_SECONDS), rest = local_s - day * DAY_SECONDS;
    if (rest % 60 != 0 || !m->values[0][rest / 60 % 60] || !m->values[1][rest / 3600])
        return false;
    civil_date date = civil_from_days(day);
    return day_is_meant(m, date.month, date.day, civil_weekday(day));
}

static bool any_is_meant(const meaning *m, int64_t after_s, int64_t until_s)
{
    for (int64_t s = floor_div(after_s, 60) * 60 + 60; s <= until_s; s += 60) {
        if (local_is_meant(m, s))
            return true;
    }
    return false;
}

/* The clock had shown *high_s before; at that moment it shows something else. */
static bool is_due(const meaning *m, const zone *z, bool hourly, int64_t moment_s, int64_t *high_s)
{
    int64_t local_s = local_at(z, moment_s);
    bool due = hourly ? local_is_meant(m, local_s) : any_is_meant(m, *high_s, local_s);
    if (local_s > *high_s)
        *high_s = local_s;
    return due;
}

static void check_next(const cron *c, const meaning *m, const zone *z, int64_t after_s)
{
    int64_t next_s = 0, high_s = zone_latest_local(z, after_s);
    bool hourly = true;
    for (int i = 0; i < 24; i++)
        hourly &= m->values[1][i];
    bool found = cron_next(c, z, after_s, &next_s);
    must(!found || next_s > after_s);
    for (int64_t s = after_s + 1; s <= after_s + WALK_SECONDS && (!found || s < next_s); s++)
        must(!is_due(m, z, hourly, s, &high_s));
    if (found) {
        high_s = zone_latest_local(z, next_s - 1);
        must(is_due(m, z, hourly, next_s, &high_s));
    }
}

/* --- the input --- */

static void put(char *file, size_t *n, const char *bytes, size_t count)
{
    memcpy(file + *n, bytes, count);
    *n += count;
}

/* A file of version 3 that has a rule and no transitions. */
static int parse_rule(str rule, zone **ret_zone, char *error)
{
    char file[TEXT_BYTES] = {0};
    char header[44] = "TZif3", type[10] = {0};
    size_t n = 0;
    header[39] = 1; /* types */
    header[43] = 4; /* bytes of names */
    for (int i = 0; i < 2; i++) {
        put(file, &n, header, sizeof(header));
        put(file, &n, type, sizeof(type));
    }
    if (rule.n > sizeof(file) - n - 2)
        return -EINVAL;
    put(file, &n, "\n", 1);
    put(file, &n, rule.p, rule.n);
    put(file, &n, "\n", 1);
    return zone_parse((str){file, n}, ret_zone, error, ERROR_BYTES);
}

static zone *read_zone(str bytes)
{
    zone *z = NULL;
    char error[ERROR_BYTES] = "?";
    bool file = bytes.n >= 4 && memcmp(bytes.p, "TZif", 4) == 0;
    int err = file ? zone_parse(bytes, &z, error, sizeof(error)) : parse_rule(bytes, &z, error);
    must(err == 0 ? z != NULL : z == NULL && err == -EINVAL);
    if (err < 0)
        must_be_told(error);
    return z;
}

static bool read_cron(str text, cron *c, meaning *m)
{
    char error[ERROR_BYTES] = "";
    if (text.n >= TEXT_BYTES)
        return false;
    int err = cron_parse(text, c, error, sizeof(error));
    must((err == 0) == read_whole(text, m));
    if (err < 0)
        must_be_told(error);
    else
        must_mean(c, m);
    return err == 0;
}

/* Of exactly that size, so that a byte beyond is seen. */
static void check(str text, int64_t any_s, str bytes)
{
    cron c;
    meaning m;
    bool good = read_cron(text, &c, &m);
    zone *z = read_zone(bytes);
    if (z) {
        int64_t moment_s = any_s % (INT64_C(1) << 34), change_s = 0;
        check_ends(z, any_s);
        check_zone(z, moment_s);
        if (any_s % 2 && zone_next_change(z, moment_s, &change_s) && change_s < INT64_C(1) << 36)
            moment_s = change_s - (moment_s & 2047);
        if (good)
            check_next(&c, &m, z, moment_s);
    }
    zone_free(z);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int64_t any_s = 0;
    const uint8_t *line = size ? memchr(data, '\n', size) : NULL;
    if (!line)
        return 0;
    size_t text_bytes = (size_t)(line - data), rest = size - text_bytes - 1;
    if (rest < sizeof(any_s))
        return 0;
    memcpy(&any_s, line + 1, sizeof(any_s));
    rest -= sizeof(any_s);
    char *text = malloc(text_bytes + 1), *bytes = malloc(rest + 1);
    must(text && bytes);
    memcpy(text + 1, data, text_bytes);
    memcpy(bytes + 1, line + 1 + sizeof(any_s), rest);
    check((str){text + 1, text_bytes}, any_s, (str){bytes + 1, rest});
    free(text);
    free(bytes);
    return 0;
}
