/* http_reply: finished tasks become the daemon's response objects.
 *
 * A response takes the daemon eight allocations, a mutex and several passes over its headers. Most replies
 * are small and have no headers of the app's own, so their responses differ in length, type and date alone:
 * those are kept when they were sent, and serve the next reply of the same kind. What is kept lasts for the
 * second that its Date names.
 *
 * Threads: the owner of the connections only. */
#ifndef RUNTIME_HTTP_REPLY_H
#define RUNTIME_HTTP_REPLY_H

#include <stdbool.h>

#include "runtime/task.h"

enum {
    HTTP_REPLY_KEPT_BYTES = 1024, /* a larger body is not copied, and its response not kept */
    HTTP_REPLY_KEPT_MAX = 512     /* so many are kept at most */
};

typedef struct http_replies http_replies;

/* Returns: NULL when memory is short. */
http_replies *http_replies_new(void);

/* No reply may be on its way. NULL is fine. */
void http_replies_free(http_replies *r);

/* Queue the reply of a task that is DONE on its connection.
 * Owns:    the daemon reads the task's body until http_reply_ended.
 * Returns: 0, or -ENOMEM with nothing queued. */
int http_reply_queue(http_replies *r, HttpTask *t, bool send_id, bool close);

/* Write the reply of a task straight to a socket, to be closed after it. What its buffer does not take at
 * once is not sent: it is meant for the server's own small ones. */
void http_reply_raw(int fd, const HttpTask *t, bool without_body);

/* The daemon has let go of the task, whatever became of its reply. */
void http_reply_ended(http_replies *r, HttpTask *t);

#endif
