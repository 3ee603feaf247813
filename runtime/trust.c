#include "runtime/trust.h"

#include <errno.h>

static str trim(str text)
{
    while (text.n && text.p[0] == ' ')
        text = (str){text.p + 1, text.n - 1};
    while (text.n && text.p[text.n - 1] == ' ')
        text.n--;
    return text;
}

static int add(trust *t, str word)
{
    if (str_eq(word, STR("unix"))) {
        t->unix_peer = true;
        return 0;
    }
    if (t->count == TRUST_BLOCKS_MAX)
        return -E2BIG;
    return address_block_parse(word, &t->blocks[t->count++]) ? 0 : -EINVAL;
}

int trust_parse(str text, trust *ret_trust)
{
    trust t = {0};
    for (;;) {
        const char *comma = text.n ? memchr(text.p, ',', text.n) : NULL;
        size_t n = comma ? (size_t)(comma - text.p) : text.n;
        int err = add(&t, trim((str){text.p, n}));
        if (err)
            return err;
        if (!comma)
            break;
        text = (str){comma + 1, text.n - n - 1};
    }
    *ret_trust = t;
    return 0;
}

bool trust_has(const trust *t, const ip_address *a)
{
    for (unsigned i = 0; i < t->count; i++)
        if (address_in(a, &t->blocks[i]))
            return true;
    return false;
}
