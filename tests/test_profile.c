#include "api/program/profile.h"

#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "api/program/context_costs.h"
#include "vm/ctx_fields.h"

/* The report on those metrics; to be freed. */
static char *report_on(const char *metrics)
{
    scrape *s = NULL;
    ps_error err = {0};
    char *text = NULL;
    size_t n = 0;
    ck_assert_msg(scrape_parse(metrics, strlen(metrics), &s, &err) == 0, "%s", err.message);
    FILE *out = open_memstream(&text, &n);
    ck_assert_msg(profile_print(out, s, &err) == 0, "%s", err.message);
    ck_assert_int_eq(fclose(out), 0);
    scrape_free(s);
    return text;
}

#define REQUESTS(route, n)                                                                                   \
    "poolsrv_http_requests_total{route=\"" route "\",method=\"GET\",status=\"200\"} " #n "\n"
#define READS(route, field, n)                                                                               \
    "poolsrv_context_field_reads_total{route=\"" route "\",field=\"" field "\"} " #n "\n"

static void expect(const char *metrics, const char *part)
{
    char *text = report_on(metrics);
    ck_assert_msg(strstr(text, part), "\"%s\" is not in:\n%s", part, text);
    free(text);
}

static void expect_not(const char *metrics, const char *part)
{
    char *text = report_on(metrics);
    ck_assert_msg(!strstr(text, part), "\"%s\" is in:\n%s", part, text);
    free(text);
}

static double added(size_t strategy, const char *field)
{
    double ns;
    ck_assert(context_costs_field(strategy, field, &ns));
    return ns;
}

/* --- the costs --- */

START_TEST(every_strategy_of_the_server_has_costs)
{
    size_t n = 0;
    const ps_option_info *list = ps_option_list(&n);
    for (size_t i = 0; i < n; i++) {
        if (strcmp(list[i].flag, "context") != 0)
            continue;
        for (size_t k = 0; context_costs_strategy(k); k++)
            ck_assert_ptr_nonnull(strstr(list[i].argument, context_costs_strategy(k)));
        for (const char *p = list[i].argument; *p; p += strcspn(p, "|"), p += *p != '\0') {
            size_t k = 0;
            while (context_costs_strategy(k) && strncmp(context_costs_strategy(k), p, strcspn(p, "|")) != 0)
                k++;
            ck_assert_msg(context_costs_strategy(k) != NULL, "no costs of %s", p);
        }
    }
}
END_TEST

START_TEST(every_field_of_a_context_has_costs)
{
    double ns;
    for (size_t i = 0; context_costs_strategy(i); i++)
        for (size_t f = 0; f < CTX_FIELD_COUNT; f++)
            ck_assert_msg(context_costs_field(i, ctx_field_names[f], &ns) && isfinite(ns),
                          "%s has no cost of %s", context_costs_strategy(i), ctx_field_names[f]);
}
END_TEST

START_TEST(an_unknown_field_has_no_cost)
{
    double ns = 7;
    ck_assert(!context_costs_field(0, "moon", &ns));
    ck_assert_double_eq(ns, 7);
}
END_TEST

START_TEST(the_costs_say_how_they_were_made)
{
    ck_assert_ptr_nonnull(strstr(context_costs_command, "load/profile_context_creation.sh"));
    ck_assert_uint_gt(strlen(context_costs_machine), 0);
}
END_TEST

/* --- the report --- */

START_TEST(a_route_shows_which_share_of_its_requests_read_what)
{
    const char *metrics = REQUESTS("/users/:id", 1000) READS("/users/:id", "params", 1000)
        READS("/users/:id", "headers", 250) READS("/users/:id", "query", 1) READS("/users/:id", "ip", 0);
    expect(metrics, "/users/:id, 1000 requests\n");
    expect(metrics, "    reads   params 100 %  headers 25.0 %  query 0.1 %\n");
}
END_TEST

START_TEST(a_rare_read_is_not_shown_as_none)
{
    expect(REQUESTS("/a", 100000) READS("/a", "query", 3), "query <0.1 %");
}
END_TEST

START_TEST(a_strategy_costs_its_base_and_the_share_of_each_field)
{
    char part[64];
    double ns = context_costs_base(1) + added(1, "params") + 0.5 * added(1, "headers");
    snprintf(part, sizeof part, "  %s %.0f ns", context_costs_strategy(1), ns);
    expect(REQUESTS("/a", 10) READS("/a", "params", 10) READS("/a", "headers", 5), part);
}
END_TEST

START_TEST(what_is_cheapest_is_recommended)
{
    char part[80];
    size_t best = 0;
    for (size_t i = 1; context_costs_strategy(i); i++)
        if (context_costs_base(i) < context_costs_base(best))
            best = i;
    snprintf(part, sizeof part, "Recommended for this traffic: --context %s\n", context_costs_strategy(best));
    expect(REQUESTS("/a", 10), part);
    expect(REQUESTS("/a", 10), "reads   nothing\n");
}
END_TEST

START_TEST(busy_routes_come_first_and_all_come_last)
{
    char *text = report_on(REQUESTS("/a", 10) REQUESTS("/b", 500) REQUESTS("/c", 90));
    const char *a = strstr(text, "/a, 10 "), *b = strstr(text, "/b, 500 "), *c = strstr(text, "/c, 90 ");
    const char *all = strstr(text, "All routes, 600 requests\n");
    ck_assert(b && c && a && all);
    ck_assert(b < c && c < a && a < all);
    free(text);
}
END_TEST

START_TEST(methods_and_statuses_of_a_route_are_added_up)
{
    expect(
        "poolsrv_http_requests_total{route=\"/a\",method=\"GET\",status=\"200\"} 4\n"
        "poolsrv_http_requests_total{route=\"/b\",method=\"GET\",status=\"200\"} 1\n"
        "poolsrv_http_requests_total{route=\"/a\",method=\"POST\",status=\"500\"} 6\n" READS("/a", "body", 5),
        "/a, 10 requests\n    reads   body 50.0 %\n");
}
END_TEST

START_TEST(what_no_route_answered_is_left_out)
{
    expect(REQUESTS("none", 900) REQUESTS("/a", 10), "/a, 10 requests");
    expect_not(REQUESTS("none", 900) REQUESTS("/a", 10), "900");
    expect(REQUESTS("none", 900), "No route has answered a request yet.\n");
}
END_TEST

START_TEST(a_field_of_a_newer_server_is_shown_and_costs_nothing)
{
    char part[64];
    snprintf(part, sizeof part, "  %s %.0f ns", context_costs_strategy(0), context_costs_base(0));
    expect(REQUESTS("/a", 10) READS("/a", "moon", 10), "moon 100 %");
    expect(REQUESTS("/a", 10) READS("/a", "moon", 10), part);
}
END_TEST

START_TEST(more_fields_than_there_can_be_do_no_harm)
{
    char metrics[8192] = REQUESTS("/a", 10);
    for (int i = 0; i < 60; i++) {
        char line[100];
        snprintf(line, sizeof line, "poolsrv_context_field_reads_total{route=\"/a\",field=\"f%d\"} 10\n", i);
        strcat(metrics, line);
    }
    expect(metrics, "f31 100 %");
    expect_not(metrics, "f32 100 %");
}
END_TEST

START_TEST(counts_that_are_none_count_nothing)
{
    expect(REQUESTS("/a", 10) REQUESTS("/b", NaN) REQUESTS("/c", -5) REQUESTS("/d", +Inf),
           "All routes, 10 requests");
    expect(REQUESTS("/a", 10) READS("/a", "body", 99), "body 100 %");
    expect(REQUESTS("/a", 10) READS("/gone", "body", 9), "reads   nothing");
}
END_TEST

START_TEST(a_server_that_reads_method_and_path_for_all_is_pointed_out)
{
    expect(REQUESTS("/a", 10) READS("/a", "method", 10) READS("/a", "path", 10),
           "--context eager, that is its own");
    expect_not(REQUESTS("/a", 10) READS("/a", "method", 10) READS("/a", "path", 9), "its own");
}
END_TEST

START_TEST(metrics_of_something_else_are_refused)
{
    scrape *s = NULL;
    ps_error err = {0};
    ck_assert_int_eq(scrape_parse("go_goroutines 7\n", 16, &s, &err), 0);
    ck_assert_int_eq(profile_print(stdout, s, &err), PS_ESYSTEM);
    ck_assert_ptr_nonnull(strstr(err.message, "not the metrics of a poolsrv"));
    scrape_free(s);
}
END_TEST

START_TEST(the_subcommand_wants_one_address)
{
    char *none[] = {NULL}, *two[] = {"h:1", "h:2", NULL}, *option[] = {"--port", NULL};
    char **all[] = {none, two, option};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        ps_error err = {0};
        ck_assert_int_eq(profile_run(all[i], &err), PS_EINVAL);
        ck_assert_ptr_nonnull(strstr(err.message, "HOST:PORT"));
    }
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("profile");
    TCase *costs = tcase_create("costs");
    tcase_add_test(costs, every_strategy_of_the_server_has_costs);
    tcase_add_test(costs, every_field_of_a_context_has_costs);
    tcase_add_test(costs, an_unknown_field_has_no_cost);
    tcase_add_test(costs, the_costs_say_how_they_were_made);
    suite_add_tcase(s, costs);
    TCase *report = tcase_create("report");
    tcase_add_test(report, a_route_shows_which_share_of_its_requests_read_what);
    tcase_add_test(report, a_rare_read_is_not_shown_as_none);
    tcase_add_test(report, a_strategy_costs_its_base_and_the_share_of_each_field);
    tcase_add_test(report, what_is_cheapest_is_recommended);
    tcase_add_test(report, busy_routes_come_first_and_all_come_last);
    tcase_add_test(report, methods_and_statuses_of_a_route_are_added_up);
    tcase_add_test(report, what_no_route_answered_is_left_out);
    tcase_add_test(report, a_field_of_a_newer_server_is_shown_and_costs_nothing);
    tcase_add_test(report, more_fields_than_there_can_be_do_no_harm);
    tcase_add_test(report, counts_that_are_none_count_nothing);
    tcase_add_test(report, a_server_that_reads_method_and_path_for_all_is_pointed_out);
    tcase_add_test(report, metrics_of_something_else_are_refused);
    tcase_add_test(report, the_subcommand_wants_one_address);
    suite_add_tcase(s, report);
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
