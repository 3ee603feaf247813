/* route_tree: what the tree of routes is made of. For the files of runtime/route.h alone: route_tree.c holds
 * the nodes, route_add.c builds, route_match.c searches. Threads: as route.h says. */
#ifndef RUNTIME_ROUTE_TREE_H
#define RUNTIME_ROUTE_TREE_H

#include <stdint.h>
#include <string.h>

#include "runtime/route.h"

typedef struct route_node node;

/* A place in a node's hash table of literal children; free when `to` is NULL. */
typedef struct slot {
    uint32_t hash;
    node *to;
} slot;

struct route_node {
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

/* The child of a node for a literal, for the parameter or the rest at *at; made if it is not there.
 * Returns: NULL when out of memory. */
node *route_tree_literal(node *n, str text);
node *route_tree_param(node *n, node **at);

/* FNV-1a, without a seed: the keys are the app's own, so no client can make one bucket long. */
static const uint32_t ROUTE_TREE_HASH_START = 0x811c9dc5;
static const uint32_t ROUTE_TREE_HASH_PRIME = 0x01000193;

static inline uint32_t route_tree_hash_step(uint32_t hash, unsigned char byte)
{
    return (hash ^ byte) * ROUTE_TREE_HASH_PRIME;
}

static inline uint32_t route_tree_hash(str s)
{
    uint32_t hash = ROUTE_TREE_HASH_START;
    for (size_t i = 0; i < s.n; i++)
        hash = route_tree_hash_step(hash, (unsigned char)s.p[i]);
    return hash;
}

/* Cut the segment that begins at *at. Then *at is behind its '/', or path.n + 1 after the last one. */
static inline str route_tree_cut(str path, size_t *at)
{
    const char *begin = path.p + *at;
    size_t left = path.n - *at;
    const char *end = left > 0 ? memchr(begin, '/', left) : NULL;
    size_t n = end ? (size_t)(end - begin) : left;
    *at += n + 1;
    return (str){begin, n};
}

#endif
