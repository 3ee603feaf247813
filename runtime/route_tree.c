#include "runtime/route_tree.h"

#include <errno.h>
#include <stdlib.h>

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

node *route_tree_literal(node *n, str text)
{
    uint32_t hash = route_tree_hash(text);
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

node *route_tree_param(node *n, node **at)
{
    if (!*at)
        *at = node_new((str){0}, n->nparams + 1);
    return *at;
}
