/* Routes and paths: all lines but the last define routes, the last is searched for. "POST /x" is for that
 * method, a line without one for GET. Beyond not crashing: what is found must spell the path again. */
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#include "queue/percent.h"
#include "runtime/route.h"
#include "tests/route_pattern.h"

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

/* Take a method and a blank off the line. */
static enum http_method cut_method(str *line)
{
    const char *blank = line->n > 0 ? memchr(line->p, ' ', line->n) : NULL;
    size_t n = blank ? (size_t)(blank - line->p) : 0;
    int method = method_from((str){line->p, n});
    if (method < 0)
        return METHOD_GET;
    *line = (str){line->p + n + 1, line->n - n - 1};
    return (enum http_method)method;
}

/* The canonical pattern must be read as the same route. */
static void define(route_tree *tree, str line)
{
    char error[64];
    const route *r = NULL;
    enum http_method method = cut_method(&line);
    if (route_pattern_add(tree, method, line, STR("fuzz"), &r, error, sizeof error) != 0)
        return;
    must(route_pattern_add(tree, method, str_from(r->pattern), STR("fuzz"), NULL, error, sizeof error) ==
         -EEXIST);
}

static bool same_text(str raw, str pattern)
{
    char *texts = malloc(raw.n + pattern.n + 1);
    must(texts != NULL);
    ssize_t n = percent_path_decode(raw, texts);
    must(n >= 0);
    ssize_t m = percent_path_decode(pattern, texts + n);
    bool same = n == m && memcmp(texts, texts + n, (size_t)n) == 0;
    free(texts);
    return same;
}

/* Walk along path and pattern together. */
static void must_spell(str path, const route_matched *m)
{
    str pattern = str_from(m->route->pattern);
    size_t at = 0, in = 0, k = 0;
    while (in < pattern.n) {
        must(at < path.n && path.p[at] == '/' && pattern.p[in] == '/');
        at++;
        in++;
        const char *slash = memchr(pattern.p + in, '/', pattern.n - in);
        str part = {pattern.p + in, slash ? (size_t)(slash - pattern.p) - in : pattern.n - in};
        in += part.n;
        slash = memchr(path.p + at, '/', path.n - at);
        str segment = {path.p + at, slash ? (size_t)(slash - path.p) - at : path.n - at};
        bool param = part.n > 0 && (part.p[0] == ':' || part.p[0] == '*');
        if (param && part.p[0] == '*')
            segment.n = path.n - at;
        at += segment.n;
        if (param) {
            must(k < m->route->nparams && segment.n > 0);
            must(m->values[k].p == segment.p && m->values[k].n == segment.n);
            must(str_eq(m->route->params[k], (str){part.p + 1, part.n - 1}));
            k++;
        } else {
            must(same_text(segment, part));
        }
    }
    must(at == path.n && k == m->route->nparams);
}

static void search(const route_tree *tree, str path)
{
    route_matched m;
    enum http_method method = cut_method(&path);
    enum route_result result = route_match(tree, method, path, &m);
    bool good = path.n > 0 && path.p[0] == '/' && percent_path_check(path) == 0;
    must((result == ROUTE_BAD_PATH) == !good);
    must((result == ROUTE_FOUND) == (m.route != NULL));
    must((result == ROUTE_METHOD_NOT_ALLOWED) == (m.allowed != 0));
    if (m.allowed & ~METHOD_BIT(METHOD_OPTIONS) & METHOD_BIT(method))
        abort();
    if (result == ROUTE_FOUND) {
        must(m.route->method == method || (method == METHOD_HEAD && m.route->method == METHOD_GET));
        must_spell(path, &m);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    route_tree *tree = route_tree_new();
    must(tree != NULL);
    str left = {(const char *)data, size};
    str line = cut_line(&left);
    while (left.n > 0) {
        define(tree, line);
        line = cut_line(&left);
    }
    search(tree, line);
    route_tree_free(tree);
    return 0;
}
