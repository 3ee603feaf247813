#include "vm/heap.h"

#include <assert.h>
#include <stdalign.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#include <sanitizer/asan_interface.h>
#endif
#endif
/* So that the sanitizer sees a use after free in here as it does in malloc's. */
#ifndef ASAN_POISON_MEMORY_REGION
#define ASAN_POISON_MEMORY_REGION(p, n)   ((void)(p), (void)(n))
#define ASAN_UNPOISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
#endif

enum {
    PAGE_BYTES = 4096,
    GROUP_PAGES = 16,
    GROUP_BYTES = PAGE_BYTES * GROUP_PAGES,
    IDLE_PAGES_MAX = 2 * GROUP_PAGES /* beyond it, a group without a page in use is freed */
};

typedef struct block {
    struct block *next;
} block;

/* Both a page and a group of pages are aligned to their size: an address tells in which it lies. */
struct heap_page {
    heap_page *next, *prev; /* in heap.open or heap.idle */
    block *free;            /* blocks given back */
    uint16_t live;          /* blocks that Lua has */
    uint16_t carved;        /* blocks ever taken; what is behind them has not been touched */
    uint16_t capacity;
    uint16_t size_class;
    uint32_t group_used; /* in a group's first page: how many of its pages are not idle */
    alignas(HEAP_STEP_BYTES) unsigned char blocks[];
};

static size_t class_of(size_t size)
{
    return (size - 1) / HEAP_STEP_BYTES;
}

static size_t class_bytes(size_t size_class)
{
    return (size_class + 1) * HEAP_STEP_BYTES;
}

static void *align_down(void *p, uintptr_t bytes)
{
    return (char *)p - ((uintptr_t)p & (bytes - 1));
}

/* --- lists of pages --- */

static void link_page(heap_page **list, heap_page *page)
{
    page->prev = NULL;
    page->next = *list;
    if (*list)
        (*list)->prev = page;
    *list = page;
}

static void unlink_page(heap_page **list, heap_page *page)
{
    if (page->next)
        page->next->prev = page->prev;
    if (page->prev)
        page->prev->next = page->next;
    else
        *list = page->next;
}

/* --- groups --- */

static heap_page *page_in(heap_page *group, size_t i)
{
    return (heap_page *)(void *)((char *)group + i * PAGE_BYTES);
}

static bool add_group(heap *h)
{
    heap_page *group = aligned_alloc(GROUP_BYTES, GROUP_BYTES);
    if (!group)
        return false;
    group->group_used = 0;
    for (size_t i = GROUP_PAGES; i-- > 0;)
        link_page(&h->idle, page_in(group, i));
    h->idle_count += GROUP_PAGES;
    return true;
}

static void free_group(heap *h, heap_page *group)
{
    for (size_t i = 0; i < GROUP_PAGES; i++)
        unlink_page(&h->idle, page_in(group, i));
    h->idle_count -= GROUP_PAGES;
    ASAN_UNPOISON_MEMORY_REGION(group, GROUP_BYTES);
    free(group);
}

/* --- pages --- */

static heap_page *open_page(heap *h, size_t size_class)
{
    if (!h->idle && !add_group(h))
        return NULL;
    heap_page *page = h->idle;
    unlink_page(&h->idle, page);
    h->idle_count--;
    heap_page *group = align_down(page, GROUP_BYTES);
    group->group_used++;
    page->free = NULL;
    page->live = page->carved = 0;
    page->size_class = (uint16_t)size_class;
    page->capacity = (uint16_t)((PAGE_BYTES - sizeof(*page)) / class_bytes(size_class));
    ASAN_POISON_MEMORY_REGION(page->blocks, PAGE_BYTES - sizeof(*page));
    link_page(&h->open[size_class], page);
    return page;
}

static void close_page(heap *h, heap_page *page)
{
    unlink_page(&h->open[page->size_class], page);
    link_page(&h->idle, page);
    h->idle_count++;
    heap_page *group = align_down(page, GROUP_BYTES);
    if (--group->group_used == 0 && h->idle_count > IDLE_PAGES_MAX)
        free_group(h, group);
}

/* --- blocks --- */

/* From here on Lua may use `size` bytes of the block, and nothing else of it. */
static void allow(void *p, size_t size)
{
    ASAN_POISON_MEMORY_REGION(p, class_bytes(class_of(size)));
    ASAN_UNPOISON_MEMORY_REGION(p, size);
}

static void *take_small(heap *h, size_t size)
{
    size_t size_class = class_of(size);
    heap_page *page = h->open[size_class];
    if (!page && !(page = open_page(h, size_class)))
        return NULL;
    block *b = page->free;
    if (b) {
        ASAN_UNPOISON_MEMORY_REGION(b, sizeof(*b));
        page->free = b->next;
    } else {
        b = (block *)(void *)(page->blocks + page->carved++ * class_bytes(size_class));
    }
    allow(b, size);
    page->live++;
    if (!page->free && page->carved == page->capacity)
        unlink_page(&h->open[size_class], page);
    return b;
}

static void give_small(heap *h, void *p)
{
    heap_page *page = align_down(p, PAGE_BYTES);
    bool was_full = !page->free && page->carved == page->capacity;
    block *b = p;
    ASAN_UNPOISON_MEMORY_REGION(b, sizeof(*b));
    b->next = page->free;
    page->free = b;
    ASAN_POISON_MEMORY_REGION(b, class_bytes(page->size_class));
    page->live--;
    if (was_full)
        link_page(&h->open[page->size_class], page);
    /* The last page of a size stays: its next block is likely to be wanted soon. */
    else if (page->live == 0 && (page->next || page->prev))
        close_page(h, page);
}

static void *take(heap *h, size_t size)
{
    return size <= HEAP_SMALL_BYTES ? take_small(h, size) : malloc(size);
}

static void give(heap *h, void *p, size_t size)
{
    if (size <= HEAP_SMALL_BYTES)
        give_small(h, p);
    else
        free(p);
}

static void *move(heap *h, void *p, size_t old, size_t size)
{
    void *to = take(h, size);
    if (!to)
        return NULL;
    memcpy(to, p, old < size ? old : size);
    give(h, p, old);
    return to;
}

static bool fits(void *p, size_t old, size_t size)
{
    if (old > HEAP_SMALL_BYTES || size > HEAP_SMALL_BYTES || class_of(old) != class_of(size))
        return false;
    allow(p, size);
    return true;
}

void *heap_resize(heap *h, void *p, size_t old, size_t size)
{
    if (!p)
        old = 0;
    void *to = NULL;
    if (size == 0) {
        if (p)
            give(h, p, old);
    } else if (!p) {
        to = take(h, size);
    } else if (fits(p, old, size)) {
        to = p;
    } else if (old > HEAP_SMALL_BYTES && size > HEAP_SMALL_BYTES) {
        to = realloc(p, size);
    } else {
        to = move(h, p, old, size);
    }
    if (to || size == 0)
        h->bytes += size - old;
    return to;
}

void heap_fini(heap *h)
{
    assert(h->bytes == 0);
    for (size_t i = 0; i < sizeof(h->open) / sizeof(h->open[0]); i++)
        while (h->open[i])
            close_page(h, h->open[i]);
    while (h->idle)
        free_group(h, align_down(h->idle, GROUP_BYTES));
    *h = (heap){0};
}
