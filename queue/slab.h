/* slab: objects of one size, taken and given back by one thread without malloc once the slab has grown to its
 * use.
 *
 * The first `kept_bytes` of an object survive from give to the next take (zero at first): what is worth
 * keeping, such as a buffer, lives there. The rest is undefined when taken, and poisoned while it is free in
 * debug builds. Threads: the owner only; the objects themselves may be lent to others. */
#ifndef QUEUE_SLAB_H
#define QUEUE_SLAB_H

#include <stddef.h>

typedef struct slab slab;

/* `fini` is called for every object ever made, when the slab is freed; NULL for none.
 * Returns: the slab, or NULL when memory is short. */
slab *slab_new(size_t object_bytes, size_t kept_bytes, void (*fini)(void *object));

/* Frees every object, taken ones too. NULL is fine. */
void slab_free(slab *s);

/* Returns: an object aligned for any type, or NULL when memory is short. */
void *slab_take(slab *s);

/* Give an object back that slab_take of this slab returned. */
void slab_give(slab *s, void *object);

/* How many objects are taken. */
size_t slab_in_use(const slab *s);

#endif
