#include "api/option_value.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* --- limits --- */

/* Field, least, most. For a text: the bytes it may have; 107 is what a socket address holds of a path. */
#define LIMIT_MAP(X)                                                                                         \
    X(host, 1, 255)                                                                                          \
    X(port, 0, 65535)                                                                                        \
    X(unix_path, 1, 107)                                                                                     \
    X(threads, 0, 1024)                                                                                      \
    X(heavy_threads, 0, 1024)                                                                                \
    X(max_heavy, 0, 1024)                                                                                    \
    X(max_connections, 1, 1000000)                                                                           \
    X(max_queue, 1, 1000000)                                                                                 \
    X(max_wait, 0, 86400)                                                                                    \
    X(max_body, 0, UINT64_C(1) << 40)                                                                        \
    X(header_room, 4096, 16 << 20)                                                                           \
    X(max_request_line, 0, 16 << 20)                                                                         \
    X(max_header_size, 0, 16 << 20)                                                                          \
    X(max_headers, 0, 1000000)                                                                               \
    X(max_connections_per_address, 0, 1000000)                                                               \
    X(idle_timeout, 0, 86400)                                                                                \
    X(head_timeout, 0, 86400)                                                                                \
    X(body_timeout, 0, 86400)                                                                                \
    X(body_min_rate, 0, 1 << 30)                                                                             \
    X(send_timeout, 0, 86400)                                                                                \
    X(send_min_rate, 0, 1 << 30)                                                                             \
    X(handler_timeout, 0, 86400)                                                                             \
    X(grace, 0, 86400)                                                                                       \
    X(admin, 1, 300)

typedef struct limit {
    const char *field;
    uint64_t least, most;
} limit;

static const limit limits[] = {
#define X(field, least, most) {#field, least, most},
    LIMIT_MAP(X)
#undef X
};

static limit limit_of(const ps_option_info *info)
{
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        if (strcmp(limits[i].field, info->field) == 0)
            return limits[i];
    }
    return (limit){info->field, 0, INT_MAX};
}

/* --- reading --- */

/* Digits at *p, which is moved behind them. Returns: 0, or -EINVAL when there are none or too many. */
static int read_digits(const char **p, uint64_t *ret)
{
    const char *s = *p;
    uint64_t n = 0;
    for (; *s >= '0' && *s <= '9'; s++) {
        unsigned digit = (unsigned)(*s - '0');
        if (n > (UINT64_MAX - digit) / 10)
            return -EINVAL;
        n = n * 10 + digit;
    }
    if (s == *p)
        return -EINVAL;
    *p = s;
    *ret = n;
    return 0;
}

static int read_int(const char *text, int *ret)
{
    bool minus = *text == '-';
    uint64_t n = 0;
    text += minus;
    if (read_digits(&text, &n) != 0 || *text != '\0' || n > INT_MAX)
        return -EINVAL;
    *ret = minus ? -(int)n : (int)n;
    return 0;
}

static int read_size(const char *text, uint64_t *ret)
{
    static const char units[] = "kmg";
    uint64_t n = 0;
    if (read_digits(&text, &n) != 0)
        return -EINVAL;
    unsigned shift = 0;
    if (*text != '\0') {
        const char *unit = strchr(units, *text | 0x20);
        if (!unit || text[1] != '\0')
            return -EINVAL;
        shift = 10 * (unsigned)(unit - units + 1);
    }
    if (n > UINT64_MAX >> shift)
        return -EINVAL;
    *ret = n << shift;
    return 0;
}

static int read_seconds(const char *text, double *ret)
{
    uint64_t whole = 0;
    if (read_digits(&text, &whole) != 0)
        return -EINVAL;
    double seconds = (double)whole, place = 1;
    if (*text == '.') {
        uint64_t fraction = 0;
        const char *point = text++;
        if (read_digits(&text, &fraction) != 0)
            return -EINVAL;
        for (const char *p = point + 1; p < text; p++)
            place *= 10;
        seconds += (double)fraction / place;
    }
    if (*text != '\0')
        return -EINVAL;
    *ret = seconds;
    return 0;
}

static int read_bool(const char *text, int *ret)
{
    static const char *const words[] = {"off", "on", "no", "yes", "false", "true", "0", "1"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (strcasecmp(text, words[i]) == 0) {
            *ret = i % 2;
            return 0;
        }
    }
    return -EINVAL;
}

int option_value_read(const ps_option_info *info, const char *text, option_value *ret)
{
    switch (info->kind) {
    case PS_INT:
        return read_int(text, &ret->number);
    case PS_SIZE:
        return read_size(text, &ret->bytes);
    case PS_SECONDS:
        return read_seconds(text, &ret->seconds);
    case PS_BOOL:
        return read_bool(text, &ret->number);
    case PS_TEXT:
    case PS_CHOICE:
        ret->text = text;
        return 0;
    }
    return -EINVAL;
}

/* --- judging --- */

/* Is `word` one of "one|two|three"? */
static bool is_choice(const char *choices, const char *word)
{
    size_t n = strcspn(word, "|");
    if (n == 0 || word[n] != '\0')
        return false;
    for (const char *p = choices; p; p = strchr(p, '|')) {
        p += *p == '|';
        if (strncmp(p, word, n) == 0 && (p[n] == '|' || p[n] == '\0'))
            return true;
    }
    return false;
}

/* "127.0.0.1:9000", "[::1]:9000", ":9000". */
static bool is_host_port(const char *text)
{
    const char *colon = strrchr(text, ':');
    char *end = NULL;
    long port = colon ? strtol(colon + 1, &end, 10) : -1;
    return colon && end != colon + 1 && *end == '\0' && port >= 0 && port <= 65535;
}

/* A text's argument says what it has to look like. */
static bool wants_host_port(const ps_option_info *info)
{
    return strcmp(info->argument, "HOST:PORT") == 0;
}

static bool is_good_text(const ps_option_info *info, const char *text, limit l)
{
    return strlen(text) >= l.least && strlen(text) <= l.most &&
           (!wants_host_port(info) || is_host_port(text));
}

bool option_value_good(const ps_option_info *info, option_value value)
{
    limit l = limit_of(info);
    switch (info->kind) {
    case PS_INT:
        return value.number >= 0 && (uint64_t)value.number >= l.least && (uint64_t)value.number <= l.most;
    case PS_SIZE:
        return value.bytes >= l.least && value.bytes <= l.most;
    case PS_SECONDS:
        return value.seconds >= (double)l.least && value.seconds <= (double)l.most;
    case PS_BOOL:
        return value.number == 0 || value.number == 1;
    case PS_TEXT:
        return !value.text || is_good_text(info, value.text, l);
    case PS_CHOICE:
        return value.text && is_choice(info->argument, value.text);
    }
    return false;
}

/* --- telling --- */

void option_value_write(const ps_option_info *info, option_value value, char out[OPTION_VALUE_BYTES])
{
    switch (info->kind) {
    case PS_INT:
        snprintf(out, OPTION_VALUE_BYTES, "%d", value.number);
        break;
    case PS_SIZE:
        snprintf(out, OPTION_VALUE_BYTES, "%" PRIu64, value.bytes);
        break;
    case PS_SECONDS:
        snprintf(out, OPTION_VALUE_BYTES, "%g", value.seconds);
        break;
    case PS_BOOL:
        snprintf(out, OPTION_VALUE_BYTES, "%d", value.number);
        break;
    case PS_TEXT:
    case PS_CHOICE:
        snprintf(out, OPTION_VALUE_BYTES, "%s", value.text ? value.text : "NULL");
        break;
    }
}

/* "one|two|three" as "one, two or three". */
static void write_choices(const char *choices, char *out, size_t room)
{
    size_t n = 0;
    for (const char *p = choices; *p && n + 5 < room; p++) {
        if (*p != '|')
            out[n++] = *p;
        else
            n += (size_t)snprintf(out + n, room - n, "%s", strchr(p + 1, '|') ? ", " : " or ");
    }
    out[n] = '\0';
}

void option_value_expected(const ps_option_info *info, char out[OPTION_VALUE_BYTES])
{
    limit l = limit_of(info);
    switch (info->kind) {
    case PS_INT:
        snprintf(out, OPTION_VALUE_BYTES, "a whole number from %" PRIu64 " to %" PRIu64, l.least, l.most);
        break;
    case PS_SIZE:
        snprintf(out, OPTION_VALUE_BYTES, "bytes from %" PRIu64 " to %" PRIu64 ", such as 65536, 64k or 1m",
                 l.least, l.most);
        break;
    case PS_SECONDS:
        snprintf(out, OPTION_VALUE_BYTES, "seconds from %" PRIu64 " to %" PRIu64 ", such as 30 or 0.5",
                 l.least, l.most);
        break;
    case PS_BOOL:
        snprintf(out, OPTION_VALUE_BYTES, "on or off");
        break;
    case PS_TEXT:
        if (wants_host_port(info)) {
            snprintf(out, OPTION_VALUE_BYTES, "HOST:PORT, such as 127.0.0.1:9000");
            break;
        }
        snprintf(out, OPTION_VALUE_BYTES, "%s of %" PRIu64 " to %" PRIu64 " bytes", info->argument, l.least,
                 l.most);
        break;
    case PS_CHOICE:
        write_choices(info->argument, out, OPTION_VALUE_BYTES);
        break;
    }
}
