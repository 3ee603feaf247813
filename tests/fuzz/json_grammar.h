/* json_grammar: is a text JSON? Read anew after RFC 8259, so that the product's decoder and encoder have
 * somebody to disagree with. It makes no values. What json.h adds to the RFC is asked here too: well-formed
 * UTF-8, no lone surrogate, no number beyond a double, JSON_DEPTH_MAX levels. */
#ifndef TESTS_FUZZ_JSON_GRAMMAR_H
#define TESTS_FUZZ_JSON_GRAMMAR_H

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "vm/json.h"

/* Each function steps over what it reads; false: it is not that. */
typedef struct json_grammar {
    const unsigned char *p, *end;
    unsigned depth;
} json_grammar;

static inline bool json_grammar_is(const json_grammar *g, unsigned char c)
{
    return g->p < g->end && *g->p == c;
}

static inline bool json_grammar_take(json_grammar *g, unsigned char c)
{
    bool is = json_grammar_is(g, c);
    g->p += is;
    return is;
}

static inline void json_grammar_blanks(json_grammar *g)
{
    while (g->p < g->end && *g->p && strchr(" \t\r\n", *g->p))
        g->p++;
}

static inline bool json_grammar_word(json_grammar *g, const char *word)
{
    size_t n = strlen(word);
    if ((size_t)(g->end - g->p) < n || memcmp(g->p, word, n) != 0)
        return false;
    g->p += n;
    return true;
}

/* --- numbers --- */

static inline bool json_grammar_digits(json_grammar *g)
{
    const unsigned char *begin = g->p;
    while (g->p < g->end && *g->p >= '0' && *g->p <= '9')
        g->p++;
    return g->p > begin;
}

static inline bool json_grammar_number(json_grammar *g)
{
    const unsigned char *begin = g->p;
    json_grammar_take(g, '-');
    if (!json_grammar_take(g, '0') && !json_grammar_digits(g))
        return false;
    if (json_grammar_take(g, '.') && !json_grammar_digits(g))
        return false;
    if (json_grammar_take(g, 'e') || json_grammar_take(g, 'E')) {
        if (!json_grammar_take(g, '-'))
            json_grammar_take(g, '+');
        if (!json_grammar_digits(g))
            return false;
    }
    char *text = strndup((const char *)begin, (size_t)(g->p - begin));
    bool is_finite = text && isfinite(strtod(text, NULL));
    free(text);
    return is_finite;
}

/* --- strings --- */

/* A character beyond ASCII. */
static inline bool json_grammar_utf8(json_grammar *g)
{
    static const unsigned least[] = {0, 0, 0x80, 0x800, 0x10000};
    unsigned char c = *g->p;
    unsigned n = c >= 0xf0 && c < 0xf8 ? 4 : c >= 0xe0 && c < 0xf0 ? 3 : c >= 0xc0 && c < 0xe0 ? 2 : 0;
    if (n == 0 || (size_t)(g->end - g->p) < n)
        return false;
    unsigned code = c & (0xffu >> (n + 1));
    for (unsigned i = 1; i < n; i++) {
        if ((g->p[i] & 0xc0) != 0x80)
            return false;
        code = code << 6 | (g->p[i] & 0x3f);
    }
    g->p += n;
    return code >= least[n] && code <= 0x10ffff && (code < 0xd800 || code > 0xdfff);
}

static inline bool json_grammar_hex4(json_grammar *g, unsigned *ret)
{
    *ret = 0;
    for (int i = 0; i < 4; i++) {
        static const char digits[] = "0123456789abcdef0123456789ABCDEF";
        const char *at = g->p < g->end && *g->p ? strchr(digits, *g->p) : NULL;
        if (!at)
            return false;
        *ret = *ret << 4 | (unsigned)(at - digits) % 16;
        g->p++;
    }
    return true;
}

/* Behind a backslash. */
static inline bool json_grammar_escape(json_grammar *g)
{
    unsigned first, second;
    if (g->p == g->end || !*g->p)
        return false;
    if (!json_grammar_take(g, 'u'))
        return strchr("\"\\/bfnrt", *g->p++) != NULL;
    if (!json_grammar_hex4(g, &first) || (first >= 0xdc00 && first <= 0xdfff))
        return false;
    if (first < 0xd800 || first > 0xdfff)
        return true;
    return json_grammar_word(g, "\\u") && json_grammar_hex4(g, &second) && second >= 0xdc00 &&
           second <= 0xdfff;
}

static inline bool json_grammar_string(json_grammar *g)
{
    if (!json_grammar_take(g, '"'))
        return false;
    while (!json_grammar_take(g, '"')) {
        if (g->p == g->end || *g->p < ' ')
            return false;
        if (json_grammar_take(g, '\\') ? !json_grammar_escape(g)
            : *g->p < 0x80             ? g->p++ == g->end
                                       : !json_grammar_utf8(g))
            return false;
    }
    return true;
}

/* --- values --- */

static inline bool json_grammar_value(json_grammar *g);

static inline bool json_grammar_member(json_grammar *g)
{
    json_grammar_blanks(g);
    if (!json_grammar_string(g))
        return false;
    json_grammar_blanks(g);
    return json_grammar_take(g, ':');
}

/* Behind the opening bracket. */
static inline bool json_grammar_list(json_grammar *g, unsigned char close)
{
    if (++g->depth > JSON_DEPTH_MAX)
        return false;
    json_grammar_blanks(g);
    if (!json_grammar_is(g, close)) {
        do {
            if (close == '}' && !json_grammar_member(g))
                return false;
            if (!json_grammar_value(g))
                return false;
        } while (json_grammar_take(g, ','));
    }
    g->depth--;
    return json_grammar_take(g, close);
}

/* A value and the blanks round it. */
static inline bool json_grammar_value(json_grammar *g)
{
    bool is;
    json_grammar_blanks(g);
    if (json_grammar_take(g, '['))
        is = json_grammar_list(g, ']');
    else if (json_grammar_take(g, '{'))
        is = json_grammar_list(g, '}');
    else if (json_grammar_is(g, '"'))
        is = json_grammar_string(g);
    else
        is = json_grammar_word(g, "null") || json_grammar_word(g, "true") || json_grammar_word(g, "false") ||
             json_grammar_number(g);
    json_grammar_blanks(g);
    return is;
}

/* Is text one JSON value, and nothing else? */
static inline bool json_grammar_accepts(str text)
{
    json_grammar g = {(const unsigned char *)text.p, (const unsigned char *)text.p + text.n, 0};
    return text.n > 0 && json_grammar_value(&g) && g.p == g.end;
}

#endif
