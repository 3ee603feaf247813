/* top_page: lines of text for a terminal, each with a style and at most as wide as there are columns.
 *
 * It knows no terminal, so a test can read it. What fails for want of memory makes the page fail as a whole,
 * at its end. Threads: whoever owns it. */
#ifndef PROGRAM_TOP_PAGE_H
#define PROGRAM_TOP_PAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

typedef enum top_style { TOP_PLAIN, TOP_STRONG, TOP_HEAD, TOP_DIM, TOP_ALARM } top_style;

typedef struct top_line {
    char *text;
    top_style style;
    size_t mark_from, mark_columns; /* a part that is to stand out */
} top_line;

typedef struct top_page {
    top_line *lines;
    size_t count, room; /* lines that are written, and that there are */
    size_t width;
    bool failed;
    /* The line that is being written; `out` is NULL when there is none. */
    FILE *out;
    char *text;
    size_t bytes;
    size_t column;
    top_line line;
} top_page;

/* Begin an empty page. */
void top_page_init(top_page *p, size_t width, size_t lines);

/* Free the lines; the page may be all zero. */
void top_page_fini(top_page *p);

/* A line is opened, written to and closed. Lines that have no room on the page are dropped. */
void top_page_open(top_page *p, top_style style);
void top_page_close(top_page *p);
void top_page_line(top_page *p, top_style style, const char *text);

/* How much room is left, on the line and below it. */
size_t top_page_columns_left(const top_page *p);
size_t top_page_lines_left(const top_page *p);

/* Write what fits; text is cleaned (top_text_name). `left` and `right` say at which edge of a cell of `width`
 * columns it stands. */
void top_page_put(top_page *p, const char *text);
void top_page_blanks(top_page *p, size_t n);
void top_page_left(top_page *p, const char *text, size_t width);
void top_page_right(top_page *p, const char *text, size_t width);

/* One of several pieces of ASCII that follow each other, on a next line where the first is full. An alarm
 * stands out. */
void top_page_item(top_page *p, bool alarm, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* What was written since column `from` stands out. */
void top_page_mark(top_page *p, size_t from);

#endif
