/* Query strings and cookies: one input is read as both, and its parts are tried as a cookie to set. */
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

/* Pairs stay in the input or in an exact scratch, and no part grows. */
static void read_query(str raw)
{
    char *scratch = malloc(raw.n > 0 ? raw.n : 1);
    must(scratch != NULL);
    query_iter it = query_start(raw);
    str name, value;
    size_t sum = 0;
    while (query_next(&it, scratch, &name, &value)) {
        must(lies_in(name, raw.p, raw.n) || lies_in(name, scratch, raw.n));
        must(lies_in(value, raw.p, raw.n) || lies_in(value, scratch, raw.n));
        sum += name.n + value.n;
    }
    must(sum <= raw.n);
    free(scratch);
}

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
    cookie_iter it = cookie_start(raw);
    str name, value;
    while (cookie_next(&it, &name, &value)) {
        must(name.n > 0 && lies_in(name, raw.p, raw.n) && lies_in(value, raw.p, raw.n));
        must(value.n == 0 || !memchr(value.p, ';', value.n));
        set_cookie(name, value, it.left);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    str raw = {(const char *)data, size};
    read_query(raw);
    read_cookies(raw);
    return 0;
}
