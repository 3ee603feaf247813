/* top_plain: the model as a block of lines for grep and awk, where there is no terminal.
 *
 * Every line begins with what it is about: "server", "worker" or "route". A kind has always the same fields,
 * one word each, in fixed units; "-" stands for what is not known. Titles begin with "#". Threads: any; no
 * state. */
#ifndef PROGRAM_TOP_PLAIN_H
#define PROGRAM_TOP_PLAIN_H

#include <stdio.h>

#include "api/program/top_model.h"

/* Write a block, and an empty line behind it. `wall_s` is the time, since 1970. What fails, ferror(out)
 * tells. */
void top_plain_write(FILE *out, const top_model *m, double wall_s);

#endif
