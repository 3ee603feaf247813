#include "vm/query.h"

/* Decoded text never outgrows its source: at the same offset in scratch it cannot run into its neighbour. */
static str decode(const query_iter *it, str part, char *scratch)
{
    if (!it->coded || !percent_query_needs(part))
        return part;
    char *out = scratch + (part.p - it->raw.p);
    return (str){out, percent_query_decode(part, out)};
}

static str next_pair(query_iter *it)
{
    const char *begin = it->raw.p + it->at;
    size_t left = it->raw.n - it->at;
    const char *end = memchr(begin, '&', left);
    size_t n = end ? (size_t)(end - begin) : left;
    it->at += end ? n + 1 : n;
    return (str){begin, n};
}

bool query_next(query_iter *it, char *scratch, str *ret_name, str *ret_value)
{
    str pair = {0};
    while (pair.n == 0) {
        if (it->at == it->raw.n)
            return false;
        pair = next_pair(it);
    }
    const char *end = pair.p + pair.n;
    const char *equals = memchr(pair.p, '=', pair.n);
    const char *name_end = equals ? equals : end;
    const char *value = equals ? equals + 1 : end;
    *ret_name = decode(it, (str){pair.p, (size_t)(name_end - pair.p)}, scratch);
    *ret_value = decode(it, (str){value, (size_t)(end - value)}, scratch);
    return true;
}
