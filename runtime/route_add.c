/* Adding a route: its own memory, what must not be, its way through the tree. See route.h. */
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "runtime/route_tree.h"

/* ---- a route's own memory ---- */

/* Copy text to *at, close it with a NUL, step over both. */
static char *text_put(char **at, str text)
{
    char *begin = *at;
    if (text.n > 0)
        memcpy(begin, text.p, text.n);
    begin[text.n] = '\0';
    *at = begin + text.n + 1;
    return begin;
}

/* What would read as something else in a pattern, or spoil a line of a log. */
static bool must_escape(str literal, size_t i)
{
    unsigned char c = (unsigned char)literal.p[i];
    return c <= ' ' || c == 0x7f || c == '%' || c == '/' || (i == 0 && (c == ':' || c == '*'));
}

static char *literal_put(char *to, str literal)
{
    static const char digits[] = "0123456789ABCDEF";
    for (size_t i = 0; i < literal.n; i++) {
        unsigned char c = (unsigned char)literal.p[i];
        if (must_escape(literal, i)) {
            *to++ = '%';
            *to++ = digits[c >> 4];
            *to++ = digits[c & 15];
        } else {
            *to++ = (char)c;
        }
    }
    return to;
}

static char *name_put(char *to, char mark, str name)
{
    *to++ = mark;
    if (name.n > 0)
        memcpy(to, name.p, name.n);
    return to + name.n;
}

static char *pattern_put(char **at, const route_segment *segments, size_t n)
{
    char *begin = *at;
    char *to = begin;
    for (size_t i = 0; i < n; i++) {
        *to++ = '/';
        if (segments[i].kind == ROUTE_LITERAL)
            to = literal_put(to, segments[i].text);
        else
            to = name_put(to, segments[i].kind == ROUTE_PARAM ? ':' : '*', segments[i].text);
    }
    *to++ = '\0';
    *at = to;
    return begin;
}

/* The route, its names and its texts are one block. */
static route *route_new(enum http_method method, const route_segment *segments, size_t n, str where)
{
    size_t nparams = 0;
    size_t bytes = where.n + 1;
    for (size_t i = 0; i < n; i++) {
        nparams += segments[i].kind != ROUTE_LITERAL;
        bytes += 4 * segments[i].text.n + 4; /* a literal grows threefold; a name is there twice */
    }
    route *r = malloc(sizeof *r + nparams * sizeof(str) + bytes + 1);
    if (!r)
        return NULL;
    str *params = (str *)(r + 1);
    char *at = (char *)(params + nparams);
    size_t k = 0;
    for (size_t i = 0; i < n; i++)
        if (segments[i].kind != ROUTE_LITERAL)
            params[k++] = (str){text_put(&at, segments[i].text), segments[i].text.n};
    *r = (route){.method = method,
                 .pattern = pattern_put(&at, segments, n),
                 .where = text_put(&at, where),
                 .nparams = nparams,
                 .params = params};
    return r;
}

/* ---- adding ---- */

/* Where a message goes, and the place in the app that it is about. */
typedef struct complaint {
    char *p;
    size_t size;
    str where;
} complaint;

__attribute__((format(printf, 3, 4))) static int complain(const complaint *to, int err, const char *format,
                                                          ...)
{
    int n = 0;
    if (to->where.n > 0)
        n = snprintf(to->p, to->size, "%.*s: ", (int)to->where.n, to->where.p);
    if (n >= 0 && (to->size == 0 || (size_t)n < to->size)) {
        va_list args;
        va_start(args, format);
        vsnprintf(to->size > 0 ? to->p + n : NULL, to->size > 0 ? to->size - (size_t)n : 0, format, args);
        va_end(args);
    }
    return err;
}

static const char *place_of(const route *r)
{
    return r->where[0] ? r->where : "another route";
}

static bool is_name(str s)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        bool alnum = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
        if (!alnum && c != '_' && c != '-' && c < 0x80)
            return false;
    }
    return true;
}

/* Is the k-th parameter's name good, and new in its route? */
static int check_param(const route *r, size_t k, const complaint *to)
{
    const char *method = method_name(r->method);
    str name = r->params[k];
    if (name.n == 0)
        return complain(to, -EINVAL, "%s %s has an empty parameter name", method, r->pattern);
    if (!is_name(name))
        return complain(to, -EINVAL,
                        "%s %s: a parameter name is made of letters, digits, _ and -, \"%s\" is not", method,
                        r->pattern, name.p);
    for (size_t j = 0; j < k; j++)
        if (str_eq(r->params[j], name))
            return complain(to, -EINVAL, "%s %s has two parameters called %s", method, r->pattern, name.p);
    return 0;
}

/* Is the route well formed, by itself? */
static int check_route(const route *r, const route_segment *segments, size_t n, const complaint *to)
{
    const char *method = method_name(r->method);
    if (r->nparams > ROUTE_MAX_PARAMS)
        return complain(to, -EINVAL, "%s %s has %zu parameters, at most %d are possible", method, r->pattern,
                        r->nparams, ROUTE_MAX_PARAMS);
    for (size_t k = 0; k < r->nparams; k++) {
        int err = check_param(r, k, to);
        if (err)
            return err;
    }
    for (size_t i = 0; i < n; i++) {
        str text = segments[i].text;
        if (segments[i].kind == ROUTE_LITERAL && text.n > 0 && memchr(text.p, '\0', text.n))
            return complain(to, -EINVAL, "%s %s: no path can have a NUL byte", method, r->pattern);
        if (segments[i].kind == ROUTE_REST && i + 1 < n)
            return complain(to, -EINVAL, "%s %s: *%.*s takes the rest of the path and must be last", method,
                            r->pattern, (int)text.n, text.p);
    }
    return 0;
}

/* The parameter's name at a place must be the same for all routes that pass there. */
static int check_name(const route *r, const node *at, route_segment segment, const complaint *to)
{
    if (!at || !at->first)
        return 0;
    str name = at->first->params[at->nparams - 1];
    if (str_eq(name, segment.text))
        return 0;
    char mark = segment.kind == ROUTE_REST ? '*' : ':';
    return complain(to, -EINVAL, "%s %s: parameter %c%.*s, but %s calls it %c%s (%s)", method_name(r->method),
                    r->pattern, mark, (int)segment.text.n, segment.text.p, place_of(at->first), mark, name.p,
                    at->first->pattern);
}

/* Walk from the root along the route, making what is missing; way[i] is the node behind i segments.
 * A conflict needs a node that was there before, and nothing is there below one made here: so failure leaves
 * new nodes behind only when memory runs out, and these have no routes. */
static int make_way(route_tree *tree, const route *r, const route_segment *segments, size_t n, node **way,
                    const complaint *to)
{
    way[0] = tree->root;
    for (size_t i = 0; i < n; i++) {
        node *at = way[i];
        if (segments[i].kind == ROUTE_LITERAL) {
            way[i + 1] = route_tree_literal(at, segments[i].text);
        } else {
            node **child = segments[i].kind == ROUTE_PARAM ? &at->param : &at->rest;
            int err = check_name(r, *child, segments[i], to);
            if (err)
                return err;
            way[i + 1] = route_tree_param(at, child);
        }
        if (!way[i + 1])
            return complain(to, -ENOMEM, "out of memory");
    }
    const route *same = way[n]->routes[r->method];
    if (same)
        return complain(to, -EEXIST, "%s %s is already defined (%s)", method_name(r->method), r->pattern,
                        place_of(same));
    return 0;
}

static int list_grow(route_tree *tree)
{
    if (tree->count < tree->cap)
        return 0;
    size_t cap = tree->cap ? tree->cap * 2 : 16;
    route **routes = realloc(tree->routes, cap * sizeof(route *));
    if (!routes)
        return -ENOMEM;
    tree->routes = routes;
    tree->cap = cap;
    return 0;
}

/* Everything is there and checked: make the route known. Nothing here can fail. */
static void enter(route_tree *tree, route *r, const route_segment *segments, size_t n, node **way)
{
    r->index = (unsigned)tree->count;
    tree->routes[tree->count++] = r;
    for (size_t i = 0; i <= n; i++) {
        way[i]->below |= METHOD_BIT(r->method);
        if (!way[i]->first)
            way[i]->first = r;
        if (i < n && segments[i].kind == ROUTE_LITERAL && segments[i].text.n > tree->longest)
            tree->longest = segments[i].text.n;
    }
    way[n]->methods |= METHOD_BIT(r->method);
    way[n]->routes[r->method] = r;
    if (n > tree->depth)
        tree->depth = n;
}

int route_add(route_tree *tree, enum http_method method, const route_segment *segments, size_t n, str where,
              const route **ret_route, char *error, size_t error_size)
{
    static const route_segment slash = {ROUTE_LITERAL, {"", 0}};
    complaint to = {error, error_size, where};
    node *way[ROUTE_MAX_SEGMENTS + 1];
    if (n == 0) {
        segments = &slash;
        n = 1;
    }
    if (n > ROUTE_MAX_SEGMENTS)
        return complain(&to, -EINVAL, "a route can have %d segments at most", ROUTE_MAX_SEGMENTS);
    route *r = route_new(method, segments, n, where);
    if (!r || list_grow(tree) != 0) {
        free(r);
        return complain(&to, -ENOMEM, "out of memory");
    }
    int err = check_route(r, segments, n, &to);
    if (!err)
        err = make_way(tree, r, segments, n, way, &to);
    if (err) {
        free(r);
        return err;
    }
    enter(tree, r, segments, n, way);
    if (ret_route)
        *ret_route = r;
    return 0;
}
