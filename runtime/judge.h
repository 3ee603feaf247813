/* judge: whether a request's head may be answered at all.
 *
 * libmicrohttpd lets through heads on which two servers may disagree where the request ends. Each of
 * these is refused here, before anything else looks at it (RFC 9112, sections 3.2, 5.1, 6.1 and 6.3).
 * Threads: any; no state. */
#ifndef RUNTIME_JUDGE_H
#define RUNTIME_JUDGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "queue/str.h"
#include "runtime/task.h"

typedef struct judgement {
    int status;         /* 0, or the 4xx or 5xx to answer before closing */
    const char *reason; /* for people, if status is not 0 */
    bool has_length;    /* Content-Length was there */
    uint64_t length;    /* its value */
    bool chunked;       /* Transfer-Encoding: chunked was there */
} judgement;

/* How large a head may be; 0 is no limit. A head that its connection has no memory for never gets here: the
 * daemon answers it, with the same statuses. */
typedef struct head_limits {
    size_t line_bytes;   /* of the request line, without its end */
    size_t header_bytes; /* of all headers: names, values, and four bytes each for ": " and the line's end */
    uint32_t headers;    /* how many */
} head_limits;

/* Judge the size of a request's head, before what it says. Returns: 414, 431, or a status of 0. */
judgement judge_size(const head_limits *limits, size_t line_bytes, const task_header *headers, uint32_t n);

/* Judge what the request line names: libmicrohttpd takes all between its first and its last blank for the
 * target, so that "GET /a HTTP/1.1\rHost: b GET /c HTTP/1.1" is one line. Returns: 400, or a status of 0. */
judgement judge_target(str target);

/* Judge where the parts of a head lie, for a daemon that leaves them where they came in, with NULs in the
 * place of line ends and of the colons behind names, as libmicrohttpd 0.9 does. It puts a folded line behind
 * its header's *name*, so that "Transfer-Encoding:", " chunked" is no Transfer-Encoding, and "X: 5", " -Y" is
 * X-Y; it ends a text at a NUL, and the head at a header without a name. All of this leaves a gap, or
 * moves a part; what cannot be seen is a line of nothing but a colon, and a NUL at the end of the last value.
 * `target_end` and `version` are the request line's. Returns: 400, or a status of 0. */
judgement judge_layout(const char *target_end, str version, const task_header *headers, uint32_t n);

/* Judge the headers of a request; `version` is the request line's, "HTTP/1.1". */
judgement judge_head(const task_header *headers, uint32_t n, str version);

#endif
