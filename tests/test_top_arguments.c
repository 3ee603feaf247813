#include "api/program/top_arguments.h"

#include <stdio.h>

#include "tests/top_fixture.h"

enum { WORDS = 40 };

static top_arguments args;
static ps_error err;

static void set_up(void)
{
    unsetenv("POOLSRV_ADMIN");
    err = (ps_error){0};
}

/* Read a command line, whose words are parted by blanks. */
static int read_words(const char *line)
{
    char copy[512], *words[WORDS + 1] = {NULL};
    size_t n = 0;
    snprintf(copy, sizeof copy, "%s", line);
    for (char *rest = copy, *word; (word = strtok_r(rest, " ", &rest)) != NULL;)
        words[n++] = word;
    return top_arguments_read(&args, words, &err);
}

START_TEST(without_arguments_it_is_the_usual_address_each_second)
{
    ck_assert_int_eq(read_words(""), 0);
    ck_assert_str_eq(args.address, USUAL_ADDRESS);
    ck_assert_int_eq(args.interval_ms, 1000);
    ck_assert_int_eq(args.count, 0);
    ck_assert_int_eq(args.sort, TOP_BY_REQUESTS);
}
END_TEST

START_TEST(address_of_the_environment_goes_before_the_usual_one)
{
    setenv("POOLSRV_ADMIN", ":9100", 1);
    ck_assert_int_eq(read_words(""), 0);
    ck_assert_str_eq(args.address, "127.0.0.1:9100");
    ck_assert_int_eq(read_words("[::1]:9200"), 0);
    ck_assert_str_eq(args.address, "[::1]:9200");
    setenv("POOLSRV_ADMIN", "", 1);
    ck_assert_int_eq(read_words(""), 0);
    ck_assert_str_eq(args.address, USUAL_ADDRESS);
}
END_TEST

START_TEST(options_may_stand_before_and_behind_the_address)
{
    ck_assert_int_eq(read_words("--sort p99 host:1 -n 5 --interval=0.25"), 0);
    ck_assert_str_eq(args.address, "host:1");
    ck_assert_int_eq(args.sort, TOP_BY_P99);
    ck_assert_int_eq(args.count, 5);
    ck_assert_int_eq(args.interval_ms, 250);
    ck_assert_int_eq(read_words("--once"), 0);
    ck_assert_int_eq(args.count, 1);
}
END_TEST

START_TEST(every_order_has_its_word)
{
#define X(name, key, word, first)                                                                            \
    ck_assert_int_eq(read_words("--sort " word), 0);                                                         \
    ck_assert_int_eq(args.sort, name);
    TOP_SORT_MAP(X);
#undef X
}
END_TEST

static const struct {
    const char *line, *problem;
} wrongs[] = {
    {"--frob", "unknown option --frob"},
    {"-x", "unknown option -x"},
    {"--interval", "--interval wants a value"},
    {"--interval 0", "--interval 0: expected seconds from 0.1 to 3600"},
    {"--interval 1s", "--interval 1s: expected seconds"},
    {"--interval nan", "--interval nan: expected seconds"},
    {"--interval 1e9", "--interval 1e9: expected seconds"},
    {"-n", "-n wants a value"},
    {"-n 0", "--count 0: expected a whole number"},
    {"-n 2x", "--count 2x: expected a whole number"},
    {"-n 99999999999999999999", "expected a whole number"},
    {"--sort size", "--sort size: expected requests, p99, errors, lane or name"},
    {"a:1 b:2", "what is b:2?"},
    {"1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3", "that is too much"},
};

START_TEST(wrong_word_is_named_with_what_would_be_good)
{
    ck_assert_int_eq(read_words(wrongs[_i].line), PS_EINVAL);
    ck_assert_msg(strstr(err.message, wrongs[_i].problem) != NULL, "%s", err.message);
}
END_TEST

START_TEST(endless_address_is_refused)
{
    char line[ADDRESS_BYTES + 10];
    memset(line, 'a', sizeof line);
    line[sizeof line - 1] = '\0';
    ck_assert_int_eq(read_words(line), PS_EINVAL);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("top_arguments");
    TCase *tc = tcase_create("top_arguments");
    tcase_add_checked_fixture(tc, set_up, NULL);
    tcase_add_test(tc, without_arguments_it_is_the_usual_address_each_second);
    tcase_add_test(tc, address_of_the_environment_goes_before_the_usual_one);
    tcase_add_test(tc, options_may_stand_before_and_behind_the_address);
    tcase_add_test(tc, every_order_has_its_word);
    tcase_add_loop_test(tc, wrong_word_is_named_with_what_would_be_good, 0,
                        sizeof(wrongs) / sizeof(wrongs[0]));
    tcase_add_test(tc, endless_address_is_refused);
    suite_add_tcase(s, tc);
    return run_suite(s);
}
