#include "queue/percent.h"

#include <errno.h>

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return -1;
}

/* The byte that the escape at p stands for, or -1 when there is none. */
static int escape_value(const char *p, const char *end)
{
    if (end - p < 3 || p[0] != '%')
        return -1;
    int high = hex_value(p[1]);
    int low = hex_value(p[2]);
    return high < 0 || low < 0 ? -1 : high * 16 + low;
}

int percent_path_check(str s)
{
    if (s.n == 0)
        return 0;
    if (memchr(s.p, '\0', s.n))
        return -EINVAL;
    const char *end = s.p + s.n;
    const char *p = s.p;
    while ((p = memchr(p, '%', (size_t)(end - p))) != NULL) {
        if (escape_value(p, end) <= 0)
            return -EINVAL;
        p += 3;
    }
    return 0;
}

unsigned char percent_path_step(const char **p)
{
    const char *at = *p;
    if (*at != '%') {
        *p = at + 1;
        return (unsigned char)*at;
    }
    *p = at + 3;
    return (unsigned char)(hex_value(at[1]) * 16 + hex_value(at[2]));
}

ssize_t percent_path_decode(str s, char *out)
{
    if (percent_path_check(s) != 0)
        return -EINVAL;
    if (s.n == 0)
        return 0;
    char *to = out;
    const char *end = s.p + s.n;
    for (const char *p = s.p; p < end;)
        *to++ = (char)percent_path_step(&p);
    return to - out;
}

size_t percent_query_decode(str s, char *out)
{
    if (s.n == 0)
        return 0;
    char *to = out;
    const char *end = s.p + s.n;
    for (const char *p = s.p; p < end; p++) {
        int value = escape_value(p, end);
        if (value >= 0) {
            *to++ = (char)value;
            p += 2;
        } else {
            *to++ = *p == '+' ? ' ' : *p;
        }
    }
    return (size_t)(to - out);
}
