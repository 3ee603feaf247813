#include "runtime/forwarded.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

enum { HEADERS_MAX = 8 };

/* What comes of a head written as "Name: value\n" lines, with proxies at 10.0.0.0/8: "client scheme host". */
static const char *read_head(const char *head)
{
    static char out[400];
    char client[ADDRESS_TEXT_BYTES] = "-";
    str_pair headers[HEADERS_MAX];
    uint32_t n = 0;
    trust t;
    ck_assert_int_eq(trust_parse(STR("10.0.0.0/8,unix"), &t), 0);
    while (*head) {
        const char *end = strchr(head, '\n'), *colon = strstr(head, ": ");
        ck_assert(end && colon && colon < end && n < HEADERS_MAX);
        headers[n++] = (str_pair){head, colon + 2, (uint32_t)(colon - head), (uint32_t)(end - colon - 2)};
        head = end + 1;
    }
    forwarded f = forwarded_read(&t, headers, n);
    if (f.unreadable)
        return f.has_client || f.scheme || f.host.p ? "both" : "400";
    if (f.has_client)
        address_format(&f.client, client);
    snprintf(out, sizeof(out), "%s %s %.*s", client, f.scheme ? f.scheme : "-", f.host.p ? (int)f.host.n : 1,
             f.host.p ? f.host.p : "-");
    return out;
}

#define F   "Forwarded: "
#define XFF "X-Forwarded-For: "
#define XFP "X-Forwarded-Proto: "
#define XFH "X-Forwarded-Host: "

static const struct {
    const char *head, *result;
} cases[] = {
    {"", "- - -"},
    {"Host: a\n", "- - -"},

    /* Forwarded */
    {F "for=1.2.3.4\n", "1.2.3.4 - -"},
    {"fORWARDED: For=1.2.3.4;PROTO=HTTPS;hOst=Example.org:8443\n", "1.2.3.4 https Example.org:8443"},
    {F "for=\"[2001:db8::1]:4711\";proto=http;by=203.0.113.43\n", "2001:db8::1 http -"},
    {F "for=\"1.2.3.4:80\"\n", "1.2.3.4 - -"},
    {F "for=\"[2001:db8::1]:_x\"\n", "2001:db8::1 - -"},
    {F "for=[2001:db8::1]\n", "2001:db8::1 - -"},
    {F "for=\"1.2.3.4:8o\"\n", "400"},
    {F "for=6.6.6.6;a=\"\\\"\", for=1.2.3.4;a=\"b\\\",c\"\n", "400"},
    {F "for=1.2.3.4 ; proto=https\n", "1.2.3.4 https -"},
    {F "for=1.2.3.4;secret=\"a,b;c=d\";proto=https\n", "1.2.3.4 https -"},

    /* The client is the first from the right that is no proxy. */
    {F "for=6.6.6.6;proto=https;host=evil, for=1.2.3.4;proto=http;host=good\n", "1.2.3.4 http good"},
    {F "for=6.6.6.6, for=1.2.3.4, for=10.0.0.2;proto=https;host=inner\n", "1.2.3.4 - -"},
    {F "for=6.6.6.6\n" F "for=1.2.3.4;proto=https\n" F "for=10.0.0.2\n", "1.2.3.4 https -"},
    {F "for=10.0.0.3;proto=https, for=10.0.0.2\n", "10.0.0.3 https -"},

    /* What the client wrote itself is not even parsed. */
    {F "for=\"\n" F "for=1.2.3.4\n", "1.2.3.4 - -"},
    {F "for=\", for=1.2.3.4\n", "1.2.3.4 - -"},
    {F "for=\"\\, for=1.2.3.4\n", "1.2.3.4 - -"},
    {F "\\\", for=\"1.2.3.4\"\n", "1.2.3.4 - -"},
    {F "for=\"6.6.6.6, for=\"[2001:db8::1]\"\n", "2001:db8::1 - -"},
    {F ",,;;==, for=1.2.3.4\n", "1.2.3.4 - -"},

    /* A proxy that does not tell: the last one known. */
    {F "for=unknown;proto=https\n", "- https -"},
    {F "for=_hidden;host=h\n", "- - h"},
    {F "for=\"_hidden:_port\"\n", "- - -"},
    {F "proto=https\n", "- https -"},
    {F "for=6.6.6.6, for=unknown, for=10.0.0.2\n", "10.0.0.2 - -"},
    {F "for=6.6.6.6, proto=https, for=10.0.0.2\n", "10.0.0.2 https -"},

    /* Malformed where it counts: refused. */
    {F "\n", "400"},
    {F "for\n", "400"},
    {F "for=\n", "400"},
    {F "=1.2.3.4\n", "400"},
    {F "for=1.2.3.4;\n", "400"},
    {F "for=1.2.3.4,\n", "400"},
    {F "for=1.2.3.4 proto=https\n", "400"},
    {F "for=1.2.3.4;for=5.6.7.8\n", "400"},
    {F "for=1.2.3.400\n", "400"},
    {F "for=2001:db8::1:x\n", "400"},
    {F "for=\"[1.2.3.4]\"\n", "400"},
    {F "for=\"[::1\"\n", "400"},
    {F "for=\"[::1]x\"\n", "400"},
    {F "for=\"1.2.3.4:\"\n", "400"},
    {F "for=\"1.2.3.4:123456\"\n", "400"},
    {F "for=\"1.2.3.4\n", "400"},
    {F "for=\"1.2\\.3.4\"\n", "400"},
    {F "for=1.2.3.4;proto=ftp\n", "400"},
    {F "for=1.2.3.4;host=\"a/b\"\n", "400"},
    {F "for=1.2.3.4;host=\"\"\n", "400"},
    {F "for=localhost\n", "400"},
    {F "for=bad, for=10.0.0.2\n", "400"},

    /* X-Forwarded-... */
    {XFF "1.2.3.4\n", "1.2.3.4 - -"},
    {XFF "6.6.6.6, 1.2.3.4\n", "1.2.3.4 - -"},
    {XFF "6.6.6.6,1.2.3.4 ,\t10.0.0.2\n", "1.2.3.4 - -"},
    {XFF "6.6.6.6\n" XFF "1.2.3.4\n", "1.2.3.4 - -"},
    {XFF "2001:db8::1\n", "2001:db8::1 - -"},
    {XFF "[2001:db8::1]:80\n", "2001:db8::1 - -"},
    {XFF "1.2.3.4:5678\n", "1.2.3.4 - -"},
    {XFF "::ffff:1.2.3.4\n", "1.2.3.4 - -"},
    {XFF "::ffff:10.0.0.2\n", "10.0.0.2 - -"},
    {XFF "garbage\", 1.2.3.4\n", "1.2.3.4 - -"},
    {XFF "1.2.3.4, unknown\n", "- - -"},
    {XFF "1.2.3.4, unknown, 10.0.0.2\n", "10.0.0.2 - -"},
    {XFF "10.0.0.3, 10.0.0.2\n", "10.0.0.3 - -"},
    {XFF "\n", "400"},
    {XFF "1.2.3.4,\n", "400"},
    {XFF "1.2.3.4, garbage\n", "400"},
    {XFF "1.2.3.4 5.6.7.8\n", "400"},
    {XFF "garbage, 10.0.0.2\n", "400"},
    {XFP "https\n", "- https -"},
    {XFP "Https\n" XFH "h\n", "- https h"},
    {XFF "1.2.3.4\n" XFP "https\n" XFH "h:1\n", "1.2.3.4 https h:1"},
    {XFF "1.2.3.4\n" XFP "http, https\n", "1.2.3.4 https -"},
    {XFF "1.2.3.4, 10.0.0.2\n" XFP "http, https, http\n", "1.2.3.4 https -"},
    {XFF "1.2.3.4, 10.0.0.2\n" XFP "https\n", "1.2.3.4 https -"},
    {XFF "1.2.3.4\n" XFH "evil, good\n", "1.2.3.4 - good"},
    {XFF "1.2.3.4\n" XFP "gopher\n", "400"},
    {XFF "1.2.3.4\n" XFP "\n", "400"},
    {XFF "1.2.3.4\n" XFH "a b\n", "400"},

    /* Both kinds: one of them may be the client's. */
    {F "for=1.2.3.4\n" XFF "6.6.6.6, 1.2.3.4\n", "1.2.3.4 - -"},
    {F "for=6.6.6.6\n" XFF "1.2.3.4\n", "400"},
    {F "for=1.2.3.4\n" XFF "garbage\n", "400"},
    {F "garbage\n" XFF "1.2.3.4\n", "400"},
    {F "for=1.2.3.4\n" XFP "https\n", "400"},
    {F "for=1.2.3.4;proto=https;host=h\n" XFF "1.2.3.4\n" XFP "https\n" XFH "H\n", "1.2.3.4 https h"},
    {F "for=1.2.3.4;proto=https;host=h\n" XFF "1.2.3.4\n" XFP "http\n" XFH "i\n", "1.2.3.4 - -"},
    {F "for=1.2.3.4;proto=https;host=h\n" XFF "1.2.3.4\n", "1.2.3.4 - -"},
};

START_TEST(a_head_tells_what_it_should)
{
    ck_assert_msg(strcmp(read_head(cases[_i].head), cases[_i].result) == 0, "%s gives %s, not %s",
                  cases[_i].head, read_head(cases[_i].head), cases[_i].result);
}
END_TEST

START_TEST(a_host_that_is_too_long_is_none)
{
    char head[400];
    for (int n = 255; n <= 256; n++) {
        int at = snprintf(head, sizeof(head), XFH "%*s\n", n, "");
        memset(head + at - 1 - n, 'h', (size_t)n);
        ck_assert_int_eq(strstr(read_head(head), "hhh") != NULL, n == 255);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("forwarded");
    TCase *tests = tcase_create("forwarded");
    tcase_add_loop_test(tests, a_head_tells_what_it_should, 0, (int)(sizeof cases / sizeof cases[0]));
    tcase_add_test(tests, a_host_that_is_too_long_is_none);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
