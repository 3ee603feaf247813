#include "queue/slab.h"

#include <assert.h>
#include <stdalign.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK_OBJECTS = 32, POISON = 0xdb };

typedef struct object {
    struct object *next_free; /* in front of the caller's bytes, so that these stay untouched while free */
    int taken;
    alignas(max_align_t) unsigned char bytes[];
} object;

typedef struct chunk {
    struct chunk *next;
    size_t objects;
    alignas(max_align_t) unsigned char bytes[];
} chunk;

struct slab {
    size_t object_bytes;
    size_t kept_bytes;
    size_t stride;
    size_t in_use;
    void (*fini)(void *object);
    object *free;
    chunk *chunks;
};

static void poison(const slab *s, object *o)
{
#ifdef POOLSRV_DEBUG
    memset(o->bytes + s->kept_bytes, POISON, s->object_bytes - s->kept_bytes);
#else
    (void)s;
    (void)o;
#endif
}

slab *slab_new(size_t object_bytes, size_t kept_bytes, void (*fini)(void *object))
{
    assert(kept_bytes <= object_bytes);
    slab *s = calloc(1, sizeof(*s));
    if (!s)
        return NULL;
    size_t align = alignof(max_align_t);
    s->object_bytes = object_bytes;
    s->kept_bytes = kept_bytes;
    s->stride = (sizeof(object) + object_bytes + align - 1) / align * align;
    s->fini = fini;
    return s;
}

static object *object_at(const slab *s, chunk *c, size_t i)
{
    return (object *)(void *)(c->bytes + i * s->stride);
}

void slab_free(slab *s)
{
    if (!s)
        return;
    while (s->chunks) {
        chunk *c = s->chunks;
        s->chunks = c->next;
        for (size_t i = 0; s->fini && i < c->objects; i++)
            s->fini(object_at(s, c, i)->bytes);
        free(c);
    }
    free(s);
}

static int grow(slab *s)
{
    chunk *c = calloc(1, sizeof(chunk) + CHUNK_OBJECTS * s->stride);
    if (!c)
        return -1;
    c->objects = CHUNK_OBJECTS;
    c->next = s->chunks;
    s->chunks = c;
    for (size_t i = CHUNK_OBJECTS; i-- > 0;) {
        object *o = object_at(s, c, i);
        poison(s, o);
        o->next_free = s->free;
        s->free = o;
    }
    return 0;
}

void *slab_take(slab *s)
{
    if (!s->free && grow(s) < 0)
        return NULL;
    object *o = s->free;
    s->free = o->next_free;
    s->in_use++;
    assert(!o->taken);
    o->taken = 1;
    return o->bytes;
}

void slab_give(slab *s, void *bytes)
{
    object *o = (object *)(void *)((unsigned char *)bytes - offsetof(object, bytes));
    assert(o->taken && "given back twice");
    o->taken = 0;
    poison(s, o);
    o->next_free = s->free;
    s->free = o;
    s->in_use--;
}

size_t slab_in_use(const slab *s)
{
    return s->in_use;
}
