#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "queue/percent.h"
#include "queue/redis.h"

enum { DB_MAX = 1000000 };

static int refuse(char *error, size_t size, const char *why)
{
    snprintf(error, size, "%s", why);
    return -EINVAL;
}

/* Percent-decode into `to`. Returns: 0, or -EINVAL for a bad escape or too many bytes. */
static int decode(str text, char *to, size_t room)
{
    if (text.n >= room)
        return -EINVAL;
    ssize_t n = percent_path_decode(text, to);
    if (n < 0)
        return -EINVAL;
    to[n] = '\0';
    return 0;
}

static int copy(str text, char *to, size_t room)
{
    if (text.n == 0 || text.n >= room || memchr(text.p, '\0', text.n))
        return -EINVAL;
    memcpy(to, text.p, text.n);
    to[text.n] = '\0';
    return 0;
}

/* A number of digits only. Returns: it, or -EINVAL. */
static int number(str text, int most)
{
    int value = 0;
    if (text.n == 0 || text.n > 7)
        return -EINVAL;
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] < '0' || text.p[i] > '9')
            return -EINVAL;
        value = value * 10 + (text.p[i] - '0');
    }
    return value <= most ? value : -EINVAL;
}

/* Cut *text at the first `byte`, or the last. Returns: what was before it, with *text behind it; or nothing.
 */
static str cut_before(str *text, char byte, bool last)
{
    const char *at = text->n == 0 ? NULL
                     : last       ? memrchr(text->p, byte, text->n)
                                  : memchr(text->p, byte, text->n);
    if (!at)
        return (str){NULL, 0};
    str before = {text->p, (size_t)(at - text->p)};
    *text = (str){at + 1, text->n - before.n - 1};
    return before;
}

static int read_login(str login, redis_address *to)
{
    str user = cut_before(&login, ':', false);
    if (!user.p) /* "USER@": a password alone is written ":PASSWORD@" */
        return -EINVAL;
    return decode(user, to->user, sizeof(to->user)) || decode(login, to->password, sizeof(to->password))
               ? -EINVAL
               : 0;
}

static int read_port(str text, redis_address *to)
{
    to->port = number(text, 65535);
    return to->port > 0 ? 0 : -EINVAL;
}

static int read_host(str text, redis_address *to)
{
    to->port = REDIS_PORT;
    if (text.n > 0 && text.p[0] == '[') {
        const char *end = memchr(text.p, ']', text.n);
        size_t n = end ? (size_t)(end - text.p) + 1 : text.n;
        if (!end || copy((str){text.p + 1, n - 2}, to->host, sizeof(to->host)))
            return -EINVAL;
        text = (str){text.p + n, text.n - n};
        if (text.n == 0)
            return 0;
        return text.p[0] == ':' ? read_port((str){text.p + 1, text.n - 1}, to) : -EINVAL;
    }
    str host = cut_before(&text, ':', true);
    if (!host.p)
        return copy(text, to->host, sizeof(to->host));
    return copy(host, to->host, sizeof(to->host)) ? -EINVAL : read_port(text, to);
}

int redis_address_read(str text, redis_address *ret, char *error, size_t size)
{
    redis_address to = {.db = 0};
    if (text.n < 2 || memcmp(text.p, "//", 2) != 0) {
        if (copy(text, to.path, sizeof(to.path)))
            return refuse(error, size, "the path of a Unix socket has 1 to 107 bytes");
        *ret = to;
        return 0;
    }
    text = (str){text.p + 2, text.n - 2};
    str login = cut_before(&text, '@', true);
    if (login.p && read_login(login, &to))
        return refuse(error, size, "before the @ stands :PASSWORD or USER:PASSWORD, percent-encoded");
    str rest = text, before = cut_before(&rest, '/', false);
    if (before.p && rest.n > 0 && (to.db = number(rest, DB_MAX)) < 0)
        return refuse(error, size, "behind the / stands the number of a database");
    if (read_host(before.p ? before : text, &to))
        return refuse(error, size, "HOST or HOST:PORT is wanted");
    *ret = to;
    return 0;
}
