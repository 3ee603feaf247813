/* task: one HTTP request on its way through the server, and the state machine of that way.
 *
 * Who may touch a task follows from where it is. Its owner, the thread whose daemon holds the connection,
 * made it and frees it. While it is on the way to, at, or on the way back from a heavy worker, its connection
 * is suspended, the daemon cannot end it, and it belongs to whoever took it from a ring. At all other times
 * it belongs to its owner alone. No field needs an atomic: each hand-over goes through a ring. */
#ifndef RUNTIME_TASK_H
#define RUNTIME_TASK_H

#include <stdbool.h>
#include <stdint.h>

#include "queue/address.h"
#include "queue/await.h"
#include "queue/buf.h"
#include "queue/str.h"
#include "queue/timers.h"
#include "runtime/limits.h"
#include "runtime/route.h"

#define TASK_STATES(X)                                                                                       \
    X(FREE)      /* in the slab */                                                                           \
    X(FILLING)   /* its head and body are arriving */                                                        \
    X(QUEUED)    /* on a ring, or about to go onto one */                                                    \
    X(RUNNING)   /* its handler runs on some thread */                                                       \
    X(PARKED)    /* its handler waits, and holds no thread */                                                \
    X(DONE)      /* its reply is complete */                                                                 \
    X(SENT)      /* its reply was handed to the daemon */                                                    \
    X(LOST)      /* its handler's thread is lost, and the client was answered without it */                  \
    X(CANCELLED) /* the daemon ended its connection; freed when the last place that holds it lets go */

typedef enum task_state {
#define X(name) TASK_##name,
    TASK_STATES(X)
#undef X
        TASK_STATE_COUNT
} task_state;

enum {
    TASK_INLINE_HEADERS = 16, /* more than this and they move to the heap */
    TASK_INLINE_TARGET = 96,  /* bytes of a target with a query kept without malloc */
    TASK_ID_BYTES = 33,
    TASK_KEPT_BUFFER_BYTES = 16384 /* a larger reply buffer is freed with its request, not kept */
};

/* A header of the request; the daemon's memory, good until the task is freed. */
typedef str_pair task_header;

/* What a runner may say a handler ended with. */
typedef enum task_outcome {
    TASK_OUTCOME_REPLY,  /* a reply of the app's */
    TASK_OUTCOME_ERROR,  /* the handler failed: a 500 */
    TASK_OUTCOME_SERVER, /* the server answered by itself: 404, 413, 503 ... */
} task_outcome;

typedef struct HttpTask {
    /* Kept from one request to the next, so that their memory is used again: see TASK_KEPT_BYTES. */
    buf body; /* of the reply */
    buf head; /* of the reply: name NUL value NUL ... */

    /* The rest is undefined in a free task. */
    task_state state;
    bool suspended;         /* [owner] the daemon holds the connection back */
    bool judged;            /* [owner] the head has been looked at */
    bool heavy;             /* goes to the heavy workers */
    bool close;             /* the connection ends with this reply */
    bool dropped;           /* [owner] cancelled while a coroutine or a ring still held it */
    unsigned version_minor; /* of HTTP/1.x */

    void *owner;        /* the thread object that made it; NULL for a request without a socket */
    void *connection;   /* the daemon's connection; for runtime/http only */
    struct peer *peer;  /* what is known of the connection, or NULL; likewise */
    void *response;     /* what its reply was made of; for runtime/http only */
    const char *ip;     /* the client's address as text, or NULL on a Unix socket */
    const char *scheme; /* a constant that a trusted proxy said, or NULL: http */
    str host;           /* what a trusted proxy or an absolute target said; p is NULL: the header counts */

    /* The request. */
    int method_id; /* enum http_method */
    str method;
    str target; /* as it came, query and all */
    str path;   /* the part of target before '?' */
    str query;  /* the part behind it */
    task_header *headers;
    uint32_t header_count, header_room;
    buf request_body;
    uint64_t body_declared;       /* Content-Length, or 0 */
    const route *route;           /* NULL when none fits */
    struct lane *lane;            /* the route's */
    const run_limits *limits;     /* the route's; NULL: those of the thread */
    void *app;                    /* what the route belongs to: a generation of the app */
    str params[ROUTE_MAX_PARAMS]; /* raw values, in the order of route->params */

    /* The reply. */
    int status;
    const char *content_type; /* a constant, or NULL for none */
    size_t body_from;         /* where in `body` the reply's bytes begin */
    task_outcome outcome;
    run_limit limit; /* that the handler met */
    str id;          /* the request id, or empty while nobody asked for it; see task_id */

    /* The run. */
    void *vm;             /* the VM it waits in, while parked */
    void *run;            /* for the runner only */
    uint32_t fields_read; /* context fields the handler has read, one bit each */
    struct timer timer;   /* while parked; and the place in it */
    struct inbox *inbox;  /* of the thread that runs it */
    letter letter;        /* to the thread that is to run it: LETTER_TASK or LETTER_JOB */
    letter *spawned;      /* PARKED tasks that its handler has spawned in this run: the first of them ... */
    letter **spawned_end; /* ... and where the next goes */
    await *await;         /* parked: what it waits for besides the time, a reference, or NULL */
    uint64_t wake_ns;     /* parked: when it wants to go on, monotonic */
    uint64_t deadline_ns; /* when its handler has waited too long, or 0 */
    uint64_t received_ns; /* monotonic: the head was read */
    uint64_t ready_ns;    /* it was complete and queued */
    uint64_t started_ns;  /* the handler was started, or 0 */
    uint64_t run_ns;      /* time spent in the handler, waits not counted */
    uint64_t cost_ns;     /* heavy: by how much it is expected to delay those behind it; for pool_admit */

    struct job *job; /* what is run in the place of a route's handler, or NULL; for the runner only */

    /* A request without a socket, or a job: called on the thread that finished it. */
    void (*on_done)(struct HttpTask *t);
    void *user;

    char id_text[TASK_ID_BYTES];
    char ip_text[ADDRESS_TEXT_BYTES]; /* for ip, where a proxy said it */
    char target_text[TASK_INLINE_TARGET];
    task_header inline_headers[TASK_INLINE_HEADERS];
} HttpTask;

/* How many bytes at the front of a task are kept between requests, for slab_new. */
#define TASK_KEPT_BYTES offsetof(HttpTask, state)

/* Make a task from the slab ready for a request: FREE to FILLING. */
void task_begin(HttpTask *t, void *owner);

/* Free what the request held and keep what the next can use: SENT, CANCELLED or FILLING to FREE. The caller
 * gives the task back to its slab. */
void task_end(HttpTask *t);

/* Free the kept buffers; for slab_new. */
void task_fini(void *task);

/* Move to another state; a step that the machine does not have is a bug and stops a debug build. */
void task_move(HttpTask *t, task_state to);

/* Whether the machine has that step. */
bool task_may_move(task_state from, task_state to);

const char *task_state_name(task_state state);

/* Keep a copy of the target and split it at the first '?'. Returns: 0 or -ENOMEM. */
int task_set_target(HttpTask *t, str target);

/* Append a header; the strings stay the caller's and must live as long as the task. Returns: 0 or -ENOMEM. */
int task_add_header(HttpTask *t, str name, str value);

/* The first header of that name (lower case or not), or an empty slice with p NULL. */
str task_header_find(const HttpTask *t, str name);

/* What a letter of the kind LETTER_TASK is part of. */
HttpTask *task_of_letter(letter *l);

/* Have a PARKED task run by the thread that runs `by`, once that run is over. Thread: that one. */
void task_add_spawned(HttpTask *by, HttpTask *spawned);

/* The first of them that is left, or NULL. Thread: who has `by`. */
HttpTask *task_take_spawned(HttpTask *by);

/* The request id: the client's X-Request-Id where it is sane (1 to 64 letters, digits and ".-_"), else made
 * here at the first call. */
str task_id(HttpTask *t);

#endif
