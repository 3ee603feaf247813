/* reply: finds the end of an HTTP/1.1 reply in the bytes that have come so far.
 *
 * It knows as much as a load client of a server on the same machine needs: a status line, Content-Length,
 * Connection: close, and the replies that have no body. A chunked reply or one that ends with the connection
 * is refused, since nothing that is measured here sends one. Threads: plain functions. */
#ifndef LOAD_REPLY_H
#define LOAD_REPLY_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>

#define REPLY_HEAD_MAX 65536
#define REPLY_BODY_MAX ((size_t)1 << 30)

typedef struct reply {
    int status;
    const char *body; /* within the bytes that were parsed */
    size_t body_bytes;
    size_t all_bytes; /* head and body */
    bool closes;      /* the server will close the connection after it */
} reply;

/* Reads one header line into *r. Returns 0 or -EPROTO. */
static inline int reply_header(reply *r, const char *line, size_t n)
{
    static const char length[] = "content-length:", closing[] = "connection: close",
                      coding[] = "transfer-encoding:";
    if (n >= sizeof closing - 1 && strncasecmp(line, closing, sizeof closing - 1) == 0)
        r->closes = true;
    if (n >= sizeof coding - 1 && strncasecmp(line, coding, sizeof coding - 1) == 0)
        return -EPROTO;
    if (n < sizeof length || strncasecmp(line, length, sizeof length - 1) != 0)
        return 0;

    r->body_bytes = 0;
    for (size_t i = sizeof length - 1; i < n; i++) {
        if (line[i] == ' ')
            continue;
        if (line[i] < '0' || line[i] > '9' || r->body_bytes > REPLY_BODY_MAX)
            return -EPROTO;
        r->body_bytes = r->body_bytes * 10 + (size_t)(line[i] - '0');
    }
    return 0;
}

/* Reads "HTTP/1.1 200 ...". Returns 0 or -EPROTO. */
static inline int reply_status_line(reply *r, const char *line, size_t n)
{
    if (n < 12 || memcmp(line, "HTTP/1.", 7) != 0 || line[8] != ' ')
        return -EPROTO;
    for (size_t i = 9; i < 12; i++) {
        if (line[i] < '0' || line[i] > '9')
            return -EPROTO;
        r->status = r->status * 10 + (line[i] - '0');
    }
    return r->status < 200 ? -EPROTO : 0;
}

/* Parses the reply that the n bytes begin with; bodiless says that the request was a HEAD.
 * Returns: 1 when it is complete (*ret_reply is set and borrows from bytes), 0 when more must be read,
 *          -EPROTO when it is not a reply this understands. */
static inline int reply_parse(const char *bytes, size_t n, bool bodiless, reply *ret_reply)
{
    reply r = {0};
    const char *end = memmem(bytes, n < REPLY_HEAD_MAX ? n : REPLY_HEAD_MAX, "\r\n\r\n", 4);
    if (!end)
        return n < REPLY_HEAD_MAX ? 0 : -EPROTO;

    const size_t unset = (size_t)-1;
    const char *line = bytes;
    r.body_bytes = unset;
    while (line < end + 2) {
        const char *stop = memmem(line, (size_t)(end + 2 - line), "\r\n", 2);
        size_t length = (size_t)(stop - line);
        if (line == bytes ? reply_status_line(&r, line, length) : reply_header(&r, line, length))
            return -EPROTO;
        line = stop + 2;
    }
    if (bodiless || r.status == 204 || r.status == 304)
        r.body_bytes = 0;
    if (r.body_bytes == unset || r.body_bytes > REPLY_BODY_MAX)
        return -EPROTO;
    r.body = end + 4;
    r.all_bytes = (size_t)(r.body - bytes) + r.body_bytes;
    if (r.all_bytes > n)
        return 0;
    *ret_reply = r;
    return 1;
}

#endif
