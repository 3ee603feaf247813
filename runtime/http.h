/* http: the connections of one thread. Only this file and http_reply know libmicrohttpd.
 *
 * The daemon runs in external epoll mode: nothing happens but in http_run. It is never MHD's own polling
 * thread or pool, which hang when exactly 128 events come at once, and drain with a race.
 *
 * A request is read in three kinds of calls of MHD's access handler: the first (head), body calls, and the
 * last. The last one neither answers nor suspends: MHD then calls the handler again in every http_run, and
 * there the task's state alone decides: DONE, its reply is queued; waiting, the connection is suspended,
 * there and nowhere else (suspended in the last call, a client that half-closes would lose its reply).
 *
 * Threads: all of it, the owner only, but for http_ended. */
#ifndef RUNTIME_HTTP_H
#define RUNTIME_HTTP_H

#include <stdbool.h>
#include <stdint.h>

#include "runtime/judge.h"
#include "runtime/peers.h"
#include "runtime/task.h"
#include "runtime/trust.h"

typedef struct http http;

typedef struct http_config {
    bool own_listener;        /* nobody else accepts from it */
    int listen_fd;            /* listening; stays the caller's */
    unsigned max_connections; /* beyond it clients wait in the listen queue */
    size_t header_room;       /* bytes a connection holds for its heads */
    uint64_t max_body;        /* bytes of a request's body */
    head_limits head;         /* of a request's head, where the room holds more */
    peer_limits limits;       /* of a client's time */
    bool send_request_id;     /* X-Request-Id on every reply */
    const trust *trusted;     /* proxies, or NULL for none; the caller's */
} http_config;

/* What the owner is told. `owner` is what was given to http_new. */
typedef struct http_events {
    /* A task for a request that begins, in state FILLING, or NULL when memory is short. */
    HttpTask *(*take)(void *owner);
    /* The head is there and good; the body is not. Route it. */
    void (*head)(void *owner, HttpTask *t);
    /* Some of the body has come. */
    void (*body)(void *owner, HttpTask *t);
    /* All of it is there: make it QUEUED or DONE. */
    void (*ready)(void *owner, HttpTask *t);
    /* Its connection has just been suspended: it may go to another thread now. */
    void (*suspended)(void *owner, HttpTask *t);
    /* Its reply was handed to the daemon: it is SENT. */
    void (*sent)(void *owner, HttpTask *t);
    /* The daemon has ended the request, whatever its state: it is the owner's to free. */
    void (*gone)(void *owner, HttpTask *t);
    /* A connection is closed with the client perhaps still sending: read `fd` (now the owner's) to its end
     * for a while, or the early answer is lost to a reset. */
    void (*linger)(void *owner, int fd);
    /* A message of the daemon's about a trouble. */
    void (*trouble)(void *owner, const char *message);
} http_events;

/* Returns: 0 and *ret_http, or -errno. */
int http_new(const http_config *config, const http_events *events, void *owner, http **ret_http);

/* Nothing may be suspended. Connections that are open are closed. NULL is fine. */
void http_free(http *h);

/* Becomes readable when http_run has something to do. */
int http_poll_fd(const http *h);

/* Read, call back, write: everything that can be done without waiting. `now_ns` is a monotonic clock. */
void http_run(http *h, uint64_t now_ns);

/* How long http_run can wait: milliseconds, 0 for not at all, -1 for as long as the descriptor is not
 * readable. Ask after the last http_run only. */
int http_timeout_ms(const http *h);

/* Let the daemon go on with a suspended task's connection. Each call lets the next http_run look at all that
 * are suspended, so resume in batches. */
void http_resume(http *h, HttpTask *t);

/* Answer the client of a LOST task by hand, with the reply that another task holds (NULL: none), and send
 * nothing more. The connection and what the task has of its memory stay until http_resume, which closes it.
 * Call it between two runs of the daemon. */
void http_abandon(http *h, HttpTask *t, const HttpTask *reply);

/* How many connections are open, and whether that is all that can be: by the limit, or since the process is
 * out of descriptors. At the limit the daemon does not see by itself when it may accept again: call http_run
 * now and then. */
unsigned http_connections(const http *h);
bool http_at_limit(const http *h);

/* Whether http_poll_fd stays readable though nothing can be done: no descriptor is left to accept with, and
 * there is no connection whose end would bring one. Do not wait for it then; call http_run now and then. */
bool http_is_stuck(const http *h);

/* How many connections were ended for that reason. Thread: any. */
uint64_t http_ended(const http *h, peer_late why);

/* From now on every reply closes its connection. */
void http_close_after_replies(http *h);

/* Whether clients wait in the accept queue. */
bool http_has_queued(const http *h);

/* Accept no more. The caller's listening descriptor stays open, but takes no connections any more if it is
 * own_listener. */
void http_quiesce(http *h);

/* End every connection that no request is being answered on. For the end of a drain. */
void http_close_idle(http *h);

/* End every connection. */
void http_close_all(http *h);

#endif
