/* Options as text: lines "name=value", read as the command line's, as the environment's and as what
 * api.config{} says. What is taken has to be within an option's limits and to read the same when it is
 * written, what is refused to be told, and a server made of what was taken has to accept it or say why not.
 * What was given first stays. */
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/option_value.h"
#include "api/options.h"

enum { LINES_MAX = 16, LINE_BYTES = 300, VARIABLE_BYTES = 64 };

typedef struct line {
    char name[LINE_BYTES];
    const char *value; /* within name, or NULL */
} line;

static void must(bool truth)
{
    if (!truth)
        abort();
}

static size_t split(const uint8_t *data, size_t size, line *lines)
{
    const char *p = (const char *)data, *end = p + size;
    size_t count = 0;
    for (; count < LINES_MAX && p < end; count++) {
        line *l = &lines[count];
        const char *stop = memchr(p, '\n', (size_t)(end - p));
        size_t n = (size_t)((stop ? stop : end) - p);
        size_t kept = n < LINE_BYTES ? n : LINE_BYTES - 1;
        memcpy(l->name, p, kept);
        l->name[kept] = '\0';
        p += stop ? n + 1 : n;
        char *equals = strchr(l->name, '=');
        if (equals)
            *equals++ = '\0';
        l->value = equals;
    }
    return count;
}

/* --- what must hold --- */

static void must_be_told(int code, const ps_error *err)
{
    must(code == 0 || (code == PS_EINVAL && err->code == PS_EINVAL && err->message[0]));
}

/* Each field is within its limits: all that may be wrong is how two of them go together. */
static void must_be_good(const ps_options *opt)
{
    ps_error err = {0};
    int code = options_check(opt, &err);
    must_be_told(code, &err);
    must(code == 0 || strncmp(err.message, "max_heavy = ", 12) == 0 ||
         strncmp(err.message, "trust_proxy = ", 14) == 0);
    must(opt->threads >= 0 && opt->port >= 0 && opt->port <= 65535 && opt->max_connections >= 1 &&
         opt->head_timeout >= 0 && opt->header_room >= 4096);
}

static bool same_text(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

#define SAME_NUMBER(a, b) (memcmp(&(a), &(b), sizeof(a)) == 0)
#define SAME_INT          SAME_NUMBER
#define SAME_SIZE         SAME_NUMBER
#define SAME_SECONDS      SAME_NUMBER
#define SAME_BOOL         SAME_NUMBER
#define SAME_TEXT         same_text
#define SAME_CHOICE       same_text

static void must_keep_given(const ps_options *before, const ps_options *after)
{
    size_t i = 0;
#define X(kind, field, flag, preset, argument, help)                                                         \
    must(!(before->given >> i++ & 1) || SAME_##kind(before->field, after->field));
    PS_OPTION_MAP(X)
#undef X
}

/* The C library reads the same number, once the unit is off. */
static void must_mean(const ps_option_info *info, const char *text, option_value value)
{
    char *unit = NULL;
    long double number = strtold(text, &unit);
    for (const char *p = "kmg"; *unit; p++) {
        must(*p != '\0');
        number *= 1024;
        if ((*unit | 0x20) == *p)
            break;
    }
    if (info->kind == PS_INT)
        must(number == value.number);
    else if (info->kind == PS_SIZE)
        must(number == (long double)value.bytes);
    else
        must(fabsl(number - value.seconds) <= 1e-12L * (1 + number));
}

/* What was read is written so that it reads the same. */
static void must_read_again(const ps_option_info *info, const char *text)
{
    char written[OPTION_VALUE_BYTES];
    option_value value = {0}, again = {0};
    if (option_value_read(info, text, &value) != 0 || !option_value_good(info, value))
        return;
    if (info->kind == PS_INT || info->kind == PS_SIZE || info->kind == PS_SECONDS)
        must_mean(info, text, value);
    if (info->kind == PS_TEXT || info->kind == PS_SECONDS)
        return; /* are cut, and rounded */
    option_value_write(info, value, written);
    must(option_value_read(info, written, &again) == 0);
    must(info->kind == PS_CHOICE ? same_text(value.text, again.text)
         : info->kind == PS_SIZE ? value.bytes == again.bytes
                                 : value.number == again.number);
}

static void read_as_any(const char *text)
{
    size_t n;
    const ps_option_info *list = ps_option_list(&n);
    for (size_t i = 0; i < n; i++)
        must_read_again(&list[i], text);
}

/* --- the three ways --- */

static void from_command_line(ps_options *opt, const line *lines, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        ps_error err = {0};
        int code = ps_option_set(opt, lines[i].name, lines[i].value, &err);
        must_be_told(code, &err);
    }
    must_be_good(opt);
}

/* The environment's name of the option that goes by `name`, or "". */
static void name_variable(const char *name, char out[VARIABLE_BYTES])
{
    size_t n, i = 0;
    const ps_option_info *list = ps_option_list(&n);
    while (i < n && strcmp(list[i].flag, name) != 0)
        i++;
    out[0] = '\0';
    if (i == n)
        return;
    snprintf(out, VARIABLE_BYTES, "POOLSRV_%s", name);
    for (char *p = out; *p; p++)
        *p = *p == '-' ? '_' : *p >= 'a' && *p <= 'z' ? (char)(*p - 'a' + 'A') : *p;
}

/* *opt keeps texts of the environment, which is as it was afterwards. */
static void from_environment(ps_options *opt, const line *lines, size_t count)
{
    static char variables[LINES_MAX][VARIABLE_BYTES];
    ps_options before = *opt;
    ps_error err = {0};
    for (size_t i = 0; i < count; i++) {
        name_variable(lines[i].name, variables[i]);
        if (variables[i][0] && lines[i].value)
            must(setenv(variables[i], lines[i].value, 1) == 0);
    }
    int code = ps_options_from_environment(opt, &err);
    must_be_told(code, &err);
    must(code == 0 || strncmp(err.message, "POOLSRV_", 8) == 0);
    must_be_good(opt);
    must_keep_given(&before, opt);
    for (size_t i = 0; i < count; i++)
        if (variables[i][0])
            unsetenv(variables[i]);
}

static void from_config(const ps_options *opt, const line *lines, size_t count)
{
    ps_options own;
    ps_error err = {0};
    if (options_copy(opt, &own, &err) != 0)
        return;
    for (size_t i = 0; i < count; i++) {
        err = (ps_error){0};
        must_be_told(options_config(&own, lines[i].name, lines[i].value, &err), &err);
    }
    must_be_good(&own);
    must_keep_given(opt, &own);
    options_fini(&own);
}

static void make_server(const ps_options *opt)
{
    ps_server *srv = NULL;
    ps_error err = {0};
    int code = ps_server_new(opt, &srv, &err);
    must((code == 0) == (srv != NULL) && (code == 0 || err.message[0]));
    must(code != 0 || ps_server_options(srv)->given == opt->given);
    ps_server_free(srv);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static line lines[LINES_MAX];
    size_t count = split(data, size, lines);
    size_t half = count / 2; /* the first half is given before the environment is looked at */
    ps_options opt;
    ps_options_init(&opt);
    from_command_line(&opt, lines, half);
    from_environment(&opt, lines + half, count - half);
    ps_options_init(&opt);
    from_command_line(&opt, lines, half);
    from_config(&opt, lines + half, count - half);
    ps_options_init(&opt);
    from_command_line(&opt, lines, count);
    make_server(&opt);
    for (size_t i = 0; i < count; i++)
        if (lines[i].value)
            read_as_any(lines[i].value);
    return 0;
}
