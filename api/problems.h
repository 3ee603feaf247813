/* problems: what a check has found, as lines for people, in the order of file and line.
 * Threads: plain data, whoever owns it. All zero is an empty list. */
#ifndef API_PROBLEMS_H
#define API_PROBLEMS_H

#include <stdbool.h>
#include <stddef.h>

typedef struct problem problem;

typedef struct problems {
    problem *list;
    size_t n, cap;
    bool lost; /* memory ran out: not all are there */
} problems;

/* Add a text, most often "app.lua:12: ...", of which the first line is kept. */
void problems_add(problems *p, const char *text);

/* The same with printf's text. */
void problems_addf(problems *p, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Put them in order: without a place first, then by file, by line, and as they came. What is there twice
 * goes. */
void problems_sort(problems *p);

/* The i-th of p->n. Good until the list changes. */
const char *problems_at(const problems *p, size_t i);

void problems_fini(problems *p);

#endif
