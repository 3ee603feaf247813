#include "api/program/scrape.h"

#include <arpa/inet.h>
#include <check.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { TIMEOUT_MS = 20000 };

/* --- the text --- */

static scrape *parsed(const char *text)
{
    scrape *s = NULL;
    ps_error err = {0};
    ck_assert_msg(scrape_parse(text, strlen(text), &s, &err) == 0, "%s", err.message);
    return s;
}

/* Parse what is wrong. Returns: the message, good until the next. */
static const char *refused_bytes(const char *text, size_t n)
{
    static ps_error err;
    scrape *s = NULL;
    err = (ps_error){0};
    ck_assert_int_eq(scrape_parse(text, n, &s, &err), PS_ESYSTEM);
    ck_assert_ptr_null(s);
    ck_assert_ptr_null(strchr(err.message, '\n'));
    return err.message;
}

static const char *refused(const char *text)
{
    return refused_bytes(text, strlen(text));
}

START_TEST(samples_come_with_name_labels_and_value)
{
    scrape *s = parsed("# HELP a_total What it is.\n# TYPE a_total counter\n"
                       "a_total{route=\"/users/:id\",status=\"200\"} 42\nb 0.5\n");
    ck_assert_uint_eq(scrape_count(s), 2);
    const scrape_sample *a = scrape_at(s, 0);
    ck_assert(scrape_is(a, "a_total"));
    ck_assert_uint_eq(a->label_count, 2);
    ck_assert_str_eq(a->labels[1].name, "status");
    ck_assert_str_eq(scrape_label_value(a, "route"), "/users/:id");
    ck_assert_double_eq(a->value, 42);
    const scrape_sample *b = scrape_at(s, 1);
    ck_assert_str_eq(b->name, "b");
    ck_assert_uint_eq(b->label_count, 0);
    ck_assert_str_eq(scrape_label_value(b, "route"), "");
    ck_assert_double_eq(b->value, 0.5);
    scrape_free(s);
}
END_TEST

START_TEST(blanks_commas_and_times_are_as_the_format_allows)
{
    scrape *s = parsed("\n  a{ x = \"1\" , y=\"2\", }\t 7 1700000000000 \n\nb{} 8 -5\nc 9");
    ck_assert_uint_eq(scrape_count(s), 3);
    ck_assert_str_eq(scrape_label_value(scrape_at(s, 0), "y"), "2");
    ck_assert_double_eq(scrape_at(s, 0)->value, 7);
    ck_assert_double_eq(scrape_at(s, 1)->value, 8);
    ck_assert_double_eq(scrape_at(s, 2)->value, 9);
    scrape_free(s);
}
END_TEST

START_TEST(no_text_is_no_samples)
{
    scrape *s = parsed("");
    ck_assert_uint_eq(scrape_count(s), 0);
    scrape_free(s);
    scrape_free(NULL);
}
END_TEST

START_TEST(values_that_are_no_numbers_are_read)
{
    scrape *s = parsed("a +Inf\nb -Inf\nc NaN\nd 1.5e-3\n");
    ck_assert(isinf(scrape_at(s, 0)->value) && scrape_at(s, 0)->value > 0);
    ck_assert(isinf(scrape_at(s, 1)->value) && scrape_at(s, 1)->value < 0);
    ck_assert(isnan(scrape_at(s, 2)->value));
    ck_assert_double_eq(scrape_at(s, 3)->value, 1.5e-3);
    scrape_free(s);
}
END_TEST

START_TEST(escapes_and_punctuation_inside_values_are_text)
{
    scrape *s = parsed("a{route=\"/\\\"x\\\\y\\\"{,}= # \"} 1\n");
    ck_assert_str_eq(scrape_label_value(scrape_at(s, 0), "route"), "/\"x\\y\"{,}= # ");
    scrape_free(s);
}
END_TEST

START_TEST(nothing_in_a_value_can_steer_a_terminal)
{
    scrape *s = parsed("a{route=\"\x1b[2Jx\\ny\x7f\\\x1bz\xc2\x9bq\\\xc2\x85\"} 1\n");
    ck_assert_str_eq(scrape_label_value(scrape_at(s, 0), "route"), "?[2Jx?y??z?q?");
    scrape_free(s);
    s = parsed("a{route=\"\xc2\\\x9b\"} 1\n"); /* two bytes that an escape keeps apart */
    ck_assert_str_eq(scrape_label_value(scrape_at(s, 0), "route"), "?");
    scrape_free(s);
}
END_TEST

START_TEST(other_utf_8_stays)
{
    scrape *s = parsed("a{route=\"/caf\xc3\xa9/\xc2\xa0\xe2\x82\xac\"} 1\n");
    ck_assert_str_eq(scrape_label_value(scrape_at(s, 0), "route"), "/caf\xc3\xa9/\xc2\xa0\xe2\x82\xac");
    scrape_free(s);
}
END_TEST

static const char *const wrong_lines[] = {
    "<html>",
    "1a 2",
    "a",
    "a ",
    "a \nb 1",
    "a x",
    "a 1 x",
    "a 1 2 3",
    "a1.5",
    "a{",
    "a{} ",
    "a{x} 1",
    "a{x=1} 1",
    "a{x=\"1} 1",
    "a{x=\"1\n\"} 1",
    "a{x=\"1\\",
    "a{x=\"1\\\n\"} 1",
    "a{x=\"1\" y=\"2\"} 1",
    "a{,} 1",
    "a{x=\"1\",,} 1",
    "a{=\"1\"} 1",
    "a{x=\"1\"",
    "a{x",
    "a{x=",
    "a 1\r\nb 1",
    "\xff\xfe 1",
    "{x=\"1\"} 1",
};

START_TEST(a_wrong_line_is_refused_by_its_number)
{
    char text[128];
    snprintf(text, sizeof text, "good 1\n%s", wrong_lines[_i]);
    ck_assert_str_eq(refused(text), "metrics: line 2 is not in Prometheus's text format");
}
END_TEST

START_TEST(a_nul_is_not_an_end)
{
    static const char text[] = "a 1\n\0b 2\n", comment[] = "# x\0y\na 1\n", inside[] = "a{x=\"\0\"} 1\n";
    refused_bytes(text, sizeof text - 1);
    refused_bytes(comment, sizeof comment - 1);
    refused_bytes(inside, sizeof inside - 1);
}
END_TEST

START_TEST(every_cut_of_a_text_is_read_or_refused)
{
    static const char text[] = "# x\na{b=\"c\\\\\",d=\"\\\"\"} 1 2\nx:y 3\n";
    for (size_t n = 0; n < sizeof text; n++) {
        char *exact = malloc(n + 1); /* so that a sanitizer sees one byte too many */
        memcpy(exact, text, n);
        scrape *s = NULL;
        ps_error err;
        int code = scrape_parse(exact, n, &s, &err);
        ck_assert(code == 0 || code == PS_ESYSTEM);
        scrape_free(s);
        free(exact);
    }
}
END_TEST

START_TEST(random_bytes_do_no_harm)
{
    static const char letters[] = "ab{}=\",\\ \n\t#:1.\xc2\x9b\x1b";
    unsigned state = 12345;
    for (int round = 0; round < 20000; round++) {
        char text[40];
        for (size_t i = 0; i < sizeof text; i++) {
            state = state * 1103515245u + 12345u;
            text[i] = letters[(state >> 16) % (sizeof letters)];
        }
        scrape *s = NULL;
        scrape_parse(text, sizeof text, &s, NULL);
        scrape_free(s);
    }
}
END_TEST

START_TEST(a_text_that_is_too_long_is_refused)
{
    char *text = calloc(1, SCRAPE_BYTES_MAX + 1);
    ck_assert_ptr_nonnull(text);
    ck_assert_str_eq(refused_bytes(text, SCRAPE_BYTES_MAX + 1), "metrics: too long");
    free(text);
}
END_TEST

/* --- the exchange: one client, one canned reply --- */

typedef struct peer {
    int listener;
    pthread_t thread;
    const char *reply; /* NULL: none, but wait for the client to go */
    char address[64], request[512];
} peer;

static size_t read_request(int fd, char *out, size_t size)
{
    size_t n = 0;
    while (n + 1 < size && !(n >= 4 && memcmp(out + n - 4, "\r\n\r\n", 4) == 0)) {
        ssize_t got = recv(fd, out + n, 1, 0);
        if (got <= 0)
            break;
        n += (size_t)got;
    }
    out[n] = '\0';
    return n;
}

static void *serve(void *user)
{
    peer *p = user;
    char byte;
    int fd = accept(p->listener, NULL, NULL);
    if (fd < 0)
        return NULL;
    read_request(fd, p->request, sizeof p->request);
    if (p->reply)
        send(fd, p->reply, strlen(p->reply), MSG_NOSIGNAL);
    else
        while (recv(fd, &byte, 1, 0) > 0)
            ;
    close(fd);
    return NULL;
}

static int listen_anywhere(struct sockaddr_in *at)
{
    socklen_t size = sizeof *at;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    *at = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    ck_assert_int_eq(bind(fd, (struct sockaddr *)at, sizeof *at), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)at, &size), 0);
    return fd;
}

static void peer_start(peer *p, const char *format, const char *reply)
{
    struct sockaddr_in at;
    *p = (peer){.reply = reply, .listener = listen_anywhere(&at)};
    ck_assert_int_eq(listen(p->listener, 1), 0);
    snprintf(p->address, sizeof p->address, format, ntohs(at.sin_port));
    ck_assert_int_eq(pthread_create(&p->thread, NULL, serve, p), 0);
}

static void peer_stop(peer *p)
{
    pthread_join(p->thread, NULL);
    close(p->listener);
}

#define METRICS "a 1\n"
#define HEAD    "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"

static void ask_well(const char *format, const char *reply, const char *request_line)
{
    peer p;
    scrape *s = NULL;
    ps_error err = {0};
    peer_start(&p, format, reply);
    ck_assert_msg(scrape_get(p.address, TIMEOUT_MS, &s, &err) == 0, "%s", err.message);
    peer_stop(&p);
    ck_assert_uint_eq(scrape_count(s), 1);
    ck_assert_msg(strncmp(p.request, request_line, strlen(request_line)) == 0, "%s", p.request);
    scrape_free(s);
}

static void ask_badly(const char *reply, int timeout_ms, const char *why)
{
    peer p;
    scrape *s = NULL;
    ps_error err = {0};
    peer_start(&p, "127.0.0.1:%d", reply);
    ck_assert_int_eq(scrape_get(p.address, timeout_ms, &s, &err), PS_ESYSTEM);
    peer_stop(&p);
    ck_assert_ptr_null(s);
    ck_assert_msg(strstr(err.message, why), "\"%s\" is not in: %s", why, err.message);
    ck_assert_msg(strncmp(err.message, p.address, strlen(p.address)) == 0, "%s", err.message);
}

START_TEST(an_address_without_a_path_means_its_metrics)
{
    const char *reply = HEAD "Content-Length: 4\r\n\r\n" METRICS;
    ask_well("127.0.0.1:%d", reply, "GET /metrics HTTP/1.0\r\n");
    ask_well("http://127.0.0.1:%d", reply, "GET /metrics HTTP/1.0\r\n");
    ask_well("http://127.0.0.1:%d/", reply, "GET /metrics HTTP/1.0\r\n");
    ask_well("http://localhost:%d", reply, "GET /metrics HTTP/1.0\r\n");
}
END_TEST

START_TEST(a_path_is_asked_for_as_it_is)
{
    ask_well("http://127.0.0.1:%d/app/metrics?x", HEAD "\r\n" METRICS, "GET /app/metrics?x HTTP/1.0\r\n");
}
END_TEST

START_TEST(a_reply_without_a_length_ends_with_the_connection)
{
    ask_well("127.0.0.1:%d", HEAD "\r\n" METRICS, "GET ");
}
END_TEST

START_TEST(what_is_no_metrics_is_told_in_one_line)
{
    ask_badly("SSH-2.0-x\r\n", TIMEOUT_MS, "not HTTP");
    ask_badly("", TIMEOUT_MS, "not HTTP");
    ask_badly("HTTP/1.1 404 Not Found\r\n\r\n", TIMEOUT_MS, "404: is this the address of --admin?");
    ask_badly(HEAD "Content-Length: 400\r\n\r\n" METRICS, TIMEOUT_MS, "cut off");
    ask_badly(HEAD "Content-Length: 4x\r\n\r\n<html>", TIMEOUT_MS, "cut off");
    ask_badly(HEAD "\r\n<html>", TIMEOUT_MS, "line 1 is not in Prometheus's text format");
}
END_TEST

START_TEST(a_server_that_says_nothing_is_given_up)
{
    ask_badly(NULL, 50, "timed out");
}
END_TEST

START_TEST(nobody_there_is_told)
{
    struct sockaddr_in at;
    char address[64];
    scrape *s = NULL;
    ps_error err = {0};
    int fd = listen_anywhere(&at); /* bound, and not listening */
    snprintf(address, sizeof address, "127.0.0.1:%d", ntohs(at.sin_port));
    ck_assert_int_eq(scrape_get(address, TIMEOUT_MS, &s, &err), PS_ESYSTEM);
    ck_assert_ptr_nonnull(strstr(err.message, "refused"));
    close(fd);
}
END_TEST

static const char *const wrong_addresses[] = {
    "",          "localhost", ":8080",   "host:",     "host:0",      "host:65536",     "host:80x",
    "::1:80",    "[::1]",     "http://", "host:80?x", "host:80/a b", "host:80/a\r\nX", "https://h:1",
    "ftp://h:1", "host:80#x", "host:-1", "host: 80",
};

START_TEST(an_address_that_is_none_is_refused_without_a_connection)
{
    scrape *s = NULL;
    ps_error err = {0};
    ck_assert_int_eq(scrape_get(wrong_addresses[_i], TIMEOUT_MS, &s, &err), PS_EINVAL);
    ck_assert_ptr_nonnull(strstr(err.message, "http"));
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("scrape");
    TCase *text = tcase_create("text");
    tcase_add_test(text, samples_come_with_name_labels_and_value);
    tcase_add_test(text, blanks_commas_and_times_are_as_the_format_allows);
    tcase_add_test(text, no_text_is_no_samples);
    tcase_add_test(text, values_that_are_no_numbers_are_read);
    tcase_add_test(text, escapes_and_punctuation_inside_values_are_text);
    tcase_add_test(text, nothing_in_a_value_can_steer_a_terminal);
    tcase_add_test(text, other_utf_8_stays);
    tcase_add_loop_test(text, a_wrong_line_is_refused_by_its_number, 0,
                        (int)(sizeof wrong_lines / sizeof *wrong_lines));
    tcase_add_test(text, a_nul_is_not_an_end);
    tcase_add_test(text, every_cut_of_a_text_is_read_or_refused);
    tcase_add_test(text, random_bytes_do_no_harm);
    tcase_add_test(text, a_text_that_is_too_long_is_refused);
    suite_add_tcase(s, text);
    TCase *net = tcase_create("exchange");
    tcase_add_test(net, an_address_without_a_path_means_its_metrics);
    tcase_add_test(net, a_path_is_asked_for_as_it_is);
    tcase_add_test(net, a_reply_without_a_length_ends_with_the_connection);
    tcase_add_test(net, what_is_no_metrics_is_told_in_one_line);
    tcase_add_test(net, a_server_that_says_nothing_is_given_up);
    tcase_add_test(net, nobody_there_is_told);
    tcase_add_loop_test(net, an_address_that_is_none_is_refused_without_a_connection, 0,
                        (int)(sizeof wrong_addresses / sizeof *wrong_addresses));
    suite_add_tcase(s, net);
    return s;
}

int main(void)
{
    SRunner *runner = srunner_create(suite());
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
