#include "api/program/top_plain.h"

#include <stdio.h>

#include "tests/top_fixture.h"

static top_model m;
static char *text;
static size_t bytes;

static void set_up(void)
{
    top_model_init(&m, TOP_BY_REQUESTS, 0);
}

static void tear_down(void)
{
    free(text);
    text = NULL;
    top_model_fini(&m);
}

static void answer(uint64_t at_ms, const char *what)
{
    ck_assert_int_eq(top_model_answer(&m, look_at(what, at_ms)), 0);
}

static void write_block(void)
{
    FILE *out = open_memstream(&text, &bytes);
    top_plain_write(out, &m, 1700000000);
    fclose(out);
}

static void assert_line(const char *line)
{
    size_t n = strlen(line);
    for (const char *p = text; p; p = strchr(p, '\n') ? strchr(p, '\n') + 1 : NULL)
        if (strncmp(p, line, n) == 0 && p[n] == '\n')
            return;
    ck_abort_msg("no line \"%s\" in:\n%s", line, text);
}

/* Words of the first line that begins with `first`. */
static size_t words_of(const char *first)
{
    size_t n = 0;
    const char *p = strstr(text, first);
    ck_assert_ptr_nonnull(p);
    p += *p == '\n';
    while (*p != '\n') {
        n++;
        p += strcspn(p, " \n");
        p += strspn(p, " ");
    }
    return n;
}

START_TEST(block_has_a_line_for_everything)
{
    answer(1000, "poolsrv_worker_requests_total{worker=\"0\"} 0\n");
    answer(2000,
           "poolsrv_ready 1\npoolsrv_connections 64\npoolsrv_heavy_waiting "
           "3\npoolsrv_heavy_expected_wait_seconds 1.5\npoolsrv_heavy_busy 1\n"
           "poolsrv_heavy_threads{state=\"running\"} 2\npoolsrv_heavy_threads{state=\"max\"} 16\n"
           "poolsrv_vm_bytes 560000\npoolsrv_worker_requests_total{worker=\"0\"} 20\n"
           "poolsrv_worker_connections{worker=\"0\"} 64\npoolsrv_ring_depth{ring=\"home\",worker=\"0\"} 1\n"
           "poolsrv_ring_depth{ring=\"shared\",worker=\"0\"} "
           "2\npoolsrv_ring_depth{ring=\"done\",worker=\"0\"} 3\n"
           "poolsrv_worker_vm_bytes{worker=\"0\"} 150000\n" LANE("GET", "/a", "light", "short", 12.4)
               REQUESTS("GET", "/a", "200", 20) BELOW("GET", "/a", "0.01", 20)
                   BELOW("GET", "/a", "+Inf", 20));
    write_block();
    assert_line(
        "server 2023-11-14T22:13:20Z running 20.00 0.00 0.00 5.000 9.900 64 3 1500.000 1 2 16 560000");
    assert_line("worker 0 20.00 64 1 2 3 150000");
    assert_line("route 20.00 0.00 0.00 5.000 9.900 light 12 short GET /a");
    ck_assert_ptr_nonnull(strstr(text, "\n\n"));
}
END_TEST

START_TEST(what_is_not_known_is_a_dash)
{
    answer(1000, REQUESTS("GET", "none", "404", 1) "poolsrv_ring_depth{ring=\"home\",worker=\"0\"} 0\n");
    write_block();
    assert_line("server 2023-11-14T22:13:20Z running - - - - - - - - - - - -");
    assert_line("worker 0 - - 0 - - -");
    assert_line("route - - - - - - - - - none");
}
END_TEST

START_TEST(lines_have_as_many_words_as_their_titles)
{
    answer(1000, REQUESTS("GET", "/a b", "200", 1) "poolsrv_ring_depth{ring=\"home\",worker=\"0\"} 0\n");
    write_block();
    ck_assert_uint_eq(words_of("\nserver "), words_of("#server "));
    ck_assert_uint_eq(words_of("\nworker "), words_of("#worker "));
    ck_assert_uint_eq(words_of("\nroute "), words_of("#route "));
    assert_line("route - - - - - - - - GET /a\\x20b");
}
END_TEST

START_TEST(lost_server_has_its_state_and_no_old_rows)
{
    answer(1000, REQUESTS("GET", "/a", "200", 1));
    top_model_lost(&m, "refused", 2000 * (uint64_t)NS_PER_MS);
    write_block();
    ck_assert_ptr_nonnull(strstr(text, "Z unreachable "));
    ck_assert_ptr_null(strstr(text, "\nroute"));
}
END_TEST

int main(void)
{
    Suite *s = suite_create("top_plain");
    TCase *tc = tcase_create("top_plain");
    tcase_add_checked_fixture(tc, set_up, tear_down);
    tcase_add_test(tc, block_has_a_line_for_everything);
    tcase_add_test(tc, what_is_not_known_is_a_dash);
    tcase_add_test(tc, lines_have_as_many_words_as_their_titles);
    tcase_add_test(tc, lost_server_has_its_state_and_no_old_rows);
    suite_add_tcase(s, tc);
    return run_suite(s);
}
