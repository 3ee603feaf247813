/* heap: the memory of one Lua state.
 *
 * Lua asks for many small blocks and names their size again when it gives them back. So a small block needs
 * no header: it lies in a page whose blocks all have one size, and its page is found by its address. Taking
 * one is a pop from the page's list, giving it back a push. Pages come from the C library in groups, and a
 * group that is empty goes back to it, so that a VM which once held much does not hold it for ever. Large
 * blocks are the C library's own.
 *
 * Threads: whoever holds the VM. */
#ifndef VM_HEAP_H
#define VM_HEAP_H

#include <stddef.h>

enum {
    HEAP_STEP_BYTES = 16,  /* sizes are rounded up to it */
    HEAP_SMALL_BYTES = 512 /* larger blocks come from malloc */
};

typedef struct heap_page heap_page;

/* All zero is an empty heap. */
typedef struct heap {
    heap_page *open[HEAP_SMALL_BYTES / HEAP_STEP_BYTES]; /* by size: pages with room */
    heap_page *idle;                                     /* pages that hold nothing */
    size_t idle_count;
    size_t bytes; /* that Lua has asked for and not given back */
} heap;

/* As lua_Alloc: make a block of `size` bytes of the block p of `old` bytes. p may be NULL, then `old` counts
 * for nothing; size may be 0, then p is freed. Returns: NULL when memory is short, with p as it was. */
void *heap_resize(heap *h, void *p, size_t old, size_t size);

/* Give the idle pages back. Every block must be freed. */
void heap_fini(heap *h);

#endif
