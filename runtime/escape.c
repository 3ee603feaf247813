#include "runtime/escape.h"

#define INDENT "\n    "

/* Bytes of the well-formed UTF-8 character at the front of s (RFC 3629), or 0; *ret_point is its number. */
static size_t decode(str s, uint32_t *ret_point)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    unsigned char first = (unsigned char)s.p[0];
    if (first < 0x80) {
        *ret_point = first;
        return 1;
    }
    size_t n = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
    if (first < 0xc2 || first > 0xf4 || s.n < n)
        return 0;
    uint32_t point = first & (0x7fu >> n);
    for (size_t i = 1; i < n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if ((c & 0xc0) != 0x80)
            return 0;
        point = point << 6 | (c & 0x3fu);
    }
    if (point < least[n] || point > 0x10ffff || (point >= 0xd800 && point <= 0xdfff))
        return 0;
    *ret_point = point;
    return n;
}

static bool is_safe(uint32_t point)
{
    if (point < ' ' || point == '"' || point == '\\')
        return false;
    return (point < 0x7f || point > 0x9f) && point != 0x2028 && point != 0x2029;
}

/* How many bytes at the front of s can be copied as they are, whatever the format. */
static size_t safe_run(str s)
{
    size_t n = 0;
    while (n < s.n) {
        uint32_t point;
        size_t bytes = decode((str){s.p + n, s.n - n}, &point);
        if (!bytes || !is_safe(point))
            break;
        n += bytes;
    }
    return n;
}

/* Each of these appends the unsafe character at the front of s, for which there is room, and says how many
 * bytes of s it was. */
typedef size_t escape_one(buf *out, str s);

static size_t one_hex(buf *out, str s)
{
    buf_addf(out, "\\x%02x", (unsigned char)s.p[0]);
    return 1;
}

static size_t one_text(buf *out, str s)
{
    char c = s.p[0];
    if (c == '\n')
        buf_add_str(out, STR(INDENT));
    else if (c == '\t' || c == '"' || c == '\\')
        buf_add(out, &c, 1);
    else
        return one_hex(out, s);
    return 1;
}

static size_t one_quoted(buf *out, str s)
{
    char c = s.p[0];
    if (c != '"' && c != '\\')
        return one_hex(out, s);
    buf_add(out, (char[]){'\\', c}, 2);
    return 1;
}

static size_t one_json(buf *out, str s)
{
    static const char names[] = "\"\"\\\\\nn\tt\rr\bb\ff";
    for (const char *name = names; *name; name += 2) {
        if (s.p[0] == name[0]) {
            buf_add(out, (char[]){'\\', name[1]}, 2);
            return 1;
        }
    }
    uint32_t point;
    size_t bytes = decode(s, &point);
    if (!bytes) {
        buf_add_str(out, STR("\\ufffd"));
        return 1;
    }
    buf_addf(out, "\\u%04x", (unsigned)point);
    return bytes;
}

static int escape(buf *out, str s, escape_one *one)
{
    /* And a byte for the NUL that buf_addf writes behind its text. */
    int err = buf_reserve(out, s.n * ESCAPE_GROWTH + 1);
    if (err)
        return err;
    while (s.n > 0) {
        size_t n = safe_run(s);
        buf_add(out, s.p, n);
        if (n < s.n)
            n += one(out, (str){s.p + n, s.n - n});
        s = (str){s.p + n, s.n - n};
    }
    return 0;
}

int escape_text(buf *out, str s)
{
    return escape(out, s, one_text);
}

int escape_quoted(buf *out, str s)
{
    return escape(out, s, one_quoted);
}

int escape_json(buf *out, str s)
{
    return escape(out, s, one_json);
}
