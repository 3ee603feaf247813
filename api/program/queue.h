/* queue: `poolsrv queue ls|peek|retry|purge`: the queues of a running server, by its admin address.
 *
 * Threads: the program's one. */
#ifndef PROGRAM_QUEUE_H
#define PROGRAM_QUEUE_H

#include "api/poolsrv.h"

extern const char queue_help[];

/* The subcommand; `words` is what follows its name on the command line, closed by NULL.
 * Returns: 0, PS_EINVAL for wrong words, PS_ESYSTEM when the server did not do it, PS_ENOMEM. */
int queue_run(char **words, ps_error *err);

#endif
