#include "runtime/http_reply.h"

#include <assert.h>
#include <errno.h>
#include <microhttpd.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "runtime/date.h"

/* A response and the bytes it sends. */
typedef struct kept {
    struct kept *next;
    struct MHD_Response *response;
    const char *content_type; /* a constant: the pointer tells types apart */
    uint64_t date;            /* http_replies.date when it was made */
    size_t bytes;
    char body[];
} kept;

struct http_replies {
    date_cache date_cache;
    uint64_t date; /* counts the texts */
    time_t second;
    size_t free_count, used_count;
    kept *free[HTTP_REPLY_KEPT_BYTES + 1]; /* by length */
};

http_replies *http_replies_new(void)
{
    return calloc(1, sizeof(http_replies));
}

static void kept_free(kept *k)
{
    if (k->response)
        MHD_destroy_response(k->response);
    free(k);
}

static void free_all(http_replies *r)
{
    for (size_t i = 0; i <= HTTP_REPLY_KEPT_BYTES && r->free_count; i++) {
        while (r->free[i]) {
            kept *k = r->free[i];
            r->free[i] = k->next;
            r->free_count--;
            kept_free(k);
        }
    }
}

void http_replies_free(http_replies *r)
{
    if (!r)
        return;
    assert(r->used_count == 0);
    free_all(r);
    free(r);
}

static const char *date(http_replies *r)
{
    const char *text = date_now(&r->date_cache);
    if (r->date_cache.second != r->second) {
        r->second = r->date_cache.second;
        r->date++;
        free_all(r);
    }
    return text;
}

/* --- responses --- */

static bool add(struct MHD_Response *response, const char *name, const char *value)
{
    return MHD_add_response_header(response, name, value) == MHD_YES;
}

/* A response with the headers that every reply has. "Persistent": the bytes stay where they are until the
 * daemon has sent them. */
static struct MHD_Response *make_plain(const char *date_text, const char *content_type, char *body,
                                       size_t bytes)
{
    struct MHD_Response *response = MHD_create_response_from_buffer(bytes, body, MHD_RESPMEM_PERSISTENT);
    if (!response)
        return NULL;
    if (add(response, "Date", date_text) && (!content_type || add(response, "Content-Type", content_type)))
        return response;
    MHD_destroy_response(response);
    return NULL;
}

/* The daemon takes no empty value. A blank is one to whoever reads it: those round a value do not count. */
static bool add_head(struct MHD_Response *response, const buf *head)
{
    const char *p = head->p;
    const char *end = head->n ? head->p + head->n : p; /* there is no adding to NULL, not even nothing */
    while (p < end) {
        const char *value = p + strlen(p) + 1;
        if (!add(response, p, *value ? value : " "))
            return false;
        p = value + strlen(value) + 1;
    }
    return true;
}

/* An id that the app has set itself goes before. */
static bool add_id(struct MHD_Response *response, HttpTask *t)
{
    if (MHD_get_response_header(response, "X-Request-Id"))
        return true;
    str id = task_id(t);
    char text[65];
    memcpy(text, id.p, id.n);
    text[id.n] = '\0';
    return add(response, "X-Request-Id", text);
}

static int queue_own(http_replies *r, HttpTask *t, bool send_id, bool close)
{
    char *body = t->body.p ? t->body.p + t->body_from : NULL;
    struct MHD_Response *response = make_plain(date(r), t->content_type, body, t->body.n - t->body_from);
    if (!response)
        return -ENOMEM;
    bool ok = add_head(response, &t->head) && (!send_id || add_id(response, t)) &&
              (!close || add(response, "Connection", "close"));
    if (ok)
        ok = MHD_queue_response(t->connection, (unsigned)t->status, response) == MHD_YES;
    MHD_destroy_response(response);
    return ok ? 0 : -ENOMEM;
}

/* --- those that are kept --- */

static kept *make_kept(const char *date_text, const char *content_type, size_t bytes)
{
    kept *k = calloc(1, sizeof(*k) + bytes);
    if (!k)
        return NULL;
    k->content_type = content_type;
    k->bytes = bytes;
    k->response = make_plain(date_text, content_type, k->body, bytes);
    if (k->response)
        return k;
    free(k);
    return NULL;
}

static kept *take(http_replies *r, const char *content_type, size_t bytes)
{
    const char *date_text = date(r);
    kept *k = r->free[bytes];
    if (k) {
        r->free[bytes] = k->next;
        r->free_count--;
        if (k->content_type != content_type) {
            kept_free(k);
            k = NULL;
        }
    }
    if (!k && !(k = make_kept(date_text, content_type, bytes)))
        return NULL;
    k->date = r->date;
    r->used_count++;
    return k;
}

static int queue_kept(http_replies *r, HttpTask *t)
{
    size_t bytes = t->body.n - t->body_from;
    kept *k = take(r, t->content_type, bytes);
    if (!k)
        return -ENOMEM;
    if (bytes)
        memcpy(k->body, t->body.p + t->body_from, bytes);
    t->response = k;
    return MHD_queue_response(t->connection, (unsigned)t->status, k->response) == MHD_YES ? 0 : -ENOMEM;
}

int http_reply_queue(http_replies *r, HttpTask *t, bool send_id, bool close)
{
    bool plain = !t->head.n && !send_id && !close && t->body.n - t->body_from <= HTTP_REPLY_KEPT_BYTES;
    return plain ? queue_kept(r, t) : queue_own(r, t, send_id, close);
}

void http_reply_ended(http_replies *r, HttpTask *t)
{
    kept *k = t->response;
    if (!k)
        return;
    t->response = NULL;
    r->used_count--;
    if (k->date != r->date || r->free_count == HTTP_REPLY_KEPT_MAX) {
        kept_free(k);
        return;
    }
    k->next = r->free[k->bytes];
    r->free[k->bytes] = k;
    r->free_count++;
}

/* --- without the daemon --- */

static int add_raw_head(buf *b, const HttpTask *t)
{
    date_cache dates = {0};
    int err =
        buf_addf(b, "HTTP/1.1 %d %s\r\nDate: %s\r\nConnection: close\r\nContent-Length: %zu\r\n", t->status,
                 MHD_get_reason_phrase_for((unsigned)t->status), date_now(&dates), t->body.n - t->body_from);
    if (err == 0 && t->content_type)
        err = buf_addf(b, "Content-Type: %s\r\n", t->content_type);
    if (err == 0 && t->id.n)
        err = buf_addf(b, "X-Request-Id: %.*s\r\n", (int)t->id.n, t->id.p);
    return err ? err : buf_add(b, "\r\n", 2);
}

void http_reply_raw(int fd, const HttpTask *t, bool without_body)
{
    buf b = {0};
    int err = add_raw_head(&b, t);
    if (err == 0 && !without_body && t->body.n > t->body_from)
        err = buf_add(&b, t->body.p + t->body_from, t->body.n - t->body_from);
    ssize_t sent = err == 0 ? send(fd, b.p, b.n, MSG_DONTWAIT | MSG_NOSIGNAL) : 0;
    (void)sent; /* who does not read gets a part of it */
    buf_fini(&b);
}
