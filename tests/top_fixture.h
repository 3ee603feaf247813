/* top_fixture: looks at a made-up server, for the suites of `poolsrv top`.
 *
 * A look is written as the text that a server would send, with a time of the test's choice. */
#ifndef TESTS_TOP_FIXTURE_H
#define TESTS_TOP_FIXTURE_H

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "api/program/top_shot.h"

enum { NS_PER_MS = 1000000 };

static inline top_shot *look_at(const char *text, uint64_t at_ms)
{
    scrape *samples = NULL;
    ps_error err = {0};
    ck_assert_msg(scrape_parse(text, strlen(text), &samples, &err) == 0, "%s", err.message);
    top_shot *s = top_shot_new(samples, at_ms * NS_PER_MS);
    ck_assert_ptr_nonnull(s);
    return s;
}

/* Run a suite as a program's main does. */
static inline int run_suite(Suite *s)
{
    SRunner *sr = srunner_create(s);
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* The lines of requests and of durations, as a server with this one handler sends them. */
#define REQUESTS(method, route, status, n)                                                                   \
    "poolsrv_http_requests_total{route=\"" route "\",method=\"" method "\",status=\"" status "\"} " #n "\n"
#define BELOW(method, route, le, n)                                                                          \
    "poolsrv_http_request_duration_seconds_bucket{route=\"" route "\",method=\"" method "\",le=\"" le        \
    "\"} " #n "\n"
#define LANE(method, route, lane, reason, since)                                                             \
    "poolsrv_lane{route=\"" route "\",method=\"" method "\",lane=\"" lane "\"} 1\n"                          \
    "poolsrv_lane_reason{route=\"" route "\",method=\"" method "\",lane=\"" lane "\",reason=\"" reason       \
    "\"} 1\n"                                                                                                \
    "poolsrv_lane_since_seconds{route=\"" route "\",method=\"" method "\"} " #since "\n"

#endif
