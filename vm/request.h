/* request: what the host gives a VM to answer, and gets back. Plain data; no Lua.
 *
 * Threads: whoever holds the VM. All pointers stay the host's and must be good until the run is given back.
 */
#ifndef VM_REQUEST_H
#define VM_REQUEST_H

#include <stdbool.h>
#include <stdint.h>

#include "queue/buf.h"
#include "queue/job.h"
#include "queue/str.h"

/* What a handler can read of its context: X(name, text). One bit each in fields_read. */
#define CTX_FIELDS(X)                                                                                        \
    X(METHOD, "method")                                                                                      \
    X(PATH, "path")                                                                                          \
    X(TARGET, "target")                                                                                      \
    X(IP, "ip")                                                                                              \
    X(ID, "id")                                                                                              \
    X(SCHEME, "scheme")                                                                                      \
    X(HOST, "host")                                                                                          \
    X(HEADERS, "headers")                                                                                    \
    X(HEADER, "header")                                                                                      \
    X(QUERY, "query")                                                                                        \
    X(QUERY_ALL, "query_all")                                                                                \
    X(PARAMS, "params")                                                                                      \
    X(BODY, "body")                                                                                          \
    X(JSON, "json")                                                                                          \
    X(COOKIES, "cookies")

enum ctx_field {
#define X(name, text) CTX_##name,
    CTX_FIELDS(X)
#undef X
        CTX_FIELD_COUNT
};

/* What may end a handler. */
typedef enum vm_limit { VM_LIMIT_NONE, VM_LIMIT_CPU, VM_LIMIT_WALL, VM_LIMIT_MEMORY } vm_limit;

typedef struct vm_request {
    void *host;            /* the host's own handle */
    str (*id)(void *host); /* the request id, made at the first call */
    str method, target, query, body;
    str path;           /* raw: not decoded */
    const char *ip;     /* or NULL */
    const char *scheme; /* or NULL: http */
    str authority;      /* the host that was asked for, if not the one of the header; p may be NULL */
    const str_pair *headers;
    uint32_t header_count;
    const str *param_names, *param_values; /* the values raw, but well encoded */
    size_t param_count;
    unsigned route;         /* its index */
    const char *route_name; /* "/users/:id", for messages */
    job *job; /* what is run in the place of a route's handler, or NULL: no context, and the outcome is
                 in there */
    struct inbox *inbox; /* of the thread, for what the handler waits for; NULL: it cannot */
    size_t memory_bytes; /* by so much the VM's memory may grow in a run; 0: no limit */

    /* The answer. */
    buf *body_out; /* the host's, empty at first */
    buf *head_out; /* likewise: name NUL value NUL ... */
    int status;
    const char *content_type; /* a constant, or NULL */
    bool failed;              /* the handler raised something that was not a reply */
    vm_limit limit;           /* that it met */
    uint32_t fields_read;     /* 1 << enum ctx_field */
    uint64_t park_ns;         /* VM_PARKED: how long it wants to wait */
    struct await
        *await; /* VM_PARKED: what it waits for besides, or NULL; to be set to NULL by who has seen it */
} vm_request;

#endif
