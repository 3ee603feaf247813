/* route_pattern: a route written as one string, for tests: ":id" is a parameter, "*path" a rest, all else a
 * literal in URL text. What a route says of itself (route.pattern) reads as the same route. */
#ifndef TESTS_ROUTE_PATTERN_H
#define TESTS_ROUTE_PATTERN_H

#include <errno.h>
#include <stdlib.h>

#include "queue/percent.h"
#include "runtime/route_tree.h"

/* One segment. Literals are decoded at *scratch, which moves on. */
static int route_pattern_segment(str text, char **scratch, route_segment *ret)
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

/* As route_add; -EINVAL without a text where the string is no pattern. */
static int route_pattern_add(route_tree *tree, enum http_method method, str pattern, str where,
                             const route **ret_route, char *error, size_t error_size)
{
    route_segment segments[ROUTE_MAX_SEGMENTS + 1];
    if (pattern.n == 0 || pattern.p[0] != '/')
        return -EINVAL;
    char *texts = malloc(pattern.n);
    if (!texts)
        return -ENOMEM;
    char *scratch = texts;
    size_t n = 0;
    int err = 0;
    for (size_t at = 1; !err && at <= pattern.n && n <= ROUTE_MAX_SEGMENTS; n++)
        err = route_pattern_segment(route_tree_cut(pattern, &at), &scratch, &segments[n]);
    if (!err)
        err = route_add(tree, method, segments, n, where, ret_route, error, error_size);
    free(texts);
    return err;
}

#endif
