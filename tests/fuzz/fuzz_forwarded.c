/* What proxies say of their clients. An input is lines; the first character of each says which header it is.
 *
 * The input is what a client may write. Alone it may say what it likes, but in order: hosts lie in the input
 * and are plain. Behind it a trusted proxy adds what it saw, and nothing that the client wrote may change
 * that, or make the proxy of it: at most the request is refused. */
#include <stdint.h>
#include <stdlib.h>

#include "runtime/forwarded.h"

enum { LINES_MAX = 16 };

static void must(bool truth)
{
    if (!truth)
        abort();
}

static uint32_t split(str text, str_pair *headers)
{
    static const str names[] = {
        {"Forwarded", 9}, {"X-Forwarded-For", 15}, {"X-Forwarded-Proto", 17}, {"X-Forwarded-Host", 16}};
    uint32_t count = 0;
    while (text.n > 0 && count < LINES_MAX) {
        const char *end = memchr(text.p, '\n', text.n);
        size_t n = end ? (size_t)(end - text.p) : text.n;
        if (n > 0) {
            str name = names[(unsigned char)text.p[0] % 4];
            headers[count++] = (str_pair){name.p, text.p + 1, (uint32_t)name.n, (uint32_t)n - 1};
        }
        text = (str){text.p + n, text.n - n};
        if (end)
            text = (str){text.p + 1, text.n - 1};
    }
    return count;
}

static void look_at(const forwarded *f, str input)
{
    must(!f->scheme || strcmp(f->scheme, "http") == 0 || strcmp(f->scheme, "https") == 0);
    if (!f->host.p)
        return;
    must(f->host.n > 0 && f->host.n <= 255);
    must(f->host.p >= input.p && f->host.p + f->host.n <= input.p + input.n);
    for (size_t i = 0; i < f->host.n; i++)
        must(f->host.p[i] > ' ' && f->host.p[i] < 0x7f && !strchr("/\\\"'<>@,;?#", f->host.p[i]));
}

static void same_again(const forwarded *f)
{
    char text[ADDRESS_TEXT_BYTES];
    ip_address again;
    if (!f->has_client)
        return;
    address_format(&f->client, text);
    must(address_parse(str_from(text), &again) && memcmp(&again, &f->client, sizeof(again)) == 0);
}

/* The same client's lines, but as a proxy passes them on: with its own word on the right, or on a line below.
 */
static void with_proxy(const trust *t, const str_pair *headers, uint32_t count, const char *name,
                       const char *word)
{
    str_pair all[LINES_MAX + 1];
    ip_address client;
    must(address_parse(STR("192.0.2.1"), &client));
    memcpy(all, headers, count * sizeof(*all));
    all[count] = (str_pair){name, word, (uint32_t)strlen(name), (uint32_t)strlen(word)};
    forwarded f = forwarded_read(t, all, count + 1);
    must(f.unreadable != f.has_client);
    must(f.unreadable || memcmp(&f.client, &client, sizeof(client)) == 0);

    /* Joined to the last line of that name, as some do: only the joined line counts here. */
    for (uint32_t i = count; i-- > 0;) {
        if (!str_eq((str){headers[i].name, headers[i].name_bytes}, str_from(name)))
            continue;
        size_t n = headers[i].value_bytes, more = strlen(word);
        char *joined = malloc(n + 2 + more);
        must(joined != NULL);
        memcpy(joined, headers[i].value, n);
        memcpy(joined + n, ", ", 2);
        memcpy(joined + n + 2, word, more);
        str_pair one = {name, joined, (uint32_t)strlen(name), (uint32_t)(n + 2 + more)};
        f = forwarded_read(t, &one, 1);
        must(f.has_client && memcmp(&f.client, &client, sizeof(client)) == 0);
        free(joined);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    str input = {(const char *)data, size};
    str_pair headers[LINES_MAX];
    trust t;
    must(trust_parse(STR("10.0.0.0/8,fd00::/8"), &t) == 0);
    uint32_t count = split(input, headers);
    forwarded f = forwarded_read(&t, headers, count);
    look_at(&f, input);
    same_again(&f);
    with_proxy(&t, headers, count, "Forwarded", "for=192.0.2.1;proto=https");
    with_proxy(&t, headers, count, "Forwarded", "for=\"192.0.2.1:80\"");
    with_proxy(&t, headers, count, "X-Forwarded-For", "192.0.2.1");
    (void)trust_parse(input, &t);
    return 0;
}
