/* The public C API: servers made, run and stopped within this process. */
#include "api/poolsrv.h"

#include <arpa/inet.h>
#include <check.h>
#include <lauxlib.h>
#include <lua.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { PATIENCE_S = 20, REPLY_BYTES = 4096, SERVERS = 2 };

#ifdef POOLSRV_TSAN
enum { UNDER_TSAN = 1 };
#else
enum { UNDER_TSAN = 0 };
#endif

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static ps_error err;

/* Wait, with the lock held, until *flag is set. */
static void wait_until(const bool *flag)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += PATIENCE_S;
    while (!*flag)
        ck_assert_int_eq(pthread_cond_timedwait(&changed, &lock, &until), 0);
}

static void set(bool *flag)
{
    pthread_mutex_lock(&lock);
    *flag = true;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

/* --- apps and servers --- */

typedef struct running {
    ps_server *srv;
    pthread_t thread;
    bool ready, ended; /* [lock] */
    int result;
    ps_error err;
} running;

static running servers[SERVERS];
static char folder[] = "/tmp/poolsrv-test-XXXXXX";
static char app_path[64];

static void setup(void)
{
    memset(servers, 0, sizeof(servers));
    err = (ps_error){0};
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(app_path, sizeof(app_path), "%s/app.lua", folder);
}

static void teardown(void)
{
    unlink(app_path);
    rmdir(folder);
}

static void write_app(const char *text)
{
    FILE *f = fopen(app_path, "w");
    ck_assert_ptr_nonnull(f);
    ck_assert_int_ge(fputs(text, f), 0);
    ck_assert_int_eq(fclose(f), 0);
}

static ps_options small(void)
{
    ps_options opt;
    ps_options_init(&opt);
    opt.threads = opt.heavy_threads = 1;
    opt.log_level = "error";
    return opt;
}

static ps_server *new_server(void)
{
    ps_options opt = small();
    ps_server *srv = NULL;
    ck_assert_msg(ps_server_new(&opt, &srv, &err) == 0, "%s", err.message);
    return srv;
}

static ps_server *loaded(const char *app)
{
    ps_server *srv = new_server();
    write_app(app);
    ck_assert_msg(ps_server_load_file(srv, app_path, &err) == 0, "%s", err.message);
    return srv;
}

static ps_server *bound(const char *app)
{
    ps_server *srv = loaded(app);
    ck_assert_msg(ps_server_listen(srv, "127.0.0.1", 0, &err) == 0, "%s", err.message);
    return srv;
}

static void on_ready(ps_server *srv, void *user)
{
    running *r = user;
    ck_assert_ptr_eq(srv, r->srv);
    set(&r->ready);
}

static void *run_main(void *user)
{
    running *r = user;
    r->result = ps_server_run(r->srv, &r->err);
    set(&r->ended);
    return NULL;
}

static running *run(running *r, ps_server *srv)
{
    *r = (running){.srv = srv};
    ps_server_on_ready(srv, on_ready, r);
    ck_assert_int_eq(pthread_create(&r->thread, NULL, run_main, r), 0);
    pthread_mutex_lock(&lock);
    wait_until(&r->ready);
    pthread_mutex_unlock(&lock);
    return r;
}

static int wait_for_end(running *r)
{
    pthread_mutex_lock(&lock);
    wait_until(&r->ended);
    pthread_mutex_unlock(&lock);
    pthread_join(r->thread, NULL);
    ps_server_free(r->srv);
    return r->result;
}

static int end(running *r, int grace_ms)
{
    ps_server_stop(r->srv, grace_ms);
    return wait_for_end(r);
}

/* --- requests --- */

typedef struct answer {
    bool came; /* [lock] */
    int calls, status;
    char body[REPLY_BYTES], headers[REPLY_BYTES];
} answer;

static void on_reply(const ps_reply *reply, void *user)
{
    answer *a = user;
    size_t n = 0;
    ck_assert_uint_lt(reply->body.n, sizeof(a->body));
    a->calls++;
    a->status = reply->status;
    snprintf(a->body, sizeof(a->body), "%.*s", (int)reply->body.n, reply->body.p ? reply->body.p : "");
    for (size_t i = 0; i < reply->header_count && n < sizeof(a->headers); i++) {
        const ps_header *h = &reply->headers[i];
        n += (size_t)snprintf(a->headers + n, sizeof(a->headers) - n, "%.*s: %.*s\n", (int)h->name.n,
                              h->name.p, (int)h->value.n, h->value.p);
    }
    set(&a->came);
}

static ps_str text(const char *s)
{
    return (ps_str){s, strlen(s)};
}

static ps_req request(const char *method, const char *target, const char *body)
{
    return (ps_req){.size = sizeof(ps_req), .method = method, .target = target, .body = text(body)};
}

static void send_request(ps_server *srv, const ps_req *req, answer *a)
{
    *a = (answer){0};
    ck_assert_msg(ps_request(srv, req, on_reply, a, &err) == 0, "%s", err.message);
}

static int status_of(answer *a)
{
    pthread_mutex_lock(&lock);
    wait_until(&a->came);
    pthread_mutex_unlock(&lock);
    return a->status;
}

static int ask(running *r, const char *method, const char *target, const char *body, answer *a)
{
    ps_req req = request(method, target, body);
    send_request(r->srv, &req, a);
    return status_of(a);
}

/* GET / over a socket, to the address that the server says it has. */
static void get_by_socket(ps_server *srv, char *reply)
{
    static const char head[] = "GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n";
    struct timeval patience = {.tv_sec = PATIENCE_S};
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    unsigned port = 0;
    size_t n = 0;
    ssize_t got;
    ck_assert_int_eq(sscanf(ps_server_address(srv, 0), "http://127.0.0.1:%u", &port), 1);
    to.sin_port = htons((unsigned short)port);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
    ck_assert_int_eq(send(fd, head, sizeof(head) - 1, MSG_NOSIGNAL), sizeof(head) - 1);
    while ((got = recv(fd, reply + n, REPLY_BYTES - 1 - n, 0)) > 0)
        n += (size_t)got;
    ck_assert_int_eq(got, 0);
    reply[n] = '\0';
    close(fd);
}

static const char app[] =
    "function api.get(ctx) return 'hello' end\n"
    "function api.echo.post(ctx) return ctx:body() end\n"
    "function api.json.post(ctx) return { doubled = ctx:json().n * 2 } end\n"
    "function api.users.p_id.get(ctx)\n"
    "    return { id = ctx:params().id, q = ctx:query().q, h = ctx:header('X-Y'), ip = ctx.ip }\n"
    "end\n"
    "function api.sleep.get(ctx) sleep(0.1) return 'slept' end\n"
    "function api.long.get(ctx) sleep(3600) return 'slept' end\n"
    "function api.fail.get(ctx) local x = nil; return x.y end\n"
    "function api.raise.get(ctx) error(api.error(418, 'teapot')) end\n"
    "function api.header.get(ctx) return api.text('x'):header('X-A', '1'):status(202) end\n";

/* --- requests without a socket --- */

START_TEST(request_is_answered_through_routing_and_context)
{
    running *r = run(&servers[0], bound(app));
    answer a;
    ck_assert_int_eq(ask(r, "GET", "/", "", &a), 200);
    ck_assert_str_eq(a.body, "hello");
    ck_assert_ptr_nonnull(strstr(a.headers, "Content-Type: text/plain"));
    ck_assert_int_eq(ask(r, "POST", "/echo", "the body", &a), 200);
    ck_assert_str_eq(a.body, "the body");
    ck_assert_int_eq(ask(r, "HEAD", "/", "", &a), 200);
    ck_assert_str_eq(a.body, "");
    ck_assert_int_eq(ask(r, "GET", "/header", "", &a), 202);
    ck_assert_ptr_nonnull(strstr(a.headers, "X-A: 1\n"));
    ck_assert_int_eq(end(r, -1), 0);
}
END_TEST

START_TEST(request_carries_params_query_headers_and_json)
{
    running *r = run(&servers[0], bound(app));
    ps_header headers[] = {{text("x-y"), text("z")}, {text("Content-Type"), text("application/json")}};
    ps_req req = request("GET", "/users/4%2F2?q=a+b", "");
    answer a;
    req.headers = headers;
    req.header_count = 1;
    send_request(r->srv, &req, &a);
    ck_assert_int_eq(status_of(&a), 200);
    ck_assert_ptr_nonnull(strstr(a.body, "\"id\":\"4/2\""));
    ck_assert_ptr_nonnull(strstr(a.body, "\"q\":\"a b\""));
    ck_assert_ptr_nonnull(strstr(a.body, "\"h\":\"z\""));
    ck_assert_ptr_null(strstr(a.body, "\"ip\""));
    req = request("POST", "/json", "{\"n\": 21}");
    req.headers = headers + 1;
    req.header_count = 1;
    send_request(r->srv, &req, &a);
    ck_assert_int_eq(status_of(&a), 200);
    ck_assert_str_eq(a.body, "{\"doubled\":42}");
    ck_assert_int_eq(end(r, -1), 0);
}
END_TEST

START_TEST(request_copies_what_it_is_given)
{
    running *r = run(&servers[0], bound(app));
    char *method = strdup("POST"), *target = strdup("/echo"), *body = strdup("kept");
    ps_req req = request(method, target, body);
    answer a;
    send_request(r->srv, &req, &a);
    free(method);
    free(target);
    free(body);
    ck_assert_int_eq(status_of(&a), 200);
    ck_assert_str_eq(a.body, "kept");
    ck_assert_int_eq(end(r, -1), 0);
}
END_TEST

START_TEST(request_that_fails_gets_its_status)
{
    running *r = run(&servers[0], bound(app));
    answer a;
    ck_assert_int_eq(ask(r, "GET", "/nowhere", "", &a), 404);
    ck_assert_int_eq(ask(r, "PUT", "/echo", "", &a), 405);
    ck_assert_ptr_nonnull(strstr(a.headers, "Allow: "));
    ck_assert_int_eq(ask(r, "BREW", "/", "", &a), 501);
    ck_assert_int_eq(ask(r, "GET", "/%zz", "", &a), 400);
    ck_assert_int_eq(ask(r, "GET", "/fail", "", &a), 500);
    ck_assert_ptr_null(strstr(a.body, "traceback"));
    ck_assert_int_eq(ask(r, "GET", "/raise", "", &a), 418);
    ck_assert_ptr_nonnull(strstr(a.body, "\"error\":\"teapot\""));
    ck_assert_int_eq(end(r, -1), 0);
}
END_TEST

START_TEST(requests_that_sleep_share_a_heavy_thread)
{
    enum { N = 50 };
    static answer answers[N];
    running *r = run(&servers[0], bound(app));
    ps_req req = request("GET", "/sleep", "");
    for (int i = 0; i < N; i++)
        send_request(r->srv, &req, &answers[i]);
    for (int i = 0; i < N; i++) {
        ck_assert_int_eq(status_of(&answers[i]), 200);
        ck_assert_str_eq(answers[i].body, "slept");
        ck_assert_int_eq(answers[i].calls, 1);
    }
    ck_assert_int_eq(end(r, -1), 0);
}
END_TEST

START_TEST(request_under_way_is_answered_before_run_returns)
{
    running *r = run(&servers[0], bound(app));
    ps_req req = request("GET", "/sleep", "");
    answer a;
    send_request(r->srv, &req, &a);
    ck_assert_int_eq(end(r, -1), 0);
    ck_assert_int_eq(a.calls, 1);
    ck_assert_int_eq(a.status, 200);
}
END_TEST

START_TEST(request_that_outlasts_the_grace_gets_503_and_run_returns_egrace)
{
    running *r = run(&servers[0], bound(app));
    ps_req req = request("GET", "/long", "");
    answer a;
    send_request(r->srv, &req, &a);
    ck_assert_int_eq(end(r, 0), PS_EGRACE);
    ck_assert_int_eq(a.calls, 1);
    ck_assert_int_eq(a.status, 503);
    ck_assert_int_eq(r->err.code, PS_EGRACE);
}
END_TEST

START_TEST(bad_requests_return_einval)
{
    running *r = run(&servers[0], bound(app));
    ps_header nameless = {text(""), text("x")}, nul = {text("a"), {"b\0c", 3}};
    ps_req good = request("GET", "/", ""), bad;
    answer a = {0};
    bad = good, bad.size = 1;
    ck_assert_int_eq(ps_request(r->srv, &bad, on_reply, &a, &err), PS_EINVAL);
    bad = good, bad.method = "";
    ck_assert_int_eq(ps_request(r->srv, &bad, on_reply, &a, &err), PS_EINVAL);
    bad = good, bad.target = "no-slash";
    ck_assert_int_eq(ps_request(r->srv, &bad, on_reply, &a, &err), PS_EINVAL);
    bad = good, bad.headers = &nameless, bad.header_count = 1;
    ck_assert_int_eq(ps_request(r->srv, &bad, on_reply, &a, &err), PS_EINVAL);
    bad = good, bad.headers = &nul, bad.header_count = 1;
    ck_assert_int_eq(ps_request(r->srv, &bad, on_reply, &a, &err), PS_EINVAL);
    bad = good, bad.body.n = (size_t)1 << 40;
    ck_assert_int_eq(ps_request(r->srv, &bad, on_reply, &a, NULL), PS_EINVAL);
    ck_assert_int_eq(ps_request(r->srv, &good, NULL, &a, &err), PS_EINVAL);
    ck_assert_int_eq(ps_request(NULL, &good, on_reply, &a, &err), PS_EINVAL);
    ck_assert_str_ne(err.message, "");
    ck_assert_int_eq(end(r, -1), 0);
    ck_assert_int_eq(a.calls, 0);
}
END_TEST

/* --- C modules --- */

static bool gate_reached, gate_open; /* [lock] */

static int wait_at_gate(lua_State *L)
{
    pthread_mutex_lock(&lock);
    gate_reached = true;
    pthread_cond_broadcast(&changed);
    while (!gate_open)
        pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
    lua_pushliteral(L, "through");
    return 1;
}

static int open_gate_module(lua_State *L)
{
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, wait_at_gate);
    lua_setfield(L, -2, "wait");
    return 1;
}

static const char gate_app[] = "local gate = require 'gate'\n"
                               "function api.get(ctx) return gate.wait() end\n";

static ps_server *gate_server(int max_queue)
{
    ps_options opt = small();
    ps_server *srv = NULL;
    opt.max_queue = max_queue;
    ck_assert_int_eq(ps_server_new(&opt, &srv, &err), 0);
    ck_assert_int_eq(ps_server_register(srv, "gate", open_gate_module), 0);
    write_app(gate_app);
    ck_assert_msg(ps_server_load_file(srv, app_path, &err) == 0, "%s", err.message);
    ck_assert_msg(ps_server_listen(srv, "127.0.0.1", 0, &err) == 0, "%s", err.message);
    return srv;
}

START_TEST(registered_module_can_be_required)
{
    running *r = run(&servers[0], gate_server(10));
    answer a;
    set(&gate_open);
    ck_assert_int_eq(ask(r, "GET", "/", "", &a), 200);
    ck_assert_str_eq(a.body, "through");
    ck_assert_int_eq(end(r, -1), 0);
}
END_TEST

START_TEST(module_is_not_known_to_another_server)
{
    ps_server *with = gate_server(10), *without = new_server();
    ck_assert_int_eq(ps_server_load_file(without, app_path, &err), PS_EAPP);
    ck_assert_ptr_nonnull(strstr(err.message, "gate"));
    ps_server_free(with);
    ps_server_free(without);
}
END_TEST

START_TEST(register_refuses_null_and_comes_before_load)
{
    ps_server *srv = new_server();
    ck_assert_int_eq(ps_server_register(srv, NULL, open_gate_module), PS_EINVAL);
    ck_assert_int_eq(ps_server_register(srv, "gate", NULL), PS_EINVAL);
    ps_server_free(srv);
    srv = loaded(app);
    ck_assert_int_eq(ps_server_register(srv, "gate", open_gate_module), PS_ESTATE);
    ps_server_free(srv);
}
END_TEST

START_TEST(requests_beyond_max_queue_return_eagain)
{
    running *r = run(&servers[0], gate_server(1));
    ps_req req = request("GET", "/", "");
    answer inside, waits, refused = {0};
    send_request(r->srv, &req, &inside);
    pthread_mutex_lock(&lock);
    wait_until(&gate_reached);
    pthread_mutex_unlock(&lock);
    send_request(r->srv, &req, &waits);
    ck_assert_int_eq(ps_request(r->srv, &req, on_reply, &refused, &err), PS_EAGAIN);
    set(&gate_open);
    ck_assert_int_eq(status_of(&inside), 200);
    ck_assert_int_eq(status_of(&waits), 200);
    ck_assert_int_eq(end(r, -1), 0);
    ck_assert_int_eq(refused.calls, 0);
}
END_TEST

/* --- several servers --- */

START_TEST(two_servers_in_one_process_serve_their_own_apps)
{
    char reply[REPLY_BYTES];
    answer a;
    running *one = run(&servers[0], bound("function api.get(ctx) return 'one' end"));
    running *two = run(&servers[1], bound("function api.get(ctx) return 'two' end"));
    get_by_socket(one->srv, reply);
    ck_assert_ptr_nonnull(strstr(reply, "\r\n\r\none"));
    get_by_socket(two->srv, reply);
    ck_assert_ptr_nonnull(strstr(reply, "\r\n\r\ntwo"));
    ck_assert_int_eq(ask(one, "GET", "/", "", &a), 200);
    ck_assert_str_eq(a.body, "one");
    ck_assert_int_eq(end(one, -1), 0);
    get_by_socket(two->srv, reply);
    ck_assert_ptr_nonnull(strstr(reply, "\r\n\r\ntwo"));
    ck_assert_int_eq(end(two, -1), 0);
}
END_TEST

START_TEST(port_of_another_server_is_refused)
{
    running *one = run(&servers[0], bound(app));
    ps_server *two = loaded(app);
    unsigned port = 0;
    ck_assert_int_eq(sscanf(ps_server_address(one->srv, 0), "http://127.0.0.1:%u", &port), 1);
    ck_assert_int_eq(ps_server_listen(two, "127.0.0.1", (int)port, &err), PS_ELISTEN);
    ck_assert_ptr_nonnull(strstr(err.message, "127.0.0.1"));
    ck_assert_msg(ps_server_listen(two, "127.0.0.1", 0, &err) == 0, "a server may try another port");
    ps_server_free(two);
    ck_assert_int_eq(end(one, -1), 0);
}
END_TEST

static void stop_on_reply(const ps_reply *reply, void *user)
{
    running *r = user;
    ck_assert_int_eq(reply->status, 200);
    ps_server_stop(r->srv, -1);
}

START_TEST(stop_from_a_thread_of_the_pool_ends_run)
{
    running *r = run(&servers[0], bound(app));
    ps_req req = request("GET", "/", "");
    ck_assert_int_eq(ps_request(r->srv, &req, stop_on_reply, r, &err), 0);
    ck_assert_int_eq(wait_for_end(r), 0);
}
END_TEST

/* --- the signal of the limits --- */

static void on_foreign_signal(int number)
{
    (void)number;
}

START_TEST(signal_that_has_another_handler_is_left_to_it)
{
    struct sigaction now;
    ps_server *srv = bound(app);
    ck_assert_int_eq(sigaction(SIGRTMIN + 5, &(struct sigaction){.sa_handler = on_foreign_signal}, NULL), 0);
    ck_assert_int_eq(ps_server_run(srv, &err), PS_ESYSTEM);
    ck_assert_ptr_nonnull(strstr(err.message, "SIGRTMIN+5"));
    ck_assert_int_eq(sigaction(SIGRTMIN + 5, NULL, &now), 0);
    ck_assert(now.sa_handler == on_foreign_signal);
    ps_server_free(srv);
}
END_TEST

START_TEST(without_limits_of_time_no_signal_handler_is_installed)
{
    struct sigaction now;
    ps_options opt = small();
    ps_server *srv = NULL;
    opt.cpu_limit = opt.handler_timeout = 0;
    ck_assert_int_eq(ps_server_new(&opt, &srv, &err), 0);
    write_app(app);
    ck_assert_int_eq(ps_server_load_file(srv, app_path, &err), 0);
    ck_assert_int_eq(ps_server_listen(srv, "127.0.0.1", 0, &err), 0);
    running *r = run(&servers[0], srv);
    ck_assert_int_eq(sigaction(SIGRTMIN + 5, NULL, &now), 0);
    ck_assert(now.sa_handler == SIG_DFL);
    ck_assert_int_eq(end(r, -1), 0);
}
END_TEST

START_TEST(request_without_a_socket_has_limits_too)
{
    running *r = run(&servers[0], bound("api.limits = { cpu = 0.05 }\n"
                                        "function api.get() while true do end end"));
    answer a = {0};
    ps_req req = request("GET", "/", "");
    ck_assert_int_eq(ps_request(r->srv, &req, on_reply, &a, &err), 0);
    pthread_mutex_lock(&lock);
    wait_until(&a.came);
    pthread_mutex_unlock(&lock);
    ck_assert_int_eq(a.status, 504);
    ck_assert_int_eq(end(r, -1), 0);
}
END_TEST

START_TEST(stop_before_run_ends_it_at_once)
{
    ps_server *srv = bound(app);
    ps_server_stop(srv, -1);
    ck_assert_msg(ps_server_run(srv, &err) == 0, "%s", err.message);
    ps_server_free(srv);
}
END_TEST

/* --- misuse and errors --- */

START_TEST(calls_in_the_wrong_order_return_estate)
{
    ps_server *srv = new_server();
    ps_req req = request("GET", "/", "");
    answer a = {0};
    write_app(app);
    ck_assert_int_eq(ps_server_listen(srv, "127.0.0.1", 0, &err), PS_ESTATE);
    ck_assert_int_eq(ps_server_run(srv, &err), PS_ESTATE);
    ck_assert_int_eq(ps_request(srv, &req, on_reply, &a, &err), PS_ESTATE);
    ck_assert_int_eq(ps_server_load_file(srv, app_path, &err), 0);
    ck_assert_int_eq(ps_server_load_file(srv, app_path, &err), PS_ESTATE);
    ck_assert_int_eq(ps_server_run(srv, &err), PS_ESTATE);
    ck_assert_int_eq(ps_server_listen(srv, "127.0.0.1", 0, &err), 0);
    ck_assert_int_eq(ps_server_listen(srv, "127.0.0.1", 0, &err), PS_ESTATE);
    ck_assert_int_eq(ps_request(srv, &req, on_reply, &a, &err), PS_ESTATE);
    ps_server_stop(srv, -1);
    ck_assert_int_eq(ps_server_run(srv, &err), 0);
    ck_assert_int_eq(ps_server_run(srv, &err), PS_ESTATE);
    ck_assert_int_eq(ps_request(srv, &req, on_reply, &a, &err), PS_ESTATE);
    ps_server_free(srv);
    ck_assert_int_eq(a.calls, 0);
}
END_TEST

START_TEST(null_and_values_out_of_range_return_einval)
{
    ps_options opt = small();
    ps_server *srv = NULL;
    ck_assert_int_eq(ps_server_new(NULL, &srv, &err), PS_EINVAL);
    ck_assert_int_eq(ps_server_new(&opt, NULL, &err), PS_EINVAL);
    opt.threads = -1;
    ck_assert_int_eq(ps_server_new(&opt, &srv, &err), PS_EINVAL);
    ck_assert_ptr_null(srv);
    ck_assert_ptr_nonnull(strstr(err.message, "threads"));
    ck_assert_int_eq(ps_server_load_file(NULL, "app.lua", NULL), PS_EINVAL);
    srv = loaded(app);
    ck_assert_int_eq(ps_server_listen(srv, "127.0.0.1", 65536, &err), PS_EINVAL);
    ck_assert_int_eq(ps_server_listen(srv, "127.0.0.1", -1, &err), PS_EINVAL);
    ck_assert_int_eq(ps_server_listen(NULL, "127.0.0.1", 0, &err), PS_EINVAL);
    ck_assert_int_eq(ps_server_listen(srv, "no such host", 0, &err), PS_ELISTEN);
    ps_server_free(srv);
    ps_server_free(NULL);
}
END_TEST

START_TEST(app_with_an_error_returns_eapp_with_its_place)
{
    static const char *const bad[] = {"function api.get(ctx) return 'x' \n", "\nerror('on purpose')\n",
                                      "function api.gett(ctx) end\n"};
    ps_server *srv = new_server();
    write_app(bad[_i]);
    ck_assert_int_eq(ps_server_load_file(srv, app_path, &err), PS_EAPP);
    ck_assert_int_eq(err.code, PS_EAPP);
    ck_assert_ptr_nonnull(strstr(err.message, "app.lua:"));
    ps_server_free(srv);
}
END_TEST

START_TEST(app_that_is_missing_returns_eapp)
{
    ps_server *srv = new_server();
    ck_assert_int_eq(ps_server_load_file(srv, "/nonexistent/app.lua", &err), PS_EAPP);
    ck_assert_ptr_nonnull(strstr(err.message, "/nonexistent/app.lua"));
    ps_server_free(srv);
}
END_TEST

typedef struct listing {
    int calls;
    char text[2048];
} listing;

static void list_problem(const char *problem, int i, int n, void *user)
{
    listing *l = user;
    ck_assert_int_eq(i, l->calls++);
    ck_assert_int_lt(i, n);
    strncat(l->text, strrchr(problem, '/') + 1, sizeof(l->text) - strlen(l->text) - 2);
    strcat(l->text, "\n");
}

static int find_problems(ps_server *srv, listing *ret)
{
    *ret = (listing){0};
    int n = ps_server_check_file(srv, app_path, list_problem, ret, &err);
    ck_assert_int_eq(ret->calls, n < 0 ? 0 : n);
    return n;
}

START_TEST(check_finds_every_problem_whether_loading_was_tried_or_not)
{
    ps_server *srv = new_server();
    listing before, after;
    write_app(
        "api.config { port = 'http' }\nfunction api.gett() end\n"
        "api.route('GET', ('/x'):rep(100), print)\napi.config { prot = 1, admin = 'x' }\nerror('late')");
    ck_assert_int_eq(find_problems(srv, &before), 6);
    ck_assert_ptr_nonnull(strstr(before.text, "app.lua:1: api.config: port = http: expected"));
    ck_assert_ptr_nonnull(strstr(before.text, "\napp.lua:2: api.gett: "));
    ck_assert_ptr_nonnull(strstr(before.text, "\napp.lua:3: a route has 64 segments"));
    ck_assert_ptr_nonnull(strstr(before.text, "\napp.lua:4: api.config: admin = x: expected HOST:PORT"));
    ck_assert_ptr_nonnull(strstr(before.text, "\napp.lua:4: api.config: no option is called prot"));
    ck_assert_ptr_nonnull(strstr(before.text, "\napp.lua:5: late\n"));
    ck_assert_int_eq(ps_server_load_file(srv, app_path, &err), PS_EAPP);
    ck_assert_int_eq(find_problems(srv, &after), 6);
    ck_assert_str_eq(before.text, after.text);
    ps_server_free(srv);
}
END_TEST

START_TEST(check_of_a_good_app_finds_nothing_and_changes_nothing)
{
    ps_server *srv = new_server();
    listing l;
    write_app("api.config { max_body = 5 }\n"
              "function api.get(ctx) return 'x' end\n");
    ck_assert_int_eq(find_problems(srv, &l), 0);
    ck_assert_uint_eq(ps_server_options(srv)->max_body, 1048576);
    ck_assert_int_eq(ps_server_load_file(srv, app_path, &err), 0);
    ck_assert_int_eq(find_problems(srv, &l), 0);
    ck_assert_uint_eq(ps_server_options(srv)->max_body, 5);
    ps_server_free(srv);
}
END_TEST

static int open_nothing(struct lua_State *L)
{
    (void)L;
    return 0;
}

START_TEST(check_knows_the_modules_that_were_registered)
{
    ps_server *srv = new_server(), *without = new_server();
    listing l;
    write_app("require 'host'\n"
              "function api.get(ctx) return 'x' end\n");
    ck_assert_int_eq(ps_server_register(srv, "host", open_nothing), 0);
    ck_assert_int_eq(find_problems(srv, &l), 0);
    ck_assert_int_eq(find_problems(without, &l), 1);
    ck_assert_str_eq(l.text, "app.lua:1: module 'host' not found\n");
    ps_server_free(srv);
    ps_server_free(without);
}
END_TEST

/* An app could tell a check from a load. */
START_TEST(check_of_an_app_that_only_loading_refuses_finds_that)
{
    ps_server *srv = new_server();
    listing l;
    write_app("\nif debug.getinfo(require, 'S').what == 'C' then error('only when loaded') end\n"
              "function api.get(ctx) return 'x' end\n");
    ck_assert_int_eq(find_problems(srv, &l), 1);
    ck_assert_str_eq(l.text, "app.lua:2: only when loaded\n");
    ps_server_free(srv);
}
END_TEST

START_TEST(check_refuses_null_and_comes_before_run)
{
    ps_server *srv = bound(app);
    listing l;
    ck_assert_int_eq(ps_server_check_file(NULL, app_path, list_problem, &l, &err), PS_EINVAL);
    ck_assert_int_eq(ps_server_check_file(srv, NULL, list_problem, &l, &err), PS_EINVAL);
    ck_assert_int_eq(ps_server_check_file(srv, app_path, NULL, &l, NULL), PS_EINVAL);
    ck_assert_int_eq(find_problems(srv, &l), 0);
    ps_server_stop(srv, -1);
    ck_assert_int_eq(ps_server_run(srv, &err), 0);
    ck_assert_int_eq(find_problems(srv, &l), PS_ESTATE);
    ps_server_free(srv);
}
END_TEST

START_TEST(on_start_that_fails_makes_run_return_eapp)
{
    ps_server *srv = bound("api.on_start(function() error('no database') end)\n"
                           "function api.get(ctx) return 'x' end\n");
    ck_assert_int_eq(ps_server_run(srv, &err), PS_EAPP);
    ck_assert_ptr_nonnull(strstr(err.message, "no database"));
    ps_server_free(srv);
}
END_TEST

START_TEST(routes_and_addresses_end_with_null)
{
    ps_server *srv = bound("function api.get(ctx) end\nfunction api.users.p_id.post(ctx) end\n");
    const char *where = NULL;
    size_t n = 0;
    bool seen = false;
    for (const char *name; (name = ps_server_route(srv, n, &where)); n++) {
        ck_assert_ptr_nonnull(strstr(where, "app.lua:"));
        seen |= strcmp(name, "POST /users/:id") == 0;
    }
    ck_assert_uint_eq(n, 2);
    ck_assert(seen);
    ck_assert_int_eq(strncmp(ps_server_address(srv, 0), "http://127.0.0.1:", 17), 0);
    ck_assert_ptr_null(ps_server_address(srv, 1));
    ck_assert_ptr_null(ps_server_address(srv, 2));
    ps_server_free(srv);
}
END_TEST

START_TEST(what_runs_beside_requests_has_a_name_and_a_place)
{
    ps_server *srv = bound("local queue, task = require 'poolsrv.queue', require 'poolsrv.task'\n"
                           "queue.consume('mails', function() end)\n"
                           "task.every('5m', function() end)\n"
                           "require('poolsrv.pubsub').subscribe('settings', function() end)\n");
    static const char *const names[] = {"QUEUE mails", "CLOCK task.every(\"5m\")", "CHANNEL settings"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        const char *where = NULL;
        char line[16];
        snprintf(line, sizeof(line), "app.lua:%zu", i + 2);
        ck_assert_str_eq(ps_server_job(srv, i, &where), names[i]);
        ck_assert_ptr_nonnull(strstr(where, line));
        ck_assert_ptr_nonnull(ps_server_job(srv, i, NULL));
    }
    ck_assert_ptr_null(ps_server_job(srv, 3, NULL));
    ck_assert_ptr_null(ps_server_job(NULL, 0, NULL));
    ps_server_free(srv);
}
END_TEST

START_TEST(every_error_has_a_text)
{
    for (int code = -8; code < 0; code++)
        ck_assert_str_ne(ps_strerror(code), "");
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("server");
    TCase *t = tcase_create("server");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 60);
    tcase_add_test(t, request_is_answered_through_routing_and_context);
    tcase_add_test(t, request_carries_params_query_headers_and_json);
    tcase_add_test(t, request_copies_what_it_is_given);
    tcase_add_test(t, request_that_fails_gets_its_status);
    tcase_add_test(t, requests_that_sleep_share_a_heavy_thread);
    tcase_add_test(t, request_under_way_is_answered_before_run_returns);
    tcase_add_test(t, request_that_outlasts_the_grace_gets_503_and_run_returns_egrace);
    tcase_add_test(t, bad_requests_return_einval);
    tcase_add_test(t, registered_module_can_be_required);
    tcase_add_test(t, module_is_not_known_to_another_server);
    tcase_add_test(t, register_refuses_null_and_comes_before_load);
    tcase_add_test(t, requests_beyond_max_queue_return_eagain);
    tcase_add_test(t, two_servers_in_one_process_serve_their_own_apps);
    tcase_add_test(t, port_of_another_server_is_refused);
    tcase_add_test(t, stop_from_a_thread_of_the_pool_ends_run);
    tcase_add_test(t, signal_that_has_another_handler_is_left_to_it);
    tcase_add_test(t, without_limits_of_time_no_signal_handler_is_installed);
    if (!UNDER_TSAN) /* it keeps a signal back until the thread makes a call that it knows */
        tcase_add_test(t, request_without_a_socket_has_limits_too);
    tcase_add_test(t, stop_before_run_ends_it_at_once);
    tcase_add_test(t, calls_in_the_wrong_order_return_estate);
    tcase_add_test(t, null_and_values_out_of_range_return_einval);
    tcase_add_loop_test(t, app_with_an_error_returns_eapp_with_its_place, 0, 3);
    tcase_add_test(t, app_that_is_missing_returns_eapp);
    tcase_add_test(t, check_finds_every_problem_whether_loading_was_tried_or_not);
    tcase_add_test(t, check_of_a_good_app_finds_nothing_and_changes_nothing);
    tcase_add_test(t, check_knows_the_modules_that_were_registered);
    tcase_add_test(t, check_of_an_app_that_only_loading_refuses_finds_that);
    tcase_add_test(t, check_refuses_null_and_comes_before_run);
    tcase_add_test(t, on_start_that_fails_makes_run_return_eapp);
    tcase_add_test(t, routes_and_addresses_end_with_null);
    tcase_add_test(t, what_runs_beside_requests_has_a_name_and_a_place);
    tcase_add_test(t, every_error_has_a_text);
    suite_add_tcase(s, t);
    return s;
}

int main(void)
{
    SRunner *r = srunner_create(suite());
    srunner_run_all(r, CK_NORMAL);
    int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
