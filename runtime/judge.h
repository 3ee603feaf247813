/* judge: whether a request's head may be answered at all.
 *
 * libmicrohttpd lets through heads on which two servers may disagree where the request ends. Each of
 * these is refused here, before anything else looks at it (RFC 9112, sections 3.2, 5.1, 6.1 and 6.3).
 * Threads: any; no state. */
#ifndef RUNTIME_JUDGE_H
#define RUNTIME_JUDGE_H

#include <stdbool.h>
#include <stdint.h>

#include "runtime/task.h"

typedef struct judgement {
    int status;         /* 0, or the 4xx or 5xx to answer before closing */
    const char *reason; /* for people, if status is not 0 */
    bool has_length;    /* Content-Length was there */
    uint64_t length;    /* its value */
    bool chunked;       /* Transfer-Encoding: chunked was there */
} judgement;

/* Judge the headers of a request; `version` is the request line's, "HTTP/1.1". */
judgement judge_head(const task_header *headers, uint32_t n, const char *version);

#endif
