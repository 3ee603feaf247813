/* top: `poolsrv top`: a live view of a running server, by what it tells at its admin address.
 *
 * On a terminal it is a page that keys act on; elsewhere, or with a count, blocks of text. Threads: the
 * process's first, before there are others. */
#ifndef PROGRAM_TOP_H
#define PROGRAM_TOP_H

/* Run until the user, a signal or the count ends it. argv[0] is "top".
 * Returns: the exit code: 0; 1 when the server cannot be reached; 2 for wrong usage. */
int top_main(int argc, char **argv);

#endif
