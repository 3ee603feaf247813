/* Query strings and cookies: one input is read as both, and its parts are tried as a cookie to set. What was
 * read is written again, with every byte of a query as an escape and every cookie's value in quotes, and has
 * to read the same. */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#include "vm/cookie.h"
#include "vm/query.h"

static void must(bool truth)
{
    if (!truth)
        abort();
}

static bool lies_in(str part, const char *p, size_t n)
{
    return part.n == 0 || (part.p >= p && part.p + part.n <= p + n);
}

static char *take(size_t n)
{
    char *p = malloc(n);
    must(n == 0 || p != NULL);
    return p;
}

static void add(buf *out, str s)
{
    must(buf_add_str(out, s) == 0);
}

/* --- queries --- */

static void add_encoded(buf *out, str s)
{
    for (size_t i = 0; i < s.n; i++)
        must(buf_addf(out, "%%%02X", (unsigned char)s.p[i]) == 0);
}

/* An empty name needs its '='; the other kind of empty value is tried by turns. */
static void add_pair(buf *out, str name, str value)
{
    if (out->n > 0)
        add(out, STR("&"));
    add_encoded(out, name);
    if (value.n > 0 || name.n % 2 == 0)
        add(out, STR("="));
    add_encoded(out, value);
}

static void must_read_as(str text, str raw)
{
    char *scratch = take(raw.n), *again = take(text.n);
    query_iter first = query_start(raw), second = query_start(text);
    str name, value, name_again, value_again;
    while (query_next(&first, scratch, &name, &value)) {
        must(query_next(&second, again, &name_again, &value_again));
        must(str_eq(name, name_again) && str_eq(value, value_again));
    }
    must(!query_next(&second, again, &name_again, &value_again));
    free(scratch);
    free(again);
}

/* Pairs stay in the input or in an exact scratch, and no part grows. */
static void read_query(str raw)
{
    char *scratch = take(raw.n);
    query_iter it = query_start(raw);
    str name, value;
    size_t sum = 0;
    buf text = {0};
    while (query_next(&it, scratch, &name, &value)) {
        must(lies_in(name, raw.p, raw.n) || lies_in(name, scratch, raw.n));
        must(lies_in(value, raw.p, raw.n) || lies_in(value, scratch, raw.n));
        sum += name.n + value.n;
        add_pair(&text, name, value);
    }
    must(sum <= raw.n);
    must_read_as(buf_str(&text), raw);
    buf_fini(&text);
    free(scratch);
}

/* --- cookies --- */

/* What is accepted is one header line, and reads as the cookie it was made of. */
static void set_cookie(str name, str value, str text)
{
    buf out = {0};
    const char *why = NULL;
    cookie_options opts = {.path = text,
                           .domain = value,
                           .has_expires = text.n % 2 == 1,
                           .expires = (int64_t)text.n * 7000000000,
                           .secure = name.n % 2 == 1,
                           .partitioned = name.n % 3 == 1};
    if (cookie_format(&out, name, value, &opts, &why) != 0) {
        must(why != NULL && out.n == 0);
        cookie_format(&out, name, value, NULL, &why);
    }
    if (out.n > 0) {
        str read_name, read_value;
        cookie_iter it = cookie_start(buf_str(&out));
        for (size_t i = 0; i < out.n; i++)
            must(out.p[i] >= ' ' && out.p[i] <= '~');
        must(cookie_next(&it, &read_name, &read_value));
        must(str_eq(read_name, name) && str_eq(read_value, value));
    }
    buf_fini(&out);
}

static void read_cookies(str raw)
{
    cookie_iter it = cookie_start(raw), again;
    str name, value, name_again, value_again;
    buf text = {0};
    while (cookie_next(&it, &name, &value)) {
        must(name.n > 0 && lies_in(name, raw.p, raw.n) && lies_in(value, raw.p, raw.n));
        must(!memchr(name.p, ';', name.n) && !memchr(name.p, '=', name.n));
        must(value.n == 0 || !memchr(value.p, ';', value.n));
        set_cookie(name, value, it.left);
        add(&text, name);
        add(&text, STR("=\""));
        add(&text, value);
        add(&text, STR("\" ; "));
    }
    it = cookie_start(raw);
    again = cookie_start(buf_str(&text));
    while (cookie_next(&it, &name, &value)) {
        must(cookie_next(&again, &name_again, &value_again));
        must(str_eq(name, name_again) && str_eq(value, value_again));
    }
    must(!cookie_next(&again, &name_again, &value_again));
    buf_fini(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    str raw = {(const char *)data, size};
    read_query(raw);
    read_cookies(raw);
    return 0;
}
