#include "runtime/forwarded.h"

#include <stddef.h>

enum { HOST_BYTES_MAX = 255, PORT_DIGITS_MAX = 5 };

/* --- words --- */

static bool is_space(char c)
{
    return c == ' ' || c == '\t';
}

static str trim(str text)
{
    while (text.n && is_space(text.p[0]))
        text = (str){text.p + 1, text.n - 1};
    while (text.n && is_space(text.p[text.n - 1]))
        text.n--;
    return text;
}

static bool is_alnum(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* All of it letters, digits, and those of `others`. */
static bool consists_of(str text, const char *others)
{
    for (size_t i = 0; i < text.n; i++)
        if (!is_alnum(text.p[i]) && (text.p[i] == '\0' || !strchr(others, text.p[i])))
            return false;
    return text.n > 0;
}

static const char *scheme_of(str text)
{
    if (str_eq_nocase(text, STR("https")))
        return "https";
    return str_eq_nocase(text, STR("http")) ? "http" : NULL;
}

/* A name or an address, and perhaps a port. It ends up in links that the app makes. */
static bool is_host(str text)
{
    return text.n <= HOST_BYTES_MAX && consists_of(text, "-._~:[]");
}

/* "_hidden" or digits. */
static bool is_port(str text)
{
    if (text.n && text.p[0] == '_')
        return consists_of(text, "._-");
    if (text.n < 1 || text.n > PORT_DIGITS_MAX)
        return false;
    for (size_t i = 0; i < text.n; i++)
        if (text.p[i] < '0' || text.p[i] > '9')
            return false;
    return true;
}

typedef enum node { NODE_BAD, NODE_HIDDEN, NODE_ADDRESS } node;

/* An address with or without a port, "unknown", or a made-up name "_x" (RFC 7239, 6). In X-Forwarded-For,
 * IPv6 comes without brackets too. */
static node node_of(str text, ip_address *ret_address)
{
    if (address_parse(text, ret_address))
        return NODE_ADDRESS;
    const char *end, *colon;
    if (text.n && text.p[0] == '[') {
        end = memchr(text.p, ']', text.n);
        if (!end)
            return NODE_BAD;
        str inside = {text.p + 1, (size_t)(end - text.p) - 1};
        str behind = {end + 1, text.n - inside.n - 2};
        if (!memchr(inside.p, ':', inside.n) || !address_parse(inside, ret_address))
            return NODE_BAD;
        if (behind.n && (behind.p[0] != ':' || !is_port((str){behind.p + 1, behind.n - 1})))
            return NODE_BAD;
        return NODE_ADDRESS;
    }
    colon = text.n ? memchr(text.p, ':', text.n) : NULL;
    if (colon) {
        size_t n = (size_t)(colon - text.p);
        if (!is_port((str){colon + 1, text.n - n - 1}))
            return NODE_BAD;
        text.n = n;
        if (address_parse(text, ret_address))
            return NODE_ADDRESS;
    }
    if (str_eq_nocase(text, STR("unknown")))
        return NODE_HIDDEN;
    return text.n > 1 && text.p[0] == '_' && consists_of(text, "._-") ? NODE_HIDDEN : NODE_BAD;
}

/* --- a list over several headers, from the right --- */

typedef struct walk {
    const str_pair *headers;
    uint32_t left; /* headers not yet begun */
    str name;
    str rest; /* of the present one, up to the comma that was met last */
    bool inside;
} walk;

static walk walk_begin(const str_pair *headers, uint32_t count, str name)
{
    return (walk){.headers = headers, .left = count, .name = name};
}

/* Whether the quote at p[at] is a quoted one: behind an odd number of backslashes. */
static bool is_escaped(const char *p, size_t at)
{
    size_t strokes = 0;
    while (strokes < at && p[at - 1 - strokes] == '\\')
        strokes++;
    return strokes % 2;
}

/* Where the last element of the text begins. A comma between quotes is no end. */
static size_t last_begin(str text)
{
    bool quoted = false;
    for (size_t i = text.n; i > 0; i--) {
        char c = text.p[i - 1];
        if (c == '"' && !(quoted && is_escaped(text.p, i - 1)))
            quoted = !quoted;
        else if (c == ',' && !quoted)
            return i;
    }
    return 0;
}

/* The next element to the left. Returns: false when there is none. */
static bool walk_next(walk *w, str *ret_element)
{
    while (!w->inside) {
        if (w->left == 0)
            return false;
        const str_pair *h = &w->headers[--w->left];
        if (!str_eq_nocase((str){h->name, h->name_bytes}, w->name))
            continue;
        w->rest = (str){h->value, h->value_bytes};
        w->inside = true;
    }
    size_t begin = last_begin(w->rest);
    *ret_element = trim((str){w->rest.p + begin, w->rest.n - begin});
    w->inside = begin > 0;
    w->rest.n = begin > 0 ? begin - 1 : 0;
    return true;
}

/* --- Forwarded --- */

typedef struct element {
    str client, scheme, host; /* p is NULL where there is none */
} element;

/* Cut a value off the front: a token, or what is between quotes. Nothing that can be an address, a scheme or
 * a host needs a backslash, so a value with one is refused. */
static bool cut_value(str *text, str *ret_value)
{
    size_t n = 0;
    if (text->n && text->p[0] == '"') {
        const char *end = memchr(text->p + 1, '"', text->n - 1);
        if (!end)
            return false;
        *ret_value = (str){text->p + 1, (size_t)(end - text->p) - 1};
        n = ret_value->n + 2;
        *text = (str){text->p + n, text->n - n};
        return !memchr(ret_value->p, '\\', ret_value->n);
    }
    while (n < text->n && text->p[n] != ';' && !is_space(text->p[n]))
        n++;
    *ret_value = (str){text->p, n};
    *text = (str){text->p + n, text->n - n};
    return consists_of(*ret_value, "!#$%&'*+-.^_`|~:[]"); /* IPv6 and ports without the quotes: often seen */
}

static bool set_once(str *field, str value)
{
    if (field->p)
        return false;
    *field = value;
    return true;
}

/* "for=192.0.2.60;proto=http;by=203.0.113.43"; names that are not known say nothing. */
static bool parse_element(str text, element *ret_element)
{
    element e = {0};
    for (;;) {
        const char *equals = text.n ? memchr(text.p, '=', text.n) : NULL;
        if (!equals)
            return false;
        str name = {text.p, (size_t)(equals - text.p)}, value;
        text = (str){equals + 1, text.n - name.n - 1};
        name = trim(name);
        if (!consists_of(name, "!#$%&'*+-.^_`|~") || !cut_value(&text, &value))
            return false;
        bool fine = true;
        if (str_eq_nocase(name, STR("for")))
            fine = set_once(&e.client, value);
        else if (str_eq_nocase(name, STR("proto")))
            fine = set_once(&e.scheme, value);
        else if (str_eq_nocase(name, STR("host")))
            fine = set_once(&e.host, value);
        text = trim(text);
        if (!fine || (text.n && text.p[0] != ';'))
            return false;
        if (text.n == 0)
            break;
        text = trim((str){text.p + 1, text.n - 1});
    }
    *ret_element = e;
    return true;
}

/* Whether the list could be read up to the client. */
typedef enum reading { READ_NONE, READ_BAD, READ_GOOD } reading;

static bool take_scheme(forwarded *f, str text)
{
    f->scheme = text.p ? scheme_of(text) : NULL;
    return !text.p || f->scheme;
}

static bool take_host(forwarded *f, str text)
{
    f->host = text;
    return !text.p || is_host(text);
}

static reading read_forwarded(const trust *t, const str_pair *headers, uint32_t count, forwarded *ret)
{
    walk w = walk_begin(headers, count, STR("forwarded"));
    forwarded f = {0};
    reading result = READ_NONE;
    str text;
    while (walk_next(&w, &text)) {
        element e;
        ip_address a;
        if (!parse_element(text, &e))
            return READ_BAD;
        node kind = e.client.p ? node_of(e.client, &a) : NODE_HIDDEN;
        if (kind == NODE_BAD || !take_scheme(&f, e.scheme) || !take_host(&f, e.host))
            return READ_BAD;
        result = READ_GOOD;
        if (kind == NODE_HIDDEN)
            break;
        f.has_client = true;
        f.client = a;
        if (!trust_has(t, &a))
            break;
    }
    *ret = f;
    return result;
}

/* --- X-Forwarded-... --- */

/* The element that the proxy wrote which also wrote the address `depth` places from the right. A list that is
 * shorter was not continued by every proxy: then it is its first element. Returns: p is NULL if there is
 * none.
 */
static str element_at(const str_pair *headers, uint32_t count, str name, unsigned depth)
{
    walk w = walk_begin(headers, count, name);
    str text, found = {0};
    for (unsigned i = 0; i <= depth && walk_next(&w, &text); i++)
        found = text;
    return found;
}

static reading read_x_forwarded(const trust *t, const str_pair *headers, uint32_t count, forwarded *ret)
{
    walk w = walk_begin(headers, count, STR("x-forwarded-for"));
    forwarded f = {0};
    unsigned depth = 0;
    str text;
    for (unsigned i = 0; walk_next(&w, &text); i++) {
        ip_address a;
        node kind = node_of(text, &a);
        if (kind == NODE_BAD)
            return READ_BAD;
        depth = i;
        if (kind == NODE_HIDDEN)
            break;
        f.has_client = true;
        f.client = a;
        if (!trust_has(t, &a))
            break;
    }
    str scheme = element_at(headers, count, STR("x-forwarded-proto"), depth);
    str host = element_at(headers, count, STR("x-forwarded-host"), depth);
    if (!take_scheme(&f, scheme) || !take_host(&f, host))
        return READ_BAD;
    *ret = f;
    return f.has_client || scheme.p || host.p ? READ_GOOD : READ_NONE;
}

/* --- both --- */

static bool same_client(const forwarded *a, const forwarded *b)
{
    return a->has_client == b->has_client &&
           (!a->has_client || memcmp(&a->client, &b->client, sizeof(a->client)) == 0);
}

/* A proxy that writes one kind may pass the other on as the client sent it: what only one of them says is not
 * believed, and if they name different clients nobody knows which is the proxy's. */
static forwarded agreed(forwarded a, const forwarded *b)
{
    if (!same_client(&a, b))
        return (forwarded){.unreadable = true};
    if (a.scheme != b->scheme && (!a.scheme || !b->scheme || strcmp(a.scheme, b->scheme) != 0))
        a.scheme = NULL;
    if (!a.host.p || !b->host.p || !str_eq_nocase(a.host, b->host))
        a.host = (str){0};
    return a;
}

forwarded forwarded_read(const trust *t, const str_pair *headers, uint32_t count)
{
    forwarded standard = {0}, common = {0};
    reading of_standard = read_forwarded(t, headers, count, &standard);
    reading of_common = read_x_forwarded(t, headers, count, &common);
    if (of_standard == READ_BAD || of_common == READ_BAD)
        return (forwarded){.unreadable = true};
    if (of_standard == READ_NONE)
        return common;
    return of_common == READ_NONE ? standard : agreed(standard, &common);
}
