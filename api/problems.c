#include "api/problems.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TEXT_BYTES = 2048 };

struct problem {
    char *text;
    size_t file_bytes; /* 0: it names no place */
    unsigned long line;
};

/* Find "file:12: " at the front. */
static void find_place(problem *one)
{
    for (const char *colon = one->text; (colon = strchr(colon, ':')) != NULL; colon++) {
        char *end = NULL;
        one->line = colon[1] >= '0' && colon[1] <= '9' ? strtoul(colon + 1, &end, 10) : 0;
        if (end && end[0] == ':' && end[1] == ' ') {
            one->file_bytes = (size_t)(colon - one->text);
            return;
        }
    }
}

static int make_room(problems *p)
{
    if (p->n < p->cap)
        return 0;
    size_t cap = p->cap ? 2 * p->cap : 16;
    problem *list = realloc(p->list, cap * sizeof(*list));
    if (!list)
        return -1;
    p->list = list;
    p->cap = cap;
    return 0;
}

void problems_add(problems *p, const char *text)
{
    problem one = {.text = strndup(text, strcspn(text, "\n"))};
    if (!one.text || make_room(p) != 0) {
        free(one.text);
        p->lost = true;
        return;
    }
    find_place(&one);
    p->list[p->n++] = one;
}

void problems_addf(problems *p, const char *format, ...)
{
    char text[TEXT_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    problems_add(p, text);
}

static int compare(const void *left, const void *right)
{
    const problem *a = left, *b = right;
    size_t least = a->file_bytes < b->file_bytes ? a->file_bytes : b->file_bytes;
    int order = memcmp(a->text, b->text, least);
    if (order == 0 && a->file_bytes != b->file_bytes)
        order = a->file_bytes < b->file_bytes ? -1 : 1;
    if (order == 0 && a->line != b->line)
        order = a->line < b->line ? -1 : 1;
    return order ? order : strcmp(a->text, b->text);
}

void problems_sort(problems *p)
{
    size_t kept = 0;
    if (p->n > 0)
        qsort(p->list, p->n, sizeof(*p->list), compare);
    for (size_t i = 0; i < p->n; i++) {
        if (kept > 0 && strcmp(p->list[kept - 1].text, p->list[i].text) == 0)
            free(p->list[i].text);
        else
            p->list[kept++] = p->list[i];
    }
    p->n = kept;
}

const char *problems_at(const problems *p, size_t i)
{
    return p->list[i].text;
}

void problems_fini(problems *p)
{
    for (size_t i = 0; i < p->n; i++)
        free(p->list[i].text);
    free(p->list);
    *p = (problems){0};
}
