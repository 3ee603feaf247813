/* notify: tell a service manager how the program is doing (sd_notify(3)), without its library.
 * Threads: any. Without NOTIFY_SOCKET in the environment nothing happens. */
#ifndef API_NOTIFY_H
#define API_NOTIFY_H

/* Send "READY=1", "STOPPING=1". */
void notify_service_manager(const char *state);

#endif
