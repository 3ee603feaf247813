/* A head's target and headers as libmicrohttpd hands them over: lines "name: value", the first line the
 * target. What is let through has to be what RFC 9112 allows, by rules written anew here. */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "runtime/judge.h"

enum { HEADERS_MAX = 64 };

static void must(bool truth)
{
    if (!truth)
        abort();
}

static str cut_line(str *left)
{
    const char *end = left->n > 0 ? memchr(left->p, '\n', left->n) : NULL;
    str line = {left->p, end ? (size_t)(end - left->p) : left->n};
    size_t used = end ? line.n + 1 : line.n;
    *left = (str){left->p + used, left->n - used};
    return line;
}

static bool is_token(const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)p[i] <= ' ' || (unsigned char)p[i] > '~' || strchr("\"(),/:;<=>?@[\\]{}", p[i]))
            return false;
    return n > 0;
}

static bool is_clean(const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (((unsigned char)p[i] < ' ' && p[i] != '\t') || p[i] == 0x7f)
            return false;
    return true;
}

static bool is_named(const task_header *h, const char *name)
{
    return h->name_bytes == strlen(name) && strncasecmp(h->name, name, h->name_bytes) == 0;
}

static bool is_number(const task_header *h)
{
    for (size_t i = 0; i < h->value_bytes; i++)
        if (h->value[i] < '0' || h->value[i] > '9')
            return false;
    return h->value_bytes > 0;
}

static void check_let_through(const judgement *j, const task_header *headers, uint32_t n, const char *version)
{
    unsigned hosts = 0, lengths = 0, codings = 0;
    for (uint32_t i = 0; i < n; i++) {
        const task_header *h = &headers[i];
        must(is_token(h->name, h->name_bytes) && is_clean(h->value, h->value_bytes));
        hosts += is_named(h, "host");
        if (is_named(h, "content-length")) {
            lengths++;
            must(is_number(h));
        }
        if (is_named(h, "transfer-encoding")) {
            codings++;
            must(h->value_bytes == 7 && strncasecmp(h->value, "chunked", 7) == 0);
        }
    }
    bool is_11 = strcmp(version, "HTTP/1.1") == 0;
    must(is_11 || strcmp(version, "HTTP/1.0") == 0);
    must(hosts == 1 || (hosts == 0 && !is_11));
    must(lengths + codings <= 1 && (is_11 || codings == 0));
    must(j->has_length == (lengths == 1) && j->chunked == (codings == 1));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const versions[] = {"HTTP/1.1", "HTTP/1.0", "HTTP/2.0",
                                           "HTTP/0.9", "http/1.1", "HTTP/1.10"};
    static task_header headers[HEADERS_MAX];
    uint32_t n = 0;
    str left = {(const char *)data, size};
    const char *version = versions[size > 0 ? data[size - 1] % (sizeof versions / sizeof *versions) : 0];
    str target = cut_line(&left);
    if (judge_target(target).status == 0)
        must(is_clean(target.p, target.n) &&
             (target.n == 0 || (!memchr(target.p, ' ', target.n) && !memchr(target.p, '\t', target.n))));
    while (left.n > 0 && n < HEADERS_MAX) {
        str line = cut_line(&left);
        const char *colon = line.n > 0 ? memchr(line.p, ':', line.n) : NULL;
        size_t name_bytes = colon ? (size_t)(colon - line.p) : line.n;
        size_t skip = colon ? name_bytes + 1 : line.n;
        headers[n++] = (task_header){line.p, line.p + skip, (uint32_t)name_bytes, (uint32_t)(line.n - skip)};
    }
    head_limits limits = {.line_bytes = 100, .header_bytes = 1000, .headers = 10};
    judgement small = judge_size(&limits, target.n, headers, n);
    must(small.status == 0 || small.status == 414 || small.status == 431);
    must(small.status != 0 || (n <= limits.headers && target.n <= limits.line_bytes));
    judgement j = judge_head(headers, n, str_from(version));
    if (j.status == 0)
        check_let_through(&j, headers, n, version);
    else
        must((j.status == 400 || j.status == 501 || j.status == 505) && j.reason);
    return 0;
}
