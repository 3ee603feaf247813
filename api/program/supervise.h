/* supervise: `poolsrv --supervise`: run the server as a child, and start it again when it crashes.
 *
 * The parent is to the child what systemd would be: it listens at NOTIFY_SOCKET, keeps the sockets that the
 * child hands it (FDSTORE=1), and gives them to the next child (LISTEN_FDS, LISTEN_FDNAMES). So clients that
 * connect while no child runs wait in the accept queue, and none is refused. It runs nothing of the app's and
 * has one thread. */
#ifndef API_PROGRAM_SUPERVISE_H
#define API_PROGRAM_SUPERVISE_H

/* Until the child ends by itself, or is stopped by SIGTERM or SIGINT, which are passed on. A child that
 * crashes or fails after it was ready is started again: at once, and after pauses that grow to 5 seconds
 * where each dies young. `argv` is the child's command line. Returns: the exit status of the program. */
int supervise(char **argv);

#endif
