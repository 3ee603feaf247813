#include "runtime/judge.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HEADERS_MAX = 8 };

/* Judge a head written as "Name: value\n" lines; all that stands behind the first ": " is the value. */
static judgement judge(const char *head, const char *version)
{
    task_header headers[HEADERS_MAX];
    uint32_t n = 0;
    while (*head) {
        const char *end = strchr(head, '\n');
        const char *colon = strstr(head, ": ");
        ck_assert_ptr_nonnull(end);
        ck_assert(colon && colon < end);
        headers[n++] = (task_header){head, colon + 2, (uint32_t)(colon - head), (uint32_t)(end - colon - 2)};
        head = end + 1;
    }
    return judge_head(headers, n, str_from(version));
}

static judgement judge_11(const char *head)
{
    return judge(head, "HTTP/1.1");
}

static const char *const good[] = {
    "Host: a\n",
    "host: a\n",
    "Host: \n",
    "Host: a \t\n",
    "Host: xn--caf-dma.example.org:8080\n",
    "Host: [2001:db8::1]:80\n",
    "Host: a_b~c!$&'()*+,;=%20\n",
    "Host: a\nContent-Length: 0\n",
    "Host: a\nContent-Length: 5\n",
    "Host: a\ncontent-length: 999999999999999999\n",
    "Host: a\nTransfer-Encoding: chunked\n",
    "Host: a\ntransfer-encoding: Chunked\n",
    "Host: a\nX: tab\tinside\n",
    "Host: a\nX: caf\xc3\xa9 \xff\n",
    "Host: a\nX: \n",
    "Host: a\nX: 1\nX: 2\n",
    "Host: a\n!#$%&'*+-.^_`|~09azAZ: all that a token may hold\n",
};

START_TEST(good_head_is_accepted)
{
    ck_assert_int_eq(judge_11(good[_i]).status, 0);
}
END_TEST

static const char *const bad[] = {
    "X: no host\n",
    "Host: a\nHost: b\n",
    "Host: a b\n",
    "Host: a\tb\n",
    "Host: a/b\n",
    "Host: a?b\n",
    "Host: a#b\n",
    "Host: a@b\n",
    "Host: a\\b\n",
    "Host: <a>\n",
    "Host: \"a\"\n",
    "Host: a\xff\n",
    "Host: a\nhost: a\n",
    "Host: a\nContent-Length: 5\nContent-Length: 6\n",
    "Host: a\nContent-Length: 5\ncontent-length: 5\n",
    "Host: a\nContent-Length: \n",
    "Host: a\nContent-Length: -1\n",
    "Host: a\nContent-Length: +1\n",
    "Host: a\nContent-Length: 5, 5\n",
    "Host: a\nContent-Length: 0x10\n",
    "Host: a\nContent-Length: 1e3\n",
    "Host: a\nContent-Length: 5 \n",
    "Host: a\nContent-Length: 18446744073709551617\n",
    "Host: a\nContent-Length: 5\nTransfer-Encoding: chunked\n",
    "Host: a\nTransfer-Encoding: chunked\nContent-Length: 5\n",
    "Host: a\nTransfer-Encoding: chunked\nTransfer-Encoding: chunked\n",
    "Host: a\nTransfer-Encoding: gzip, chunked\n",
    "Host: a\nTransfer-Encoding: chunked, identity\n",
    "Host: a\nTransfer-Encoding: identity\n",
    "Host: a\nTransfer-Encoding: xchunked\n",
    "Host: a\nTransfer-Encoding: \n",
    "Host: a\nTransfer-Encoding: chunked \n",
    "Host: a\nContent-Length : 5\n",
    "Host: a\nTransfer-Encoding : chunked\n",
    "Host: a\n: empty name\n",
    "Host: a\nna me: x\n",
    "Host: a\nname\t: x\n",
    "Host: a\nna(me: x\n",
    "Host: a\nn\xc3\xa4me: x\n",
    "Host: a\nna\x01me: x\n",
    "Host: a\nX: bell\x07\n",
    "Host: a\nX: delete\x7f\n",
    "Host: a\nX: return\rSet-Cookie: a=b\n",
};

START_TEST(bad_head_is_refused_with_a_reason)
{
    judgement j = judge_11(bad[_i]);
    ck_assert_int_eq(j.status, 400);
    ck_assert_ptr_nonnull(j.reason);
    /* It goes into a JSON string as it is. */
    ck_assert_ptr_null(strpbrk(j.reason, "\"\\\n"));
}
END_TEST

START_TEST(nul_inside_a_name_or_value_is_refused)
{
    task_header name[] = {{"Host", "a", 4, 1}, {"X\0Y", "v", 3, 1}};
    task_header value[] = {{"Host", "a", 4, 1}, {"X", "v\0w", 1, 3}};
    task_header newline[] = {{"Host", "a", 4, 1}, {"X", "v\nw", 1, 3}};
    ck_assert_int_eq(judge_head(name, 2, STR("HTTP/1.1")).status, 400);
    ck_assert_int_eq(judge_head(value, 2, STR("HTTP/1.1")).status, 400);
    ck_assert_int_eq(judge_head(newline, 2, STR("HTTP/1.1")).status, 400);
}
END_TEST

START_TEST(content_length_is_read)
{
    judgement j = judge_11("Host: a\nContent-Length: 999999999999999999\n");
    ck_assert(j.has_length && !j.chunked);
    ck_assert_uint_eq(j.length, 999999999999999999u);
    j = judge_11("Host: a\nContent-Length: 0042\n");
    ck_assert_uint_eq(j.length, 42);
}
END_TEST

START_TEST(chunked_body_is_seen)
{
    judgement j = judge_11("Host: a\nTransfer-Encoding: chunked\n");
    ck_assert(j.chunked && !j.has_length);
}
END_TEST

START_TEST(head_without_a_body_has_neither)
{
    judgement j = judge_11("Host: a\n");
    ck_assert(!j.chunked && !j.has_length && j.length == 0);
}
END_TEST

START_TEST(http_1_0_needs_no_host)
{
    ck_assert_int_eq(judge("", "HTTP/1.0").status, 0);
    ck_assert_int_eq(judge("Host: a\n", "HTTP/1.0").status, 0);
    ck_assert_int_eq(judge("Host: a\nHost: a\n", "HTTP/1.0").status, 400);
}
END_TEST

START_TEST(http_1_0_has_no_chunked_body)
{
    ck_assert_int_eq(judge("Transfer-Encoding: chunked\n", "HTTP/1.0").status, 400);
    ck_assert_int_eq(judge("Content-Length: 5\n", "HTTP/1.0").status, 0);
}
END_TEST

static const char *const versions[] = {"",         "HTTP/0.9",  "HTTP/1.2", "HTTP/2.0",
                                       "http/1.1", "HTTP/1.1 ", "HTTP/1"};

START_TEST(other_versions_are_505)
{
    ck_assert_int_eq(judge("Host: a\n", versions[_i]).status, 505);
}
END_TEST

/* --- size --- */

static const task_header two[] = {{"Host", "test", 4, 4}, {"X-A", "12345", 3, 5}};
enum { TWO_BYTES = 4 + 4 + 4 + 3 + 5 + 4 };

START_TEST(head_at_its_limits_is_accepted)
{
    head_limits limits = {.line_bytes = 14, .header_bytes = TWO_BYTES, .headers = 2};
    ck_assert_int_eq(judge_size(&limits, 14, two, 2).status, 0);
}
END_TEST

START_TEST(head_beyond_one_limit_is_refused_with_a_reason)
{
    head_limits exact = {.line_bytes = 14, .header_bytes = TWO_BYTES, .headers = 2};
    head_limits fewer = exact, smaller = exact;
    fewer.headers = 1;
    smaller.header_bytes = TWO_BYTES - 1;
    ck_assert_int_eq(judge_size(&exact, 15, two, 2).status, 414);
    ck_assert_int_eq(judge_size(&fewer, 14, two, 2).status, 431);
    ck_assert_int_eq(judge_size(&smaller, 14, two, 2).status, 431);
    ck_assert_ptr_nonnull(judge_size(&exact, 15, two, 2).reason);
}
END_TEST

START_TEST(limit_of_0_is_none)
{
    head_limits none = {0};
    ck_assert_int_eq(judge_size(&none, SIZE_MAX, two, 2).status, 0);
}
END_TEST

/* --- target --- */

START_TEST(target_without_blanks_is_accepted)
{
    ck_assert_int_eq(judge_target(STR("/a%20b?c=d&e#\xc3\xa4")).status, 0);
    ck_assert_int_eq(judge_target(STR("*")).status, 0);
}
END_TEST

static const char *const bad_targets[] = {"/a b", "/a\tb", " /",    "/ ",   "/\r",
                                          "/\n",  "/\x01", "/\x7f", "/\x1f"};

START_TEST(blank_or_control_character_in_a_target_is_refused)
{
    ck_assert_int_eq(judge_target(str_from(bad_targets[_i])).status, 400);
}
END_TEST

/* --- layout --- */

/* What libmicrohttpd 0.9 makes of a head: '|' stands for the NUL in the place of a colon, a CR or an LF. The
 * target ends at the first one; then come the version, the name and the value of a header, and the next
 * header's. */
static judgement judge_laid(const char *head, size_t target, size_t version, const size_t at[4], uint32_t n)
{
    static char text[200];
    task_header headers[2];
    snprintf(text, sizeof(text), "%s", head);
    for (char *p = text; *p; p++)
        if (*p == '|')
            *p = '\0';
    for (uint32_t i = 0; i < n; i++) {
        const char *name = text + at[2 * i], *value = text + at[2 * i + 1];
        headers[i] = (task_header){name, value, (uint32_t)strlen(name), (uint32_t)strlen(value)};
    }
    return judge_layout(text + target, str_from(text + version), headers, n);
}

#define LINE "GET /x|HTTP/1.1||"

static const struct {
    const char *head;
    size_t at[4];
    uint32_t n;
    int status;
} layouts[] = {
    {LINE "||", {0}, 0, 0},
    {LINE "Host| a||||", {17, 23}, 1, 0},
    {LINE "Host|a||||", {17, 22}, 1, 0},
    {LINE "Host|||X| \t y||||", {17, 22, 24, 29}, 2, 0},
    {LINE "Host| a|X| y||body", {17, 23, 25, 28}, 2, 0},
    {LINE "Host| a||X| y|||| body", {17, 23, 26, 29}, 2, 0},
    /* Folded lines: the name was moved, or what was added to it lies where its value was. */
    {LINE "Host| a||X|| y||||        Xy", {17, 23, 41, 28}, 2, 400},
    {LINE "Xost| a||  y||||          Xosty|a", {43, 23}, 1, 400},
    {LINE "Hosty||a|| y||||", {17, 24}, 1, 400},
    {LINE "Hosty|a|| y||||", {17, 23}, 1, 400},
    {LINE "Host| a|| b||X| y||||", {17, 23, 30, 33}, 2, 400},
    {LINE "Host| a|b||X| y||||", {17, 23, 28, 31}, 2, 400},
    {LINE "Host| a|b||||", {17, 23}, 1, 400},
    {LINE "| x||Host| a||||", {22, 28}, 1, 400},
    {LINE "Host| a||| x||", {17, 23}, 1, 400},
    {LINE "| x||", {0}, 0, 400},
    {"GET /x|y HTTP/1.1||Host| a||||", {19, 25}, 1, 400},
};

START_TEST(layout_tells_what_the_daemon_hides)
{
    size_t version = (size_t)(strstr(layouts[_i].head, "HTTP") - layouts[_i].head);
    judgement j = judge_laid(layouts[_i].head, 6, version, layouts[_i].at, layouts[_i].n);
    ck_assert_int_eq(j.status, layouts[_i].status);
    ck_assert_int_eq(j.reason != NULL, j.status != 0);
}
END_TEST

#define COUNT(array) (int)(sizeof(array) / sizeof(array[0]))

static Suite *judge_suite(void)
{
    Suite *s = suite_create("judge");
    TCase *tc = tcase_create("judge");
    tcase_add_loop_test(tc, good_head_is_accepted, 0, COUNT(good));
    tcase_add_loop_test(tc, bad_head_is_refused_with_a_reason, 0, COUNT(bad));
    tcase_add_test(tc, nul_inside_a_name_or_value_is_refused);
    tcase_add_test(tc, content_length_is_read);
    tcase_add_test(tc, chunked_body_is_seen);
    tcase_add_test(tc, head_without_a_body_has_neither);
    tcase_add_test(tc, http_1_0_needs_no_host);
    tcase_add_test(tc, http_1_0_has_no_chunked_body);
    tcase_add_loop_test(tc, other_versions_are_505, 0, COUNT(versions));
    tcase_add_test(tc, head_at_its_limits_is_accepted);
    tcase_add_test(tc, head_beyond_one_limit_is_refused_with_a_reason);
    tcase_add_test(tc, limit_of_0_is_none);
    tcase_add_test(tc, target_without_blanks_is_accepted);
    tcase_add_loop_test(tc, blank_or_control_character_in_a_target_is_refused, 0, COUNT(bad_targets));
    tcase_add_loop_test(tc, layout_tells_what_the_daemon_hides, 0, COUNT(layouts));
    suite_add_tcase(s, tc);
    return s;
}

int main(void)
{
    SRunner *sr = srunner_create(judge_suite());
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
