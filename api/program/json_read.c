#include "api/program/json_read.h"

#include <stdlib.h>
#include <string.h>

enum { ESCAPE_DIGITS = 4 };

static const char *skip_blanks(const char *p)
{
    return p + strspn(p, " \t\r\n");
}

/* Behind the string that begins at p, or NULL. */
static const char *skip_string(const char *p)
{
    for (p++; *p && *p != '"'; p++)
        if (*p == '\\' && !*++p)
            return NULL;
    return *p ? p + 1 : NULL;
}

/* Behind the array or object that begins at p, or NULL. Without recursion: the nesting is the sender's. */
static const char *skip_nested(const char *p)
{
    size_t depth = 0;
    do {
        if (*p == '"') {
            p = skip_string(p);
            if (!p)
                return NULL;
            continue;
        }
        depth += *p == '[' || *p == '{';
        depth -= *p == ']' || *p == '}';
        p++;
    } while (depth && *p);
    return depth ? NULL : p;
}

/* Behind the value that begins at p, or NULL. */
static const char *skip_value(const char *p)
{
    if (*p == '"')
        return skip_string(p);
    if (*p == '[' || *p == '{')
        return skip_nested(p);
    size_t n = strcspn(p, ",:]} \t\r\n\"[{");
    return n ? p + n : NULL;
}

bool json_read(const char *text, json_slice *ret)
{
    const char *p = skip_blanks(text), *end = skip_value(p);
    if (end)
        *ret = (json_slice){p, (size_t)(end - p)};
    return end != NULL;
}

/* Step over what parts two values. Returns: NULL at the end of the array or object. */
static const char *step(json_slice whole, const char *at)
{
    const char *end = whole.p + whole.n - 1; /* its bracket */
    at = skip_blanks(at ? at : whole.p + 1);
    if (at < end && *at == ',')
        at = skip_blanks(at + 1);
    return at < end ? at : NULL;
}

bool json_read_next(json_slice array, const char **at, json_slice *ret)
{
    const char *p = array.n >= 2 && *array.p == '[' ? step(array, *at) : NULL;
    if (!p || !json_read(p, ret))
        return false;
    *at = ret->p + ret->n;
    return *at < array.p + array.n;
}

/* The next name and value of an object. */
static bool next_member(json_slice object, const char **at, json_slice *ret_name, json_slice *ret_value)
{
    const char *p = object.n >= 2 && *object.p == '{' ? step(object, *at) : NULL;
    if (!p || *p != '"' || !json_read(p, ret_name))
        return false;
    p = skip_blanks(ret_name->p + ret_name->n);
    if (*p != ':' || !json_read(p + 1, ret_value))
        return false;
    *at = ret_value->p + ret_value->n;
    return *at < object.p + object.n;
}

bool json_read_member(json_slice object, const char *name, json_slice *ret)
{
    const char *at = NULL;
    json_slice key, value;
    while (next_member(object, &at, &key, &value)) {
        if (key.n == strlen(name) + 2 && memcmp(key.p + 1, name, key.n - 2) == 0) {
            *ret = value;
            return true;
        }
    }
    return false;
}

double json_read_number(json_slice object, const char *name, double preset)
{
    json_slice value;
    char *end;
    if (!json_read_member(object, name, &value))
        return preset;
    double number = strtod(value.p, &end);
    return end == value.p + value.n ? number : preset;
}

/* --- strings --- */

static char *put_utf8(char *to, unsigned long c)
{
    if (c < 0x80) {
        *to++ = c ? (char)c : '?';
    } else if (c < 0x800) {
        *to++ = (char)(0xc0 | c >> 6);
        *to++ = (char)(0x80 | (c & 63));
    } else if (c < 0x10000) {
        *to++ = (char)(0xe0 | c >> 12);
        *to++ = (char)(0x80 | (c >> 6 & 63));
        *to++ = (char)(0x80 | (c & 63));
    } else {
        *to++ = (char)(0xf0 | c >> 18);
        *to++ = (char)(0x80 | (c >> 12 & 63));
        *to++ = (char)(0x80 | (c >> 6 & 63));
        *to++ = (char)(0x80 | (c & 63));
    }
    return to;
}

/* The four digits behind "\u", which stand before `end`. Returns: whether they are there. */
static bool read_digits(const char *p, const char *end, unsigned long *ret)
{
    char digits[ESCAPE_DIGITS + 1] = "", *stop;
    if (end - p < ESCAPE_DIGITS)
        return false;
    memcpy(digits, p, ESCAPE_DIGITS);
    *ret = strtoul(digits, &stop, 16);
    return stop == digits + ESCAPE_DIGITS;
}

/* "\uXXXX" behind its 'u', or two of them. Returns: behind it. */
static const char *read_unicode(const char *p, const char *end, char **to)
{
    unsigned long c, low;
    if (!read_digits(p, end, &c)) {
        *(*to)++ = '?';
        return p;
    }
    p += ESCAPE_DIGITS;
    if (c >= 0xd800 && c < 0xdc00 && end - p > 2 && p[0] == '\\' && p[1] == 'u' &&
        read_digits(p + 2, end, &low) && low >= 0xdc00 && low < 0xe000) {
        c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
        p += 2 + ESCAPE_DIGITS;
    }
    *to = put_utf8(*to, c >= 0xd800 && c < 0xe000 ? 0xfffd : c);
    return p;
}

static char unescaped(char c)
{
    static const char from[] = "bfnrt", to[] = "\b\f\n\r\t";
    const char *at = c ? strchr(from, c) : NULL;
    return at ? to[at - from] : c;
}

/* No escape is shorter than what it stands for. */
char *json_read_string(json_slice object, const char *name)
{
    json_slice value;
    if (!json_read_member(object, name, &value) || *value.p != '"')
        return NULL;
    char *text = malloc(value.n), *to = text;
    const char *end = value.p + value.n - 1;
    for (const char *p = value.p + 1; text && p < end;) {
        if (*p != '\\') {
            *to++ = *p++;
        } else if (p[1] == 'u') {
            p = read_unicode(p + 2, end, &to);
        } else {
            *to++ = unescaped(p[1]);
            p += 2;
        }
    }
    if (text)
        *to = '\0';
    return text;
}
