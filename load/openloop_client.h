/* openloop_client: the connections, the requests at their times, and what came of them.
 *
 * One thread, one epoll descriptor, one timerfd; no pipelining. What cannot be done ends the program. */
#ifndef LOAD_OPENLOOP_CLIENT_H
#define LOAD_OPENLOOP_CLIENT_H

#include "histogram.h"
#include "openloop_options.h"

typedef enum conn_state { CONN_CLOSED, CONN_CONNECTING, CONN_IDLE, CONN_BUSY } conn_state;

typedef struct conn {
    int fd;
    conn_state state;
    uint64_t intended_ns; /* when the request it carries was due */
    size_t sent_bytes;
    size_t input_bytes, input_room;
    char *input;
} conn;

typedef struct openloop_tally {
    uint64_t sent, ok, wrong;
    uint64_t refused, closed, protocol, timeout; /* the errors, by kind */
} openloop_tally;

typedef struct openloop_client {
    openloop_options opt;
    char *request;
    size_t request_bytes;
    bool bodiless; /* HEAD: a Content-Length announces nothing */
    int epoll, timer;
    uint64_t start_ns, sweep_ns, last_reply_ns;
    uint64_t next; /* number of the next request to send */
    unsigned busy; /* connections that carry a request, */
    unsigned connecting;
    unsigned idle_head, idle_count; /* and those that carry none: a ring, so that all take turns */
    unsigned *idle;
    conn *conns;
    openloop_tally tally;
    histogram latency;
} openloop_client;

/* Make ready what cl->opt asks for; the rest of *cl is zero. openloop_client_fini lets it go. */
void openloop_client_init(openloop_client *cl);
void openloop_client_fini(openloop_client *cl);

/* Connect, send every request when it is due, and wait for the last reply. */
void openloop_client_run(openloop_client *cl);

#endif
