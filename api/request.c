/* ps_request: an HTTP request without a socket, answered on the heavy threads. See poolsrv.h. */
#include <stdlib.h>

#include "api/server.h"
#include "runtime/clock.h"

typedef struct call {
    HttpTask task; /* first: on_done gets its address */
    runner *runner;
    void (*on_reply)(const ps_reply *reply, void *user);
    void *user;
    buf strings; /* method and headers, copied */
} call;

static void free_call(call *c)
{
    if (c->task.state == TASK_FILLING)
        task_move(&c->task, TASK_CANCELLED);
    task_end(&c->task);
    task_fini(&c->task);
    buf_fini(&c->strings);
    free(c);
}

/* The reply's headers as pairs. Returns: how many there are; fills up to `room`. */
static size_t reply_headers(const HttpTask *t, ps_header *out, size_t room)
{
    size_t n = 0;
    if (t->content_type) {
        if (n < room)
            out[n] = (ps_header){{"Content-Type", 12}, {t->content_type, strlen(t->content_type)}};
        n++;
    }
    const char *p = t->head.p;
    const char *end = p ? p + t->head.n : p;
    while (p < end) {
        size_t name = strlen(p);
        size_t value = strlen(p + name + 1);
        if (n < room)
            out[n] = (ps_header){{p, name}, {p + name + 1, value}};
        n++;
        p += name + value + 2;
    }
    return n;
}

static void on_done(HttpTask *t)
{
    call *c = (call *)t;
    size_t n = reply_headers(t, NULL, 0);
    ps_header *headers = calloc(n + 1, sizeof(*headers));
    ps_reply reply = {.status = t->status, .headers = headers};
    if (headers)
        reply.header_count = reply_headers(t, headers, n);
    if (t->method_id != METHOD_HEAD && t->body.n > t->body_from)
        reply.body = (ps_str){t->body.p + t->body_from, t->body.n - t->body_from};
    c->on_reply(&reply, c->user);
    free(headers);
    task_move(t, TASK_SENT);
    free_call(c);
}

static int copy_string(buf *b, const char *p, size_t n)
{
    int err = buf_add(b, p, n);
    return err ? err : buf_add(b, "", 1);
}

/* Copy all strings first: the buffer moves as it grows. */
static int copy_request(call *c, const ps_req *req)
{
    HttpTask *t = &c->task;
    size_t method_bytes = strlen(req->method);
    if (copy_string(&c->strings, req->method, method_bytes) < 0 ||
        task_set_target(t, str_from(req->target)) < 0 ||
        buf_add(&t->request_body, req->body.p, req->body.n) < 0)
        return -1;
    for (size_t i = 0; i < req->header_count; i++) {
        const ps_header *h = &req->headers[i];
        if (copy_string(&c->strings, h->name.p, h->name.n) < 0 ||
            copy_string(&c->strings, h->value.p, h->value.n) < 0)
            return -1;
    }
    const char *p = c->strings.p;
    t->method = (str){p, method_bytes};
    t->method_id = method_from(t->method);
    p += method_bytes + 1;
    for (size_t i = 0; i < req->header_count; i++) {
        const ps_header *h = &req->headers[i];
        const char *value = p + h->name.n + 1;
        if (task_add_header(t, (str){p, h->name.n}, (str){value, h->value.n}) < 0)
            return -1;
        p = value + h->value.n + 1;
    }
    return 0;
}

static bool has_nul(ps_str s)
{
    return s.n && memchr(s.p, 0, s.n);
}

static const char *fault_of(const ps_req *req)
{
    if (req->size != sizeof(*req))
        return "req->size must be sizeof(ps_req)";
    if (!req->method || !req->method[0])
        return "a method must be given";
    if (!req->target || (req->target[0] != '/' && strcmp(req->target, "*") != 0))
        return "the target must begin with '/'";
    for (size_t i = 0; i < req->header_count; i++)
        if (!req->headers[i].name.n || has_nul(req->headers[i].name) || has_nul(req->headers[i].value))
            return "a header has no name, or a NUL in it";
    return NULL;
}

/* *ret_done: a task that needed no handler, for on_done. */
static int request(ps_server *srv, const ps_req *req, void (*on_reply)(const ps_reply *reply, void *user),
                   void *user, HttpTask **ret_done, ps_error *err)
{
    if (!srv || !req || !on_reply)
        return error_set(err, PS_EINVAL, "ps_request: a server, a request and a callback must be given");
    const char *fault = fault_of(req);
    if (fault)
        return error_set(err, PS_EINVAL, "ps_request: %s", fault);
    if (req->body.n > srv->opt.max_body)
        return error_set(err, PS_EINVAL, "ps_request: the body is larger than max_body");
    if (atomic_load(&srv->state) != SERVER_RUNNING || atomic_load(&srv->draining))
        return error_set(err, PS_ESTATE, "ps_request: the server is not running");
    call *c = calloc(1, sizeof(*c));
    if (!c)
        return error_set(err, PS_ENOMEM, "out of memory");
    HttpTask *t = &c->task;
    task_begin(t, NULL);
    c->on_reply = on_reply;
    c->user = user;
    t->on_done = on_done;
    if (copy_request(c, req) < 0) {
        free_call(c);
        return error_set(err, PS_ENOMEM, "out of memory");
    }
    t->heavy = true;
    t->received_ns = t->ready_ns = clock_now_ns();
    srv->runner.route(srv->runner.user, t);
    if (t->state == TASK_DONE) {
        *ret_done = t;
        return 0;
    }
    task_move(t, TASK_QUEUED);
    if (pool_inject(srv->pool, t) < 0) {
        task_move(t, TASK_CANCELLED);
        free_call(c);
        return error_set(err, PS_EAGAIN, "ps_request: max_queue requests wait already");
    }
    return 0;
}

int ps_request(ps_server *srv, const ps_req *req, void (*on_reply)(const ps_reply *reply, void *user),
               void *user, ps_error *err)
{
    HttpTask *done = NULL;
    if (!srv)
        return error_set(err, PS_EINVAL, "ps_request: a server must be given");
    atomic_fetch_add(&srv->callers, 1);
    int code = request(srv, req, on_reply, user, &done, err);
    atomic_fetch_sub(&srv->callers, 1);
    if (done)
        on_done(done);
    return code;
}
