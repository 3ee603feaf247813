/* The page as a whole: top_view, with top_table and top_page below it. */
#include "api/program/top_view.h"

#include <locale.h>
#include <stdio.h>

#include "api/program/top_text.h"
#include "tests/top_fixture.h"

static top_model m;
static top_look look;
static top_page page;

static const char *const server = "poolsrv_ready 1\npoolsrv_start_time_seconds 1000\npoolsrv_connections 64\n"
                                  "poolsrv_heavy_waiting 0\npoolsrv_heavy_busy 1\npoolsrv_vm_bytes 560000\n"
                                  "poolsrv_heavy_threads{state=\"running\"} 2\n"
                                  "poolsrv_heavy_threads{state=\"max\"} 16\n"
                                  "poolsrv_ring_depth{ring=\"home\",worker=\"0\"} 1\n"
                                  "poolsrv_ring_depth{ring=\"shared\",worker=\"0\"} 2\n"
                                  "poolsrv_ring_depth{ring=\"done\",worker=\"0\"} 3\n"
                                  "poolsrv_worker_connections{worker=\"0\"} 64\n"
                                  "poolsrv_worker_vm_bytes{worker=\"0\"} 150000\n";

static void set_up(void)
{
    ck_assert_ptr_nonnull(setlocale(LC_CTYPE, "C.UTF-8"));
    top_model_init(&m, TOP_BY_REQUESTS, 0);
    look = (top_look){.address = "127.0.0.1:9000", .width = 80, .height = 24, .wall_s = 1075};
    page = (top_page){0};
}

static void tear_down(void)
{
    top_page_fini(&page);
    top_model_fini(&m);
}

/* An answer made of the server's own figures and those of routes. */
static void answer(uint64_t at_ms, const char *routes)
{
    char text[16384];
    ck_assert_int_lt(snprintf(text, sizeof text, "%s%s", server, routes), (int)sizeof text);
    ck_assert_int_eq(top_model_answer(&m, look_at(text, at_ms)), 0);
    look.now_ns = at_ms * NS_PER_MS;
}

#define WORKER_REQUESTS(n) "poolsrv_worker_requests_total{worker=\"0\"} " #n "\n"

/* One busy route that is heavy, one that is idle, and one that nobody has seen. */
static void answer_twice(void)
{
    answer(1000, WORKER_REQUESTS(0));
    answer(2000, WORKER_REQUESTS(21) LANE("GET", "/users/:id", "light", "short", 65)
                     LANE("PUT", "/users/:id", "heavy", "blocked", 4000)
                         REQUESTS("GET", "/users/:id", "200", 20) REQUESTS("GET", "/users/:id", "500", 1)
                             BELOW("GET", "/users/:id", "0.01", 21) BELOW("GET", "/users/:id", "+Inf", 21));
}

static void draw(void)
{
    top_page_fini(&page);
    ck_assert_int_eq(top_view_page(&m, &look, &page), 0);
    ck_assert_uint_le(page.count, look.height);
    for (size_t i = 0; i < page.count; i++)
        ck_assert_msg(top_text_width(page.lines[i].text) <= look.width, "too wide: %s", page.lines[i].text);
}

/* The line with that text, or NULL. */
static const top_line *find(const char *text)
{
    for (size_t i = 0; i < page.count; i++)
        if (strstr(page.lines[i].text, text))
            return &page.lines[i];
    return NULL;
}

static const top_line *line(const char *text)
{
    const top_line *l = find(text);
    if (!l)
        for (size_t i = 0; i < page.count; i++)
            fprintf(stderr, "|%s\n", page.lines[i].text);
    ck_assert_msg(l != NULL, "no line with \"%s\"", text);
    return l;
}

/* The part of a line that stands out. */
static const char *marked(const top_line *l)
{
    static char text[128];
    snprintf(text, sizeof text, "%.*s", (int)l->mark_columns, l->text + l->mark_from);
    return text;
}

/* --- above the table --- */

START_TEST(title_says_which_server_and_how_it_is)
{
    answer_twice();
    draw();
    ck_assert_str_eq(page.lines[0].text, "poolsrv top   127.0.0.1:9000   ready   up 1m15s   watched 2s");
}
END_TEST

START_TEST(header_has_the_figures_of_the_server)
{
    answer_twice();
    draw();
    line("21.0 req/s   4xx 0/s   5xx 1.0/s   p50 5.0ms   p99 9.9ms");
    line("0 waiting for heavy   heavy 1 of 2 busy, at most 16   VMs hold 560 KB");
    line("rings: home 1, shared 2, done 3   connections 64");
}
END_TEST

START_TEST(header_without_an_answer_to_compare_with_has_no_rates)
{
    answer(1000, "");
    draw();
    line("- req/s   4xx -/s   5xx -/s   p50 -   p99 -");
}
END_TEST

START_TEST(server_that_tells_less_has_a_shorter_header)
{
    ck_assert_int_eq(top_model_answer(&m, look_at("poolsrv_connections 3\n", 1000)), 0);
    draw();
    ck_assert_str_eq(page.lines[0].text, "poolsrv top   127.0.0.1:9000   running   watched 0s");
    ck_assert_ptr_null(find("busy"));
}
END_TEST

START_TEST(failures_stand_out)
{
    answer_twice();
    draw();
    ck_assert_str_eq(marked(line("5xx")), "5xx 1.0/s");
    ck_assert_int_eq(line("GET /users/:id")->style, TOP_STRONG);
    ck_assert_int_eq(line("PUT /users/:id")->style, TOP_DIM);
}
END_TEST

START_TEST(full_heavy_lane_stands_out_with_the_wait_that_is_expected)
{
    const char *text =
        "poolsrv_heavy_waiting 9\npoolsrv_heavy_expected_wait_seconds 1.5\npoolsrv_heavy_busy 4\n"
        "poolsrv_heavy_threads{state=\"running\"} 4\npoolsrv_heavy_threads{state=\"max\"} 4\n";
    ck_assert_int_eq(top_model_answer(&m, look_at(text, 1000)), 0);
    draw();
    ck_assert_str_eq(marked(line("9 waiting for heavy   for about 1.5s   heavy 4 of 4 busy, at most 4")),
                     "heavy 4 of 4 busy, at most 4");
}
END_TEST

START_TEST(lost_server_is_told_on_a_line_of_its_own)
{
    answer_twice();
    top_model_lost(&m, "127.0.0.1:9000: Connection refused", 3000 * (uint64_t)NS_PER_MS);
    look.now_ns = 15000 * (uint64_t)NS_PER_MS;
    draw();
    ck_assert_ptr_nonnull(strstr(page.lines[0].text, "   unreachable   "));
    ck_assert_ptr_null(strstr(page.lines[0].text, "up "));
    const top_line *alarm = line("no answer for 12s, asking again: 127.0.0.1:9000: Connection refused");
    ck_assert_int_eq(alarm->style, TOP_ALARM);
    line("all figures are from 13s ago");
    line("GET /users/:id");
}
END_TEST

START_TEST(draining_server_is_told_on_a_line_of_its_own)
{
    ck_assert_int_eq(top_model_answer(&m, look_at("poolsrv_ready 0\n", 1000)), 0);
    draw();
    ck_assert_ptr_nonnull(strstr(page.lines[0].text, "   draining   "));
    ck_assert_int_eq(line("new connections are refused")->style, TOP_ALARM);
}
END_TEST

/* --- routes --- */

START_TEST(route_has_its_figures_lane_time_and_reason)
{
    answer_twice();
    look.width = 120;
    draw();
    line("   21.0      0    1.0   5.0ms   9.9ms light  1m05s GET /users/:id short");
    line("      0      0      0       -       - heavy  1h06m PUT /users/:id blocked");
}
END_TEST

START_TEST(sorted_column_is_marked_also_without_colours)
{
    answer_twice();
    draw();
    ck_assert_str_eq(marked(line("ROUTE")), " *REQ/S");
    top_model_sort(&m, TOP_BY_P99, true);
    draw();
    ck_assert_str_eq(marked(line("ROUTE")), "   ^P99");
    ck_assert_int_eq(line("ROUTE")->style, TOP_HEAD);
    ck_assert_uint_eq(strlen(line("ROUTE")->text), 80);
}
END_TEST

/* The route is what must stay. */
static const struct {
    size_t width;
    const char *titles;
} widths[] = {
    {120, " *REQ/S  4XX/S  5XX/S     P50     P99  LANE  SINCE ROUTE          WHY"},
    {80, " *REQ/S  4XX/S  5XX/S     P50     P99  LANE  SINCE ROUTE          WHY"},
    {70, " *REQ/S  4XX/S  5XX/S     P50     P99  LANE  SINCE ROUTE"},
    {60, " *REQ/S  5XX/S     P50     P99  LANE  SINCE ROUTE"},
    {52, " *REQ/S  5XX/S     P50     P99  LANE ROUTE"},
    {45, " *REQ/S  5XX/S     P99  LANE ROUTE"},
    {30, " *REQ/S     P99 ROUTE"},
    {20, " *REQ/S ROUTE"},
    {5, " *RE~"},
    {1, ""},
};

START_TEST(narrow_page_has_fewer_figures)
{
    answer_twice();
    look.width = widths[_i].width;
    draw();
    const char *titles = NULL;
    for (size_t i = 0; i < page.count; i++)
        if (page.lines[i].style == TOP_HEAD)
            titles = page.lines[i].text;
    ck_assert_ptr_nonnull(titles);
    size_t n = strlen(widths[_i].titles);
    ck_assert_msg(strncmp(titles, widths[_i].titles, n) == 0 && titles[n + strspn(titles + n, " ")] == '\0',
                  "%s", titles);
}
END_TEST

START_TEST(long_route_is_cut_and_the_reason_stays)
{
    answer(1000, "");
    answer(2000,
           LANE("GET", "/a/very/long/path/that/goes/on/and/on/and/on/until/it/is/over", "heavy", "slow", 1));
    draw();
    line(" 1s GET /a/very/long/path/t~ slow");
}
END_TEST

START_TEST(route_without_a_reason_behind_it_has_all_the_room)
{
    answer(1000, "poolsrv_lane{route=\"/a/path/of/more/than/twenty\",method=\"GET\",lane=\"light\"} 1\n");
    draw();
    line("- GET /a/path/of/more/than/twe~");
}
END_TEST

START_TEST(route_cannot_steer_the_terminal)
{
    answer(1000, "");
    answer(2000, REQUESTS("GET",
                          "/\xc2\x9b"
                          "31m\xe2\x80\xae",
                          "200", 1));
    draw();
    for (size_t i = 0; i < page.count; i++) {
        ck_assert_ptr_null(strstr(page.lines[i].text, "\xc2\x9b"));
        ck_assert_ptr_null(strstr(page.lines[i].text, "\xe2\x80\xae"));
    }
}
END_TEST

START_TEST(requests_without_a_route_have_a_row)
{
    answer(1000, "");
    answer(2000, REQUESTS("GET", "none", "404", 3));
    draw();
    line("    3.0    3.0      0       -       -     -      - (no such route)");
}
END_TEST

/* --- scrolling, sizes --- */

/* Routes /00 to /39, in this order. */
static void answer_forty(void)
{
    char text[8192];
    size_t n = 0;
    for (int i = 0; i < 40; i++)
        n += (size_t)snprintf(text + n, sizeof text - n,
                              "poolsrv_lane{route=\"/%02d\",method=\"GET\",lane=\"light\"} 1\n", i);
    answer(1000, text);
}

START_TEST(table_shows_what_fits_and_says_what_that_is)
{
    answer_forty();
    draw();
    ck_assert_uint_eq(page.count, 24);
    line("GET /00");
    ck_assert_ptr_null(find("GET /39"));
    char range[32];
    snprintf(range, sizeof range, "1-%zu of 40", look.fit);
    ck_assert_ptr_nonnull(strstr(page.lines[23].text, range));
    char last[32];
    snprintf(last, sizeof last, "GET /%02zu", look.fit - 1);
    line(last);
}
END_TEST

START_TEST(table_is_scrolled_to_its_end_and_no_further)
{
    answer_forty();
    look.scroll = 1000;
    draw();
    ck_assert_uint_eq(look.scroll, 40 - look.fit);
    line("GET /39");
    ck_assert_ptr_null(find("GET /00"));
}
END_TEST

START_TEST(table_that_fits_is_not_scrolled)
{
    answer_twice();
    look.scroll = 3;
    draw();
    ck_assert_uint_eq(look.scroll, 0);
    ck_assert_ptr_null(find(" of 3"));
}
END_TEST

/* Whatever the size, a page keeps to it: `draw` looks. */
START_TEST(page_keeps_to_any_size)
{
    answer_forty();
    for (look.height = 0; look.height < 12; look.height++)
        for (look.width = 0; look.width < 100; look.width += 7)
            draw();
}
END_TEST

START_TEST(short_page_is_mostly_table)
{
    answer_forty();
    look.height = 14;
    look.width = 40;
    draw();
    ck_assert_uint_eq(look.fit, 8);
    ck_assert_ptr_nonnull(strstr(page.lines[1].text, "req/s"));
}
END_TEST

/* --- the other pages --- */

START_TEST(workers_have_their_figures)
{
    answer_twice();
    look.table = TOP_WORKERS;
    draw();
    line("WORKER    REQ/S   CONNS   HOME SHARED   DONE        VM");
    line("     0     21.0      64      1      2      3    150 KB");
}
END_TEST

START_TEST(help_names_every_key)
{
    look.help = true;
    draw();
#define X(name, key, word, first) line("sort by " word);
    TOP_SORT_MAP(X)
#undef X
    line("reverse");
    line("quit");
}
END_TEST

START_TEST(view_without_any_answer_is_a_page)
{
    top_model_lost(&m, "refused", 0);
    draw();
    ck_assert_uint_eq(page.count, 24);
    line("ROUTE");
}
END_TEST

int main(void)
{
    Suite *s = suite_create("top_view");
    TCase *tc = tcase_create("top_view");
    tcase_add_checked_fixture(tc, set_up, tear_down);
    tcase_add_test(tc, title_says_which_server_and_how_it_is);
    tcase_add_test(tc, header_has_the_figures_of_the_server);
    tcase_add_test(tc, header_without_an_answer_to_compare_with_has_no_rates);
    tcase_add_test(tc, server_that_tells_less_has_a_shorter_header);
    tcase_add_test(tc, failures_stand_out);
    tcase_add_test(tc, full_heavy_lane_stands_out_with_the_wait_that_is_expected);
    tcase_add_test(tc, lost_server_is_told_on_a_line_of_its_own);
    tcase_add_test(tc, draining_server_is_told_on_a_line_of_its_own);
    tcase_add_test(tc, route_has_its_figures_lane_time_and_reason);
    tcase_add_test(tc, sorted_column_is_marked_also_without_colours);
    tcase_add_loop_test(tc, narrow_page_has_fewer_figures, 0, sizeof(widths) / sizeof(widths[0]));
    tcase_add_test(tc, long_route_is_cut_and_the_reason_stays);
    tcase_add_test(tc, route_without_a_reason_behind_it_has_all_the_room);
    tcase_add_test(tc, route_cannot_steer_the_terminal);
    tcase_add_test(tc, requests_without_a_route_have_a_row);
    tcase_add_test(tc, table_shows_what_fits_and_says_what_that_is);
    tcase_add_test(tc, table_is_scrolled_to_its_end_and_no_further);
    tcase_add_test(tc, table_that_fits_is_not_scrolled);
    tcase_add_test(tc, page_keeps_to_any_size);
    tcase_add_test(tc, short_page_is_mostly_table);
    tcase_add_test(tc, workers_have_their_figures);
    tcase_add_test(tc, help_names_every_key);
    tcase_add_test(tc, view_without_any_answer_is_a_page);
    suite_add_tcase(s, tc);
    return run_suite(s);
}
