/* route: the tree of an app's routes, and the search for the one that answers a request.
 *
 * One thread builds the tree (route_tree_new, route_add...); from then on it does not change, and any number
 * of threads search it without a lock.
 *
 * A path is split at each raw '/', and only then decoded, so %2F stays inside its segment. Nothing is tidied:
 * an empty segment is a segment (`/users/` and `//` are paths of their own), "." and ".." are names like
 * others; "/" is one empty segment. At each segment a literal goes before a parameter and a parameter before
 * a rest, whatever the order of definition; where that way ends nowhere, or without the method asked for, the
 * next one is tried. So with GET /users/me and DELETE /users/:id, DELETE /users/me finds the second.
 *
 * Cost. The literals below a node are in a hash table and compared in full, so a step does not depend on the
 * number of routes. A node at depth d is only ever tried with segment d, and there is one way to it from the
 * root: a search enters each node at most once, and only where every segment before it fits. No try is made
 * twice, so there are no failed tries to remember. The worst an app can write is all 2^n mixtures of literals
 * and parameters over n segments, and even then a search takes at most as many steps as the app has nodes.
 * The path's bytes are split and hashed once, before the search. */
#ifndef RUNTIME_ROUTE_H
#define RUNTIME_ROUTE_H

#include <stddef.h>

#include "runtime/method.h"

enum {
    ROUTE_MAX_PARAMS = 16,  /* parameters of one route, the rest included */
    ROUTE_MAX_SEGMENTS = 64 /* and with it the depth of the tree and of the search's recursion */
};

enum route_kind {
    ROUTE_LITERAL, /* these very bytes, after decoding */
    ROUTE_PARAM,   /* any one segment that is not empty: /users/:id does not match /users/ */
    ROUTE_REST     /* all that is left, slashes included, if that is not empty: not /files/ itself */
};

typedef struct route_segment {
    enum route_kind kind;
    str text; /* the literal's bytes, or the parameter's name */
} route_segment;

typedef struct route {
    unsigned index; /* its place in the order of definition */
    enum http_method method;
    const char *pattern; /* "/users/:id"; no other route of its tree and method has the same */
    const char *where;   /* who defined it, "app.lua:12" */
    size_t nparams;
    const str *params; /* their names, from left to right, each closed by a NUL too */
} route;

typedef struct route_tree route_tree;

/* Returns: an empty tree, or NULL when out of memory. */
route_tree *route_tree_new(void);

/* Free the tree and all its routes. NULL is fine. */
void route_tree_free(route_tree *tree);

/* Add a route; n = 0 is the path "/".
 * A parameter's name is made of letters, digits, '_', '-' and bytes beyond ASCII.
 * Thread:  the builder.
 * Owns:    copies all it needs; *ret_route (may be NULL) belongs to the tree.
 * Returns: 0, or
 *          -EEXIST when the route is there already;
 *          -EINVAL for an empty or odd parameter name, a name twice in one route, two names for the parameter
 *          at one place, a rest that is not last, a NUL in a literal, and beyond the limits above;
 *          -ENOMEM.
 *          On failure the tree finds what it found before, and `error` says what is wrong, naming both places
 *          where there are two. */
int route_add(route_tree *tree, enum http_method method, const route_segment *segments, size_t n, str where,
              const route **ret_route, char *error, size_t error_size);

/* The routes in the order of definition; NULL from the count on. */
size_t route_tree_count(const route_tree *tree);
const route *route_tree_at(const route_tree *tree, size_t i);

enum route_result {
    ROUTE_FOUND,
    ROUTE_NOT_FOUND,
    ROUTE_METHOD_NOT_ALLOWED, /* the path is there, with other methods */
    ROUTE_BAD_PATH            /* bad escape, %00 or NUL anywhere in it, or it does not begin with '/' */
};

typedef struct route_matched {
    const route *route;           /* if found, else NULL */
    unsigned allowed;             /* if the method is not allowed: the set of those that are, else 0 */
    unsigned steps;               /* nodes entered and literals compared: what the search cost */
    str values[ROUTE_MAX_PARAMS]; /* route->nparams of them, raw: slices of the path, good as long as it is */
} route_matched;

/* Find the route for a path, undecoded and without '?' and query.
 * HEAD is answered by a HEAD route or, where a pattern has none, by its GET route. OPTIONS without a route of
 * its own is "not allowed": the caller answers 204 with the set. The set has HEAD where GET is, and always
 * OPTIONS. The target "*" is the caller's business.
 * Thread:  any, at the same time. No allocation; the recursion is no deeper than the tree.
 * Owns:    *ret borrows from the tree and from the path.
 * Returns: the result; *ret is filled as its fields say. Decoding a value as a path cannot fail any more. */
enum route_result route_match(const route_tree *tree, enum http_method method, str path, route_matched *ret);

#endif
