#include "api/program/top_shot.h"

#include <math.h>
#include <stdio.h>

#include "tests/top_fixture.h"

static top_shot *s;

static void tear_down(void)
{
    top_shot_free(s);
    s = NULL;
}

static const top_route *route(const char *method, const char *pattern)
{
    const top_route *r = top_shot_route(s, method, pattern);
    ck_assert_msg(r != NULL, "no route %s %s", method, pattern);
    return r;
}

START_TEST(server_that_tells_nothing_is_not_known)
{
    s = look_at("", 0);
    ck_assert_uint_eq(s->route_count, 0);
    ck_assert_uint_eq(s->worker_count, 0);
#define X(field, metric) ck_assert_msg(isnan(s->field), metric);
    TOP_SERVER_MAP(X)
#undef X
    ck_assert(isnan(s->heavy_running) && isnan(s->heavy_max));
}
END_TEST

START_TEST(figures_of_the_server_are_read)
{
    s = look_at("poolsrv_ready 1\npoolsrv_start_time_seconds 1700000000.5\npoolsrv_connections 64\n"
                "poolsrv_heavy_waiting 3\npoolsrv_heavy_busy 2\npoolsrv_vm_bytes 123456\n"
                "poolsrv_heavy_threads{state=\"running\"} 4\npoolsrv_heavy_threads{state=\"max\"} 16\n"
                "poolsrv_of_the_future{x=\"y\"} 1\n",
                7);
    ck_assert_double_eq(s->ready, 1);
    ck_assert_double_eq(s->started_s, 1700000000.5);
    ck_assert_double_eq(s->connections, 64);
    ck_assert_double_eq(s->heavy_waiting, 3);
    ck_assert_double_eq(s->heavy_busy, 2);
    ck_assert_double_eq(s->vm_bytes, 123456);
    ck_assert_double_eq(s->heavy_running, 4);
    ck_assert_double_eq(s->heavy_max, 16);
    ck_assert_uint_eq(s->taken_ns, 7 * NS_PER_MS);
}
END_TEST

START_TEST(requests_are_added_up_over_statuses)
{
    s = look_at(REQUESTS("GET", "/a", "200", 90) REQUESTS("GET", "/a", "302", 1)
                    REQUESTS("GET", "/a", "404", 5) REQUESTS("GET", "/a", "503", 4)
                        REQUESTS("PUT", "/a", "other", 7),
                0);
    ck_assert_double_eq(route("GET", "/a")->requests, 100);
    ck_assert_double_eq(route("GET", "/a")->refused, 5);
    ck_assert_double_eq(route("GET", "/a")->failed, 4);
    ck_assert_double_eq(route("PUT", "/a")->requests, 7);
    ck_assert_double_eq(route("PUT", "/a")->failed, 0);
}
END_TEST

START_TEST(requests_without_a_route_are_one_row)
{
    s = look_at(REQUESTS("GET", "none", "404", 2) REQUESTS("POST", "none", "404", 3)
                    BELOW("none", "none", "+Inf", 5),
                0);
    ck_assert_uint_eq(s->route_count, 1);
    ck_assert_double_eq(route("", "none")->requests, 5);
    ck_assert_double_eq(top_histogram_count(&route("", "none")->durations), 5);
}
END_TEST

START_TEST(head_belongs_to_the_handler_of_get)
{
    s = look_at(LANE("GET", "/a", "light", "short", 1) REQUESTS("GET", "/a", "200", 2)
                    REQUESTS("HEAD", "/a", "500", 3),
                0);
    ck_assert_uint_eq(s->route_count, 1);
    ck_assert_double_eq(route("GET", "/a")->requests, 5);
    ck_assert_double_eq(route("GET", "/a")->failed, 3);
    ck_assert_ptr_null(top_shot_route(s, "HEAD", "/a"));
}
END_TEST

START_TEST(head_with_a_handler_of_its_own_stays)
{
    s = look_at(LANE("GET", "/a", "light", "short", 1) LANE("HEAD", "/a", "heavy", "new", 1)
                    REQUESTS("HEAD", "/a", "200", 3),
                0);
    ck_assert_double_eq(route("HEAD", "/a")->requests, 3);
    ck_assert_double_eq(route("GET", "/a")->requests, 0);
}
END_TEST

START_TEST(lane_has_its_reason_and_its_time)
{
    s = look_at(LANE("GET", "/a", "heavy", "blocked",
                     12.5) "poolsrv_lane{route=\"/b\",method=\"GET\",lane=\"light\"} 1\n"
                           "poolsrv_lane{route=\"/b\",method=\"GET\",lane=\"heavy\"} 0\n",
                0);
    ck_assert_str_eq(route("GET", "/a")->lane, "heavy");
    ck_assert_str_eq(route("GET", "/a")->why, "blocked");
    ck_assert_double_eq(route("GET", "/a")->since_s, 12.5);
    ck_assert_str_eq(route("GET", "/b")->lane, "light");
    ck_assert_ptr_null(route("GET", "/b")->why);
    ck_assert(isnan(route("GET", "/b")->since_s));
}
END_TEST

START_TEST(durations_have_their_buckets)
{
    s = look_at(BELOW("GET", "/a", "0.001", 3) BELOW("GET", "/a", "+Inf", 4) BELOW("GET", "/a", "soon", 9),
                0);
    const top_histogram *h = &route("GET", "/a")->durations;
    ck_assert_uint_eq(h->n, 2);
    ck_assert_double_eq(h->bounds[0], 0.001);
    ck_assert_double_eq(h->below[0], 3);
    ck_assert(isinf(h->bounds[1]));
}
END_TEST

START_TEST(worker_has_rings_connections_requests_and_memory)
{
    s = look_at(
        "poolsrv_ring_depth{ring=\"home\",worker=\"1\"} 1\npoolsrv_ring_depth{ring=\"shared\",worker=\"1\"} "
        "2\n"
        "poolsrv_ring_depth{ring=\"done\",worker=\"1\"} 3\npoolsrv_worker_connections{worker=\"1\"} 4\n"
        "poolsrv_worker_requests_total{worker=\"1\"} 5\npoolsrv_worker_vm_bytes{worker=\"1\"} 6\n"
        "poolsrv_ring_depth{ring=\"home\",worker=\"0\"} 7\n",
        0);
    const top_worker *w = top_shot_worker(s, "1");
    ck_assert_ptr_nonnull(w);
    ck_assert_double_eq(w->home, 1);
    ck_assert_double_eq(w->shared, 2);
    ck_assert_double_eq(w->done, 3);
    ck_assert_double_eq(w->connections, 4);
    ck_assert_double_eq(w->requests, 5);
    ck_assert_double_eq(w->vm_bytes, 6);
    w = top_shot_worker(s, "0");
    ck_assert_double_eq(w->home, 7);
    ck_assert(isnan(w->shared) && isnan(w->requests) && isnan(w->vm_bytes));
    ck_assert_ptr_null(top_shot_worker(s, "2"));
}
END_TEST

START_TEST(many_routes_are_all_found)
{
    enum { MANY = 3000 };
    char *text = NULL;
    size_t bytes = 0;
    FILE *out = open_memstream(&text, &bytes);
    for (int i = 0; i < MANY; i++)
        fprintf(out, "poolsrv_lane{route=\"/%d\",method=\"GET\",lane=\"light\"} 1\n", i * 7919 % MANY);
    for (int i = 0; i < MANY; i++)
        fprintf(out, "poolsrv_http_requests_total{route=\"/%d\",method=\"GET\",status=\"200\"} %d\n", i, i);
    fclose(out);
    s = look_at(text, 0);
    free(text);
    ck_assert_uint_eq(s->route_count, MANY);
    ck_assert_double_eq(route("GET", "/2999")->requests, 2999);
    ck_assert_str_eq(route("GET", "/17")->lane, "light");
}
END_TEST

static const struct {
    const char *before, *now;
    bool restarted;
} starts[] = {
    {"", "", false},
    {REQUESTS("GET", "/a", "200", 5), REQUESTS("GET", "/a", "200", 5), false},
    {REQUESTS("GET", "/a", "200", 5), REQUESTS("GET", "/a", "200", 6), false},
    {REQUESTS("GET", "/a", "200", 5), REQUESTS("GET", "/a", "200", 4), true},
    {REQUESTS("GET", "/a", "200", 5), "", true},
    {LANE("GET", "/a", "heavy", "new", 1), "", false}, /* it was taken out by a reload, unused */
    {"", REQUESTS("GET", "/a", "200", 5), false},
    /* What the server says about its start goes first: counters may have overtaken the old ones. */
    {"poolsrv_start_time_seconds 100\n" REQUESTS("GET", "/a", "200", 5),
     "poolsrv_start_time_seconds 200\n" REQUESTS("GET", "/a", "200", 9), true},
    {"poolsrv_start_time_seconds 100\n" REQUESTS("GET", "/a", "200", 5),
     "poolsrv_start_time_seconds 100\n" REQUESTS("GET", "/a", "200", 9), false},
    {"poolsrv_start_time_seconds 100\n", REQUESTS("GET", "/a", "200", 9), false},
};

START_TEST(restart_is_told_by_the_start_or_by_what_went_back)
{
    top_shot *before = look_at(starts[_i].before, 0);
    s = look_at(starts[_i].now, 1000);
    ck_assert_int_eq(top_shot_restarted(before, s), starts[_i].restarted);
    top_shot_free(before);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("top_shot");
    TCase *tc = tcase_create("top_shot");
    tcase_add_checked_fixture(tc, NULL, tear_down);
    tcase_add_test(tc, server_that_tells_nothing_is_not_known);
    tcase_add_test(tc, figures_of_the_server_are_read);
    tcase_add_test(tc, requests_are_added_up_over_statuses);
    tcase_add_test(tc, requests_without_a_route_are_one_row);
    tcase_add_test(tc, head_belongs_to_the_handler_of_get);
    tcase_add_test(tc, head_with_a_handler_of_its_own_stays);
    tcase_add_test(tc, lane_has_its_reason_and_its_time);
    tcase_add_test(tc, durations_have_their_buckets);
    tcase_add_test(tc, worker_has_rings_connections_requests_and_memory);
    tcase_add_test(tc, many_routes_are_all_found);
    tcase_add_loop_test(tc, restart_is_told_by_the_start_or_by_what_went_back, 0,
                        sizeof(starts) / sizeof(starts[0]));
    suite_add_tcase(suite, tc);
    return run_suite(suite);
}
