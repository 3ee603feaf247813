#include "queue/civil.h"

#include <check.h>
#include <stdlib.h>
#include <time.h>

/* The C library's calendar, over more than four of its cycles and before its beginning. */
START_TEST(days_are_as_the_c_library_counts_them)
{
    for (int64_t day = -400000; day < 400000; day++) {
        time_t second = (time_t)day * DAY_SECONDS;
        struct tm tm;
        gmtime_r(&second, &tm);
        civil_date date = civil_from_days(day);
        bool same = date.year == tm.tm_year + 1900 && date.month == tm.tm_mon + 1 && date.day == tm.tm_mday;
        if (!same || civil_to_days(date) != day || civil_weekday(day) != tm.tm_wday)
            ck_abort_msg("day %ld is %ld-%d-%d", (long)day, (long)date.year, date.month, date.day);
    }
}
END_TEST

START_TEST(months_end_where_the_next_one_begins)
{
    for (int64_t year = -800; year < 3000; year++) {
        for (int month = 1; month < 12; month++) {
            int64_t first = civil_to_days((civil_date){year, month, 1});
            int64_t next = civil_to_days((civil_date){year, month + 1, 1});
            if (next - first != civil_month_days(year, month))
                ck_abort_msg("%ld-%d has %d days", (long)year, month, civil_month_days(year, month));
        }
        ck_assert_int_eq(civil_month_days(year, 2), civil_is_leap(year) ? 29 : 28);
    }
}
END_TEST

START_TEST(far_years_come_back)
{
    for (int64_t year = -1000000000; year < 1000000000; year += 9999991) {
        civil_date date = civil_from_days(civil_to_days((civil_date){year, 2, 28}));
        ck_assert(date.year == year && date.month == 2 && date.day == 28);
    }
}
END_TEST

START_TEST(quotients_are_rounded_down)
{
    ck_assert_int_eq(floor_div(7, 3), 2);
    ck_assert_int_eq(floor_div(-7, 3), -3);
    ck_assert_int_eq(floor_div(-6, 3), -2);
    ck_assert_int_eq(floor_div(INT64_MIN, 1), INT64_MIN);
}
END_TEST

static Suite *civil_suite(void)
{
    Suite *s = suite_create("civil");
    TCase *tc = tcase_create("civil");
    tcase_add_test(tc, days_are_as_the_c_library_counts_them);
    tcase_add_test(tc, months_end_where_the_next_one_begins);
    tcase_add_test(tc, far_years_come_back);
    tcase_add_test(tc, quotients_are_rounded_down);
    suite_add_tcase(s, tc);
    return s;
}

int main(void)
{
    SRunner *sr = srunner_create(civil_suite());
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
