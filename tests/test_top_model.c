#include "api/program/top_model.h"

#include <math.h>

#include "tests/top_fixture.h"

enum { BEGIN_MS = 1000 };

static top_model m;

static void set_up(void)
{
    top_model_init(&m, TOP_BY_REQUESTS, BEGIN_MS * (uint64_t)NS_PER_MS);
}

static void tear_down(void)
{
    top_model_fini(&m);
}

static void answer(uint64_t at_ms, const char *text)
{
    ck_assert_int_eq(top_model_answer(&m, look_at(text, at_ms)), 0);
}

static const top_row *row(const char *method, const char *pattern)
{
    for (size_t i = 0; i < m.row_count; i++) {
        const top_route *r = m.rows[i].route;
        if (strcmp(r->method, method) == 0 && strcmp(r->pattern, pattern) == 0)
            return &m.rows[i];
    }
    ck_abort_msg("no row %s %s", method, pattern);
    return NULL;
}

/* The rows' patterns in their order, "/a /b ". */
static const char *order(void)
{
    static char text[256];
    text[0] = '\0';
    for (size_t i = 0; i < m.row_count; i++) {
        strcat(text, m.rows[i].route->pattern);
        strcat(text, " ");
    }
    return text;
}

/* --- rates --- */

START_TEST(first_answer_has_no_rates)
{
    answer(1000, REQUESTS("GET", "/a", "200", 100) BELOW("GET", "/a", "+Inf", 100));
    ck_assert(isnan(m.total.requests));
    ck_assert(isnan(row("GET", "/a")->rates.requests));
    ck_assert(isnan(row("GET", "/a")->rates.p99.seconds));
    ck_assert_int_eq(top_model_state(&m), TOP_RUNNING);
}
END_TEST

START_TEST(rates_are_by_the_time_that_passed)
{
    answer(1000, REQUESTS("GET", "/a", "200", 100) REQUESTS("GET", "/a", "404", 10));
    answer(3000, REQUESTS("GET", "/a", "200", 140) REQUESTS("GET", "/a", "404", 13)
                     REQUESTS("GET", "/a", "500", 1));
    const top_rates *rates = &row("GET", "/a")->rates;
    ck_assert_double_eq(rates->requests, 22);
    ck_assert_double_eq(rates->refused, 1.5);
    ck_assert_double_eq(rates->failed, 0.5);
}
END_TEST

START_TEST(totals_are_of_all_routes_and_of_none)
{
    answer(1000, REQUESTS("GET", "/a", "200", 1) REQUESTS("GET", "none", "404", 1));
    answer(2000,
           REQUESTS("GET", "/a", "200", 3) REQUESTS("GET", "none", "404", 6) REQUESTS("PUT", "/b", "503", 1));
    ck_assert_double_eq(m.total.requests, 8);
    ck_assert_double_eq(m.total.refused, 5);
    ck_assert_double_eq(m.total.failed, 1);
}
END_TEST

START_TEST(route_that_was_not_asked_for_before_began_at_zero)
{
    answer(1000, "poolsrv_ready 1\n");
    answer(2000,
           REQUESTS("GET", "/new", "200", 7) BELOW("GET", "/new", "0.01", 7) BELOW("GET", "/new", "+Inf", 7));
    ck_assert_double_eq(row("GET", "/new")->rates.requests, 7);
    ck_assert_double_eq_tol(row("GET", "/new")->rates.p50.seconds, 0.005, 1e-9);
}
END_TEST

START_TEST(quantiles_are_of_the_time_between_only)
{
    answer(1000, REQUESTS("GET", "/a", "200", 1000) BELOW("GET", "/a", "0.001", 1000)
                     BELOW("GET", "/a", "0.1", 1000) BELOW("GET", "/a", "+Inf", 1000));
    answer(2000, REQUESTS("GET", "/a", "200", 1010) BELOW("GET", "/a", "0.001", 1000)
                     BELOW("GET", "/a", "0.1", 1010) BELOW("GET", "/a", "+Inf", 1010));
    ck_assert_double_eq_tol(row("GET", "/a")->rates.p50.seconds, 0.0505, 1e-9);
    ck_assert_double_eq_tol(m.total.p50.seconds, 0.0505, 1e-9);
}
END_TEST

START_TEST(quantile_beyond_all_bounds_says_so)
{
    answer(1000, BELOW("GET", "/a", "10", 0) BELOW("GET", "/a", "+Inf", 0));
    answer(2000, BELOW("GET", "/a", "10", 0) BELOW("GET", "/a", "+Inf", 3));
    ck_assert_double_eq(row("GET", "/a")->rates.p99.seconds, 10);
    ck_assert(row("GET", "/a")->rates.p99.beyond);
}
END_TEST

START_TEST(idle_route_has_rate_zero_and_no_quantiles)
{
    const char *text =
        REQUESTS("GET", "/a", "200", 5) BELOW("GET", "/a", "1", 5) BELOW("GET", "/a", "+Inf", 5);
    answer(1000, text);
    answer(2000, text);
    ck_assert_double_eq(row("GET", "/a")->rates.requests, 0);
    ck_assert(isnan(row("GET", "/a")->rates.p50.seconds));
    ck_assert_double_eq(m.total.requests, 0);
}
END_TEST

START_TEST(server_without_durations_still_has_rates)
{
    answer(1000, REQUESTS("GET", "/a", "200", 5));
    answer(2000, REQUESTS("GET", "/a", "200", 6));
    ck_assert_double_eq(m.total.requests, 1);
    ck_assert(isnan(m.total.p99.seconds));
}
END_TEST

START_TEST(two_answers_at_one_moment_have_no_rates)
{
    answer(1000, REQUESTS("GET", "/a", "200", 5));
    answer(1000, REQUESTS("GET", "/a", "200", 6));
    ck_assert(isnan(m.total.requests));
}
END_TEST

START_TEST(workers_have_rates)
{
    answer(
        1000,
        "poolsrv_worker_requests_total{worker=\"0\"} 10\npoolsrv_ring_depth{ring=\"home\",worker=\"1\"} 3\n");
    ck_assert(isnan(m.workers[0].requests));
    answer(
        3000,
        "poolsrv_worker_requests_total{worker=\"0\"} 30\npoolsrv_ring_depth{ring=\"home\",worker=\"1\"} 4\n");
    ck_assert_uint_eq(m.worker_count, 2);
    ck_assert_double_eq(m.workers[0].requests, 10);
    ck_assert(isnan(m.workers[1].requests));
    ck_assert_double_eq(m.workers[1].worker->home, 4);
}
END_TEST

/* --- states --- */

START_TEST(restarted_server_begins_a_new_count)
{
    answer(1000, REQUESTS("GET", "/a", "200", 1000));
    answer(2000, REQUESTS("GET", "/a", "200", 5));
    ck_assert(isnan(m.total.requests));
    answer(3000, REQUESTS("GET", "/a", "200", 8));
    ck_assert_double_eq(m.total.requests, 3);
}
END_TEST

START_TEST(restart_is_seen_though_the_counters_have_overtaken)
{
    answer(1000, "poolsrv_start_time_seconds 5\n" REQUESTS("GET", "/a", "200", 10));
    answer(2000, "poolsrv_start_time_seconds 6\n" REQUESTS("GET", "/a", "200", 90));
    ck_assert(isnan(m.total.requests));
}
END_TEST

START_TEST(lost_server_keeps_its_figures_and_says_since_when)
{
    answer(1000, REQUESTS("GET", "/a", "200", 1));
    answer(2000, REQUESTS("GET", "/a", "200", 6));
    top_model_lost(&m, "refused", 3000 * (uint64_t)NS_PER_MS);
    top_model_lost(&m, "timed out", 4000 * (uint64_t)NS_PER_MS);
    ck_assert_int_eq(top_model_state(&m), TOP_UNREACHABLE);
    ck_assert_uint_eq(m.lost_ns, 3000 * (uint64_t)NS_PER_MS);
    ck_assert_uint_eq(m.answered_ns, 2000 * (uint64_t)NS_PER_MS);
    ck_assert_str_eq(m.trouble, "timed out");
    ck_assert_double_eq(m.total.requests, 5);
}
END_TEST

START_TEST(server_that_is_there_again_goes_on_over_the_gap)
{
    answer(1000, REQUESTS("GET", "/a", "200", 10));
    top_model_lost(&m, "timed out", 2000 * (uint64_t)NS_PER_MS);
    answer(5000, REQUESTS("GET", "/a", "200", 50));
    ck_assert_int_eq(top_model_state(&m), TOP_RUNNING);
    ck_assert_double_eq(m.total.requests, 10);
    ck_assert_str_eq(m.trouble, "");
}
END_TEST

START_TEST(server_that_is_not_ready_drains)
{
    answer(1000, "poolsrv_ready 1\n");
    ck_assert_int_eq(top_model_state(&m), TOP_RUNNING);
    answer(2000, "poolsrv_ready 0\n");
    ck_assert_int_eq(top_model_state(&m), TOP_DRAINING);
    top_model_lost(&m, "refused", 3000 * (uint64_t)NS_PER_MS);
    ck_assert_int_eq(top_model_state(&m), TOP_UNREACHABLE);
}
END_TEST

START_TEST(server_may_be_lost_before_it_ever_answered)
{
    top_model_lost(&m, "refused", 1000 * (uint64_t)NS_PER_MS);
    ck_assert_int_eq(top_model_state(&m), TOP_UNREACHABLE);
    ck_assert_uint_eq(m.answered_ns, 0);
    top_model_sort(&m, TOP_BY_NAME, true);
    ck_assert_uint_eq(m.row_count, 0);
}
END_TEST

/* --- order --- */

/* /a is busiest, /b slowest, /c fails; /d is idle, and its lane changed last. */
static void answer_four(void)
{
    answer(1000, "poolsrv_ready 1\n");
    answer(2000, LANE("GET", "/a", "light", "short", 50) LANE("GET", "/b", "heavy", "slow", 90)
                     LANE("GET", "/c", "light", "short", 10) LANE("GET", "/d", "heavy", "new", 5)
                         REQUESTS("GET", "/a", "200", 90) REQUESTS("GET", "/b", "200", 20)
                             REQUESTS("GET", "/c", "500", 3) REQUESTS("GET", "/b", "404", 1)
                                 BELOW("GET", "/a", "0.001", 90) BELOW("GET", "/a", "+Inf", 90)
                                     BELOW("GET", "/b", "0.001", 0) BELOW("GET", "/b", "+Inf", 21)
                                         BELOW("GET", "/c", "0.0005", 3) BELOW("GET", "/c", "+Inf", 3));
}

static const struct {
    top_sort sort;
    const char *forwards, *backwards;
} orders[] = {
    {TOP_BY_REQUESTS, "/a /b /c /d ", "/d /c /b /a "}, {TOP_BY_P99, "/b /a /c /d ", "/d /c /a /b "},
    {TOP_BY_ERRORS, "/c /b /a /d ", "/d /a /b /c "},   {TOP_BY_LANE, "/d /b /c /a ", "/a /c /b /d "},
    {TOP_BY_NAME, "/a /b /c /d ", "/d /c /b /a "},
};

START_TEST(rows_are_in_the_order_that_was_chosen)
{
    answer_four();
    top_model_sort(&m, orders[_i].sort, false);
    ck_assert_str_eq(order(), orders[_i].forwards);
    top_model_sort(&m, orders[_i].sort, true);
    ck_assert_str_eq(order(), orders[_i].backwards);
}
END_TEST

START_TEST(order_holds_for_later_answers)
{
    top_model_sort(&m, TOP_BY_NAME, true);
    answer_four();
    ck_assert_str_eq(order(), "/d /c /b /a ");
}
END_TEST

START_TEST(rows_that_are_alike_are_in_order_of_their_names)
{
    answer(1000, LANE("GET", "/b", "light", "short", 1) LANE("GET", "/c", "light", "short", 1)
                     LANE("GET", "/a", "light", "short", 1));
    ck_assert_str_eq(order(), "/a /b /c ");
    top_model_sort(&m, TOP_BY_ERRORS, false);
    ck_assert_str_eq(order(), "/a /b /c ");
}
END_TEST

int main(void)
{
    Suite *s = suite_create("top_model");
    TCase *tc = tcase_create("top_model");
    tcase_add_checked_fixture(tc, set_up, tear_down);
    tcase_add_test(tc, first_answer_has_no_rates);
    tcase_add_test(tc, rates_are_by_the_time_that_passed);
    tcase_add_test(tc, totals_are_of_all_routes_and_of_none);
    tcase_add_test(tc, route_that_was_not_asked_for_before_began_at_zero);
    tcase_add_test(tc, quantiles_are_of_the_time_between_only);
    tcase_add_test(tc, quantile_beyond_all_bounds_says_so);
    tcase_add_test(tc, idle_route_has_rate_zero_and_no_quantiles);
    tcase_add_test(tc, server_without_durations_still_has_rates);
    tcase_add_test(tc, two_answers_at_one_moment_have_no_rates);
    tcase_add_test(tc, workers_have_rates);
    tcase_add_test(tc, restarted_server_begins_a_new_count);
    tcase_add_test(tc, restart_is_seen_though_the_counters_have_overtaken);
    tcase_add_test(tc, lost_server_keeps_its_figures_and_says_since_when);
    tcase_add_test(tc, server_that_is_there_again_goes_on_over_the_gap);
    tcase_add_test(tc, server_that_is_not_ready_drains);
    tcase_add_test(tc, server_may_be_lost_before_it_ever_answered);
    tcase_add_loop_test(tc, rows_are_in_the_order_that_was_chosen, 0, sizeof(orders) / sizeof(orders[0]));
    tcase_add_test(tc, order_holds_for_later_answers);
    tcase_add_test(tc, rows_that_are_alike_are_in_order_of_their_names);
    suite_add_tcase(s, tc);
    return run_suite(s);
}
