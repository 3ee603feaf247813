/* top_text: figures and names as short pieces of text, for cells of a table.
 *
 * A name may come from anywhere: what could steer a terminal, turn the direction of writing or take no
 * column is spelled out, as is whatever the current locale (LC_CTYPE) cannot show. Threads: any; no state. */
#ifndef PROGRAM_TOP_TEXT_H
#define PROGRAM_TOP_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "api/program/top_histogram.h"

enum { TOP_CELL_BYTES = 24 };

/* Each writes a figure into `cell`; "-" when it is not known. Returns: cell. */
char *top_text_rate(char cell[TOP_CELL_BYTES], double a_second);
char *top_text_count(char cell[TOP_CELL_BYTES], double n);
char *top_text_bytes(char cell[TOP_CELL_BYTES], double n);        /* "1.2 MB" */
char *top_text_latency(char cell[TOP_CELL_BYTES], top_latency t); /* "0.21ms", ">10s" */
char *top_text_age(char cell[TOP_CELL_BYTES], double seconds);    /* "3m12s": two units at most */

/* Write a name in at most `columns` columns; one that is longer ends in '~'.
 * Returns: how many columns it took. */
size_t top_text_name(FILE *out, const char *name, size_t columns);

/* How many columns the whole name takes. */
size_t top_text_width(const char *name);

/* Write the whole name as one word: blanks are spelled out, too. */
void top_text_word(FILE *out, const char *name);

#endif
