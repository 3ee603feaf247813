#include "queue/duration.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>

/* Sums are kept in nanoseconds: a hundred years of them fit. */
enum { MS_NS = 1000000, SHOWN_BYTES = 40 };

static const int64_t max_ns = DURATION_MAX_MS * MS_NS;

typedef struct unit {
    const char *name;
    int64_t ns;
} unit;

/* The largest first. */
static const unit units[] = {
    {"d", INT64_C(86400000) * MS_NS},
    {"h", INT64_C(3600000) * MS_NS},
    {"m", INT64_C(60000) * MS_NS},
    {"s", INT64_C(1000) * MS_NS},
    {"ms", MS_NS},
};

enum { SECONDS = 3, UNITS = sizeof(units) / sizeof(units[0]) };

/* --- what is wrong --- */

static const char form[] = "\"250ms\", \"10s\", \"5m\", \"1h30m\", \"1d\" or a number of seconds";
static const char negative[] = "is less than nothing";
static const char too_long[] = "is more than a hundred years";
static const char too_short[] = "is less than a millisecond";

static int fail(str text, const char *wrong, char *error, size_t size)
{
    char shown[SHOWN_BYTES + 1];
    size_t n = text.n < SHOWN_BYTES ? text.n : SHOWN_BYTES;
    for (size_t i = 0; i < n; i++)
        shown[i] = text.p[i] >= ' ' && text.p[i] <= '~' ? text.p[i] : '?';
    shown[n] = '\0';
    snprintf(error, size, "duration \"%s\" %s: expected %s", shown, wrong, form);
    return -EINVAL;
}

/* Returns: NULL, or what is wrong. */
static const char *to_ms(int64_t ns, int64_t *ret_ms)
{
    int64_t ms = (ns + MS_NS / 2) / MS_NS;
    if (ms == 0 && ns > 0)
        return too_short;
    *ret_ms = ms;
    return NULL;
}

/* --- reading --- */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Cut off the digits at the beginning of *s. */
static str take_digits(str *s)
{
    str digits = {s->p, 0};
    while (digits.n < s->n && is_digit(s->p[digits.n]))
        digits.n++;
    *s = (str){s->p + digits.n, s->n - digits.n};
    return digits;
}

/* Cut off the unit at the beginning of *s: seconds, if nothing is there. Returns: its place, or UNITS. */
static size_t take_unit(str *s)
{
    str name = {s->p, 0};
    while (name.n < s->n && !is_digit(s->p[name.n]) && s->p[name.n] != '.')
        name.n++;
    *s = (str){s->p + name.n, s->n - name.n};
    size_t i = 0;
    while (i < UNITS && !str_eq(name, str_from(units[i].name)))
        i++;
    return i;
}

/* Returns: more than max_ns when it is too much. */
static int64_t value_ns(str whole, str fraction, int64_t unit_ns)
{
    int64_t n = 0, place_ns = unit_ns;
    for (size_t i = 0; i < whole.n; i++) {
        n = n * 10 + (whole.p[i] - '0');
        if (n > max_ns / unit_ns)
            return max_ns + 1;
    }
    n *= unit_ns;
    for (size_t i = 0; i < fraction.n; i++) {
        place_ns /= 10;
        n += place_ns * (fraction.p[i] - '0');
    }
    return n;
}

/* A number with its unit, which has to be smaller than the one before it, *last; UNITS: there was none.
 * Returns: NULL, or what is wrong. */
static const char *take_part(str *s, size_t *last, int64_t *sum_ns)
{
    str whole = take_digits(s), fraction = {0};
    bool first = *last == UNITS;
    if (whole.n == 0)
        return "has no number where one is needed";
    if (s->n > 0 && s->p[0] == '.') {
        *s = (str){s->p + 1, s->n - 1};
        fraction = take_digits(s);
        if (fraction.n == 0)
            return "has no digits behind its point";
    }
    bool bare = first && s->n == 0;
    size_t place = bare ? SECONDS : take_unit(s);
    if (place == UNITS)
        return "has a unit that is none of d, h, m, s, ms";
    if (!first && place <= *last)
        return "does not have its units from the largest to the smallest, each once";
    *last = place;
    *sum_ns += value_ns(whole, fraction, units[place].ns);
    return *sum_ns > max_ns ? too_long : NULL;
}

int duration_parse(str text, int64_t *ret_ms, char *error, size_t size)
{
    str rest = text;
    size_t last = UNITS;
    int64_t sum_ns = 0;
    const char *wrong = NULL;
    if (text.n > 0 && text.p[0] == '-')
        wrong = negative;
    do {
        if (!wrong)
            wrong = take_part(&rest, &last, &sum_ns);
    } while (!wrong && rest.n > 0);
    if (!wrong)
        wrong = to_ms(sum_ns, ret_ms);
    return wrong ? fail(text, wrong, error, size) : 0;
}

int duration_from_seconds(double seconds, int64_t *ret_ms, char *error, size_t size)
{
    const char *wrong = NULL;
    if (isnan(seconds))
        wrong = "is no number";
    else if (seconds < 0)
        wrong = negative;
    else if (seconds > (double)DURATION_MAX_MS / 1000)
        wrong = too_long;
    else if (seconds > 0 && seconds < 0.0005)
        wrong = too_short;
    if (wrong) {
        char text[SHOWN_BYTES];
        int n = snprintf(text, sizeof(text), "%.14g", seconds);
        return fail((str){text, (size_t)n}, wrong, error, size);
    }
    *ret_ms = llround(seconds * 1000);
    return 0;
}
