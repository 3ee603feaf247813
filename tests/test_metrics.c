#include "runtime/metrics.h"

#include <check.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/route_pattern.h"

enum { US = 1000, MS = 1000 * US };

static const char *const field_names[] = {"method", "path", "headers"};

static route_tree *routes;
static const route *users_get, *users_post, *user_get;
static metrics *block;
static buf out;

static const route *add(enum http_method method, const char *pattern)
{
    const route *ret = NULL;
    char error[256];
    int err =
        route_pattern_add(routes, method, str_from(pattern), STR("app.lua:1"), &ret, error, sizeof(error));
    ck_assert_msg(err == 0, "%s", error);
    return ret;
}

static void set_up(void)
{
    routes = route_tree_new();
    users_get = add(METHOD_GET, "/users");
    users_post = add(METHOD_POST, "/users");
    user_get = add(METHOD_GET, "/users/:id");
    block = metrics_new(route_tree_count(routes));
    ck_assert_ptr_nonnull(block);
}

static void tear_down(void)
{
    metrics_free(block);
    route_tree_free(routes);
    buf_fini(&out);
}

/* A request that never waited in a queue and read no fields. */
static HttpTask request(const route *r, int method, int status)
{
    return (HttpTask){.route = r, .method_id = method, .status = status, .received_ns = 1000};
}

static void count(const route *r, int method, int status, uint64_t ns)
{
    HttpTask t = request(r, method, status);
    metrics_count(block, &t, t.received_ns + ns);
}

static const char *render_blocks(const metrics *const *blocks, size_t n)
{
    out.n = 0;
    metrics_group all = {blocks, n, routes};
    ck_assert_int_eq(metrics_render(&out, &all, 1, field_names, 3), 0);
    ck_assert_int_eq(buf_add(&out, "", 1), 0);
    return out.p;
}

static const char *render(void)
{
    return render_blocks((const metrics *const[]){block}, 1);
}

/* Whether the text has that line, the whole of it, exactly once. */
static bool has_line(const char *text, const char *line)
{
    size_t n = strlen(line), found = 0;
    for (const char *p = text; *p; p = strchr(p, '\n') + 1)
        found += strncmp(p, line, n) == 0 && p[n] == '\n';
    return found == 1;
}

#define LINE(line) ck_assert_msg(has_line(out.p, line), "no line (or two): %s", line)

/* --- counting --- */

START_TEST(requests_are_counted_by_route_method_and_status)
{
    for (int i = 0; i < 3; i++)
        count(users_get, METHOD_GET, 200, MS);
    count(users_get, METHOD_GET, 500, MS);
    count(users_get, METHOD_HEAD, 200, MS);
    count(users_post, METHOD_POST, 201, MS);
    count(user_get, METHOD_GET, 200, MS);
    render();
    LINE("poolsrv_http_requests_total{route=\"/users\",method=\"GET\",status=\"200\"} 3");
    LINE("poolsrv_http_requests_total{route=\"/users\",method=\"GET\",status=\"500\"} 1");
    LINE("poolsrv_http_requests_total{route=\"/users\",method=\"HEAD\",status=\"200\"} 1");
    LINE("poolsrv_http_requests_total{route=\"/users\",method=\"POST\",status=\"201\"} 1");
    LINE("poolsrv_http_requests_total{route=\"/users/:id\",method=\"GET\",status=\"200\"} 1");
}
END_TEST

START_TEST(requests_without_a_route_are_counted_as_none)
{
    count(NULL, METHOD_DELETE, 404, MS);
    count(NULL, -1, 501, MS);
    render();
    LINE("poolsrv_http_requests_total{route=\"none\",method=\"DELETE\",status=\"404\"} 1");
    LINE("poolsrv_http_requests_total{route=\"none\",method=\"other\",status=\"501\"} 1");
    LINE("poolsrv_http_request_duration_seconds_count{route=\"none\",method=\"none\"} 2");
}
END_TEST

START_TEST(statuses_beyond_the_table_are_counted_as_other)
{
    for (int i = 0; i < METRICS_PAIRS + 5; i++)
        count(users_get, METHOD_GET, 200 + i, MS);
    count(users_get, METHOD_GET, 200, MS);
    render();
    LINE("poolsrv_http_requests_total{route=\"/users\",method=\"GET\",status=\"200\"} 2");
    LINE("poolsrv_http_requests_total{route=\"/users\",method=\"GET\",status=\"215\"} 1");
    LINE("poolsrv_http_requests_total{route=\"/users\",method=\"other\",status=\"other\"} 5");
    ck_assert_ptr_null(strstr(out.p, "status=\"216\""));
}
END_TEST

/* Just at, and just beyond, each kind of bound. */
static const struct {
    uint64_t ns;
    const char *first; /* the smallest bucket that holds it */
    const char *below; /* the one before, which does not */
} durations[] = {
    {0, "0.0001", NULL},
    {100 * US, "0.0001", NULL},
    {100 * US + 1, "0.00025", "0.0001"},
    {MS, "0.001", "0.0005"},
    {7 * MS, "0.01", "0.005"},
    {10000ull * MS, "10", "5"},
    {10000ull * MS + 1, "+Inf", "10"},
};

START_TEST(duration_is_in_its_bucket_and_all_above)
{
    char line[128];
    count(user_get, METHOD_GET, 200, durations[_i].ns);
    render();
    const char *format =
        "poolsrv_http_request_duration_seconds_bucket{route=\"/users/:id\",method=\"GET\",le=\"%s\"} %d";
    snprintf(line, sizeof(line), format, durations[_i].first, 1);
    LINE(line);
    snprintf(line, sizeof(line), format, "+Inf", 1);
    LINE(line);
    if (!durations[_i].below)
        return;
    snprintf(line, sizeof(line), format, durations[_i].below, 0);
    LINE(line);
}
END_TEST

START_TEST(durations_are_those_of_a_handler)
{
    count(users_get, METHOD_GET, 200, MS);
    count(users_get, METHOD_HEAD, 200, MS);
    count(users_post, METHOD_POST, 201, 3 * MS);
    render();
    LINE("poolsrv_http_request_duration_seconds_count{route=\"/users\",method=\"GET\"} 2");
    LINE("poolsrv_http_request_duration_seconds_sum{route=\"/users\",method=\"GET\"} 0.002000000");
    LINE("poolsrv_http_request_duration_seconds_bucket{route=\"/users\",method=\"GET\",le=\"+Inf\"} 2");
    LINE("poolsrv_http_request_duration_seconds_sum{route=\"/users\",method=\"POST\"} 0.003000000");
    ck_assert_ptr_null(strstr(out.p, "duration_seconds_count{route=\"/users\",method=\"HEAD\"}"));
}
END_TEST

START_TEST(clock_that_runs_backwards_counts_as_no_time)
{
    HttpTask t = request(users_get, METHOD_GET, 200);
    t.ready_ns = 900;
    t.started_ns = 800;
    metrics_count(block, &t, t.received_ns - 500);
    render();
    LINE("poolsrv_http_request_duration_seconds_sum{route=\"/users\",method=\"GET\"} 0.000000000");
    LINE("poolsrv_queue_wait_seconds_sum 0.000000000");
}
END_TEST

START_TEST(wait_is_counted_for_requests_whose_handler_started)
{
    HttpTask t = request(users_get, METHOD_GET, 200);
    t.ready_ns = 5000;
    t.started_ns = t.ready_ns + 3 * MS;
    metrics_count(block, &t, t.started_ns);
    count(NULL, METHOD_GET, 404, MS); /* no handler */
    render();
    LINE("poolsrv_queue_wait_seconds_count 1");
    LINE("poolsrv_queue_wait_seconds_sum 0.003000000");
    LINE("poolsrv_queue_wait_seconds_bucket{le=\"0.0025\"} 0");
    LINE("poolsrv_queue_wait_seconds_bucket{le=\"0.005\"} 1");
}
END_TEST

START_TEST(field_reads_are_counted_by_route_and_field)
{
    HttpTask t = request(users_get, METHOD_GET, 200);
    t.fields_read = 1 | 4;
    metrics_count(block, &t, 2000);
    t.fields_read = 4;
    metrics_count(block, &t, 2000);
    t.fields_read = 0x80000000u; /* has no name */
    metrics_count(block, &t, 2000);
    render();
    LINE("poolsrv_context_field_reads_total{route=\"/users\",field=\"method\"} 1");
    LINE("poolsrv_context_field_reads_total{route=\"/users\",field=\"headers\"} 2");
    ck_assert_ptr_null(strstr(out.p, "field=\"path\""));
}
END_TEST

/* --- rendering --- */

START_TEST(route_that_was_not_asked_for_has_no_samples)
{
    count(users_get, METHOD_GET, 200, MS);
    ck_assert_ptr_null(strstr(render(), "/users/:id"));
}
END_TEST

START_TEST(blocks_of_all_workers_are_added)
{
    metrics *other = metrics_new(route_tree_count(routes));
    HttpTask t = request(users_get, METHOD_GET, 200);
    t.fields_read = 1;
    metrics_count(block, &t, 2000);
    metrics_count(other, &t, 2000);
    t.status = 404;
    metrics_count(other, &t, 2000);
    render_blocks((const metrics *const[]){block, NULL, other}, 3);
    LINE("poolsrv_http_requests_total{route=\"/users\",method=\"GET\",status=\"200\"} 2");
    LINE("poolsrv_http_requests_total{route=\"/users\",method=\"GET\",status=\"404\"} 1");
    LINE("poolsrv_http_request_duration_seconds_count{route=\"/users\",method=\"GET\"} 3");
    LINE("poolsrv_context_field_reads_total{route=\"/users\",field=\"method\"} 3");
    metrics_free(other);
}
END_TEST

START_TEST(generations_with_other_routes_are_added_by_pattern)
{
    route_tree *before = routes;
    count(users_get, METHOD_GET, 200, MS);
    count(user_get, METHOD_GET, 200, MS);
    routes = route_tree_new();
    const route *fresh = add(METHOD_GET, "/new");
    const route *users_again = add(METHOD_GET, "/users");
    metrics *after = metrics_new(2);
    HttpTask t = request(users_again, METHOD_GET, 200);
    metrics_count(after, &t, 2000);
    t.route = fresh;
    metrics_count(after, &t, 2000);
    const metrics *const old_blocks[] = {block}, *const new_blocks[] = {after};
    metrics_group groups[] = {{old_blocks, 1, before}, {new_blocks, 1, routes}};
    ck_assert_int_eq(metrics_render(&out, groups, 2, field_names, 3), 0);
    buf_add(&out, "", 1);
    LINE("poolsrv_http_requests_total{route=\"/users\",method=\"GET\",status=\"200\"} 2");
    LINE("poolsrv_http_requests_total{route=\"/users/:id\",method=\"GET\",status=\"200\"} 1");
    LINE("poolsrv_http_requests_total{route=\"/new\",method=\"GET\",status=\"200\"} 1");
    LINE("poolsrv_http_request_duration_seconds_count{route=\"/users\",method=\"GET\"} 2");
    LINE("# TYPE poolsrv_http_requests_total counter");
    metrics_free(after);
    route_tree_free(before);
}
END_TEST

START_TEST(each_metric_has_its_help_and_type_once_and_before_its_samples)
{
    static const char *const types[] = {
        "# TYPE poolsrv_http_requests_total counter",
        "# TYPE poolsrv_http_request_duration_seconds histogram",
        "# TYPE poolsrv_queue_wait_seconds histogram",
        "# TYPE poolsrv_context_field_reads_total counter",
    };
    HttpTask t = request(users_get, METHOD_GET, 200);
    t.fields_read = 1;
    metrics_count(block, &t, 2000);
    render();
    for (size_t i = 0; i < 4; i++) {
        LINE(types[i]);
        char name[64];
        sscanf(types[i], "# TYPE %63s", name);
        const char *type = strstr(out.p, types[i]);
        const char *sample = strstr(out.p, name);
        while (sample && sample != out.p && sample[-1] != '\n')
            sample = strstr(sample + 1, name);
        ck_assert_ptr_nonnull(sample);
        ck_assert(sample > type);
    }
}
END_TEST

START_TEST(nothing_counted_renders_without_routes)
{
    render();
    LINE("poolsrv_queue_wait_seconds_count 0");
    ck_assert_ptr_null(strstr(out.p, "route="));
    render_blocks(NULL, 0);
    LINE("poolsrv_queue_wait_seconds_count 0");
}
END_TEST

START_TEST(what_was_in_the_buf_stays_in_front)
{
    buf_add_str(&out, STR("before\n"));
    ck_assert_int_eq(metrics_gauge(&out, "poolsrv_ring_depth", "Tasks on a ring.", 3), 0);
    buf_add(&out, "", 1);
    ck_assert_str_eq(out.p, "before\n# HELP poolsrv_ring_depth Tasks on a ring.\n"
                            "# TYPE poolsrv_ring_depth gauge\npoolsrv_ring_depth 3\n");
}
END_TEST

/* --- the format --- */

START_TEST(label_values_are_escaped)
{
    exposition_label labels[] = {{"route", STR("/a\"b\\c\nd")}, {"n", STR("")}};
    exposition_count(&out, "x", labels, 2, 7);
    ck_assert(str_eq(buf_str(&out), STR("x{route=\"/a\\\"b\\\\c\\nd\",n=\"\"} 7\n")));
}
END_TEST

START_TEST(values_are_written_as_prometheus_reads_them)
{
    exposition_value(&out, "a", NULL, 0, 0.5);
    exposition_value(&out, "b", NULL, 0, 123456789012345.0);
    exposition_value(&out, "c", NULL, 0, (double)INFINITY);
    exposition_value(&out, "d", NULL, 0, (double)NAN);
    exposition_count(&out, "e", NULL, 0, UINT64_MAX);
    ck_assert(
        str_eq(buf_str(&out), STR("a 0.5\nb 123456789012345\nc +Inf\nd NaN\ne 18446744073709551615\n")));
}
END_TEST

/* --- one counts, another reads --- */

enum { REQUESTS = 100000 };

static atomic_bool finished;

static void *count_many(void *arg)
{
    (void)arg;
    for (int i = 0; i < REQUESTS; i++) {
        HttpTask t = request(i % 2 ? users_get : user_get, METHOD_GET, 200 + i % 20);
        t.fields_read = 1;
        metrics_count(block, &t, 2000);
    }
    atomic_store(&finished, true);
    return NULL;
}

static uint64_t figure(const char *name)
{
    const char *at = strstr(out.p, name);
    return at ? strtoull(at + strlen(name), NULL, 10) : 0;
}

START_TEST(figures_read_while_counting_never_go_back_and_end_exact)
{
    const char *name = "poolsrv_http_request_duration_seconds_count{route=\"/users\",method=\"GET\"} ";
    uint64_t last = 0;
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, count_many, NULL), 0);
    while (!atomic_load(&finished)) {
        render();
        ck_assert_uint_ge(figure(name), last);
        last = figure(name);
    }
    pthread_join(thread, NULL);
    render();
    ck_assert_uint_eq(figure(name), REQUESTS / 2);
}
END_TEST

static Suite *metrics_suite(void)
{
    Suite *s = suite_create("metrics");
    TCase *tc = tcase_create("metrics");
    tcase_add_checked_fixture(tc, set_up, tear_down);
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, requests_are_counted_by_route_method_and_status);
    tcase_add_test(tc, requests_without_a_route_are_counted_as_none);
    tcase_add_test(tc, statuses_beyond_the_table_are_counted_as_other);
    tcase_add_loop_test(tc, duration_is_in_its_bucket_and_all_above, 0,
                        sizeof(durations) / sizeof(durations[0]));
    tcase_add_test(tc, durations_are_those_of_a_handler);
    tcase_add_test(tc, clock_that_runs_backwards_counts_as_no_time);
    tcase_add_test(tc, wait_is_counted_for_requests_whose_handler_started);
    tcase_add_test(tc, field_reads_are_counted_by_route_and_field);
    tcase_add_test(tc, route_that_was_not_asked_for_has_no_samples);
    tcase_add_test(tc, blocks_of_all_workers_are_added);
    tcase_add_test(tc, generations_with_other_routes_are_added_by_pattern);
    tcase_add_test(tc, each_metric_has_its_help_and_type_once_and_before_its_samples);
    tcase_add_test(tc, nothing_counted_renders_without_routes);
    tcase_add_test(tc, what_was_in_the_buf_stays_in_front);
    tcase_add_test(tc, label_values_are_escaped);
    tcase_add_test(tc, values_are_written_as_prometheus_reads_them);
    tcase_add_test(tc, figures_read_while_counting_never_go_back_and_end_exact);
    suite_add_tcase(s, tc);
    return s;
}

int main(void)
{
    SRunner *sr = srunner_create(metrics_suite());
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
