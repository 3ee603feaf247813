#include "runtime/admin.h"

#include <arpa/inet.h>
#include <check.h>
#include <errno.h>
#include <poll.h>
#include <sched.h>
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

/* The reply, head and body, to a request on a connection of its own. Each header ends in CRLF. */
static const char *ask_with(const char *method, const char *target, const char *headers)
{
    char request[512];
    int fd = connect_client();
    snprintf(request, sizeof(request), "%s %s HTTP/1.1\r\nHost: a\r\nConnection: close\r\n%s\r\n", method,
             target, headers);
    send_text(fd, request);
    const char *reply = read_to_end(fd);
    close(fd);
    return reply;
}

static const char *ask(const char *method, const char *target)
{
    return ask_with(method, target, "");
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

/* --- metrics that need to be brought up to date --- */

static atomic_int refreshes, renderings;
static void (*refreshed)(void *with);
static void *_Atomic refresh_with; /* of the one under way */

static bool begin_refresh(void *user, void (*done)(void *with), void *with)
{
    (void)user;
    refreshed = done;
    atomic_store(&refresh_with, with);
    atomic_fetch_add(&refreshes, 1);
    return true;
}

static bool refuse_refresh(void *user, void (*done)(void *with), void *with)
{
    (void)user;
    (void)done;
    (void)with;
    return false;
}

static bool refresh_at_once(void *user, void (*done)(void *with), void *with)
{
    (void)user;
    done(with);
    return true;
}

static int count_rendering(void *user, buf *out)
{
    (void)user;
    atomic_fetch_add(&renderings, 1);
    return buf_addf(out, "refreshes %d\n", atomic_load(&refreshes));
}

static void start_refreshing(bool (*refresh)(void *user, void (*done)(void *with), void *with))
{
    admin_source s = {.metrics = count_rendering, .refresh = refresh};
    atomic_store(&refreshes, 0);
    atomic_store(&renderings, 0);
    start(&s);
}

/* A request for /metrics that is under way. */
static int begin_metrics(void)
{
    int fd = connect_client();
    send_text(fd, "GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    while (!atomic_load(&refreshes))
        sched_yield();
    return fd;
}

START_TEST(refresh_that_is_done_at_once_or_refused_keeps_nobody)
{
    start_refreshing(_i ? refuse_refresh : refresh_at_once);
    expect(ask("GET", "/metrics"), 200, "refreshes 0\n");
    tear_down();
}
END_TEST

START_TEST(metrics_come_without_the_news_that_do_not_come)
{
    start_refreshing(begin_refresh);
    int fd = begin_metrics();
    expect(ask("GET", "/healthz"), 200, "ok");
    expect(read_to_end(fd), 200, "refreshes 1\n");
    close(fd);
    refreshed(atomic_load(&refresh_with));
    expect(ask("GET", "/healthz"), 200, "ok");
    tear_down();
}
END_TEST

START_TEST(metrics_are_made_when_the_news_come_from_another_thread)
{
    start_refreshing(begin_refresh);
    int fd = begin_metrics();
    refreshed(atomic_load(&refresh_with));
    expect(read_to_end(fd), 200, "refreshes 1\n");
    ck_assert_int_eq(atomic_load(&renderings), 1);
    close(fd);
    tear_down();
}
END_TEST

START_TEST(client_that_leaves_while_it_waits_disturbs_nobody)
{
    start_refreshing(begin_refresh);
    close(begin_metrics());
    expect(ask("GET", "/healthz"), 200, "ok");
    refreshed(atomic_load(&refresh_with));
    expect(ask("GET", "/healthz"), 200, "ok");
    tear_down();
}
END_TEST

START_TEST(stop_answers_those_that_wait_and_late_news_harm_nobody)
{
    start_refreshing(begin_refresh);
    int fd = begin_metrics();
    tear_down();
    a = NULL;
    const char *reply = read_to_end(fd);
    ck_assert_int_eq(status_of(reply), 200);
    close(fd);
    refreshed(atomic_load(&refresh_with)); /* under ASan: neither freed before nor leaked */
}
END_TEST

/* --- queues --- */

static mq *queues;

static mq *give_queues(void *user)
{
    (void)user;
    return queues;
}

static void start_with_queues(void)
{
    char error[256];
    admin_source s = {.queues = give_queues};
    ck_assert_msg(mq_open("memory:", &(mq_config){0}, &queues, error, sizeof(error)) == 0, "%s", error);
    start(&s);
}

static void stop_with_queues(void)
{
    tear_down();
    mq_close(queues);
    queues = NULL;
}

static void push(const char *queue, const char *id, const char *body, int64_t delay_ms)
{
    mq_op op = {.verb = MQ_PUSH,
                .queue = queue,
                .id = id,
                .body = str_from(body),
                .delay_ms = delay_ms,
                .priority = 3};
    ck_assert_int_eq(mq_call(queues, &op), 0);
}

/* Take the first one and say that it has failed for good. */
static void bury(const char *queue, const char *note)
{
    char dead[MQ_NAME_BYTES];
    snprintf(dead, sizeof(dead), "%s.dead", queue);
    mq_op take = {.verb = MQ_TAKE, .queue = queue, .most = 1, .lease_ms = 60000};
    ck_assert_int_eq(mq_call(queues, &take), 0);
    ck_assert_ptr_nonnull(take.messages);
    mq_op give = {.verb = MQ_DEAD, .queue = queue, .messages = take.messages, .note = note, .to = dead};
    ck_assert_int_eq(mq_call(queues, &give), 0);
    mq_message_free(take.messages);
}

START_TEST(queues_are_listed_with_their_messages)
{
    expect(ask("GET", "/queues"), 200, "[]\n");
    push("a", "1", "{}", 0);
    push("a", "2", "{}", 3600000);
    const char *reply = ask("GET", "/queues");
    ck_assert_int_eq(status_of(reply), 200);
    ck_assert_ptr_nonnull(strstr(reply, "Content-Type: application/json\r\n"));
    ck_assert_ptr_nonnull(
        strstr(reply, "[{\"queue\":\"a\",\"ready\":1,\"delayed\":1,\"taken\":0,\"oldest\":"));
    ck_assert_ptr_nonnull(strstr(reply, "\"consumer\":null}]\n"));
}
END_TEST

START_TEST(messages_are_shown_with_body_id_and_what_went_wrong)
{
    push("a", "x\"y\\z", "{\"k\":[1,\"\\n\"]}", 0);
    bury("a", "bad \"news\"\n\x01\xff");
    const char *reply = body_of(ask("GET", "/queues/a.dead"));
    ck_assert_ptr_nonnull(strstr(reply, "[{\"state\":\"ready\",\"attempts\":1,\"priority\":3,"));
    ck_assert_ptr_nonnull(strstr(reply, "\"id\":\"x\\\"y\\\\z\",\"from\":\"a\","));
    ck_assert_ptr_nonnull(strstr(reply, "\"error\":\"bad \\\"news\\\"\\n\\u0001\\ufffd\","));
    ck_assert_ptr_nonnull(strstr(reply, "\"body\":{\"k\":[1,\"\\n\"]}}]\n"));
}
END_TEST

static size_t count_of(const char *text, const char *what)
{
    size_t n = 0;
    for (; (text = strstr(text, what)) != NULL; text++)
        n++;
    return n;
}

START_TEST(so_many_messages_are_shown_as_are_asked_for)
{
    for (int i = 0; i < 12; i++)
        push("a", NULL, "7", 0);
    ck_assert_uint_eq(count_of(ask("GET", "/queues/a"), "\"body\":7"), 10);
    ck_assert_uint_eq(count_of(ask("GET", "/queues/a?n=2"), "\"body\":7"), 2);
    ck_assert_uint_eq(count_of(ask("GET", "/queues/a?x=1&n=1024"), "\"body\":7"), 12);
    ck_assert_int_eq(status_of(ask("HEAD", "/queues/a")), 200);
}
END_TEST

#define OURS "X-Poolsrv: 1\r\n"

START_TEST(dead_letters_are_retried_all_or_by_id)
{
    push("a", "1", "{}", 0);
    push("a", "2:3/4", "{}", 0);
    bury("a", "");
    bury("a", "");
    expect(ask_with("POST", "/queues/a.dead/retry?id=nobody", OURS), 200, "{\"count\":0}\n");
    expect(ask_with("POST", "/queues/a.dead/retry?id=2%3A3%2f4", OURS), 200, "{\"count\":1}\n");
    ck_assert_ptr_nonnull(strstr(ask("GET", "/queues/a"), "\"id\":\"2:3/4\""));
    expect(ask_with("POST", "/queues/a.dead/retry", OURS), 200, "{\"count\":1}\n");
    ck_assert_int_eq(status_of(ask("GET", "/queues/a.dead")), 404);
}
END_TEST

START_TEST(purge_lets_all_messages_go)
{
    push("a", NULL, "{}", 0);
    push("a", NULL, "{}", 3600000);
    expect(ask_with("POST", "/queues/a/purge", OURS), 200, "{\"count\":2}\n");
    ck_assert_int_eq(status_of(ask("GET", "/queues/a")), 404);
}
END_TEST

static const char *const untrusted[] = {"", "Content-Type: application/x-www-form-urlencoded\r\n",
                                        OURS "Origin: http://example.com\r\n", OURS "Origin: null\r\n"};

START_TEST(change_that_a_web_page_could_ask_for_is_refused)
{
    push("a", NULL, "{}", 0);
    ck_assert_int_eq(status_of(ask_with("POST", "/queues/a/purge", untrusted[_i])), 403);
    ck_assert_int_eq(status_of(ask_with("POST", "/queues/a/retry", untrusted[_i])), 403);
    ck_assert_int_eq(status_of(ask("GET", "/queues/a")), 200);
}
END_TEST

static const struct {
    const char *method, *target;
    int status;
} wrongs[] = {
    {"GET", "/queues/", 404},
    {"GET", "/queues/a/b", 404},
    {"GET", "/queues/a/", 404},
    {"GET", "/queuesa", 404},
    {"GET", "/queues//purge", 404},
    {"GET", "/queues/a%2e", 404},
    {"GET", "/queues/a/purge", 405},
    {"GET", "/queues/a/retry", 405},
    {"HEAD", "/queues/a/purge", 405},
    {"POST", "/queues", 405},
    {"POST", "/queues/a", 405},
    {"DELETE", "/queues/a", 405},
    {"GET", "/queues/a?n=0", 400},
    {"GET", "/queues/a?n=1025", 400},
    {"GET", "/queues/a?n=", 400},
    {"GET", "/queues/a?n=-1", 400},
    {"GET", "/queues/a?n=4294967297", 400},
    {"POST", "/queues/a/retry?id=", 400},
    {"POST", "/queues/a/retry?id=%20", 400},
    {"GET", "/queues/nobody", 404},
};

START_TEST(other_requests_for_queues_are_refused)
{
    push("a", NULL, "{}", 0);
    ck_assert_int_eq(status_of(ask_with(wrongs[_i].method, wrongs[_i].target, OURS)), wrongs[_i].status);
}
END_TEST

START_TEST(without_queues_their_pages_are_404)
{
    mq_close(queues);
    queues = NULL;
    ck_assert_int_eq(status_of(ask("GET", "/queues")), 404);
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
    tc = tcase_create("refresh");
    tcase_set_timeout(tc, TIMEOUT_S);
    tcase_add_loop_test(tc, refresh_that_is_done_at_once_or_refused_keeps_nobody, 0, 2);
    tcase_add_test(tc, metrics_come_without_the_news_that_do_not_come);
    tcase_add_test(tc, metrics_are_made_when_the_news_come_from_another_thread);
    tcase_add_test(tc, client_that_leaves_while_it_waits_disturbs_nobody);
    tcase_add_test(tc, stop_answers_those_that_wait_and_late_news_harm_nobody);
    suite_add_tcase(s, tc);
    tc = tcase_create("queues");
    tcase_add_checked_fixture(tc, start_with_queues, stop_with_queues);
    tcase_set_timeout(tc, TIMEOUT_S);
    tcase_add_test(tc, queues_are_listed_with_their_messages);
    tcase_add_test(tc, messages_are_shown_with_body_id_and_what_went_wrong);
    tcase_add_test(tc, so_many_messages_are_shown_as_are_asked_for);
    tcase_add_test(tc, dead_letters_are_retried_all_or_by_id);
    tcase_add_test(tc, purge_lets_all_messages_go);
    tcase_add_loop_test(tc, change_that_a_web_page_could_ask_for_is_refused, 0, COUNT(untrusted));
    tcase_add_loop_test(tc, other_requests_for_queues_are_refused, 0, COUNT(wrongs));
    tcase_add_test(tc, without_queues_their_pages_are_404);
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
