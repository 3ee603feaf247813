#include "runtime/date.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    time_t second;
    const char *text;
} known[] = {
    {0, "Thu, 01 Jan 1970 00:00:00 GMT"},
    {784111777, "Sun, 06 Nov 1994 08:49:37 GMT"}, /* RFC 9110's own */
    {951782400, "Tue, 29 Feb 2000 00:00:00 GMT"},
    {1709164800, "Thu, 29 Feb 2024 00:00:00 GMT"},
    {2147483647, "Tue, 19 Jan 2038 03:14:07 GMT"},
    {2147483648, "Tue, 19 Jan 2038 03:14:08 GMT"},
    {4102444799, "Thu, 31 Dec 2099 23:59:59 GMT"},
};

START_TEST(known_seconds_have_their_text)
{
    char text[DATE_BYTES];
    date_format(known[_i].second, text);
    ck_assert_str_eq(text, known[_i].text);
}
END_TEST

START_TEST(every_month_and_day_of_the_week_is_named)
{
    static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                         "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    static const char *const days[] = {"Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"};
    char text[DATE_BYTES];
    for (int day = 0; day < 365; day++) {
        date_format((time_t)day * 86400, text);
        ck_assert_int_eq(strncmp(text, days[day % 7], 3), 0);
        struct tm tm;
        time_t second = (time_t)day * 86400;
        gmtime_r(&second, &tm);
        ck_assert_int_eq(strncmp(text + 8, months[tm.tm_mon], 3), 0);
    }
}
END_TEST

START_TEST(text_does_not_follow_the_time_zone)
{
    char text[DATE_BYTES];
    setenv("TZ", "Asia/Tokyo", 1);
    tzset();
    date_format(784111777, text);
    ck_assert_str_eq(text, "Sun, 06 Nov 1994 08:49:37 GMT");
}
END_TEST

/* The second may end between two readings of the clock, hence from and to. */
START_TEST(now_is_the_text_of_the_present_second)
{
    date_cache c = {0};
    char first[DATE_BYTES], last[DATE_BYTES];
    struct timespec t;
    const char *now;
    time_t from;
    do {
        clock_gettime(CLOCK_REALTIME_COARSE, &t);
        from = t.tv_sec;
        now = date_now(&c);
        clock_gettime(CLOCK_REALTIME_COARSE, &t);
    } while (t.tv_sec != from);
    date_format(from, first);
    ck_assert_str_eq(now, first);
    date_format(c.second, last);
    ck_assert_str_eq(last, first);
}
END_TEST

START_TEST(text_is_made_anew_only_when_the_second_changes)
{
    date_cache c = {0};
    date_now(&c);
    c.text[0] = '?';
    time_t second = c.second;
    const char *again = date_now(&c);
    if (c.second == second)
        ck_assert_int_eq(again[0], '?');
    else
        ck_assert_int_ne(again[0], '?');
    c.second = 1; /* a cache of long ago */
    ck_assert_int_ne(date_now(&c)[0], '?');
}
END_TEST

static Suite *date_suite(void)
{
    Suite *s = suite_create("date");
    TCase *tc = tcase_create("date");
    tcase_add_loop_test(tc, known_seconds_have_their_text, 0, sizeof(known) / sizeof(known[0]));
    tcase_add_test(tc, every_month_and_day_of_the_week_is_named);
    tcase_add_test(tc, text_does_not_follow_the_time_zone);
    tcase_add_test(tc, now_is_the_text_of_the_present_second);
    tcase_add_test(tc, text_is_made_anew_only_when_the_second_changes);
    suite_add_tcase(s, tc);
    return s;
}

int main(void)
{
    SRunner *sr = srunner_create(date_suite());
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
