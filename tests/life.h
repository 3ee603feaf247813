/* life: a server's whole life in one process, in which calls of the product's own fail: making it, loading
 * its app, binding, starting, a few requests over sockets and without one, stopping. Whatever fails, nothing
 * may crash or leak, what is refused is refused with a word, and a server that came up serves on.
 *
 * For suites of which the linker sends such calls to functions of the suite (--wrap, in
 * tests/CMakeLists.txt); those ask life_fails(), and call the real one if it says no. Threads: one test; the
 * server's own threads ask too. */
#ifndef TESTS_LIFE_H
#define TESTS_LIFE_H

#include "api/poolsrv.h"

#include <arpa/inet.h>
#include <check.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { PATIENCE_S = 20, REPLY_BYTES = 4096, BODY_BYTES = 3000 };

/* --- calls that fail --- */

static atomic_int kind_armed;  /* the suite's number of the call that is to fail */
static atomic_long calls_left; /* until one fails */
static atomic_long failures;   /* met since arm() */
static atomic_long in_a_row;
static _Thread_local bool is_test; /* Check is linked into this program too, and its own calls do not count */

static void arm(int kind, long after, long count)
{
    atomic_store(&failures, 0);
    atomic_store(&kind_armed, kind);
    atomic_store(&in_a_row, count);
    atomic_store(&calls_left, after);
}

static void disarm(void)
{
    atomic_store(&in_a_row, 0);
}

/* Is this call of that kind to fail? */
static bool life_fails(int kind)
{
    if (is_test || atomic_load(&in_a_row) == 0 || atomic_load(&kind_armed) != kind ||
        atomic_fetch_sub(&calls_left, 1) > 0)
        return false;
    if (atomic_fetch_sub(&in_a_row, 1) <= 0) {
        atomic_store(&in_a_row, 0);
        return false;
    }
    atomic_fetch_add(&failures, 1);
    return true;
}

/* The value of a call of the product's on the test's thread. */
#define PRODUCT(call) (is_test = false, own_code = (call), is_test = true, own_code)

static _Thread_local int own_code;

/* --- a server --- */

static const char app[] =
    "local json = json\n"
    "api.config { max_queue = 64 }\n"
    "local shared = require('poolsrv.shared').dict('d', { max_bytes = '64k' })\n"
    "function api.get(ctx) shared:set(ctx.id, { 'hello' }, 9) return shared:get(ctx.id)[1] end\n"
    "function api.echo.post(ctx) return { body = ctx:body(), q = ctx:query() } end\n"
    "function api.cookie.get(ctx)\n"
    "    return api.text(ctx:cookies().c .. json.decode('[\"\\\\n\"]')[1]):cookie('d', "
    "'e'):header('x-a', 'b')\n"
    "end\n"
    "function api.child.get()\n"
    "    local child, why = io.popen('exit 3')\n"
    "    return { why or tostring(select(3, child:close())) }\n"
    "end\n"
    "api[('long'):rep(1000)].p_parameter.r_rest.get = function() end\n"
    "function api.heavy.p_id.get(ctx) sleep(0) return { id = ctx:params().id } end\n"
    "local queue, task = require 'poolsrv.queue', require 'poolsrv.task'\n"
    "queue.consume('work', { delay = 0 }, function(m, job) job:progress(1) sleep(0) end)\n"
    "function api.jobs.get()\n"
    "    task.spawn(function(n) sleep(n) end, 0)\n"
    "    queue.push('work', { 1 }, { id = 'one', window = 0 })\n"
    "    return { task.run('string.rep', 'x', 2) }\n"
    "end\n"
    "api.on_start(function() end)\n"
    "api.on_stop(function() end)\n";

static char folder[] = "/tmp/poolsrv-malloc-XXXXXX";
static char app_path[64];

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;

typedef struct life {
    ps_server *srv;
    pthread_t thread;
    bool ready, ended, answered; /* [lock] */
    int result, status;
    ps_error err;
} life;

static void setup(void)
{
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(app_path, sizeof app_path, "%s/app.lua", folder);
    FILE *f = fopen(app_path, "w");
    ck_assert_ptr_nonnull(f);
    ck_assert_int_ge(fputs(app, f), 0);
    ck_assert_int_eq(fclose(f), 0);
}

static void teardown(void)
{
    unlink(app_path);
    rmdir(folder);
}

static void set(bool *flag)
{
    pthread_mutex_lock(&lock);
    *flag = true;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

/* Wait until one of the two is set. */
static void wait_for(const bool *a, const bool *b)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += PATIENCE_S;
    pthread_mutex_lock(&lock);
    while (!*a && !*b)
        ck_assert_int_eq(pthread_cond_timedwait(&changed, &lock, &until), 0);
    pthread_mutex_unlock(&lock);
}

static void on_ready(ps_server *srv, void *user)
{
    (void)srv;
    set(&((life *)user)->ready);
}

static void *run_main(void *user)
{
    life *l = user;
    l->result = ps_server_run(l->srv, &l->err);
    set(&l->ended);
    return NULL;
}

/* --- requests --- */

/* To the server's i-th address: 0 its own, 1 the admin's. */
static int connection(ps_server *srv, size_t i)
{
    struct timeval patience = {.tv_sec = PATIENCE_S};
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    unsigned port = 0;
    ck_assert_int_eq(sscanf(ps_server_address(srv, i), "http://127.0.0.1:%u", &port), 1);
    to.sin_port = htons((unsigned short)port);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    ck_assert_int_ge(fd, 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    return fd;
}

/* One that waits with a time limit is not taken up again after a signal, and a handler's child sends one. */
static ssize_t receive(int fd, char *to, size_t n)
{
    ssize_t got;
    do
        got = recv(fd, to, n, 0);
    while (got < 0 && errno == EINTR);
    return got;
}

/* The status of the reply; 0: the connection ended without one. */
static int status_of(int fd)
{
    char reply[REPLY_BYTES] = "";
    char more[REPLY_BYTES];
    size_t n = 0;
    ssize_t got;
    int status = 0;
    while (n < sizeof reply - 1 && (got = receive(fd, reply + n, sizeof reply - 1 - n)) > 0)
        n += (size_t)got;
    while (n == sizeof reply - 1 && receive(fd, more, sizeof more) > 0)
        ;
    if (n > 0)
        ck_assert_int_eq(sscanf(reply, "HTTP/1.1 %d ", &status), 1);
    return status;
}

static int ask_at(ps_server *srv, size_t i, const char *head, const char *body)
{
    static char text[2048 + BODY_BYTES];
    int fd = connection(srv, i), status = 0;
    int n = snprintf(text, sizeof text, "%s\r\nHost: t\r\nConnection: close\r\nContent-Length: %zu\r\n\r\n",
                     head, strlen(body));
    ck_assert_int_lt(n, (int)sizeof text - BODY_BYTES);
    /* The head with the half of the body: what is declared is more than what has come. */
    size_t half = strlen(body) / 2;
    memcpy(text + n, body, half);
    if (send(fd, text, (size_t)n + half, MSG_NOSIGNAL) == n + (ssize_t)half &&
        send(fd, body + half, strlen(body) - half, MSG_NOSIGNAL) == (ssize_t)(strlen(body) - half))
        status = status_of(fd);
    close(fd);
    return status;
}

static int ask(ps_server *srv, const char *method, const char *target, const char *body)
{
    char head[256];
    snprintf(head, sizeof head, "%s %s HTTP/1.1", method, target);
    return ask_at(srv, 0, head, body);
}

/* More headers, and a longer target, than a task has room for. */
static int ask_at_length(ps_server *srv)
{
    char head[1600];
    int n = snprintf(head, sizeof head, "GET /cookie?%0200d HTTP/1.1\r\nCookie: c=%%41", 0);
    for (int i = 0; i < 40; i++)
        n += snprintf(head + n, sizeof head - (size_t)n, "\r\nX-Header-%d: some value", i);
    ck_assert_int_lt(n, (int)sizeof head);
    return ask_at(srv, 0, head, "");
}

/* With nothing in the head that asks for a reply of its own kind. */
static int ask_plainly(ps_server *srv)
{
    static const char text[] = "GET / HTTP/1.1\r\nHost: t\r\n\r\n";
    char reply[REPLY_BYTES] = "";
    int fd = connection(srv, 0), status = 0;
    if (send(fd, text, sizeof text - 1, MSG_NOSIGNAL) > 0 && receive(fd, reply, sizeof reply - 1) > 0)
        ck_assert_int_eq(sscanf(reply, "HTTP/1.1 %d ", &status), 1);
    close(fd);
    return status;
}

static void on_reply(const ps_reply *reply, void *user)
{
    life *l = user;
    l->status = reply->status;
    set(&l->answered);
}

/* The status of a request without a socket; 0: it was refused. */
static int ask_directly(life *l, const char *target)
{
    static const bool never = false;
    ps_req req = {.size = sizeof req, .method = "GET", .target = target};
    l->answered = false;
    if (PRODUCT(ps_request(l->srv, &req, on_reply, l, &l->err)) != 0) {
        ck_assert_str_ne(l->err.message, "");
        return 0;
    }
    wait_for(&l->answered, &never);
    return l->status;
}

/* Refused, given up, or answered: nothing else may come of a request that met a failure. */
static void expect(int status)
{
    ck_assert_msg(status == 0 || status == 200 || status == 500 || status == 503, "the status is %d", status);
}

static void ask_all(life *l)
{
    static char body[BODY_BYTES + 1];
    memset(body, 'x', BODY_BYTES);
    expect(ask(l->srv, "GET", "/", ""));
    expect(ask_plainly(l->srv));
    expect(ask(l->srv, "POST", "/echo?a=1&b=2&a=3", body));
    expect(ask(l->srv, "GET", "/heavy/1", ""));
    expect(ask_directly(l, "/heavy/2"));
    expect(ask_at_length(l->srv));
    expect(ask(l->srv, "GET", "/child", ""));
    expect(ask(l->srv, "GET", "/jobs", ""));
    expect(ask_at(l->srv, 1, "GET /metrics HTTP/1.1", ""));
}

/* After a failure everything is as ever. */
static void expect_health(life *l)
{
    ck_assert_int_eq(ask(l->srv, "GET", "/", ""), 200);
    ck_assert_int_eq(ask_plainly(l->srv), 200);
    ck_assert_int_eq(ask(l->srv, "POST", "/echo?a=1", "text"), 200);
    ck_assert_int_eq(ask(l->srv, "GET", "/heavy/3", ""), 200);
    ck_assert_int_eq(ask_directly(l, "/heavy/4"), 200);
    ck_assert_int_eq(ask_at_length(l->srv), 200);
    ck_assert_int_eq(ask(l->srv, "GET", "/child", ""), 200);
    ck_assert_int_eq(ask(l->srv, "GET", "/jobs", ""), 200);
    ck_assert_int_eq(ask_at(l->srv, 1, "GET /metrics HTTP/1.1", ""), 200);
}

/* --- lives --- */

static bool came_up(life *l)
{
    if (pthread_create(&l->thread, NULL, run_main, l) != 0)
        ck_abort_msg("no thread");
    wait_for(&l->ready, &l->ended);
    return l->ready;
}

static void serve(life *l)
{
    if (came_up(l)) {
        ask_all(l);
        if (atomic_load(&failures) > 0) {
            disarm();
            expect_health(l);
        }
        ps_server_stop(l->srv, -1);
    }
    pthread_join(l->thread, NULL);
    if (!l->ready) {
        ck_assert_int_lt(l->result, 0);
        ck_assert_str_ne(l->err.message, "");
    }
}

/* One life, in which `count` calls of a kind fail, after the first `after`. Returns: whether one was met. */
static bool live(int kind, long after, long count)
{
    ps_options opt;
    life l = {.srv = NULL};
    ps_options_init(&opt);
    opt.threads = opt.heavy_threads = 1;
    opt.log_level = "error";
    opt.admin = "127.0.0.1:0";
    opt.max_connections_per_address = 100;
    opt.trust_proxy = "127.0.0.1";
    opt.request_id = count > 1; /* replies without anything of their own are made in another way */
    arm(kind, after, count);
    int code = PRODUCT(ps_server_new(&opt, &l.srv, &l.err));
    if (code == 0)
        code = PRODUCT(ps_server_load_file(l.srv, app_path, &l.err));
    if (code == 0)
        code = PRODUCT(ps_server_listen(l.srv, "127.0.0.1", 0, &l.err));
    if (code == 0)
        ps_server_on_ready(l.srv, on_ready, &l);
    if (code == 0)
        serve(&l);
    else
        ck_assert_str_ne(l.err.message, "");
    ps_server_free(l.srv);
    disarm();
    return atomic_load(&failures) > 0;
}

#endif
