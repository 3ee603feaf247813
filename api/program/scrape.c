#include "api/program/scrape.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/program/fetch.h"

struct scrape {
    char *text; /* names and values point into it */
    scrape_sample *samples;
    scrape_label *labels;
    size_t count, label_count;
};

/* --- the text format --- */

/* Where reading stands. The text is closed by a NUL, which no rule below steps over. */
typedef struct reader {
    scrape *out;
    char *p;
} reader;

static bool is_name_start(char c)
{
    return isalpha((unsigned char)c) || c == '_' || c == ':';
}

static void skip_blanks(reader *r)
{
    while (*r->p == ' ' || *r->p == '\t')
        r->p++;
}

/* The name that begins here, or NULL. It is not closed yet: *ret_end is where that NUL belongs. */
static const char *read_name(reader *r, char **ret_end)
{
    const char *name = r->p;
    if (!is_name_start(*r->p))
        return NULL;
    while (is_name_start(*r->p) || isdigit((unsigned char)*r->p))
        r->p++;
    *ret_end = r->p;
    return name;
}

/* Put '?' for control characters, those that UTF-8 writes as 0xc2 0x80-0x9f included. */
static void make_printable(char *text)
{
    char *out = text;
    for (const char *p = text; *p; p++) {
        unsigned char c = (unsigned char)*p, next = (unsigned char)p[1];
        bool is_c1 = c == 0xc2 && next >= 0x80 && next < 0xa0;
        *out++ = c < 0x20 || c == 0x7f || is_c1 ? '?' : *p;
        p += is_c1;
    }
    *out = '\0';
}

/* A value between quotes, unescaped where it stands: it only gets shorter. NULL when it does not end. */
static const char *read_quoted(reader *r)
{
    if (*r->p != '"')
        return NULL;
    char *value = ++r->p, *end = value;
    while (*r->p != '"') {
        bool escape = *r->p == '\\';
        r->p += escape;
        if (*r->p == '\n' || *r->p == '\0')
            return NULL;
        *end++ = escape && *r->p == 'n' ? '\n' : *r->p;
        r->p++;
    }
    r->p++;
    *end = '\0';
    make_printable(value);
    return value;
}

static bool read_label(reader *r)
{
    char *end;
    scrape_label *label = &r->out->labels[r->out->label_count];
    label->name = read_name(r, &end);
    if (!label->name)
        return false;
    skip_blanks(r);
    if (*r->p++ != '=')
        return false;
    skip_blanks(r);
    *end = '\0';
    label->value = read_quoted(r);
    if (!label->value)
        return false;
    r->out->label_count++;
    skip_blanks(r);
    return true;
}

/* Behind "{": labels with commas between them, and one behind the last if it likes. */
static bool read_labels(reader *r)
{
    skip_blanks(r);
    while (*r->p != '}') {
        if (!read_label(r))
            return false;
        if (*r->p == ',')
            r->p++;
        else if (*r->p != '}')
            return false;
        skip_blanks(r);
    }
    r->p++;
    return true;
}

/* The value, and a time that nobody asked for. strtod knows +Inf and NaN; a blank in front would let it go to
 * the next line. */
static bool read_value(reader *r, double *ret)
{
    char *end;
    skip_blanks(r);
    if (isspace((unsigned char)*r->p))
        return false;
    *ret = strtod(r->p, &end);
    if (end == r->p)
        return false;
    r->p = end;
    skip_blanks(r);
    if (*r->p == '-' || isdigit((unsigned char)*r->p))
        while (*r->p == '-' || isdigit((unsigned char)*r->p))
            r->p++;
    skip_blanks(r);
    return *r->p == '\n' || *r->p == '\0';
}

static bool read_sample(reader *r)
{
    scrape *s = r->out;
    scrape_sample *sample = &s->samples[s->count];
    size_t labels_before = s->label_count;
    char *end;
    sample->name = read_name(r, &end);
    if (!sample->name)
        return false;
    skip_blanks(r);
    if (*r->p == '{') {
        r->p++;
        if (!read_labels(r))
            return false;
    } else if (r->p == end) {
        return false;
    }
    if (!read_value(r, &sample->value))
        return false;
    *end = '\0'; /* it may have stood where the labels or the blank began: those are read */
    sample->labels = s->labels + labels_before;
    sample->label_count = s->label_count - labels_before;
    s->count++;
    return true;
}

static bool read_line(reader *r)
{
    skip_blanks(r);
    if (*r->p == '#')
        r->p += strcspn(r->p, "\n");
    return *r->p == '\n' || *r->p == '\0' || read_sample(r);
}

/* Room for as many samples as there are lines, and as many labels as there are '='. */
static bool make_room(scrape *s, size_t n)
{
    size_t lines = 1, equals = 0;
    for (size_t i = 0; i < n; i++) {
        lines += s->text[i] == '\n';
        equals += s->text[i] == '=';
    }
    s->samples = calloc(lines, sizeof *s->samples);
    s->labels = calloc(equals + 1, sizeof *s->labels); /* one is written to before its '=' is found missing */
    return s->samples && s->labels;
}

static scrape *scrape_new(const char *text, size_t n)
{
    scrape *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->text = malloc(n + 1);
    if (s->text) {
        if (n)
            memcpy(s->text, text, n);
        s->text[n] = '\0';
        if (make_room(s, n))
            return s;
    }
    scrape_free(s);
    return NULL;
}

static int fail_line(ps_error *err, size_t line, const char *why)
{
    char text[80];
    snprintf(text, sizeof text, "line %zu %s", line, why);
    return fetch_fail(err, PS_ESYSTEM, "metrics", text);
}

int scrape_parse(const char *text, size_t n, scrape **ret, ps_error *err)
{
    if (n > SCRAPE_BYTES_MAX)
        return fetch_fail(err, PS_ESYSTEM, "metrics", "too long");
    scrape *s = scrape_new(text, n);
    if (!s)
        return fetch_fail(err, PS_ENOMEM, "metrics", ps_strerror(PS_ENOMEM));
    reader r = {s, s->text};
    for (size_t line = 1;; line++) {
        bool good = read_line(&r);
        bool at_end = good && r.p == s->text + n;
        if (!good || (*r.p == '\0' && !at_end)) {
            scrape_free(s);
            return fail_line(err, line, "is not in Prometheus's text format");
        }
        if (at_end)
            break;
        r.p++;
    }
    *ret = s;
    return 0;
}

void scrape_free(scrape *s)
{
    if (!s)
        return;
    free(s->labels);
    free(s->samples);
    free(s->text);
    free(s);
}

size_t scrape_count(const scrape *s)
{
    return s->count;
}

const scrape_sample *scrape_at(const scrape *s, size_t i)
{
    return &s->samples[i];
}

const char *scrape_label_value(const scrape_sample *sample, const char *name)
{
    for (size_t i = 0; i < sample->label_count; i++)
        if (strcmp(sample->labels[i].name, name) == 0)
            return sample->labels[i].value;
    return "";
}

int scrape_is(const scrape_sample *sample, const char *name)
{
    return strcmp(sample->name, name) == 0;
}

/* --- asking for it --- */

/* Say whose metrics they are. */
static int parse_reply(const fetch_target *t, const fetch_reply *r, scrape **ret, ps_error *err)
{
    ps_error why = {0};
    int code = scrape_parse(r->body, r->n, ret, &why);
    return code == 0 ? 0 : fetch_fail(err, code, t->address, why.message);
}

static int check_status(const fetch_target *t, const char *path, const fetch_reply *r, ps_error *err)
{
    char why[128];
    if (r->status == 200)
        return 0;
    snprintf(why, sizeof why, "the reply to GET %.40s is %d: is this the address of --admin?", path,
             r->status);
    return fetch_fail(err, PS_ESYSTEM, t->address, why);
}

int scrape_get(const char *address, int timeout_ms, scrape **ret, ps_error *err)
{
    fetch_target t;
    fetch_reply r = {0};
    int code = fetch_target_read(&t, address, err);
    const char *path = t.path[0] ? t.path : "/metrics";
    if (code == 0)
        code = fetch(&t, "GET", path, timeout_ms, &r, err);
    if (code == 0)
        code = check_status(&t, path, &r, err);
    if (code == 0)
        code = parse_reply(&t, &r, ret, err);
    fetch_reply_fini(&r);
    return code;
}
