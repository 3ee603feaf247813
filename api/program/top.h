/* top: `poolsrv top`: a live view of a running server, by what it tells at its admin address.
 *
 * On a terminal it is a page that keys act on; elsewhere, or with a count, blocks of text. Threads: the
 * process's first, before there are others. */
#ifndef PROGRAM_TOP_H
#define PROGRAM_TOP_H

#include "api/poolsrv.h"

/* What `poolsrv top --help` prints. */
extern const char top_help[];

/* The subcommand: until the user, a signal or the count ends it. `words` is what follows its name on the
 * command line, closed by NULL. Returns: 0; PS_EINVAL for wrong usage; PS_ESYSTEM when the server cannot be
 * reached, at the start or, with a count, at the end; PS_ENOMEM. */
int top_run(char **words, ps_error *err);

#endif
