#include "runtime/route.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "queue/percent.h"

/* ---- methods ---- */

int method_from(str name)
{
#define X(m)                                                                                                 \
    if (name.n == sizeof #m - 1 && memcmp(name.p, #m, sizeof #m - 1) == 0)                                   \
        return METHOD_##m;
    HTTP_METHODS(X)
#undef X
    return -1;
}

const char *method_name(enum http_method method)
{
    static const char *const names[] = {
#define X(m) #m,
        HTTP_METHODS(X)
#undef X
    };
    assert((unsigned)method < METHOD_COUNT);
    return names[method];
}

int route_allow_text(unsigned bits, char *out, size_t size)
{
    static const enum http_method by_name[] = {METHOD_DELETE, METHOD_GET,  METHOD_HEAD, METHOD_OPTIONS,
                                               METHOD_PATCH,  METHOD_POST, METHOD_PUT};
    _Static_assert(sizeof by_name / sizeof by_name[0] == METHOD_COUNT, "a method is missing");
    size_t used = 0;
    if (size == 0)
        return -ENOSPC;
    out[0] = '\0';
    for (size_t i = 0; i < METHOD_COUNT; i++) {
        if (!(bits & METHOD_BIT(by_name[i])))
            continue;
        int n = snprintf(out + used, size - used, "%s%s", used > 0 ? ", " : "", method_name(by_name[i]));
        if (n < 0 || (size_t)n >= size - used)
            return -ENOSPC;
        used += (size_t)n;
    }
    return (int)used;
}

/* ---- the tree ---- */

typedef struct node node;

/* A place in a node's hash table of literal children; free when `to` is NULL. */
typedef struct slot {
    uint32_t hash;
    node *to;
} slot;

struct node {
    unsigned methods; /* of the routes that end here */
    unsigned below;   /* of those and of all that pass here */
    size_t nparams;   /* on the way here: the index of the next parameter's value */
    node *param;
    node *rest;
    slot *slots; /* a power of two of them, half of them free, or NULL */
    size_t mask;
    size_t nliterals;
    const route *first; /* the first route that came by; it knows the parameter's name here */
    const route *routes[METHOD_COUNT];
    size_t n;
    char text[]; /* the literal that leads here */
};

struct route_tree {
    node *root;
    size_t depth;   /* segments of the longest route */
    size_t longest; /* bytes of the longest literal */
    size_t count;
    size_t cap;
    route **routes;
};

/* FNV-1a, without a seed: the keys are the app's own, so no client can make one bucket long. */
static const uint32_t HASH_START = 0x811c9dc5;
static const uint32_t HASH_PRIME = 0x01000193;

static uint32_t hash_step(uint32_t hash, unsigned char byte)
{
    return (hash ^ byte) * HASH_PRIME;
}

static uint32_t hash_bytes(str s)
{
    uint32_t hash = HASH_START;
    for (size_t i = 0; i < s.n; i++)
        hash = hash_step(hash, (unsigned char)s.p[i]);
    return hash;
}

static node *node_new(str text, size_t nparams)
{
    node *n = calloc(1, sizeof *n + text.n);
    if (!n)
        return NULL;
    n->nparams = nparams;
    n->n = text.n;
    if (text.n > 0)
        memcpy(n->text, text.p, text.n);
    return n;
}

/* Recursion: as deep as the tree. */
static void node_free(node *n)
{
    if (!n)
        return;
    for (size_t i = 0; n->slots && i <= n->mask; i++)
        node_free(n->slots[i].to);
    free(n->slots);
    node_free(n->param);
    node_free(n->rest);
    free(n);
}

route_tree *route_tree_new(void)
{
    route_tree *tree = calloc(1, sizeof *tree);
    if (!tree)
        return NULL;
    tree->root = node_new((str){0}, 0);
    if (!tree->root) {
        free(tree);
        return NULL;
    }
    return tree;
}

void route_tree_free(route_tree *tree)
{
    if (!tree)
        return;
    node_free(tree->root);
    for (size_t i = 0; i < tree->count; i++)
        free(tree->routes[i]);
    free(tree->routes);
    free(tree);
}

size_t route_tree_count(const route_tree *tree)
{
    return tree->count;
}

const route *route_tree_at(const route_tree *tree, size_t i)
{
    return i < tree->count ? tree->routes[i] : NULL;
}

/* ---- literal children ---- */

static void slots_put(slot *slots, size_t mask, slot entry)
{
    size_t i = entry.hash & mask;
    while (slots[i].to)
        i = (i + 1) & mask;
    slots[i] = entry;
}

/* Make room for one more literal child; the table stays at least half empty, so that searches end soon. */
static int slots_grow(node *n)
{
    size_t cap = n->slots ? n->mask + 1 : 0;
    if ((n->nliterals + 1) * 2 <= cap)
        return 0;
    size_t new_cap = cap ? cap * 2 : 4;
    slot *slots = calloc(new_cap, sizeof *slots);
    if (!slots)
        return -ENOMEM;
    for (size_t i = 0; i < cap; i++)
        if (n->slots[i].to)
            slots_put(slots, new_cap - 1, n->slots[i]);
    free(n->slots);
    n->slots = slots;
    n->mask = new_cap - 1;
    return 0;
}

static node *literal_get(const node *n, str text, uint32_t hash)
{
    for (size_t i = hash; n->slots && n->slots[i & n->mask].to; i++) {
        const slot *at = &n->slots[i & n->mask];
        if (at->hash == hash && str_eq((str){at->to->text, at->to->n}, text))
            return at->to;
    }
    return NULL;
}

/* The child for a literal, made if it is not there. Returns: NULL when out of memory. */
static node *literal_make(node *n, str text)
{
    uint32_t hash = hash_bytes(text);
    node *child = literal_get(n, text, hash);
    if (child || slots_grow(n) != 0)
        return child;
    child = node_new(text, n->nparams);
    if (child) {
        slots_put(n->slots, n->mask, (slot){hash, child});
        n->nliterals++;
    }
    return child;
}

static node *param_make(node *n, node **at)
{
    if (!*at)
        *at = node_new((str){0}, n->nparams + 1);
    return *at;
}

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
            way[i + 1] = literal_make(at, segments[i].text);
        } else {
            node **child = segments[i].kind == ROUTE_PARAM ? &at->param : &at->rest;
            int err = check_name(r, *child, segments[i], to);
            if (err)
                return err;
            way[i + 1] = param_make(at, child);
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

/* ---- patterns ---- */

/* One segment of a pattern. Literals are decoded at *scratch, which moves on. */
static int parse_segment(str text, char **scratch, route_segment *ret)
{
    if (text.n > 0 && (text.p[0] == ':' || text.p[0] == '*')) {
        ret->kind = text.p[0] == ':' ? ROUTE_PARAM : ROUTE_REST;
        ret->text = (str){text.p + 1, text.n - 1};
        return 0;
    }
    ssize_t n = percent_path_decode(text, *scratch);
    if (n < 0)
        return (int)n;
    *ret = (route_segment){ROUTE_LITERAL, {*scratch, (size_t)n}};
    *scratch += n;
    return 0;
}

/* Cut the segment that begins at *at. Then *at is behind its '/', or path.n + 1 after the last one. */
static str cut_segment(str path, size_t *at)
{
    const char *begin = path.p + *at;
    size_t left = path.n - *at;
    const char *end = left > 0 ? memchr(begin, '/', left) : NULL;
    size_t n = end ? (size_t)(end - begin) : left;
    *at += n + 1;
    return (str){begin, n};
}

int route_add_pattern(route_tree *tree, enum http_method method, str pattern, str where,
                      const route **ret_route, char *error, size_t error_size)
{
    complaint to = {error, error_size, where};
    route_segment segments[ROUTE_MAX_SEGMENTS + 1];
    if (pattern.n == 0 || pattern.p[0] != '/')
        return complain(&to, -EINVAL, "the path \"%.*s\" must begin with /", (int)pattern.n,
                        pattern.p ? pattern.p : "");
    char *texts = malloc(pattern.n);
    if (!texts)
        return complain(&to, -ENOMEM, "out of memory");
    char *scratch = texts;
    size_t n = 0;
    int err = 0;
    for (size_t at = 1; !err && at <= pattern.n && n <= ROUTE_MAX_SEGMENTS; n++)
        err = parse_segment(cut_segment(pattern, &at), &scratch, &segments[n]);
    if (err)
        complain(&to, err, "the path \"%.*s\" has a bad percent escape or a NUL byte", (int)pattern.n,
                 pattern.p);
    else
        err = route_add(tree, method, segments, n, where, ret_route, error, error_size);
    free(texts);
    return err;
}

/* ---- searching ---- */

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
    piece made = {raw, raw.n, HASH_START, escapes && percent_path_needs(raw)};
    if (!made.escaped) {
        if (raw.n <= longest)
            made.hash = hash_bytes(raw);
        return made;
    }
    made.n = 0;
    for (const char *p = raw.p; p < raw.p + raw.n && made.n <= longest; made.n++)
        made.hash = hash_step(made.hash, percent_path_step(&p));
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
        s->pieces[s->npieces++] = piece_of(cut_segment(path, &at), escapes, tree->longest);
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
