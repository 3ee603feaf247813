/* profile: which fields of the context a live server's handlers read, and which strategy suits that best.
 *
 * `poolsrv profile ADDRESS` reads the counts in /metrics, poolsrv_context_field_reads_total, and reckons what
 * each strategy would cost for them with the costs in context_costs.def. A simplification: what the fields
 * add is summed, each read once a request, with values of the size that they had when the costs were
 * measured. Threads: the program's one. */
#ifndef PROGRAM_PROFILE_H
#define PROGRAM_PROFILE_H

#include <stdio.h>

#include "api/poolsrv.h"
#include "api/program/scrape.h"

/* The subcommand; `words` is what follows its name on the command line, closed by NULL.
 * Returns: 0, PS_EINVAL for wrong words or a wrong address, PS_ESYSTEM when there are no figures, PS_ENOMEM.
 */
int profile_run(char **words, ps_error *err);

/* Print the report on `s` to `out`. Returns: 0, PS_ESYSTEM when these are not poolsrv's metrics, PS_ENOMEM.
 */
int profile_print(FILE *out, const scrape *s, ps_error *err);

#endif
