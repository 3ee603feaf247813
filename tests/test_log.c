#include "runtime/log.h"

#include <check.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "queue/buf.h"

/* --- lines, of a fixed time --- */

enum { TIME_MS = 500 };

static const char *line(const log_record *r, bool json)
{
    static buf out;
    log_clock clock = {0};
    out.n = 0;
    int err = json ? log_line_json(&out, &clock, r) : log_line_text(&out, &clock, r);
    ck_assert_int_eq(err, 0);
    buf_add(&out, "", 1);
    return out.p;
}

START_TEST(message_is_a_line_with_time_level_and_id)
{
    log_record r = {.time_ms = 784111777042, .level = LOG_LEVEL_WARN, .id = STR("abc"), .text = STR("hello")};
    ck_assert_str_eq(line(&r, false), "1994-11-06T08:49:37.042Z WARN  [abc] hello\n");
    ck_assert_str_eq(line(&r, true), "{\"time\":\"1994-11-06T08:49:37.042Z\",\"level\":\"warn\","
                                     "\"request_id\":\"abc\",\"message\":\"hello\"}\n");
}
END_TEST

START_TEST(message_without_an_id_has_none)
{
    log_record r = {.time_ms = TIME_MS, .level = LOG_LEVEL_ERROR, .text = STR("x")};
    ck_assert_str_eq(line(&r, false), "1970-01-01T00:00:00.500Z ERROR x\n");
    ck_assert_str_eq(line(&r, true),
                     "{\"time\":\"1970-01-01T00:00:00.500Z\",\"level\":\"error\",\"message\":\"x\"}\n");
}
END_TEST

START_TEST(lines_of_a_message_cannot_pass_for_others)
{
    log_record r = {.time_ms = TIME_MS, .text = STR("one\n1970-01-01T00:00:00.500Z ERROR forged")};
    ck_assert_str_eq(line(&r, false), "1970-01-01T00:00:00.500Z ERROR one\n"
                                      "    1970-01-01T00:00:00.500Z ERROR forged\n");
    ck_assert_ptr_nonnull(strstr(line(&r, true), "\"one\\n1970"));
}
END_TEST

START_TEST(clock_follows_the_seconds)
{
    buf out = {0};
    log_clock clock = {0};
    log_record r = {.text = STR("x")};
    for (r.time_ms = 999; r.time_ms <= 3001; r.time_ms += 1001)
        log_line_text(&out, &clock, &r);
    ck_assert(str_eq(buf_str(&out), STR("1970-01-01T00:00:00.999Z ERROR x\n"
                                        "1970-01-01T00:00:02.000Z ERROR x\n"
                                        "1970-01-01T00:00:03.001Z ERROR x\n")));
    buf_fini(&out);
}
END_TEST

static log_record request_record(void)
{
    return (log_record){.time_ms = TIME_MS,
                        .is_access = true,
                        .id = STR("abc"),
                        .request = {.ip = STR("10.0.0.1"),
                                    .method = STR("GET"),
                                    .target = STR("/u/7?x=\"\n"),
                                    .route = STR("/u/:id"),
                                    .version_minor = 1,
                                    .status = 200,
                                    .body_bytes = 12,
                                    .duration_ns = 1234567}};
}

START_TEST(request_is_a_line_of_its_own_kind)
{
    log_record r = request_record();
    ck_assert_str_eq(line(&r, false), "1970-01-01T00:00:00.500Z ACCESS [abc] 10.0.0.1 "
                                      "\"GET /u/7?x=\\\"\\x0a HTTP/1.1\" 200 12 1.234ms /u/:id\n");
    ck_assert_str_eq(
        line(&r, true),
        "{\"time\":\"1970-01-01T00:00:00.500Z\",\"level\":\"access\",\"request_id\":\"abc\","
        "\"ip\":\"10.0.0.1\",\"method\":\"GET\",\"target\":\"/u/7?x=\\\"\\n\",\"route\":\"/u/:id\","
        "\"version\":\"1.1\",\"status\":200,\"bytes\":12,\"duration_ms\":1.234}\n");
}
END_TEST

START_TEST(what_was_cut_is_counted_in_json_too)
{
    log_record r = {.time_ms = TIME_MS, .text = STR("x"), .cut_bytes = 7};
    ck_assert_str_eq(line(&r, true), "{\"time\":\"1970-01-01T00:00:00.500Z\",\"level\":\"error\","
                                     "\"message\":\"x\",\"cut_bytes\":7}\n");
}
END_TEST

START_TEST(request_without_address_and_route_has_dashes)
{
    log_record r = request_record();
    r.id = r.request.ip = r.request.route = (str){0};
    ck_assert_str_eq(line(&r, false), "1970-01-01T00:00:00.500Z ACCESS - "
                                      "\"GET /u/7?x=\\\"\\x0a HTTP/1.1\" 200 12 1.234ms -\n");
    ck_assert_ptr_null(strstr(line(&r, true), "\"ip\""));
    ck_assert_ptr_null(strstr(line(&r, true), "\"route\""));
}
END_TEST

/* --- the log, written to a file in memory --- */

static int file;
static logger *l;

static void set_up(void)
{
    file = memfd_create("log", MFD_CLOEXEC);
    ck_assert_int_ge(file, 0);
}

static void tear_down(void)
{
    close(file);
}

static void start(log_level level, bool json)
{
    ck_assert_int_eq(log_new(level, json, file, &l), 0);
}

/* End the log. Returns: all that it wrote. */
static char *finish(void)
{
    log_free(l);
    off_t n = lseek(file, 0, SEEK_END);
    char *text = calloc(1, (size_t)n + 1);
    ck_assert_int_eq(pread(file, text, (size_t)n, 0), n);
    return text;
}

static size_t count(const char *text, const char *what)
{
    size_t n = 0;
    for (; (text = strstr(text, what)); text += strlen(what))
        n++;
    return n;
}

START_TEST(free_writes_out_everything)
{
    start(LOG_LEVEL_INFO, false);
    for (int i = 0; i < 1000; i++)
        log_write(l, LOG_LEVEL_INFO, (str){0}, "message %d.", i);
    char *text = finish();
    ck_assert_uint_eq(count(text, "\n"), 1000);
    for (int i = 0; i < 1000; i++) {
        char wanted[32];
        snprintf(wanted, sizeof(wanted), "INFO  message %d.\n", i);
        ck_assert_ptr_nonnull(strstr(text, wanted));
    }
    free(text);
}
END_TEST

START_TEST(settled_log_has_written_everything_and_takes_more)
{
    start(LOG_LEVEL_INFO, false);
    for (int round = 1; round <= 20; round++) {
        log_write(l, LOG_LEVEL_INFO, (str){0}, "a message");
        log_settle(l);
        ck_assert_int_eq(lseek(file, 0, SEEK_END),
                         round * (off_t)sizeof("1970-01-01T00:00:00.500Z INFO  a message"));
    }
    free(finish());
}
END_TEST

START_TEST(messages_of_one_thread_keep_their_order)
{
    start(LOG_LEVEL_INFO, false);
    for (int i = 0; i < 2000; i++)
        log_write(l, LOG_LEVEL_INFO, (str){0}, "n=%d;", i);
    char *text = finish();
    const char *p = text;
    for (int i = 0; i < 2000; i++) {
        p = strstr(p, "n=");
        ck_assert_ptr_nonnull(p);
        ck_assert_int_eq(atoi(p + 2), i);
        p++;
    }
    free(text);
}
END_TEST

START_TEST(less_important_messages_are_not_written)
{
    start(LOG_LEVEL_WARN, false);
    ck_assert(log_takes(l, LOG_LEVEL_ERROR) && log_takes(l, LOG_LEVEL_WARN));
    ck_assert(!log_takes(l, LOG_LEVEL_INFO) && !log_takes(l, LOG_LEVEL_DEBUG));
    log_write(l, LOG_LEVEL_ERROR, (str){0}, "an error");
    log_write(l, LOG_LEVEL_WARN, (str){0}, "a warning");
    log_write(l, LOG_LEVEL_INFO, (str){0}, "news");
    log_text(l, LOG_LEVEL_DEBUG, (str){0}, STR("a detail"));
    char *text = finish();
    ck_assert_uint_eq(count(text, "\n"), 2);
    ck_assert(strstr(text, "an error") && strstr(text, "a warning"));
    free(text);
}
END_TEST

START_TEST(null_log_takes_everything_and_says_nothing)
{
    HttpTask t = {.status = 200};
    ck_assert(!log_takes(NULL, LOG_LEVEL_ERROR));
    log_write(NULL, LOG_LEVEL_ERROR, (str){0}, "%d", 1);
    log_text(NULL, LOG_LEVEL_ERROR, (str){0}, STR("x"));
    log_access(NULL, &t, 1);
    ck_assert_uint_eq(log_dropped(NULL), 0);
    log_free(NULL);
}
END_TEST

START_TEST(text_is_copied_and_loses_one_newline_at_its_end)
{
    char words[] = "stack traceback:\n\tapp.lua:3\n";
    start(LOG_LEVEL_INFO, false);
    log_text(l, LOG_LEVEL_ERROR, STR("id1"), str_from(words));
    memset(words, '?', sizeof(words) - 1);
    char *text = finish();
    ck_assert_ptr_nonnull(strstr(text, "ERROR [id1] stack traceback:\n    \tapp.lua:3\n"));
    ck_assert_uint_eq(count(text, "\n"), 2);
    free(text);
}
END_TEST

START_TEST(empty_text_is_an_empty_message)
{
    start(LOG_LEVEL_INFO, false);
    log_text(l, LOG_LEVEL_INFO, (str){0}, (str){0});
    log_write(l, LOG_LEVEL_INFO, (str){0}, "%s", "");
    char *text = finish();
    ck_assert_uint_eq(count(text, "INFO  \n"), 2);
    free(text);
}
END_TEST

/* Around every length at which it goes another way: the buffer on the stack, and the limit. */
START_TEST(message_of_any_length_is_whole_up_to_the_limit)
{
    static const int lengths[] = {3, 510, 511, 512, 513, 5000, LOG_TEXT_BYTES - 1, LOG_TEXT_BYTES};
    start(LOG_LEVEL_INFO, false);
    log_write(l, LOG_LEVEL_INFO, (str){0}, "<%0*d>", lengths[_i] - 2, 0);
    char *text = finish();
    const char *from = strchr(text, '<');
    ck_assert_ptr_nonnull(from);
    ck_assert_int_eq(strchr(from, '>') - from + 1, lengths[_i]);
    ck_assert_ptr_null(strstr(text, "more)"));
    free(text);
}
END_TEST

START_TEST(message_beyond_the_limit_is_cut_and_says_so)
{
    static char words[LOG_TEXT_BYTES + 10];
    memset(words, 'x', sizeof(words));
    start(LOG_LEVEL_INFO, false);
    log_text(l, LOG_LEVEL_INFO, (str){0}, (str){words, sizeof(words)});
    log_write(l, LOG_LEVEL_INFO, (str){0}, "%.*s", (int)sizeof(words), words);
    char *text = finish();
    ck_assert_uint_eq(count(text, "xx ... (10 bytes more)\n"), 2);
    free(text);
}
END_TEST

START_TEST(answered_request_is_logged_with_its_figures)
{
    route users = {.pattern = "/users/:id"};
    HttpTask t = {.method = STR("POST"),
                  .method_id = METHOD_POST,
                  .target = STR("/users/7?x"),
                  .version_minor = 1,
                  .status = 201,
                  .ip = "127.0.0.1",
                  .id = STR("some-id"),
                  .route = &users,
                  .body_from = 2};
    buf_add(&t.body, "..12345", 7);
    start(LOG_LEVEL_ERROR, false); /* requests are logged whatever the level */
    log_access(l, &t, 2500000);
    t.method_id = METHOD_HEAD;
    t.method = STR("HEAD");
    log_access(l, &t, 2500000);
    char *text = finish();
    ck_assert_ptr_nonnull(
        strstr(text, "ACCESS [some-id] 127.0.0.1 \"POST /users/7?x HTTP/1.1\" 201 5 2.500ms /users/:id\n"));
    ck_assert_ptr_nonnull(strstr(text, "\"HEAD /users/7?x HTTP/1.1\" 201 0 "));
    buf_fini(&t.body);
    free(text);
}
END_TEST

START_TEST(request_without_anything_is_logged_too)
{
    HttpTask t = {.method_id = -1, .status = 400};
    start(LOG_LEVEL_INFO, true);
    log_access(l, &t, 0);
    char *text = finish();
    ck_assert_ptr_nonnull(strstr(text, "\"status\":400,\"bytes\":0,\"duration_ms\":0.000}\n"));
    free(text);
}
END_TEST

START_TEST(long_target_is_cut)
{
    static char target[LOG_TARGET_BYTES + 100];
    memset(target, 'a', sizeof(target));
    HttpTask t = {
        .method = STR("GET"), .target = {target, sizeof(target)}, .version_minor = 1, .status = 200};
    start(LOG_LEVEL_INFO, false);
    log_access(l, &t, 0);
    char *text = finish();
    ck_assert_ptr_nonnull(strstr(text, "aaa... HTTP/1.1\""));
    free(text);
}
END_TEST

/* --- several threads --- */

enum { THREADS = 4, EACH = 800 };

static void *write_some(void *arg)
{
    int me = *(int *)arg;
    for (int i = 0; i < EACH; i++)
        log_write(l, LOG_LEVEL_INFO, (str){0}, "thread %d message %d end", me, i);
    return NULL;
}

/* They fit the ring, so none may be dropped. */
START_TEST(messages_of_several_threads_arrive_whole_and_once)
{
    pthread_t threads[THREADS];
    int numbers[THREADS];
    start(LOG_LEVEL_INFO, false);
    for (int i = 0; i < THREADS; i++) {
        numbers[i] = i;
        ck_assert_int_eq(pthread_create(&threads[i], NULL, write_some, &numbers[i]), 0);
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    ck_assert_uint_eq(log_dropped(l), 0);
    char *text = finish();
    static int seen[THREADS][EACH];
    int lines = 0;
    for (const char *p = text; *p; p = strchr(p, '\n') + 1, lines++) {
        int thread, message, end = 0;
        ck_assert_int_eq(sscanf(p, "%*s INFO thread %d message %d end%n", &thread, &message, &end), 2);
        ck_assert_int_eq(p[end], '\n');
        seen[thread][message]++;
    }
    ck_assert_int_eq(lines, THREADS * EACH);
    for (int i = 0; i < THREADS * EACH; i++)
        ck_assert_int_eq(seen[i / EACH][i % EACH], 1);
    free(text);
}
END_TEST

/* --- a reader that does not read --- */

static int pipe_ends[2];

/* A pipe of one page that is full already, so the writer thread waits from its first write on. */
static void start_stuck(void)
{
    ck_assert_int_eq(pipe2(pipe_ends, O_CLOEXEC | O_NONBLOCK), 0);
    fcntl(pipe_ends[1], F_SETPIPE_SZ, 4096);
    while (write(pipe_ends[1], "#", 1) == 1)
        ;
    ck_assert_int_eq(log_new(LOG_LEVEL_INFO, false, pipe_ends[1], &l), 0);
}

static void *drain_pipe(void *arg)
{
    buf *all = arg;
    char some[4096];
    for (;;) {
        struct pollfd p = {.fd = pipe_ends[0], .events = POLLIN};
        poll(&p, 1, -1);
        ssize_t n = read(pipe_ends[0], some, sizeof(some));
        if (n <= 0)
            return NULL;
        buf_add(all, some, (size_t)n);
    }
}

/* The sum of what the log has told; it may have told it in parts. */
static uint64_t told_dropped(const char *text)
{
    uint64_t sum = 0;
    while ((text = strstr(text, "WARN  "))) {
        text += strlen("WARN  ");
        sum += strtoull(text, NULL, 10);
    }
    return sum;
}

START_TEST(nobody_waits_for_a_stuck_reader_and_what_was_dropped_is_told)
{
    enum { MANY = LOG_RING_RECORDS * 4 };
    buf all = {0};
    pthread_t reader;
    start_stuck();
    for (int i = 0; i < MANY; i++) /* would never end if it blocked */
        log_write(l, LOG_LEVEL_INFO, (str){0}, "message %d", i);
    uint64_t dropped = log_dropped(l);
    ck_assert_uint_gt(dropped, 0);
    ck_assert_uint_le(dropped, MANY - LOG_RING_RECORDS);
    pthread_create(&reader, NULL, drain_pipe, &all);
    log_free(l);
    close(pipe_ends[1]);
    pthread_join(reader, NULL);
    buf_add(&all, "", 1);
    ck_assert_uint_eq(told_dropped(all.p), dropped);
    ck_assert_uint_eq(count(all.p, "INFO  message "), MANY - dropped);
    close(pipe_ends[0]);
    buf_fini(&all);
}
END_TEST

START_TEST(the_end_does_not_wait_for_ever_for_a_stuck_reader)
{
    start_stuck();
    log_write(l, LOG_LEVEL_INFO, (str){0}, "never read");
    log_free(l);
    close(pipe_ends[0]);
    close(pipe_ends[1]);
}
END_TEST

START_TEST(pipe_without_a_reader_is_survived)
{
    ck_assert_int_eq(pipe2(pipe_ends, O_CLOEXEC), 0);
    close(pipe_ends[0]);
    ck_assert_int_eq(log_new(LOG_LEVEL_INFO, false, pipe_ends[1], &l), 0);
    for (int i = 0; i < 100; i++)
        log_write(l, LOG_LEVEL_INFO, (str){0}, "message %d", i);
    log_free(l);
    close(pipe_ends[1]);
}
END_TEST

START_TEST(log_without_messages_writes_nothing)
{
    start(LOG_LEVEL_DEBUG, false);
    char *text = finish();
    ck_assert_str_eq(text, "");
    free(text);
}
END_TEST

static Suite *log_suite(void)
{
    Suite *s = suite_create("log");
    TCase *tc = tcase_create("line");
    tcase_add_test(tc, message_is_a_line_with_time_level_and_id);
    tcase_add_test(tc, message_without_an_id_has_none);
    tcase_add_test(tc, lines_of_a_message_cannot_pass_for_others);
    tcase_add_test(tc, clock_follows_the_seconds);
    tcase_add_test(tc, request_is_a_line_of_its_own_kind);
    tcase_add_test(tc, what_was_cut_is_counted_in_json_too);
    tcase_add_test(tc, request_without_address_and_route_has_dashes);
    suite_add_tcase(s, tc);
    tc = tcase_create("log");
    tcase_add_checked_fixture(tc, set_up, tear_down);
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, free_writes_out_everything);
    tcase_add_test(tc, settled_log_has_written_everything_and_takes_more);
    tcase_add_test(tc, messages_of_one_thread_keep_their_order);
    tcase_add_test(tc, less_important_messages_are_not_written);
    tcase_add_test(tc, null_log_takes_everything_and_says_nothing);
    tcase_add_test(tc, text_is_copied_and_loses_one_newline_at_its_end);
    tcase_add_test(tc, empty_text_is_an_empty_message);
    tcase_add_loop_test(tc, message_of_any_length_is_whole_up_to_the_limit, 0, 8);
    tcase_add_test(tc, message_beyond_the_limit_is_cut_and_says_so);
    tcase_add_test(tc, answered_request_is_logged_with_its_figures);
    tcase_add_test(tc, request_without_anything_is_logged_too);
    tcase_add_test(tc, long_target_is_cut);
    tcase_add_test(tc, messages_of_several_threads_arrive_whole_and_once);
    tcase_add_test(tc, log_without_messages_writes_nothing);
    suite_add_tcase(s, tc);
    tc = tcase_create("stuck reader");
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, nobody_waits_for_a_stuck_reader_and_what_was_dropped_is_told);
    tcase_add_test(tc, the_end_does_not_wait_for_ever_for_a_stuck_reader);
    tcase_add_test(tc, pipe_without_a_reader_is_survived);
    suite_add_tcase(s, tc);
    return s;
}

int main(void)
{
    SRunner *sr = srunner_create(log_suite());
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
