#include "vm/cookie.h"

#include <errno.h>

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static str trim(str s)
{
    while (s.n > 0 && is_blank(s.p[0])) {
        s.p++;
        s.n--;
    }
    while (s.n > 0 && is_blank(s.p[s.n - 1]))
        s.n--;
    return s;
}

static str unquote(str s)
{
    if (s.n >= 2 && s.p[0] == '"' && s.p[s.n - 1] == '"')
        return (str){s.p + 1, s.n - 2};
    return s;
}

/* Cut what stands before the first `mark` off *left, and the mark too; all of it when there is none. */
static str cut(str *left, char mark, bool *ret_found)
{
    const char *at = memchr(left->p, mark, left->n);
    str head = {left->p, at ? (size_t)(at - left->p) : left->n};
    size_t used = head.n + (at ? 1 : 0);
    *left = (str){left->p + used, left->n - used};
    *ret_found = at != NULL;
    return head;
}

bool cookie_next(cookie_iter *it, str *ret_name, str *ret_value)
{
    while (it->left.n > 0) {
        bool found;
        str value = cut(&it->left, ';', &found);
        str name = trim(cut(&value, '=', &found));
        if (!found || name.n == 0)
            continue;
        *ret_name = name;
        *ret_value = unquote(trim(value));
        return true;
    }
    return false;
}

static bool is_alnum(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

/* RFC 9110's token, less the empty one. The NUL test comes first: strchr would find it. */
static bool is_token(str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!is_alnum(s.p[i]) && (s.p[i] == '\0' || !strchr("!#$%&'*+-.^_`|~", s.p[i])))
            return false;
    return s.n > 0;
}

/* Printable ASCII without the bytes in `banned`; blanks are for the caller to ban. */
static bool is_printable(str s, const char *banned)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] < ' ' || s.p[i] > '~' || strchr(banned, s.p[i]))
            return false;
    return true;
}

static bool has_prefix(str s, str prefix)
{
    return s.n >= prefix.n && str_eq_nocase((str){s.p, prefix.n}, prefix);
}

static const int64_t END_OF_9999 = 253402300799;

/* What is wrong with the name and the value, or NULL. */
static const char *fault_of_pair(str name, str value)
{
    if (!is_token(name))
        return "name: must be one or more letters, digits and !#$%&'*+-.^_`|~";
    if (!is_printable(value, " \",;\\"))
        return "value: must be printable ASCII without space, quote, comma, semicolon and backslash";
    if (name.n > COOKIE_MAX_BYTES || value.n > COOKIE_MAX_BYTES - name.n)
        return "value: longer than 4096 bytes together with the name";
    return NULL;
}

/* What is wrong with the options, or NULL. */
static const char *fault_of_options(const cookie_options *o)
{
    if (!is_printable(o->path, ";"))
        return "path: must be printable ASCII without semicolon";
    if (o->path.n > 0 && o->path.p[0] != '/')
        return "path: must begin with /";
    if (!is_printable(o->domain, ";"))
        return "domain: must be printable ASCII without semicolon";
    if (o->path.n > COOKIE_MAX_ATTRIBUTE_BYTES)
        return "path: longer than 1024 bytes";
    if (o->domain.n > COOKIE_MAX_ATTRIBUTE_BYTES)
        return "domain: longer than 1024 bytes";
    if (o->has_expires && (o->expires < 0 || o->expires > END_OF_9999))
        return "expires: must lie between the years 1970 and 9999";
    if (o->same_site == COOKIE_SAME_SITE_NONE && !o->secure)
        return "same_site: none needs secure";
    if (o->partitioned && !o->secure)
        return "partitioned: needs secure";
    return NULL;
}

/* What the name promises about the options and they do not keep, or NULL. */
static const char *fault_of_prefix(str name, const cookie_options *o)
{
    if (has_prefix(name, STR("__Secure-")) && !o->secure)
        return "name: __Secure- needs secure";
    if (has_prefix(name, STR("__Host-")) && !(o->secure && o->domain.n == 0 && str_eq(o->path, STR("/"))))
        return "name: __Host- needs secure, the path / and no domain";
    return NULL;
}

static int add_attribute(buf *out, str label, str value)
{
    int err = buf_add_str(out, label);
    return err ? err : buf_add_str(out, value);
}

/* Append `; Expires=Thu, 01 Jan 1970 00:00:00 GMT`. Reckoned here and not by gmtime_r, which takes a lock
 * shared by the whole process, nor by strftime, which follows the locale. */
static int add_expires(buf *out, int64_t expires)
{
    static const char weekdays[7][4] = {"Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"};
    static const char months[12][4] = {"Mar", "Apr", "May", "Jun", "Jul", "Aug",
                                       "Sep", "Oct", "Nov", "Dec", "Jan", "Feb"};
    enum { DAYS_400_YEARS = 146097, DAYS_100_YEARS = 36524, DAYS_4_YEARS = 1461, DAYS_TO_1970 = 719468 };
    int days = (int)(expires / 86400);
    int second = (int)(expires % 86400);

    /* Years that begin in March end with the leap day, so that every month but the last has a fixed place. */
    int day = days + DAYS_TO_1970;
    int era = day / DAYS_400_YEARS;
    day %= DAYS_400_YEARS;
    int century = day / DAYS_100_YEARS < 3 ? day / DAYS_100_YEARS : 3;
    day -= century * DAYS_100_YEARS;
    int leap = day / DAYS_4_YEARS;
    day %= DAYS_4_YEARS;
    int rest = day / 365 < 3 ? day / 365 : 3;
    day -= rest * 365;
    int month = (5 * day + 2) / 153;
    int first = (153 * month + 2) / 5;
    int year = era * 400 + century * 100 + leap * 4 + rest + (month >= 10 ? 1 : 0);

    return buf_addf(out, "; Expires=%s, %02d %s %04d %02d:%02d:%02d GMT", weekdays[days % 7], day - first + 1,
                    months[month], year, second / 3600, second / 60 % 60, second % 60);
}

static int add_options(buf *out, const cookie_options *o)
{
    static const char *const same_site[] = {"", "; SameSite=Lax", "; SameSite=Strict", "; SameSite=None"};
    int err = 0;
    if (o->path.n > 0)
        err = add_attribute(out, STR("; Path="), o->path);
    if (!err && o->domain.n > 0)
        err = add_attribute(out, STR("; Domain="), o->domain);
    if (!err && o->has_max_age)
        err = buf_addf(out, "; Max-Age=%lld", (long long)(o->max_age_s > 0 ? o->max_age_s : 0));
    if (!err && o->has_expires)
        err = add_expires(out, o->expires);
    if (!err && o->secure)
        err = buf_add_str(out, STR("; Secure"));
    if (!err && o->http_only)
        err = buf_add_str(out, STR("; HttpOnly"));
    if (!err)
        err = buf_add_str(out, str_from(same_site[o->same_site]));
    if (!err && o->partitioned)
        err = buf_add_str(out, STR("; Partitioned"));
    return err;
}

int cookie_format(buf *out, str name, str value, const cookie_options *opts, const char **ret_why)
{
    static const cookie_options none = {0};
    const cookie_options *o = opts ? opts : &none;
    const char *why = fault_of_pair(name, value);
    why = why ? why : fault_of_options(o);
    why = why ? why : fault_of_prefix(name, o);
    if (why) {
        *ret_why = why;
        return -EINVAL;
    }
    size_t before = out->n;
    int err = buf_add_str(out, name);
    if (!err)
        err = add_attribute(out, STR("="), value);
    if (!err)
        err = add_options(out, o);
    if (err) {
        out->n = before;
        *ret_why = "out of memory";
    }
    return err;
}
