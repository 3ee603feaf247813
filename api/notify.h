/* notify: tell a service manager how the program is doing (sd_notify(3)), without its library.
 * Threads: any. Without NOTIFY_SOCKET in the environment nothing happens. */
#ifndef API_NOTIFY_H
#define API_NOTIFY_H

#include <stddef.h>

/* Send "READY=1", "STOPPING=1". */
void notify_service_manager(const char *state);

/* Have descriptors kept under a name, for a program that is started in the place of this one: FDSTORE=1 of
 * sd_pid_notify_with_fds(3). They come back by LISTEN_FDS and LISTEN_FDNAMES. */
void notify_keep(const int *fds, size_t n, const char *name);

#endif
