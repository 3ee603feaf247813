#include "runtime/admin.h"

#include <arpa/inet.h>
#include <check.h>
#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

/* Far beyond what any machine takes. */
enum { REPLY_TIMEOUT_MS = 60000, TIMEOUT_S = 120 };

static admin *a;
static int listener;
static struct sockaddr_in address;
static atomic_bool ready;
static atomic_int failure; /* what the metrics answer with */

static bool is_ready(void *user)
{
    (void)user;
    return atomic_load(&ready);
}

static int make_metrics(void *user, buf *out)
{
    int err = buf_addf(out, "some_metric %s\n", (const char *)user);
    return err ? err : atomic_load(&failure);
}

static char word[] = "42";
static const admin_source source = {.user = word, .ready = is_ready, .metrics = make_metrics};

static void start(const admin_source *s)
{
    socklen_t n = sizeof(address);
    address = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(listener, (struct sockaddr *)&address, n), 0);
    ck_assert_int_eq(getsockname(listener, (struct sockaddr *)&address, &n), 0);
    ck_assert_int_eq(listen(listener, 128), 0);
    ck_assert_int_eq(admin_start(listener, s, NULL, &a), 0);
}

static void set_up(void)
{
    atomic_store(&ready, true);
    atomic_store(&failure, 0);
    start(&source);
}

static void tear_down(void)
{
    admin_stop(a);
    close(listener);
}

static int connect_client(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

static void send_text(int fd, const char *text)
{
    size_t n = strlen(text);
    ck_assert_int_eq(send(fd, text, n, MSG_NOSIGNAL), (ssize_t)n);
}

/* All that comes until the other side closes. */
static const char *read_to_end(int fd)
{
    static char text[65536];
    size_t n = 0;
    for (;;) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        ck_assert_int_eq(poll(&p, 1, REPLY_TIMEOUT_MS), 1);
        ssize_t more = recv(fd, text + n, sizeof(text) - 1 - n, 0);
        ck_assert_int_ge(more, 0);
        if (more == 0)
            break;
        n += (size_t)more;
    }
    text[n] = '\0';
    return text;
}

/* The reply, head and body, to a request on a connection of its own. */
static const char *ask(const char *method, const char *target)
{
    char request[256];
    int fd = connect_client();
    snprintf(request, sizeof(request), "%s %s HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", method,
             target);
    send_text(fd, request);
    const char *reply = read_to_end(fd);
    close(fd);
    return reply;
}

static int status_of(const char *reply)
{
    int status = 0;
    sscanf(reply, "HTTP/1.1 %d ", &status);
    return status;
}

static const char *body_of(const char *reply)
{
    const char *end = strstr(reply, "\r\n\r\n");
    return end ? end + 4 : "(no head)";
}

static void expect(const char *reply, int status, const char *body)
{
    ck_assert_int_eq(status_of(reply), status);
    ck_assert_str_eq(body_of(reply), body);
}

START_TEST(healthz_is_ok_whether_ready_or_not)
{
    expect(ask("GET", "/healthz"), 200, "ok");
    atomic_store(&ready, false);
    expect(ask("GET", "/healthz"), 200, "ok");
}
END_TEST

START_TEST(readyz_says_when_the_server_drains)
{
    expect(ask("GET", "/readyz"), 200, "ready");
    atomic_store(&ready, false);
    expect(ask("GET", "/readyz"), 503, "draining");
    expect(ask("GET", "/healthz"), 200, "ok");
}
END_TEST

START_TEST(metrics_are_what_the_source_renders)
{
    const char *reply = ask("GET", "/metrics");
    expect(reply, 200, "some_metric 42\n");
    ck_assert_ptr_nonnull(strstr(reply, "Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n"));
}
END_TEST

START_TEST(metrics_that_fail_are_a_500_without_half_of_them)
{
    atomic_store(&failure, -ENOMEM);
    const char *reply = ask("GET", "/metrics");
    ck_assert_int_eq(status_of(reply), 500);
    ck_assert_ptr_null(strstr(reply, "some_metric"));
    atomic_store(&failure, 0);
    ck_assert_int_eq(status_of(ask("GET", "/metrics")), 200);
}
END_TEST

START_TEST(head_has_the_length_and_no_body)
{
    const char *reply = ask("HEAD", "/healthz");
    expect(reply, 200, "");
    ck_assert_ptr_nonnull(strstr(reply, "Content-Length: 2\r\n"));
    ck_assert_int_eq(status_of(ask("HEAD", "/metrics")), 200);
}
END_TEST

START_TEST(query_is_ignored)
{
    expect(ask("GET", "/healthz?verbose=1"), 200, "ok");
}
END_TEST

static const char *const strange[] = {"/",        "/health",    "/healthz/", "//healthz",
                                      "/HEALTHZ", "/metrics/x", "/%68ealthz"};

START_TEST(other_paths_are_404)
{
    ck_assert_int_eq(status_of(ask("GET", strange[_i])), 404);
    ck_assert_int_eq(status_of(ask("POST", strange[_i])), 404);
}
END_TEST

static const char *const methods[] = {"POST", "PUT", "DELETE", "OPTIONS", "PATCH", "BREW"};

START_TEST(other_methods_are_405_with_allow)
{
    const char *reply = ask(methods[_i], "/readyz");
    ck_assert_int_eq(status_of(reply), 405);
    ck_assert_ptr_nonnull(strstr(reply, "Allow: GET, HEAD\r\n"));
}
END_TEST

START_TEST(bad_head_is_refused)
{
    int fd = connect_client();
    send_text(fd, "GET /healthz HTTP/1.1\r\n\r\n");
    ck_assert_int_eq(status_of(read_to_end(fd)), 400);
    close(fd);
}
END_TEST

START_TEST(connection_is_kept_for_the_next_request)
{
    int fd = connect_client();
    send_text(fd, "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"
                  "POST /readyz HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody"
                  "GET /readyz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    const char *reply = read_to_end(fd);
    ck_assert_int_eq(status_of(reply), 200);
    reply = strstr(reply + 1, "HTTP/1.1");
    ck_assert_int_eq(status_of(reply), 405);
    reply = strstr(reply + 1, "HTTP/1.1");
    expect(reply, 200, "ready");
    close(fd);
}
END_TEST

/* More of them than the admin address takes at a time, so that some wait to be accepted. */
START_TEST(many_clients_at_once_are_all_answered)
{
    enum { CLIENTS = 100 };
    int fds[CLIENTS];
    for (int i = 0; i < CLIENTS; i++) {
        fds[i] = connect_client();
        send_text(fds[i], "GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    }
    for (int i = 0; i < CLIENTS; i++) {
        expect(read_to_end(fds[i]), 200, "ok");
        close(fds[i]);
    }
}
END_TEST

START_TEST(more_clients_than_it_takes_are_answered_when_others_leave)
{
    enum { MOST = 64, MORE = 3 };
    int fds[MOST + MORE];
    for (int i = 0; i < MOST; i++) {
        fds[i] = connect_client();
        send_text(fds[i], "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n");
        struct pollfd p = {.fd = fds[i], .events = POLLIN};
        ck_assert_int_eq(poll(&p, 1, REPLY_TIMEOUT_MS), 1);
    }
    for (int i = MOST; i < MOST + MORE; i++) {
        fds[i] = connect_client();
        send_text(fds[i], "GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    }
    for (int i = 0; i < MOST; i++)
        close(fds[i]);
    for (int i = MOST; i < MOST + MORE; i++) {
        expect(read_to_end(fds[i]), 200, "ok");
        close(fds[i]);
    }
}
END_TEST

START_TEST(client_that_leaves_in_the_middle_disturbs_nobody)
{
    int fd = connect_client();
    send_text(fd, "GET /heal");
    close(fd);
    fd = connect_client();
    send_text(fd, "POST /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf");
    close(fd);
    expect(ask("GET", "/healthz"), 200, "ok");
}
END_TEST

START_TEST(stop_closes_connections_that_are_open)
{
    int idle = connect_client();
    int half = connect_client();
    send_text(half, "GET /healthz HTTP/1.1\r\n");
    expect(ask("GET", "/healthz"), 200, "ok"); /* both are accepted by now: they came first */
    admin_stop(a);
    a = NULL;
    ck_assert_str_eq(read_to_end(idle), "");
    ck_assert_str_eq(read_to_end(half), "");
    close(idle);
    close(half);
}
END_TEST

START_TEST(stop_leaves_the_listening_socket_open)
{
    int listening = 0;
    socklen_t n = sizeof(listening);
    admin_stop(a);
    a = NULL;
    ck_assert_int_eq(getsockopt(listener, SOL_SOCKET, SO_ACCEPTCONN, &listening, &n), 0);
    ck_assert_int_eq(listening, 1);
    ck_assert_int_eq(admin_start(listener, &source, NULL, &a), 0);
    expect(ask("GET", "/healthz"), 200, "ok");
}
END_TEST

START_TEST(source_without_functions_is_ready)
{
    admin_source nothing = {0};
    start(&nothing);
    expect(ask("GET", "/healthz"), 200, "ok");
    expect(ask("GET", "/readyz"), 200, "ready");
    expect(ask("GET", "/metrics"), 200, "");
    tear_down();
}
END_TEST

START_TEST(descriptor_that_does_not_listen_is_refused)
{
    admin *none = NULL;
    ck_assert_int_lt(admin_start(-1, &source, NULL, &none), 0);
    ck_assert_ptr_null(none);
    int file = memfd_create("none", MFD_CLOEXEC);
    ck_assert_int_lt(admin_start(file, &source, NULL, &none), 0);
    close(file);
    ck_assert_ptr_null(none);
    admin_stop(NULL);
}
END_TEST

#define COUNT(array) (int)(sizeof(array) / sizeof(array[0]))

static Suite *admin_suite(void)
{
    Suite *s = suite_create("admin");
    TCase *tc = tcase_create("admin");
    tcase_add_checked_fixture(tc, set_up, tear_down);
    tcase_set_timeout(tc, TIMEOUT_S);
    tcase_add_test(tc, healthz_is_ok_whether_ready_or_not);
    tcase_add_test(tc, readyz_says_when_the_server_drains);
    tcase_add_test(tc, metrics_are_what_the_source_renders);
    tcase_add_test(tc, metrics_that_fail_are_a_500_without_half_of_them);
    tcase_add_test(tc, head_has_the_length_and_no_body);
    tcase_add_test(tc, query_is_ignored);
    tcase_add_loop_test(tc, other_paths_are_404, 0, COUNT(strange));
    tcase_add_loop_test(tc, other_methods_are_405_with_allow, 0, COUNT(methods));
    tcase_add_test(tc, bad_head_is_refused);
    tcase_add_test(tc, connection_is_kept_for_the_next_request);
    tcase_add_test(tc, many_clients_at_once_are_all_answered);
    tcase_add_test(tc, more_clients_than_it_takes_are_answered_when_others_leave);
    tcase_add_test(tc, client_that_leaves_in_the_middle_disturbs_nobody);
    tcase_add_test(tc, stop_closes_connections_that_are_open);
    tcase_add_test(tc, stop_leaves_the_listening_socket_open);
    suite_add_tcase(s, tc);
    tc = tcase_create("start");
    tcase_set_timeout(tc, TIMEOUT_S);
    tcase_add_test(tc, source_without_functions_is_ready);
    tcase_add_test(tc, descriptor_that_does_not_listen_is_refused);
    suite_add_tcase(s, tc);
    return s;
}

int main(void)
{
    SRunner *sr = srunner_create(admin_suite());
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
