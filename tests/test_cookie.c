#include "vm/cookie.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* All cookies as "[name][value]". */
static const char *listed(str header)
{
    static char text[256];
    cookie_iter it = cookie_start(header);
    str name, value;
    size_t n = 0;
    text[0] = '\0';
    while (cookie_next(&it, &name, &value)) {
        ck_assert_uint_lt(n + name.n + value.n + 5, sizeof text);
        n += (size_t)snprintf(text + n, sizeof text - n, "[%.*s][%.*s]", (int)name.n, name.p, (int)value.n,
                              value.p);
    }
    return text;
}

START_TEST(cookies_come_in_their_order)
{
    ck_assert_str_eq(listed(STR("a=1; b=2; a=3")), "[a][1][b][2][a][3]");
}
END_TEST

START_TEST(empty_header_has_no_cookies)
{
    ck_assert_str_eq(listed(STR("")), "");
    ck_assert_str_eq(listed((str){0}), "");
    ck_assert_str_eq(listed(STR(";; ;\t")), "");
}
END_TEST

START_TEST(blanks_are_trimmed_and_not_needed)
{
    ck_assert_str_eq(listed(STR("  a \t=\t 1 ;b=2;\tc = x y ")), "[a][1][b][2][c][x y]");
}
END_TEST

START_TEST(value_keeps_equals_signs_and_odd_bytes)
{
    ck_assert_str_eq(listed(STR("t=abc==; u=\xc3\xa9%20,\\")), "[t][abc==][u][\xc3\xa9%20,\\]");
}
END_TEST

START_TEST(value_may_be_empty)
{
    ck_assert_str_eq(listed(STR("a=; b= ;c=\"\"")), "[a][][b][][c][]");
}
END_TEST

START_TEST(cookie_without_name_or_equals_sign_is_skipped)
{
    ck_assert_str_eq(listed(STR("flag; =x; a=1; =")), "[a][1]");
}
END_TEST

START_TEST(quotes_round_a_value_are_taken_off)
{
    ck_assert_str_eq(listed(STR("a=\"x y\"; b= \"z\" ")), "[a][x y][b][z]");
}
END_TEST

START_TEST(quotes_that_do_not_pair_stay)
{
    ck_assert_str_eq(listed(STR("a=\"; b=\"x; c=x\"; d=x\"y\"")), "[a][\"][b][\"x][c][x\"][d][x\"y\"]");
}
END_TEST

START_TEST(quotes_do_not_protect_a_semicolon)
{
    ck_assert_str_eq(listed(STR("a=\"x;y=z\"")), "[a][\"x][y][z\"]");
}
END_TEST

/* What is written with these options, or the reason why not. */
static const char *formatted(str name, str value, const cookie_options *opts)
{
    static char text[8192];
    buf out = {0};
    const char *why = NULL;
    int err = cookie_format(&out, name, value, opts, &why);
    if (err == 0) {
        ck_assert_uint_lt(out.n, sizeof text);
        memcpy(text, out.p, out.n);
        text[out.n] = '\0';
        ck_assert_ptr_null(why);
    } else {
        ck_assert_int_eq(err, -EINVAL);
        ck_assert_uint_eq(out.n, 0);
        ck_assert_ptr_nonnull(why);
        snprintf(text, sizeof text, "%s", why);
    }
    buf_fini(&out);
    return text;
}

static void refused(const char *field, str name, str value, const cookie_options *opts)
{
    const char *text = formatted(name, value, opts);
    size_t n = strlen(field);
    ck_assert_msg(strncmp(text, field, n) == 0 && text[n] == ':', "%s: %s", field, text);
}

START_TEST(cookie_without_options_is_a_pair)
{
    ck_assert_str_eq(formatted(STR("a"), STR("1"), NULL), "a=1");
    ck_assert_str_eq(formatted(STR("a"), STR(""), &(cookie_options){0}), "a=");
    ck_assert_str_eq(formatted(STR("a"), (str){0}, NULL), "a=");
}
END_TEST

START_TEST(all_options_are_written)
{
    cookie_options opts = {.path = STR("/x"),
                           .domain = STR("example.org"),
                           .has_max_age = true,
                           .max_age_s = 3600,
                           .has_expires = true,
                           .expires = 784111777,
                           .secure = true,
                           .http_only = true,
                           .same_site = COOKIE_SAME_SITE_NONE,
                           .partitioned = true};
    ck_assert_str_eq(
        formatted(STR("sid"), STR("abc"), &opts),
        "sid=abc; Path=/x; Domain=example.org; Max-Age=3600; Expires=Sun, 06 Nov 1994 08:49:37 GMT; "
        "Secure; HttpOnly; SameSite=None; Partitioned");
}
END_TEST

START_TEST(same_site_has_its_three_spellings)
{
    cookie_options opts = {.same_site = COOKIE_SAME_SITE_LAX};
    ck_assert_str_eq(formatted(STR("a"), STR("b"), &opts), "a=b; SameSite=Lax");
    opts.same_site = COOKIE_SAME_SITE_STRICT;
    ck_assert_str_eq(formatted(STR("a"), STR("b"), &opts), "a=b; SameSite=Strict");
}
END_TEST

START_TEST(max_age_below_one_deletes_at_once)
{
    cookie_options opts = {.has_max_age = true};
    ck_assert_str_eq(formatted(STR("a"), STR(""), &opts), "a=; Max-Age=0");
    opts.max_age_s = -5;
    ck_assert_str_eq(formatted(STR("a"), STR(""), &opts), "a=; Max-Age=0");
    opts.max_age_s = INT64_MAX;
    ck_assert_str_eq(formatted(STR("a"), STR(""), &opts), "a=; Max-Age=9223372036854775807");
}
END_TEST

START_TEST(expires_agrees_with_the_c_library)
{
    int64_t times[600] = {0,         1,         86399,      86400,      951782399,
                          951782400, 951868800, 4107542399, 4107542400, 253402300799};
    uint64_t seed = 1;
    for (size_t i = 10; i < 600; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        times[i] = (int64_t)((seed >> 16) % 253402300800u);
    }
    for (size_t i = 0; i < 600; i++) {
        time_t t = (time_t)times[i];
        struct tm tm;
        char want[64];
        gmtime_r(&t, &tm);
        strftime(want, sizeof want, "a=b; Expires=%a, %d %b %Y %H:%M:%S GMT", &tm);
        cookie_options opts = {.has_expires = true, .expires = times[i]};
        ck_assert_str_eq(formatted(STR("a"), STR("b"), &opts), want);
    }
}
END_TEST

START_TEST(expires_out_of_range_is_refused)
{
    refused("expires", STR("a"), STR("b"), &(cookie_options){.has_expires = true, .expires = -1});
    refused("expires", STR("a"), STR("b"), &(cookie_options){.has_expires = true, .expires = 253402300800});
}
END_TEST

START_TEST(name_must_be_a_token)
{
    static const char bad[] = " \t()<>@,;:\\\"/[]?={}\x7f\x80\xff\r\n";
    refused("name", STR(""), STR("x"), NULL);
    for (size_t i = 0; i < sizeof bad; i++) { /* the closing NUL too */
        char name[3] = {'a', bad[i], 'b'};
        refused("name", (str){name, 3}, STR("x"), NULL);
    }
    ck_assert_str_eq(formatted(STR("!#$%&'*+-.^_`|~09azAZ"), STR(""), NULL), "!#$%&'*+-.^_`|~09azAZ=");
}
END_TEST

START_TEST(value_must_be_cookie_octets)
{
    for (int c = 0; c < 256; c++) {
        char value[3] = {'a', (char)c, 'b'};
        bool good = c > ' ' && c < 0x7f && !strchr("\",;\\", c);
        if (good)
            ck_assert_int_eq(formatted(STR("n"), (str){value, 3}, NULL)[3], c);
        else
            refused("value", STR("n"), (str){value, 3}, NULL);
    }
}
END_TEST

START_TEST(path_and_domain_cannot_smuggle_attributes)
{
    refused("path", STR("a"), STR("b"), &(cookie_options){.path = STR("/; HttpOnly")});
    refused("path", STR("a"), STR("b"), &(cookie_options){.path = STR("/\r\nX: y")});
    refused("path", STR("a"), STR("b"), &(cookie_options){.path = STR("/\0")});
    refused("path", STR("a"), STR("b"), &(cookie_options){.path = STR("x")});
    refused("domain", STR("a"), STR("b"), &(cookie_options){.domain = STR("x;y")});
    refused("domain", STR("a"), STR("b"), &(cookie_options){.domain = STR("x\n")});
}
END_TEST

START_TEST(what_browsers_drop_for_size_is_refused)
{
    char *text = malloc(5000);
    memset(text, '/', 5000);
    refused("value", STR("a"), (str){text, 4096}, NULL);
    refused("path", STR("a"), STR("b"), &(cookie_options){.path = {text, 1025}});
    refused("domain", STR("a"), STR("b"), &(cookie_options){.domain = {text, 1025}});
    ck_assert_uint_eq(strlen(formatted(STR("a"), (str){text, 4095}, NULL)), 4097);
    free(text);
}
END_TEST

START_TEST(what_needs_secure_says_so)
{
    refused("same_site", STR("a"), STR("b"), &(cookie_options){.same_site = COOKIE_SAME_SITE_NONE});
    refused("partitioned", STR("a"), STR("b"), &(cookie_options){.partitioned = true});
}
END_TEST

START_TEST(prefixed_names_must_keep_their_promise)
{
    cookie_options opts = {.path = STR("/")};
    refused("name", STR("__Secure-a"), STR("b"), &opts);
    refused("name", STR("__host-a"), STR("b"), &opts);
    opts.secure = true;
    ck_assert_str_eq(formatted(STR("__Secure-a"), STR("b"), &opts), "__Secure-a=b; Path=/; Secure");
    ck_assert_str_eq(formatted(STR("__Host-a"), STR("b"), &opts), "__Host-a=b; Path=/; Secure");
    opts.domain = STR("example.org");
    refused("name", STR("__Host-a"), STR("b"), &opts);
    opts.domain = (str){0};
    opts.path = STR("/x");
    refused("name", STR("__Host-a"), STR("b"), &opts);
}
END_TEST

START_TEST(cookie_is_appended_and_failure_leaves_the_buffer)
{
    buf out = {0};
    const char *why = NULL;
    ck_assert_int_eq(buf_add_str(&out, STR("x")), 0);
    ck_assert_int_eq(cookie_format(&out, STR("a"), STR("b"), NULL, &why), 0);
    ck_assert_int_eq(cookie_format(&out, STR("a"), STR("b c"), NULL, &why), -EINVAL);
    ck_assert(str_eq(buf_str(&out), STR("xa=b")));
    buf_fini(&out);
}
END_TEST

START_TEST(what_was_written_can_be_read)
{
    ck_assert_str_eq(listed(str_from(formatted(STR("sid"), STR("a=b/c+%20=="), NULL))), "[sid][a=b/c+%20==]");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("cookie");
    TCase *read = tcase_create("read");
    tcase_add_test(read, cookies_come_in_their_order);
    tcase_add_test(read, empty_header_has_no_cookies);
    tcase_add_test(read, blanks_are_trimmed_and_not_needed);
    tcase_add_test(read, value_keeps_equals_signs_and_odd_bytes);
    tcase_add_test(read, value_may_be_empty);
    tcase_add_test(read, cookie_without_name_or_equals_sign_is_skipped);
    tcase_add_test(read, quotes_round_a_value_are_taken_off);
    tcase_add_test(read, quotes_that_do_not_pair_stay);
    tcase_add_test(read, quotes_do_not_protect_a_semicolon);
    suite_add_tcase(suite, read);
    TCase *write = tcase_create("write");
    tcase_add_test(write, cookie_without_options_is_a_pair);
    tcase_add_test(write, all_options_are_written);
    tcase_add_test(write, same_site_has_its_three_spellings);
    tcase_add_test(write, max_age_below_one_deletes_at_once);
    tcase_add_test(write, expires_agrees_with_the_c_library);
    tcase_add_test(write, expires_out_of_range_is_refused);
    tcase_add_test(write, name_must_be_a_token);
    tcase_add_test(write, value_must_be_cookie_octets);
    tcase_add_test(write, path_and_domain_cannot_smuggle_attributes);
    tcase_add_test(write, what_browsers_drop_for_size_is_refused);
    tcase_add_test(write, what_needs_secure_says_so);
    tcase_add_test(write, prefixed_names_must_keep_their_promise);
    tcase_add_test(write, cookie_is_appended_and_failure_leaves_the_buffer);
    tcase_add_test(write, what_was_written_can_be_read);
    suite_add_tcase(suite, write);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
