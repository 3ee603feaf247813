/* admin: the address for those who run the server: is it alive, does it take requests, what has it counted,
 * what is in its queues.
 *
 * A thread of its own answers, through the same front as the workers' (runtime/http) and without ever running
 * an app's code, so it answers when every handler is stuck, and during a drain until admin_stop. What has to
 * be waited for suspends the request and not the thread.
 *
 *     GET /healthz    200 "ok"
 *     GET /readyz     200 "ready", or 503 "draining"
 *     GET /metrics    200 and what the source renders, or 500
 *     /queues...      as in runtime/admin_queues.h
 *
 * HEAD works where GET does. There is no access control: the address is to be a private one. */
#ifndef RUNTIME_ADMIN_H
#define RUNTIME_ADMIN_H

#include <stdbool.h>

#include "queue/buf.h"
#include "runtime/admin_queues.h"
#include "runtime/later.h"
#include "runtime/log.h"

typedef struct admin admin;

/* Where the answers come from. All are called on the admin thread, and must not wait. */
typedef struct admin_source {
    void *user;
    bool (*ready)(void *user);            /* NULL: always */
    int (*metrics)(void *user, buf *out); /* appends; 0 or a negative errno. NULL: none */
    /* Bring up to date what the metrics need and call `done` once, on any thread and maybe before it returns;
     * they are made then, or without it after a while. Returns: whether it will. NULL: there is nothing. */
    bool (*refresh)(void *user, void (*done)(void *with), void *with);
    mq *(*queues)(void *user); /* NULL, as what it returns: none */
    void (*consumers)(void *user, void (*each)(void *to, const consumer *c), void *to); /* NULL: none */
} admin_source;

/* Start answering on a listening descriptor.
 * Owns:    copies *source; the descriptor and the log stay the caller's, until admin_stop.
 * Returns: 0, or -errno with nothing left behind. */
int admin_start(int listen_fd, const admin_source *source, logger *log, admin **ret_admin);

/* Stop: connections that are open are closed. NULL is fine. Thread: one, once. */
void admin_stop(admin *a);

#endif
