/* top_arguments: the command line of `poolsrv top`.
 *
 * Threads: one; getopt has its state in globals. */
#ifndef PROGRAM_TOP_ARGUMENTS_H
#define PROGRAM_TOP_ARGUMENTS_H

#include "api/program/top_model.h"
#include "api/program/usual_address.h"

typedef struct top_arguments {
    char address[ADDRESS_BYTES];
    int interval_ms;
    long count; /* blocks of text to print; 0: without end, and on the whole screen where there is one */
    top_sort sort;
} top_arguments;

/* Read the words, closed by NULL. Without an address it is the usual one.
 * Returns: 0, or PS_EINVAL with a line for the user. */
int top_arguments_read(top_arguments *args, char **words, ps_error *err);

#endif
