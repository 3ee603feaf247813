/* log_line: one record of the log, written out as a line of text or of JSON.
 * Threads: any; a log_clock belongs to one. */
#ifndef RUNTIME_LOG_LINE_H
#define RUNTIME_LOG_LINE_H

#include <stdbool.h>
#include <stdint.h>

#include "queue/buf.h"
#include "queue/str.h"

/* The less important, the larger. */
#define LOG_LEVELS(X) X(ERROR, "error") X(WARN, "warn") X(INFO, "info") X(DEBUG, "debug")

typedef enum log_level {
#define X(name, word) LOG_LEVEL_##name,
    LOG_LEVELS(X)
#undef X
} log_level;

/* A request that was answered. */
typedef struct log_request {
    str ip, method, target; /* ip is empty on a Unix socket */
    str route;              /* its pattern, or empty when none fits */
    unsigned version_minor; /* of HTTP/1.x */
    int status;
    uint64_t body_bytes, duration_ns;
} log_request;

/* A message, or a line of the access log. */
typedef struct log_record {
    uint64_t time_ms; /* since 1970, UTC */
    log_level level;  /* of a message */
    str id;           /* of the request it is about, or empty */
    str text;         /* of a message; may have several lines, and hold anything */
    size_t cut_bytes; /* how much of text or of target is not here */
    bool is_access;   /* `request` stands in place of text and level */
    log_request request;
} log_record;

/* The second that was written last: most lines begin with the same. */
typedef struct log_clock {
    uint64_t second;
    char text[24];
} log_clock;

/* Append the record and a newline. A message in text form may take more lines, each of them indented.
 * Returns: 0, or -ENOMEM (*out untouched). */
int log_line_text(buf *out, log_clock *clock, const log_record *r);

/* The same as a JSON object on one line. */
int log_line_json(buf *out, log_clock *clock, const log_record *r);

#endif
