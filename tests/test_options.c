#include "api/options.h"

#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/nearest.h"

static ps_options opt;
static ps_error err;

static void setup(void)
{
    ps_options_init(&opt);
    err = (ps_error){0};
    clearenv();
}

static void sets(const char *name, const char *value)
{
    ck_assert_msg(ps_option_set(&opt, name, value, &err) == 0, "%s", err.message);
}

static void refuses(const char *name, const char *value, const char *message)
{
    ps_options before = opt;
    ck_assert_int_eq(ps_option_set(&opt, name, value, &err), PS_EINVAL);
    ck_assert_int_eq(err.code, PS_EINVAL);
    ck_assert_str_eq(err.message, message);
    ck_assert_mem_eq(&before, &opt, sizeof opt);
}

/* --- the list --- */

START_TEST(defaults_are_those_of_the_list)
{
    ck_assert_uint_eq(opt.size, sizeof opt);
    ck_assert_str_eq(opt.host, "127.0.0.1");
    ck_assert_int_eq(opt.port, 8080);
    ck_assert_ptr_null(opt.unix_path);
    ck_assert_uint_eq(opt.max_body, 1048576);
    ck_assert_double_eq(opt.grace, 10);
    ck_assert_str_eq(opt.lane, "auto");
    ck_assert_int_eq(opt.dev, 0);
    ck_assert_uint_eq(opt.given, 0);
}
END_TEST

START_TEST(defaults_are_within_their_limits)
{
    ck_assert_msg(options_check(&opt, &err) == 0, "%s", err.message);
}
END_TEST

/* Setting each option to its preset's text must leave the options as they were. */
START_TEST(presets_of_the_list_read_back_as_the_defaults)
{
    size_t n = 0;
    const ps_option_info *list = ps_option_list(&n);
    ps_options same = opt;
    for (size_t i = 0; i < n; i++) {
        if (list[i].preset)
            sets(list[i].flag, list[i].preset);
    }
    same.given = opt.given;
    ck_assert_int_eq(opt.port, same.port);
    ck_assert_uint_eq(opt.header_room, same.header_room);
    ck_assert_double_eq(opt.idle_timeout, same.idle_timeout);
    ck_assert_int_eq(opt.request_id, same.request_id);
    ck_assert_str_eq(opt.log_format, same.log_format);
}
END_TEST

START_TEST(every_option_has_help_and_only_switches_have_no_argument)
{
    size_t n = 0;
    const ps_option_info *list = ps_option_list(&n);
    ck_assert_uint_gt(n, 0);
    for (size_t i = 0; i < n; i++) {
        ck_assert_ptr_nonnull(list[i].help);
        ck_assert_int_eq(list[i].argument == NULL, list[i].kind == PS_BOOL);
    }
}
END_TEST

/* --- setting --- */

START_TEST(option_is_set_by_flag_or_by_field)
{
    sets("max-body", "2m");
    ck_assert_uint_eq(opt.max_body, 2 << 20);
    sets("max_body", "3");
    ck_assert_uint_eq(opt.max_body, 3);
    sets("unix", "/tmp/a");
    sets("unix_path", "/tmp/b");
    ck_assert_str_eq(opt.unix_path, "/tmp/b");
}
END_TEST

START_TEST(set_option_is_marked_as_given_and_no_other)
{
    sets("host", "::");
    ck_assert_uint_eq(opt.given, 1);
    sets("unix", "/tmp/a");
    ck_assert_uint_eq(opt.given, 5);
}
END_TEST

START_TEST(sizes_take_a_unit_in_either_case)
{
    sets("max-body", "64k");
    ck_assert_uint_eq(opt.max_body, 65536);
    sets("max-body", "64K");
    ck_assert_uint_eq(opt.max_body, 65536);
    sets("max-body", "1g");
    ck_assert_uint_eq(opt.max_body, UINT64_C(1) << 30);
    sets("max-body", "0");
    ck_assert_uint_eq(opt.max_body, 0);
}
END_TEST

START_TEST(seconds_take_a_fraction)
{
    sets("grace", "0.1");
    ck_assert_double_eq(opt.grace, 0.1);
    sets("grace", "12.25");
    ck_assert_double_eq(opt.grace, 12.25);
    sets("grace", "1.050");
    ck_assert_double_eq(opt.grace, 1.05);
}
END_TEST

START_TEST(switches_take_the_usual_words)
{
    static const char *const on[] = {"on", "yes", "true", "1", "On", "TRUE"};
    static const char *const off[] = {"off", "no", "false", "0", "Off", "FALSE"};
    for (size_t i = 0; i < sizeof on / sizeof *on; i++) {
        sets("dev", on[i]);
        ck_assert_int_eq(opt.dev, 1);
        sets("dev", off[i]);
        ck_assert_int_eq(opt.dev, 0);
    }
}
END_TEST

START_TEST(limits_themselves_are_good)
{
    sets("port", "0");
    sets("port", "65535");
    sets("threads", "1024");
    sets("header-room", "4096");
    sets("header-room", "16m");
    sets("handler-timeout", "0");
    sets("admin", ":0");
    sets("admin", "[::1]:65535");
}
END_TEST

/* --- refusing --- */

static const struct {
    const char *name, *value, *message;
} bad[] = {
    {"port", "65536", "--port 65536: expected a whole number from 0 to 65535"},
    {"port", "-1", "--port -1: expected a whole number from 0 to 65535"},
    {"port", "", "--port : expected a whole number from 0 to 65535"},
    {"port", " 80", "--port  80: expected a whole number from 0 to 65535"},
    {"port", "80x", "--port 80x: expected a whole number from 0 to 65535"},
    {"port", "0x50", "--port 0x50: expected a whole number from 0 to 65535"},
    {"port", "1e3", "--port 1e3: expected a whole number from 0 to 65535"},
    {"port", "4294967376", "--port 4294967376: expected a whole number from 0 to 65535"},
    {"port", "99999999999999999999999",
     "--port 99999999999999999999999: expected a whole number from 0 to 65535"},
    {"port", NULL, "--port without a value: expected a whole number from 0 to 65535"},
    {"threads", "1025", "--threads 1025: expected a whole number from 0 to 1024"},
    {"heavy_threads", "-2", "--heavy-threads -2: expected a whole number from 0 to 1024"},
    {"max-connections", "0", "--max-connections 0: expected a whole number from 1 to 1000000"},
    {"header-room", "4095",
     "--header-room 4095: expected bytes from 4096 to 16777216, such as 65536, 64k or 1m"},
    {"header-room", "4kb",
     "--header-room 4kb: expected bytes from 4096 to 16777216, such as 65536, 64k or 1m"},
    {"header-room", "k", "--header-room k: expected bytes from 4096 to 16777216, such as 65536, 64k or 1m"},
    {"max-body", "17179869185g", /* 64 bits would make 1g of it */
     "--max-body 17179869185g: expected bytes from 0 to 1099511627776, such as 65536, 64k or 1m"},
    {"grace", "-1", "--grace -1: expected seconds from 0 to 86400, such as 30 or 0.5"},
    {"grace", "nan", "--grace nan: expected seconds from 0 to 86400, such as 30 or 0.5"},
    {"grace", "1,5", "--grace 1,5: expected seconds from 0 to 86400, such as 30 or 0.5"},
    {"grace", "1.", "--grace 1.: expected seconds from 0 to 86400, such as 30 or 0.5"},
    {"grace", "10s", "--grace 10s: expected seconds from 0 to 86400, such as 30 or 0.5"},
    {"dev", "maybe", "--dev maybe: expected on or off"},
    {"lane", "fast", "--lane fast: expected auto, light or heavy"},
    {"lane", "", "--lane : expected auto, light or heavy"},
    {"lane", "aut", "--lane aut: expected auto, light or heavy"},
    {"lane", "auto|light", "--lane auto|light: expected auto, light or heavy"},
    {"log-level", "trace", "--log-level trace: expected error, warn, info or debug"},
    {"host", "", "--host : expected ADDRESS of 1 to 255 bytes"},
    {"admin", "9000", "--admin 9000: expected HOST:PORT, such as 127.0.0.1:9000"},
    {"admin", "localhost:", "--admin localhost:: expected HOST:PORT, such as 127.0.0.1:9000"},
    {"admin", "[::1]:65536", "--admin [::1]:65536: expected HOST:PORT, such as 127.0.0.1:9000"},
    {"admin", ":80x", "--admin :80x: expected HOST:PORT, such as 127.0.0.1:9000"},
};

START_TEST(bad_value_is_refused_with_what_would_be_good)
{
    refuses(bad[_i].name, bad[_i].value, bad[_i].message);
}
END_TEST

START_TEST(path_too_long_for_a_socket_is_refused)
{
    char path[109];
    memset(path, 'x', sizeof path);
    path[108] = '\0';
    ck_assert_int_eq(ps_option_set(&opt, "unix", path, &err), PS_EINVAL);
    path[107] = '\0';
    sets("unix", path);
}
END_TEST

START_TEST(unknown_option_suggests_the_nearest)
{
    refuses("prot", "1", "unknown option --prot; did you mean --port?");
    refuses("thread", "1", "unknown option --thread; did you mean --threads?");
    refuses("max_bodi", "1", "unknown option --max_bodi; did you mean --max-body?");
    refuses("colour", "1", "unknown option --colour");
    refuses("", "1", "unknown option --");
}
END_TEST

START_TEST(huge_names_and_values_are_cut_in_messages)
{
    static char huge[100000];
    memset(huge, 'y', sizeof huge - 1);
    ck_assert_int_eq(ps_option_set(&opt, huge, "1", &err), PS_EINVAL);
    ck_assert_int_eq(ps_option_set(&opt, "port", huge, &err), PS_EINVAL);
    ck_assert_ptr_nonnull(strstr(err.message, "whole number"));
}
END_TEST

START_TEST(error_may_be_null)
{
    ck_assert_int_eq(ps_option_set(&opt, "port", "x", NULL), PS_EINVAL);
}
END_TEST

/* --- the environment --- */

START_TEST(environment_sets_and_marks)
{
    setenv("POOLSRV_MAX_BODY", "5k", 1);
    setenv("POOLSRV_UNIX", "/tmp/sock", 1);
    setenv("POOLSRV_DEV", "1", 1);
    ck_assert_int_eq(ps_options_from_environment(&opt, &err), 0);
    ck_assert_uint_eq(opt.max_body, 5120);
    ck_assert_str_eq(opt.unix_path, "/tmp/sock");
    ck_assert_int_eq(opt.dev, 1);
    ck_assert_uint_ne(opt.given, 0);
}
END_TEST

START_TEST(environment_yields_to_what_was_given)
{
    sets("port", "1");
    setenv("POOLSRV_PORT", "2", 1);
    ck_assert_int_eq(ps_options_from_environment(&opt, &err), 0);
    ck_assert_int_eq(opt.port, 1);
}
END_TEST

START_TEST(empty_variable_is_one_that_is_not_set)
{
    setenv("POOLSRV_PORT", "", 1);
    ck_assert_int_eq(ps_options_from_environment(&opt, &err), 0);
    ck_assert_int_eq(opt.port, 8080);
    ck_assert_uint_eq(opt.given, 0);
}
END_TEST

START_TEST(bad_variable_is_named)
{
    setenv("POOLSRV_PORT", "http", 1);
    ck_assert_int_eq(ps_options_from_environment(&opt, &err), PS_EINVAL);
    ck_assert_str_eq(err.message, "POOLSRV_PORT=http: expected a whole number from 0 to 65535");
}
END_TEST

/* --- a struct filled in by hand --- */

START_TEST(check_names_the_bad_field)
{
    opt.threads = -1;
    ck_assert_int_eq(options_check(&opt, &err), PS_EINVAL);
    ck_assert_str_eq(err.message, "threads = -1: expected a whole number from 0 to 1024");
    opt.threads = 0;
    opt.grace = NAN;
    ck_assert_int_eq(options_check(&opt, &err), PS_EINVAL);
    opt.grace = 1;
    opt.lane = NULL;
    ck_assert_int_eq(options_check(&opt, &err), PS_EINVAL);
    ck_assert_str_eq(err.message, "lane = NULL: expected auto, light or heavy");
    opt.lane = "light";
    opt.dev = 2;
    ck_assert_int_eq(options_check(&opt, &err), PS_EINVAL);
}
END_TEST

START_TEST(check_refuses_a_struct_that_was_not_initialised)
{
    opt.size = 0;
    ck_assert_int_eq(options_check(&opt, &err), PS_EINVAL);
    ck_assert_ptr_nonnull(strstr(err.message, "ps_options_init"));
}
END_TEST

/* --- a server's own --- */

START_TEST(copy_outlives_the_texts_it_was_made_of)
{
    char host[] = "::1";
    sets("host", host);
    ps_options own;
    ck_assert_int_eq(options_copy(&opt, &own, &err), 0);
    memset(host, 'x', sizeof host - 1);
    ck_assert_str_eq(own.host, "::1");
    ck_assert_ptr_null(own.unix_path);
    options_fini(&own);
    ck_assert_ptr_null(own.host);
}
END_TEST

START_TEST(copy_of_bad_options_leaves_the_result_alone)
{
    ps_options own = {.port = 77};
    opt.port = -1;
    ck_assert_int_eq(options_copy(&opt, &own, &err), PS_EINVAL);
    ck_assert_int_eq(own.port, 77);
    options_fini(&own);
}
END_TEST

START_TEST(config_changes_what_was_not_given)
{
    sets("port", "1");
    ps_options own;
    ck_assert_int_eq(options_copy(&opt, &own, &err), 0);
    ck_assert_int_eq(options_config(&own, "port", "2", &err), 0);
    ck_assert_int_eq(options_config(&own, "threads", "3", &err), 0);
    ck_assert_int_eq(options_config(&own, "lane", "heavy", &err), 0);
    ck_assert_int_eq(options_config(&own, "lane", "light", &err), 0);
    ck_assert_int_eq(options_config(&own, "dev", "true", &err), 0);
    ck_assert_int_eq(own.port, 1);
    ck_assert_int_eq(own.threads, 3);
    ck_assert_str_eq(own.lane, "light");
    ck_assert_int_eq(own.dev, 1);
    options_fini(&own);
}
END_TEST

START_TEST(config_names_bad_fields_and_values)
{
    ps_options own;
    ck_assert_int_eq(options_copy(&opt, &own, &err), 0);
    ck_assert_int_eq(options_config(&own, "prot", "2", &err), PS_EINVAL);
    ck_assert_str_eq(err.message, "no option is called prot; did you mean port?");
    ck_assert_int_eq(options_config(&own, "max_bodies", "2", &err), PS_EINVAL);
    ck_assert_str_eq(err.message, "no option is called max_bodies; did you mean max_body?");
    ck_assert_int_eq(options_config(&own, "colour", "2", &err), PS_EINVAL);
    ck_assert_str_eq(err.message, "no option is called colour");
    ck_assert_int_eq(options_config(&own, "port", "http", &err), PS_EINVAL);
    ck_assert_str_eq(err.message, "port = http: expected a whole number from 0 to 65535");
    ck_assert_int_eq(options_config(&own, "admin", "http", &err), PS_EINVAL);
    ck_assert_str_eq(err.message, "admin = http: expected HOST:PORT, such as 127.0.0.1:9000");
    ck_assert_int_eq(options_config(&own, "host", NULL, &err), PS_EINVAL);
    ck_assert_str_eq(err.message, "host: expected ADDRESS of 1 to 255 bytes");
    options_fini(&own);
}
END_TEST

START_TEST(config_refuses_a_bad_value_of_a_given_option_too)
{
    sets("port", "1");
    ps_options own;
    ck_assert_int_eq(options_copy(&opt, &own, &err), 0);
    ck_assert_int_eq(options_config(&own, "port", "http", &err), PS_EINVAL);
    options_fini(&own);
}
END_TEST

START_TEST(dev_logs_requests_unless_told_not_to)
{
    ck_assert(!options_access_log(&opt));
    sets("dev", "on");
    ck_assert(options_access_log(&opt));
    sets("access-log", "off");
    ck_assert(!options_access_log(&opt));
    sets("access-log", "on");
    sets("dev", "off");
    ck_assert(options_access_log(&opt));
}
END_TEST

/* --- words --- */

START_TEST(distance_counts_slips)
{
    ck_assert_uint_eq(nearest_distance("port", "port"), 0);
    ck_assert_uint_eq(nearest_distance("port", "prot"), 1);
    ck_assert_uint_eq(nearest_distance("port", "por"), 1);
    ck_assert_uint_eq(nearest_distance("port", "sport"), 1);
    ck_assert_uint_eq(nearest_distance("port", "part"), 1);
    ck_assert_uint_eq(nearest_distance("", "abc"), 3);
    ck_assert_uint_eq(nearest_distance("abc", ""), 3);
    ck_assert_uint_eq(nearest_distance("kitten", "sitting"), 3);
}
END_TEST

START_TEST(every_code_has_a_text)
{
#define X(name, value, text) ck_assert_str_eq(ps_strerror(name), text);
    PS_ERROR_MAP(X)
#undef X
    ck_assert_str_eq(ps_strerror(0), "no error");
    ck_assert_str_eq(ps_strerror(-12345), "unknown error");
    ck_assert_str_eq(ps_strerror(1), "unknown error");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("options");
    TCase *tests = tcase_create("options");
    tcase_add_checked_fixture(tests, setup, NULL);
    tcase_add_test(tests, defaults_are_those_of_the_list);
    tcase_add_test(tests, defaults_are_within_their_limits);
    tcase_add_test(tests, presets_of_the_list_read_back_as_the_defaults);
    tcase_add_test(tests, every_option_has_help_and_only_switches_have_no_argument);
    tcase_add_test(tests, option_is_set_by_flag_or_by_field);
    tcase_add_test(tests, set_option_is_marked_as_given_and_no_other);
    tcase_add_test(tests, sizes_take_a_unit_in_either_case);
    tcase_add_test(tests, seconds_take_a_fraction);
    tcase_add_test(tests, switches_take_the_usual_words);
    tcase_add_test(tests, limits_themselves_are_good);
    tcase_add_loop_test(tests, bad_value_is_refused_with_what_would_be_good, 0,
                        (int)(sizeof bad / sizeof *bad));
    tcase_add_test(tests, path_too_long_for_a_socket_is_refused);
    tcase_add_test(tests, unknown_option_suggests_the_nearest);
    tcase_add_test(tests, huge_names_and_values_are_cut_in_messages);
    tcase_add_test(tests, error_may_be_null);
    tcase_add_test(tests, environment_sets_and_marks);
    tcase_add_test(tests, environment_yields_to_what_was_given);
    tcase_add_test(tests, empty_variable_is_one_that_is_not_set);
    tcase_add_test(tests, bad_variable_is_named);
    tcase_add_test(tests, check_names_the_bad_field);
    tcase_add_test(tests, check_refuses_a_struct_that_was_not_initialised);
    tcase_add_test(tests, copy_outlives_the_texts_it_was_made_of);
    tcase_add_test(tests, copy_of_bad_options_leaves_the_result_alone);
    tcase_add_test(tests, config_changes_what_was_not_given);
    tcase_add_test(tests, config_names_bad_fields_and_values);
    tcase_add_test(tests, config_refuses_a_bad_value_of_a_given_option_too);
    tcase_add_test(tests, dev_logs_requests_unless_told_not_to);
    tcase_add_test(tests, distance_counts_slips);
    tcase_add_test(tests, every_code_has_a_text);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
