#include "runtime/judge.h"

#include <string.h>

#include "queue/str.h"

/* The octets of a token, RFC 9110, 5.6.2. */
static bool is_token_char(unsigned char c)
{
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'))
        return true;
    return c != 0 && strchr("!#$%&'*+-.^_`|~", c) != NULL;
}

static bool is_token(const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!is_token_char((unsigned char)p[i]))
            return false;
    return n > 0;
}

static bool has_control_char(const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)p[i];
        if ((c < ' ' && c != '\t') || c == 0x7f)
            return true;
    }
    return false;
}

/* The octets of uri-host and a port, RFC 3986, 3.2.2, a bit each: letters, digits and -._~!$&'()*+,;=%:[] */
static const uint64_t host_octets[4] = {UINT64_C(0x2fff7ff200000000), UINT64_C(0x47fffffeaffffffe)};

/* libmicrohttpd 0.9 leaves the blanks behind a value. */
static bool is_host(const char *p, size_t n)
{
    uint64_t good = 1;
    while (n > 0 && (p[n - 1] == ' ' || p[n - 1] == '\t'))
        n--;
    for (size_t i = 0; i < n; i++)
        good &= host_octets[(unsigned char)p[i] / 64] >> (unsigned char)p[i] % 64;
    return good;
}

static bool parse_length(const char *p, size_t n, uint64_t *ret)
{
    uint64_t value = 0;
    if (n < 1 || n > 18)
        return false;
    for (size_t i = 0; i < n; i++) {
        if (p[i] < '0' || p[i] > '9')
            return false;
        value = value * 10 + (uint64_t)(p[i] - '0');
    }
    *ret = value;
    return true;
}

static judgement refuse(int status, const char *reason)
{
    return (judgement){.status = status, .reason = reason};
}

judgement judge_size(const head_limits *limits, size_t line_bytes, const task_header *headers, uint32_t n)
{
    enum { HEADER_MARKS_BYTES = 4 };
    size_t bytes = 0;
    if (limits->line_bytes && line_bytes > limits->line_bytes)
        return refuse(414, "The request line is longer than the server takes");
    if (limits->headers && n > limits->headers)
        return refuse(431, "The request has more headers than the server takes");
    for (uint32_t i = 0; i < n; i++)
        bytes += headers[i].name_bytes + headers[i].value_bytes + HEADER_MARKS_BYTES;
    if (limits->header_bytes && bytes > limits->header_bytes)
        return refuse(431, "The request's headers are larger than the server takes");
    return (judgement){0};
}

judgement judge_target(str target)
{
    unsigned bad = 0;
    for (size_t i = 0; i < target.n; i++) {
        unsigned char c = (unsigned char)target.p[i];
        bad |= (unsigned)(c <= ' ') | (unsigned)(c == 0x7f);
    }
    return bad ? refuse(400, "The request line holds a blank or a control character in its target")
               : (judgement){0};
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* What was a colon, and blanks, lie between the two. */
static bool is_value_of(const char *name_end, const char *value)
{
    if (value == name_end + 2) /* ": ", nearly always */
        return is_blank(name_end[1]);
    if ((uintptr_t)value <= (uintptr_t)name_end)
        return false;
    const char *p = name_end + 1;
    while (p != value && is_blank(*p))
        p++;
    return p == value;
}

/* What was the end of one line, CR LF or LF, lies between the two. */
static bool is_next_line(const char *end, const char *next)
{
    return next == end + 2 || next == end + 1;
}

/* The empty line follows: with CR LF these are four bytes, with LF alone two. Then the third may be the
 * body's first, which is taken for a folded line where it is a blank. */
static bool is_last_line(const char *end)
{
    if (end[1] != '\0' || is_blank(end[2]))
        return false;
    return end[2] != '\0' || end[3] == '\0';
}

judgement judge_layout(const char *target_end, str version, const task_header *headers, uint32_t n)
{
    static const char reason[] = "The head holds a folded line, a NUL, or a header without a name";
    const char *end = version.p + version.n;
    bool good = version.p == target_end + 1;
    for (uint32_t i = 0; i < n; i++) {
        const task_header *h = &headers[i];
        good &= is_next_line(end, h->name) && is_value_of(h->name + h->name_bytes, h->value);
        end = h->value + h->value_bytes;
    }
    good &= is_last_line(end);
    return !good ? refuse(400, reason) : (judgement){0};
}

/* The last digit, or 0 for what is neither HTTP/1.0 nor HTTP/1.1. */
static char minor_of(str version)
{
    bool known = version.n == 8 && memcmp(version.p, "HTTP/1.", 7) == 0 &&
                 (version.p[7] == '1' || version.p[7] == '0');
    return known ? version.p[7] : 0;
}

judgement judge_head(const task_header *headers, uint32_t n, str version)
{
    judgement j = {0};
    unsigned hosts = 0;
    char minor = minor_of(version);
    if (!minor)
        return refuse(505, "only HTTP/1.0 and HTTP/1.1 are spoken here");
    for (uint32_t i = 0; i < n; i++) {
        const task_header *h = &headers[i];
        str name = {h->name, h->name_bytes};
        if (!is_token(name.p, name.n))
            return refuse(400, "a header's name holds a byte that no name may have");
        if (name.n == 4 && str_eq_nocase(name, STR("host"))) {
            hosts++;
            if (!is_host(h->value, h->value_bytes))
                return refuse(400, "Host is not a host");
        } else if (has_control_char(h->value, h->value_bytes)) {
            return refuse(400, "a header's value holds a control character");
        } else if (name.n == 14 && str_eq_nocase(name, STR("content-length"))) {
            if (j.has_length)
                return refuse(400, "Content-Length is repeated");
            if (!parse_length(h->value, h->value_bytes, &j.length))
                return refuse(400, "Content-Length is not a number");
            j.has_length = true;
        } else if (name.n == 17 && str_eq_nocase(name, STR("transfer-encoding"))) {
            if (j.chunked)
                return refuse(400, "Transfer-Encoding is repeated");
            if (!str_eq_nocase((str){h->value, h->value_bytes}, STR("chunked")))
                return refuse(400, "Transfer-Encoding is something other than chunked");
            j.chunked = true;
        }
    }
    if (j.has_length && j.chunked)
        return refuse(400, "Content-Length stands beside Transfer-Encoding");
    if (j.chunked && minor == '0')
        return refuse(400, "Transfer-Encoding does not belong in HTTP/1.0");
    if (hosts > 1)
        return refuse(400, "Host is repeated");
    if (hosts == 0 && minor == '1')
        return refuse(400, "Host is missing");
    return j;
}
