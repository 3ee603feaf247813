/* Percent decoding of paths and of queries, beside decoders written anew here. Into other memory and in
 * place it has to give the same; what was decoded, once encoded, has to decode to the same again. */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "queue/percent.h"

static void must(bool truth)
{
    if (!truth)
        abort();
}

/* Of exactly that size, so that a byte beyond is seen. */
static char *take(size_t n)
{
    char *p = malloc(n);
    must(n == 0 || p != NULL);
    return p;
}

static str copy_of(str s)
{
    char *p = take(s.n);
    if (s.n > 0)
        memcpy(p, s.p, s.n);
    return (str){p, s.n};
}

/* --- decoders written anew --- */

static int digit(char c)
{
    static const char digits[] = "0123456789abcdef0123456789ABCDEF";
    const char *at = c ? strchr(digits, c) : NULL;
    return at ? (int)(at - digits) % 16 : -1;
}

/* The byte of an escape at the beginning of s, or -1. */
static int escape(str s)
{
    if (s.n < 3 || s.p[0] != '%' || digit(s.p[1]) < 0 || digit(s.p[2]) < 0)
        return -1;
    return digit(s.p[1]) * 16 + digit(s.p[2]);
}

/* Returns: the bytes written, or -1: a path may not hold it. */
static ssize_t decode(str s, bool path, char *out)
{
    ssize_t n = 0;
    while (s.n > 0) {
        int c = escape(s);
        size_t used = c < 0 ? 1 : 3;
        if (path && (c == 0 || s.p[0] == '\0' || (c < 0 && s.p[0] == '%')))
            return -1;
        out[n++] = c >= 0 ? (char)c : !path && s.p[0] == '+' ? ' ' : s.p[0];
        s = (str){s.p + used, s.n - used};
    }
    return n;
}

/* Every byte as an escape, with digits of both cases. Owns: the caller. */
static str encode(str s)
{
    char *p = take(3 * s.n + 1);
    for (size_t i = 0; i < s.n; i++)
        snprintf(p + 3 * i, 4, i % 2 ? "%%%02x" : "%%%02X", (unsigned char)s.p[i]);
    return (str){p, 3 * s.n};
}

/* --- the two --- */

static ssize_t product(str s, bool path, char *out)
{
    return path ? percent_path_decode(s, out) : (ssize_t)percent_query_decode(s, out);
}

static bool holds(str wanted, ssize_t n, const char *p)
{
    return n >= 0 && (size_t)n == wanted.n && (n == 0 || memcmp(wanted.p, p, wanted.n) == 0);
}

static void check_again(str decoded, bool path)
{
    str text = encode(decoded);
    char *out = take(text.n);
    must(path ? percent_path_needs(text) == (text.n > 0) : percent_query_needs(text) == (text.n > 0));
    must(holds(decoded, product(text, path, out), out));
    free(out);
    free((char *)(uintptr_t)text.p);
}

/* As the search for a route walks along a path. */
static void check_steps(str s, str decoded)
{
    const char *p = s.p;
    for (size_t i = 0; i < decoded.n; i++)
        must(percent_path_step(&p) == (unsigned char)decoded.p[i]);
    must(p == s.p + s.n);
}

static void check(str s, bool path)
{
    char *wanted = take(s.n), *out = take(s.n);
    str place = copy_of(s);
    ssize_t n = decode(s, path, wanted);
    if (path)
        must((percent_path_check(s) == 0) == (n >= 0));
    if (n < 0) {
        must(product(s, path, out) < 0 && product(place, path, (char *)(uintptr_t)place.p) < 0);
        must(holds(s, (ssize_t)place.n, place.p)); /* untouched */
    } else {
        str decoded = {wanted, (size_t)n};
        must(holds(decoded, product(s, path, out), out));
        must(holds(decoded, product(place, path, (char *)(uintptr_t)place.p), place.p));
        must((path ? percent_path_needs(s) : percent_query_needs(s)) || holds(s, n, wanted));
        check_again(decoded, path);
        if (path)
            check_steps(s, decoded);
    }
    free(wanted);
    free(out);
    free((char *)(uintptr_t)place.p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    str s = copy_of((str){(const char *)data, size});
    check(s, true);
    check(s, false);
    free((char *)(uintptr_t)s.p);
    return 0;
}
