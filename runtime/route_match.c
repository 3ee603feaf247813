/* Searching: the route for a path, and the methods that a path has. See route.h. */
#include <assert.h>
#include <stdbool.h>

#include "queue/percent.h"
#include "runtime/route_tree.h"

/* A segment of the path, made ready once, before the search. */
typedef struct piece {
    str raw;
    size_t n; /* bytes when decoded */
    uint32_t hash;
    bool escaped;
} piece;

typedef struct search {
    route_matched *ret;
    const char *end;         /* of the path */
    enum http_method method; /* the one asked for */
    bool collect;            /* or: find nothing, note the methods of all nodes that fit */
    unsigned want;           /* nodes without any of these below them are left out */
    unsigned seen;           /* what was collected */
    size_t npieces;
    piece pieces[ROUTE_MAX_SEGMENTS + 1];
} search;

/* Make a segment ready. One longer than every literal equals none of them, so its hash is not needed. */
static piece piece_of(str raw, bool escapes, size_t longest)
{
    piece made = {raw, raw.n, ROUTE_TREE_HASH_START, escapes && percent_path_needs(raw)};
    if (!made.escaped) {
        if (raw.n <= longest)
            made.hash = route_tree_hash(raw);
        return made;
    }
    made.n = 0;
    for (const char *p = raw.p; p < raw.p + raw.n && made.n <= longest; made.n++)
        made.hash = route_tree_hash_step(made.hash, percent_path_step(&p));
    return made;
}

static bool piece_is(const piece *want, const node *n)
{
    if (want->n != n->n)
        return false;
    if (!want->escaped)
        return n->n == 0 || memcmp(want->raw.p, n->text, n->n) == 0;
    const char *p = want->raw.p;
    for (size_t i = 0; i < n->n; i++)
        if (percent_path_step(&p) != (unsigned char)n->text[i])
            return false;
    return true;
}

/* One piece more than the longest route has shows that the path goes on; the excess can only be a rest's. */
static void split(search *s, const route_tree *tree, str path, bool escapes)
{
    s->npieces = 0;
    for (size_t at = 1; at <= path.n && s->npieces <= tree->depth;)
        s->pieces[s->npieces++] = piece_of(route_tree_cut(path, &at), escapes, tree->longest);
}

static const node *literal_find(search *s, const node *n, const piece *want)
{
    if (!n->slots)
        return NULL;
    for (size_t i = want->hash;; i++) {
        const slot *at = &n->slots[i & n->mask];
        if (!at->to)
            return NULL;
        s->ret->steps++;
        if (at->hash == want->hash && piece_is(want, at->to))
            return at->to;
    }
}

/* The path fits the pattern of n: is the method there? */
static const route *arrive(search *s, const node *n)
{
    if (s->collect) {
        s->seen |= n->methods;
        return NULL;
    }
    if (!n->routes[s->method] && s->method == METHOD_HEAD)
        return n->routes[METHOD_GET];
    return n->routes[s->method];
}

static bool worth_it(const search *s, const node *n)
{
    return n && (n->below & s->want) != 0;
}

/* The first route in order of preference from n on, with the pieces from i on left; or NULL. */
static const route *walk(search *s, const node *n, size_t i)
{
    s->ret->steps++;
    if (i == s->npieces)
        return arrive(s, n);
    const piece *at = &s->pieces[i];
    const route *found = NULL;
    const node *literal = literal_find(s, n, at);
    if (worth_it(s, literal))
        found = walk(s, literal, i + 1);
    if (!found && worth_it(s, n->param) && at->raw.n > 0) {
        s->ret->values[n->nparams] = at->raw;
        found = walk(s, n->param, i + 1);
    }
    size_t left = (size_t)(s->end - at->raw.p);
    if (!found && worth_it(s, n->rest) && left > 0) {
        s->ret->values[n->nparams] = (str){at->raw.p, left};
        s->ret->steps++;
        found = arrive(s, n->rest);
    }
    return found;
}

/* The methods of all routes whose pattern fits, and those that the server adds. */
static unsigned allowed(search *s, const route_tree *tree)
{
    s->collect = true;
    s->want = ~0u;
    s->seen = 0;
    walk(s, tree->root, 0);
    if (s->seen & METHOD_BIT(METHOD_GET))
        s->seen |= METHOD_BIT(METHOD_HEAD);
    return s->seen ? s->seen | METHOD_BIT(METHOD_OPTIONS) : 0;
}

enum route_result route_match(const route_tree *tree, enum http_method method, str path, route_matched *ret)
{
    assert((unsigned)method < METHOD_COUNT);
    ret->route = NULL;
    ret->allowed = 0;
    ret->steps = 0;
    if (path.n == 0 || path.p[0] != '/' || percent_path_check(path) != 0)
        return ROUTE_BAD_PATH;
    search s; /* not cleared: it has two kilobytes of pieces, of which few are used */
    s.ret = ret;
    s.end = path.p + path.n;
    s.method = method;
    s.collect = false;
    s.want = METHOD_BIT(method) | (method == METHOD_HEAD ? METHOD_BIT(METHOD_GET) : 0);
    split(&s, tree, path, percent_path_needs(path));
    ret->route = walk(&s, tree->root, 0);
    if (ret->route)
        return ROUTE_FOUND;
    ret->allowed = allowed(&s, tree);
    return ret->allowed ? ROUTE_METHOD_NOT_ALLOWED : ROUTE_NOT_FOUND;
}
