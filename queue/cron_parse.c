#include <errno.h>
#include <stdio.h>

#include "queue/cron.h"

/* --- the fields --- */

enum { FIELDS = 5, NAME_BYTES = 3, SHOWN_BYTES = 40 };

typedef struct field {
    const char *name, *expected;
    int least, most;
    const char *names; /* of three letters each, the first one for `named_from`; or "" */
    int named_from;
} field;

enum { MINUTE, HOUR, DAY, MONTH, WEEKDAY };

static const field fields[FIELDS] = {
    [MINUTE] = {"minute", "0 to 59", 0, 59, "", 0},
    [HOUR] = {"hour", "0 to 23", 0, 23, "", 0},
    [DAY] = {"day of month", "1 to 31", 1, 31, "", 0},
    [MONTH] = {"month", "1 to 12 or jan to dec", 1, 12, "janfebmaraprmayjunjulaugsepoctnovdec", 1},
    [WEEKDAY] = {"day of week", "0 to 7 or sun to sat", 0, 7, "sunmontuewedthufrisat", 0},
};

typedef struct nickname {
    const char *name, *fields;
} nickname;

static const nickname nicknames[] = {
    {"@yearly", "0 0 1 1 *"}, {"@annually", "0 0 1 1 *"}, {"@monthly", "0 0 1 * *"}, {"@weekly", "0 0 * * 0"},
    {"@daily", "0 0 * * *"},  {"@midnight", "0 0 * * *"}, {"@hourly", "0 * * * *"},
};

/* --- what is wrong --- */

typedef struct complaint {
    char *error;
    size_t size;
} complaint;

/* What is not printable is shown as `?`, what is long is cut. */
static void show(str found, char shown[SHOWN_BYTES + 4])
{
    size_t n = found.n < SHOWN_BYTES ? found.n : SHOWN_BYTES;
    for (size_t i = 0; i < n; i++)
        shown[i] = found.p[i] >= ' ' && found.p[i] <= '~' ? found.p[i] : '?';
    strcpy(shown + n, found.n > n ? "..." : "");
}

static int fail(const complaint *why, const field *f, str found, const char *expected)
{
    char shown[SHOWN_BYTES + 4];
    show(found, shown);
    snprintf(why->error, why->size, "%s: found \"%s\", expected %s", f->name, shown, expected);
    return -EINVAL;
}

static int fail_step(const complaint *why, const field *f, str found)
{
    char expected[64];
    snprintf(expected, sizeof(expected), "a step of 1 to %d behind the slash", f->most - f->least + 1);
    return fail(why, f, found, expected);
}

/* --- one field --- */

/* Split s at the first `at`: what is behind it stays in *s. Returns: what is before it, or all. */
static str cut(str *s, char at, bool *ret_there)
{
    const char *p = s->n ? memchr(s->p, at, s->n) : NULL;
    str before = {s->p, p ? (size_t)(p - s->p) : s->n};
    *ret_there = p != NULL;
    *s = p ? (str){p + 1, s->n - before.n - 1} : (str){s->p + s->n, 0};
    return before;
}

/* Returns: -1 when it is no number of up to three digits. */
static int read_number(str s)
{
    int n = 0;
    if (s.n < 1 || s.n > 3)
        return -1;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9')
            return -1;
        n = n * 10 + (s.p[i] - '0');
    }
    return n;
}

/* Returns: -1 when the field has no such value. */
static int read_value(const field *f, str s)
{
    for (const char *name = f->names; *name; name += NAME_BYTES) {
        if (str_eq_nocase(s, (str){name, NAME_BYTES}))
            return f->named_from + (int)(name - f->names) / NAME_BYTES;
    }
    int n = read_number(s);
    return n >= f->least && n <= f->most ? n : -1;
}

/* "5-10", "5" or "*". */
static int read_range(const field *f, str s, int *ret_from, int *ret_to, const complaint *why)
{
    bool range = false;
    str found = s, from = cut(&s, '-', &range);
    *ret_from = f->least;
    *ret_to = f->most;
    if (str_eq(found, STR("*")))
        return 0;
    *ret_from = read_value(f, from);
    *ret_to = range ? read_value(f, s) : *ret_from;
    if (*ret_from < 0 || *ret_to < 0)
        return fail(why, f, found, f->expected);
    if (f == &fields[WEEKDAY] && *ret_from > 0 && *ret_to == 0 && range)
        *ret_to = 7;
    if (*ret_from > *ret_to)
        return fail(why, f, found, "a range from less to more");
    return 0;
}

/* A range and maybe its step. */
static int read_item(const field *f, str s, uint64_t *set, const complaint *why)
{
    bool stepped = false;
    int from = 0, to = 0, step = 1;
    str found = s, range = cut(&s, '/', &stepped);
    if (read_range(f, range, &from, &to, why) < 0)
        return -EINVAL;
    if (stepped) {
        if (range.p[0] != '*' && !memchr(range.p, '-', range.n))
            return fail(why, f, found, "`*` or a range before a step");
        step = read_number(s);
        if (step < 1 || step > f->most - f->least + 1)
            return fail_step(why, f, found);
    }
    for (int i = from; i <= to; i += step)
        *set |= UINT64_C(1) << i;
    return 0;
}

static int read_field(const field *f, str s, uint64_t *ret_set, const complaint *why)
{
    uint64_t set = 0;
    for (bool more = true; more;) {
        str item = cut(&s, ',', &more);
        if (read_item(f, item, &set, why) < 0)
            return -EINVAL;
    }
    *ret_set = set;
    return 0;
}

/* --- the whole --- */

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static str trim(str s)
{
    for (; s.n > 0 && is_blank(s.p[0]); s.n--)
        s.p++;
    while (s.n > 0 && is_blank(s.p[s.n - 1]))
        s.n--;
    return s;
}

/* Returns: how many fields there are, which may be more than there is room for. */
static int split(str s, str parts[FIELDS])
{
    int n = 0;
    for (s = trim(s); s.n > 0; s = trim(s)) {
        size_t length = 0;
        while (length < s.n && !is_blank(s.p[length]))
            length++;
        if (n < FIELDS)
            parts[n] = (str){s.p, length};
        n++;
        s = (str){s.p + length, s.n - length};
    }
    return n;
}

static int fail_count(const complaint *why, int n)
{
    snprintf(why->error, why->size,
             "found %d field%s, expected five: minute, hour, day of month, month, day of week", n,
             n == 1 ? "" : "s");
    return -EINVAL;
}

static int find_nickname(str text, str *ret_fields, const complaint *why)
{
    for (size_t i = 0; i < sizeof(nicknames) / sizeof(nicknames[0]); i++) {
        if (str_eq_nocase(text, str_from(nicknames[i].name))) {
            *ret_fields = str_from(nicknames[i].fields);
            return 0;
        }
    }
    char shown[SHOWN_BYTES + 4];
    show(text, shown);
    snprintf(
        why->error, why->size,
        "found \"%s\", expected @hourly, @daily, @midnight, @weekly, @monthly, @yearly, @annually or five "
        "fields",
        shown);
    return -EINVAL;
}

/* Does some year have one of the days? By day of week alone there always is one. */
static bool can_be(const cron *c)
{
    static const int longest[] = {0, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    for (int month = 1; month <= 12; month++) {
        uint32_t days = (uint32_t)((UINT64_C(2) << longest[month]) - 1);
        if (c->months >> month & 1 && (c->either || c->days & days))
            return true;
    }
    return false;
}

static int fail_date(const complaint *why, const str parts[FIELDS])
{
    char day[SHOWN_BYTES + 4], month[SHOWN_BYTES + 4];
    show(parts[DAY], day);
    show(parts[MONTH], month);
    snprintf(why->error, why->size, "day of month: found \"%s\", which month \"%s\" has in no year", day,
             month);
    return -EINVAL;
}

int cron_parse(str text, cron *ret_cron, char *error, size_t size)
{
    complaint why = {error, size};
    str parts[FIELDS];
    uint64_t sets[FIELDS];
    text = trim(text);
    if (text.n > 0 && text.p[0] == '@' && find_nickname(text, &text, &why) < 0)
        return -EINVAL;
    int n = split(text, parts);
    if (n != FIELDS)
        return fail_count(&why, n);
    for (int i = 0; i < FIELDS; i++) {
        if (read_field(&fields[i], parts[i], &sets[i], &why) < 0)
            return -EINVAL;
    }
    cron c = {
        .minutes = sets[MINUTE],
        .hours = (uint32_t)sets[HOUR],
        .days = (uint32_t)sets[DAY],
        .months = (uint32_t)sets[MONTH],
        .weekdays = (uint32_t)((sets[WEEKDAY] | sets[WEEKDAY] >> 7) & 0x7f),
        .either = parts[DAY].p[0] != '*' && parts[WEEKDAY].p[0] != '*',
    };
    if (!can_be(&c))
        return fail_date(&why, parts);
    *ret_cron = c;
    return 0;
}
