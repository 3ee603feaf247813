/* canned: the replies that the server makes by itself, without the app.
 * Threads: whoever holds the task. */
#ifndef RUNTIME_CANNED_H
#define RUNTIME_CANNED_H

#include "runtime/task.h"

/* Make the task's reply {"error": message, "status": n, "request_id": id}. `message` is plain ASCII without
 * quotes. Short of memory the reply has no body. The task's state is left alone. */
void canned_error(HttpTask *t, int status, const char *message);

/* The same for 503, with a Retry-After of a second. */
void canned_busy(HttpTask *t, const char *message);

/* The same with a Retry-After of so many. */
void canned_busy_for(HttpTask *t, const char *message, unsigned seconds);

/* Make it a reply without a body: 204 and the like. */
void canned_empty(HttpTask *t, int status);

/* Add a header to the reply. Returns: 0 or -ENOMEM. */
int canned_header(HttpTask *t, const char *name, const char *value);

#endif
