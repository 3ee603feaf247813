#include "runtime/peers.h"

#include <arpa/inet.h>
#include <check.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

static const uint64_t MS = 1000000, IDLE_NS = 60000 * (uint64_t)1000000, BEGIN = 5000 * (uint64_t)1000000;

/* Each of these times has another length below, where they are told apart. */
static const peer_limits all_alike = {.idle_ns = 60000 * (uint64_t)1000000,
                                      .head_ns = 60000 * (uint64_t)1000000,
                                      .body_ns = 60000 * (uint64_t)1000000,
                                      .reading_ns = 60000 * (uint64_t)1000000};

/* A connection over TCP: ours, and the client's end. */
typedef struct line {
    int ours, client;
    peer *p;
} line;

static peers ps;

static void set_up(void)
{
    ck_assert_int_eq(peers_init(&ps, &all_alike), 0);
}

static line open_line(uint64_t now_ns)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t bytes = sizeof(address);
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    ck_assert_int_eq(bind(listener, (struct sockaddr *)&address, sizeof(address)), 0);
    ck_assert_int_eq(listen(listener, 1), 0);
    ck_assert_int_eq(getsockname(listener, (struct sockaddr *)&address, &bytes), 0);
    line l = {.client = socket(AF_INET, SOCK_STREAM, 0)};
    ck_assert_int_eq(connect(l.client, (struct sockaddr *)&address, sizeof(address)), 0);
    bytes = sizeof(address);
    l.ours = accept(listener, (struct sockaddr *)&address, &bytes);
    ck_assert_int_ge(l.ours, 0);
    close(listener);
    l.p = peers_open(&ps, l.ours, (struct sockaddr *)&address, now_ns);
    ck_assert_ptr_nonnull(l.p);
    return l;
}

static void close_line(line *l)
{
    peers_close(&ps, l->p);
    close(l->ours);
    close(l->client);
}

/* Whether our end was shut down: only then does the client see the end. */
static bool is_shut(const line *l)
{
    char waste[4096];
    ssize_t n;
    while ((n = recv(l->client, waste, sizeof(waste), MSG_DONTWAIT)) > 0)
        ;
    return n == 0;
}

static void wait_for(int fd, short event)
{
    struct pollfd p = {.fd = fd, .events = event};
    ck_assert_int_eq(poll(&p, 1, -1), 1);
}

/* Look at every time that peers asks for, up to a moment. */
static void live_until(uint64_t end_ns)
{
    for (uint64_t at; (at = peers_next_look_ns(&ps)) <= end_ns;) {
        peers_look(&ps, at);
        ck_assert_uint_gt(peers_next_look_ns(&ps), at);
    }
}

START_TEST(without_connections_there_is_nothing_to_look_at)
{
    ck_assert_uint_eq(peers_next_look_ns(&ps), UINT64_MAX);
    peers_fini(&ps);
}
END_TEST

START_TEST(an_address_is_known_as_text)
{
    line l = open_line(BEGIN);
    ck_assert_str_eq(l.p->ip, "127.0.0.1");
    close_line(&l);
    struct sockaddr_in6 mapped = {.sin6_family = AF_INET6};
    ck_assert_int_eq(inet_pton(AF_INET6, "::ffff:192.0.2.7", &mapped.sin6_addr), 1);
    peer *p = peers_open(&ps, -1, (struct sockaddr *)&mapped, BEGIN);
    ck_assert_str_eq(p->ip, "192.0.2.7");
    peers_close(&ps, p);
    p = peers_open(&ps, -1, NULL, BEGIN);
    ck_assert_str_eq(p->ip, "");
    peers_close(&ps, p);
    peers_fini(&ps);
}
END_TEST

START_TEST(who_sends_nothing_is_shut_when_the_time_is_over_and_not_before)
{
    line l = open_line(BEGIN);
    live_until(BEGIN + IDLE_NS - 1);
    ck_assert(!is_shut(&l));
    live_until(BEGIN + IDLE_NS + PEERS_LOOK_MS * MS);
    ck_assert(is_shut(&l));
    close_line(&l);
    peers_fini(&ps);
}
END_TEST

START_TEST(a_request_begins_the_time_anew)
{
    line l = open_line(BEGIN);
    live_until(BEGIN + IDLE_NS / 2);
    peers_move(&ps, l.p, PEER_IDLE, BEGIN + IDLE_NS / 2);
    live_until(BEGIN + IDLE_NS + IDLE_NS / 2 - 1);
    ck_assert(!is_shut(&l));
    live_until(BEGIN + 2 * IDLE_NS);
    ck_assert(is_shut(&l));
    close_line(&l);
    peers_fini(&ps);
}
END_TEST

START_TEST(who_waits_for_a_handler_is_never_late_and_neither_gone)
{
    line l = open_line(BEGIN);
    peers_move(&ps, l.p, PEER_WAITS, BEGIN);
    shutdown(l.client, SHUT_WR);
    wait_for(l.ours, POLLIN);
    live_until(BEGIN + 10 * IDLE_NS);
    ck_assert(!is_shut(&l));
    close_line(&l);
    peers_fini(&ps);
}
END_TEST

static bool is_writable(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    return poll(&p, 1, 0) == 1;
}

/* Fill the way to the client. */
static void send_much(const line *l)
{
    static const char bytes[65536];
    while (send(l->ours, bytes, sizeof(bytes), MSG_DONTWAIT) > 0)
        ;
}

START_TEST(who_reads_slowly_is_not_late_and_who_stops_reading_is)
{
    line l = open_line(BEGIN);
    uint64_t now = BEGIN;
    peers_move(&ps, l.p, PEER_READS, now);
    now += PEERS_LOOK_MS * MS;
    live_until(now);
    char some[65536];
    for (int i = 0; i < 5; i++) {
        send_much(&l);
        do /* until it has told that there is room again */
            ck_assert_int_gt(recv(l.client, some, sizeof(some), 0), 0);
        while (!is_writable(l.ours));
        now += IDLE_NS + PEERS_LOOK_MS * MS;
        live_until(now);
    }
    /* Still open in our direction: a send does not fail. */
    ck_assert_int_gt(send(l.ours, "x", 1, MSG_DONTWAIT | MSG_NOSIGNAL), 0);
    send_much(&l);
    live_until(now + 3 * IDLE_NS);
    ck_assert_int_lt(send(l.ours, "x", 1, MSG_DONTWAIT | MSG_NOSIGNAL), 0);
    ck_assert(is_shut(&l));
    close_line(&l);
    peers_fini(&ps);
}
END_TEST

START_TEST(a_client_that_has_closed_is_seen_at_the_next_look)
{
    line l = open_line(BEGIN);
    shutdown(l.client, SHUT_WR);
    wait_for(l.ours, POLLIN);
    live_until(BEGIN + PEERS_LOOK_MS * MS);
    ck_assert(is_shut(&l));
    close_line(&l);
    peers_fini(&ps);
}
END_TEST

START_TEST(one_that_closes_after_long_silence_is_seen_with_all)
{
    line l = open_line(BEGIN);
    live_until(BEGIN + 2 * PEERS_LOOK_MS * MS);
    shutdown(l.client, SHUT_WR);
    wait_for(l.ours, POLLIN);
    live_until(BEGIN + (PEERS_LOOK_ALL_MS - 1) * MS);
    ck_assert(!is_shut(&l));
    live_until(BEGIN + PEERS_LOOK_ALL_MS * MS);
    ck_assert(is_shut(&l));
    close_line(&l);
    peers_fini(&ps);
}
END_TEST

START_TEST(many_idle_ones_are_looked_at_every_thirty_seconds_only)
{
    enum { MANY = 200 };
    line all[MANY];
    int looks = 0;
    for (int i = 0; i < MANY; i++)
        all[i] = open_line(BEGIN);
    peers_look(&ps, BEGIN + PEERS_LOOK_MS * MS);
    for (uint64_t at; (at = peers_next_look_ns(&ps)) < BEGIN + IDLE_NS; looks++)
        peers_look(&ps, at);
    ck_assert_int_eq(looks, 1);
    for (int i = 0; i < MANY; i++)
        close_line(&all[i]);
    peers_fini(&ps);
}
END_TEST

START_TEST(without_a_limit_nobody_is_late)
{
    peers_fini(&ps);
    ck_assert_int_eq(peers_init(&ps, &(peer_limits){0}), 0);
    line l = open_line(BEGIN);
    live_until(BEGIN + 100 * IDLE_NS);
    ck_assert(!is_shut(&l));
    close_line(&l);
    peers_fini(&ps);
}
END_TEST

START_TEST(shutting_the_idle_spares_who_is_answered)
{
    line idle = open_line(BEGIN), waits = open_line(BEGIN), reads = open_line(BEGIN);
    peers_move(&ps, waits.p, PEER_WAITS, BEGIN);
    peers_move(&ps, reads.p, PEER_READS, BEGIN);
    peers_shut_idle(&ps);
    ck_assert(is_shut(&idle));
    ck_assert(!is_shut(&waits));
    ck_assert(!is_shut(&reads));
    peers_shut_all(&ps);
    ck_assert(is_shut(&waits));
    ck_assert(is_shut(&reads));
    close_line(&idle);
    close_line(&waits);
    close_line(&reads);
    peers_fini(&ps);
}
END_TEST

START_TEST(the_idlest_is_the_first_to_go)
{
    line waits = open_line(BEGIN), old = open_line(BEGIN), young = open_line(BEGIN);
    peers_move(&ps, waits.p, PEER_WAITS, BEGIN);
    live_until(BEGIN + 2 * PEERS_LOOK_MS * MS);
    peers_move(&ps, young.p, PEER_IDLE, BEGIN + 2 * PEERS_LOOK_MS * MS);
    peers_shut_idlest(&ps);
    ck_assert(is_shut(&old));
    ck_assert(!is_shut(&young));
    close_line(&old);
    peers_shut_idlest(&ps);
    ck_assert(is_shut(&young));
    close_line(&young);
    peers_shut_idlest(&ps);
    ck_assert(!is_shut(&waits));
    close_line(&waits);
    peers_fini(&ps);
}
END_TEST

/* --- each thing has its own time --- */

enum { HEAD_S = 2, BODY_S = 4, READING_S = 6, IDLE_S = 8, RATE = 100 };

#define S(n) (MS * 1000 * (uint64_t)(n))

static void set_up_apart(void)
{
    peers_fini(&ps);
    peer_limits limits = {.idle_ns = S(IDLE_S),
                          .head_ns = S(HEAD_S),
                          .body_ns = S(BODY_S),
                          .body_rate = RATE,
                          .reading_ns = S(READING_S),
                          .reading_rate = RATE};
    ck_assert_int_eq(peers_init(&ps, &limits), 0);
}

/* It is shut down within a look of that moment, and not before. */
static void expect_end(line *l, uint64_t at_ns, peer_late why)
{
    live_until(at_ns - 1);
    ck_assert(!is_shut(l));
    live_until(at_ns + PEERS_LOOK_MS * MS);
    ck_assert(is_shut(l));
    ck_assert_uint_eq(peers_late(&ps, why), 1);
    close_line(l);
    peers_fini(&ps);
}

START_TEST(the_first_head_has_its_time_from_the_opening)
{
    set_up_apart();
    line l = open_line(BEGIN);
    peers_move(&ps, l.p, PEER_SENDS_HEAD, BEGIN + S(1));
    expect_end(&l, BEGIN + S(HEAD_S), PEER_LATE_HEAD);
}
END_TEST

START_TEST(a_later_head_has_its_time_from_its_first_line)
{
    set_up_apart();
    line l = open_line(BEGIN);
    peers_move(&ps, l.p, PEER_WAITS, BEGIN);
    peers_move(&ps, l.p, PEER_IDLE, BEGIN + S(1));
    live_until(BEGIN + S(5));
    peers_move(&ps, l.p, PEER_SENDS_HEAD, BEGIN + S(5));
    expect_end(&l, BEGIN + S(5 + HEAD_S), PEER_LATE_HEAD);
}
END_TEST

START_TEST(idleness_has_its_time_from_the_last_reply)
{
    set_up_apart();
    line l = open_line(BEGIN);
    peers_move(&ps, l.p, PEER_WAITS, BEGIN);
    peers_move(&ps, l.p, PEER_IDLE, BEGIN + S(1));
    expect_end(&l, BEGIN + S(1 + IDLE_S), PEER_LATE_IDLE);
}
END_TEST

/* The system says how much is left, but not how much has come: of a Unix socket too. */
START_TEST(over_a_unix_socket_who_stops_reading_is_late_too)
{
    int ends[2];
    set_up_apart();
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    line l = {.ours = ends[0], .client = ends[1], .p = peers_open(&ps, ends[0], NULL, BEGIN)};
    peers_move(&ps, l.p, PEER_READS, BEGIN);
    send_much(&l);
    live_until(BEGIN + S(READING_S - 1));
    ck_assert(!l.p->shut);
    live_until(BEGIN + S(READING_S + 5));
    ck_assert(l.p->shut);
    close_line(&l);
    peers_fini(&ps);
}
END_TEST

START_TEST(the_rest_of_a_reply_that_is_read_late_is_no_matter)
{
    char some[65536];
    set_up_apart();
    line l = open_line(BEGIN);
    peers_move(&ps, l.p, PEER_WAITS, BEGIN);
    peers_move(&ps, l.p, PEER_READS, BEGIN);
    send_much(&l);
    peers_move(&ps, l.p, PEER_IDLE, BEGIN);
    live_until(BEGIN + S(1));
    ck_assert_int_eq(l.p->doing, PEER_READS_REST);
    for (int left = 1; left > 0;) {
        while (recv(l.client, some, sizeof(some), MSG_DONTWAIT) > 0)
            ;
        ck_assert_int_eq(ioctl(l.ours, SIOCOUTQ, &left), 0);
    }
    live_until(BEGIN + S(2));
    ck_assert_int_eq(l.p->doing, PEER_IDLE);
    close_line(&l);
    peers_fini(&ps);
}
END_TEST

START_TEST(a_body_that_drips_is_late)
{
    set_up_apart();
    line l = open_line(BEGIN);
    peers_move(&ps, l.p, PEER_SENDS_BODY, BEGIN);
    for (int s = 1; s < BODY_S; s++) {
        live_until(BEGIN + S(s));
        peers_got(l.p, RATE - 1);
    }
    peers_got(l.p, RATE - 1);
    expect_end(&l, BEGIN + S(BODY_S), PEER_LATE_BODY);
}
END_TEST

START_TEST(a_body_at_its_rate_may_take_for_ever_and_is_late_once_it_stalls)
{
    set_up_apart();
    line l = open_line(BEGIN);
    peers_move(&ps, l.p, PEER_SENDS_BODY, BEGIN);
    for (int s = 1; s <= 20 * BODY_S; s++) {
        peers_got(l.p, RATE);
        live_until(BEGIN + S(s));
        ck_assert(!is_shut(&l));
    }
    live_until(BEGIN + S(22 * BODY_S + 2));
    ck_assert(is_shut(&l));
    close_line(&l);
    peers_fini(&ps);
}
END_TEST

START_TEST(who_is_late_with_a_head_is_told_so)
{
    char text[128] = "";
    set_up_apart();
    line l = open_line(BEGIN);
    peers_move(&ps, l.p, PEER_SENDS_HEAD, BEGIN);
    live_until(BEGIN + S(HEAD_S + 1));
    ck_assert_int_gt(recv(l.client, text, sizeof(text) - 1, 0), 0);
    ck_assert_int_eq(strncmp(text, "HTTP/1.1 408 ", 13), 0);
    ck_assert(is_shut(&l));
    close_line(&l);
    peers_fini(&ps);
}
END_TEST

/* --- crowds --- */

START_TEST(one_too_many_of_an_address_is_shut)
{
    peers_fini(&ps);
    peer_limits limits = all_alike;
    ck_assert_int_eq(crowd_new(2, 10, &limits.crowd), 0);
    ck_assert_int_eq(peers_init(&ps, &limits), 0);
    line a = open_line(BEGIN), b = open_line(BEGIN), c = open_line(BEGIN);
    ck_assert(!is_shut(&a));
    ck_assert(!is_shut(&b));
    ck_assert(is_shut(&c));
    ck_assert_uint_eq(peers_late(&ps, PEER_LATE_CROWD), 1);
    close_line(&c);
    close_line(&a);
    line d = open_line(BEGIN);
    ck_assert(!is_shut(&d));
    close_line(&b);
    close_line(&d);
    peers_fini(&ps);
    crowd_free(limits.crowd);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("peers");
    TCase *t = tcase_create("peers");
    tcase_add_checked_fixture(t, set_up, NULL);
    tcase_add_test(t, without_connections_there_is_nothing_to_look_at);
    tcase_add_test(t, an_address_is_known_as_text);
    tcase_add_test(t, who_sends_nothing_is_shut_when_the_time_is_over_and_not_before);
    tcase_add_test(t, a_request_begins_the_time_anew);
    tcase_add_test(t, who_waits_for_a_handler_is_never_late_and_neither_gone);
    tcase_add_test(t, who_reads_slowly_is_not_late_and_who_stops_reading_is);
    tcase_add_test(t, a_client_that_has_closed_is_seen_at_the_next_look);
    tcase_add_test(t, one_that_closes_after_long_silence_is_seen_with_all);
    tcase_add_test(t, many_idle_ones_are_looked_at_every_thirty_seconds_only);
    tcase_add_test(t, without_a_limit_nobody_is_late);
    tcase_add_test(t, shutting_the_idle_spares_who_is_answered);
    tcase_add_test(t, the_idlest_is_the_first_to_go);
    tcase_add_test(t, the_first_head_has_its_time_from_the_opening);
    tcase_add_test(t, a_later_head_has_its_time_from_its_first_line);
    tcase_add_test(t, idleness_has_its_time_from_the_last_reply);
    tcase_add_test(t, over_a_unix_socket_who_stops_reading_is_late_too);
    tcase_add_test(t, the_rest_of_a_reply_that_is_read_late_is_no_matter);
    tcase_add_test(t, a_body_that_drips_is_late);
    tcase_add_test(t, a_body_at_its_rate_may_take_for_ever_and_is_late_once_it_stalls);
    tcase_add_test(t, who_is_late_with_a_head_is_told_so);
    tcase_add_test(t, one_too_many_of_an_address_is_shut);
    suite_add_tcase(suite, t);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
