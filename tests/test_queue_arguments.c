#include "api/program/queue_arguments.h"

#include <stdio.h>

#include "tests/top_fixture.h"

enum { WORDS = 40 };

static queue_arguments args;
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
    return queue_arguments_read(&args, words, &err);
}

START_TEST(ls_asks_the_usual_address)
{
    ck_assert_int_eq(read_words("ls"), 0);
    ck_assert_int_eq(args.command, QUEUE_LS);
    ck_assert_str_eq(args.address, USUAL_ADDRESS);
    ck_assert_str_eq(args.name, "");
    ck_assert(!args.json);
    setenv("POOLSRV_ADMIN", ":9100", 1);
    ck_assert_int_eq(read_words("ls --json"), 0);
    ck_assert_str_eq(args.address, "127.0.0.1:9100");
    ck_assert(args.json);
}
END_TEST

static const struct {
    const char *line;
    queue_command command;
    const char *name, *id, *address;
    unsigned most;
} goods[] = {
    {"ls host:1", QUEUE_LS, "", "", "host:1", 10},
    {"ls --admin :7", QUEUE_LS, "", "", "127.0.0.1:7", 10},
    {"peek emails", QUEUE_PEEK, "emails", "", USUAL_ADDRESS, 10},
    {"peek emails 3", QUEUE_PEEK, "emails", "", USUAL_ADDRESS, 3},
    {"peek emails host:1", QUEUE_PEEK, "emails", "", "host:1", 10},
    {"peek emails 1024 [::1]:2", QUEUE_PEEK, "emails", "", "[::1]:2", 1024},
    {"--json peek a.b-c_D9 http://h:1/", QUEUE_PEEK, "a.b-c_D9", "", "http://h:1/", 10},
    {"retry emails.dead", QUEUE_RETRY, "emails.dead", "", USUAL_ADDRESS, 10},
    {"retry emails.dead user:42", QUEUE_RETRY, "emails.dead", "user:42", USUAL_ADDRESS, 10},
    {"retry emails.dead user:42 host:1", QUEUE_RETRY, "emails.dead", "user:42", "host:1", 10},
    {"retry emails.dead localhost:9000", QUEUE_RETRY, "emails.dead", "", "localhost:9000", 10},
    {"retry emails.dead 10.0.0.1:9000", QUEUE_RETRY, "emails.dead", "", "10.0.0.1:9000", 10},
    {"retry emails.dead :9000", QUEUE_RETRY, "emails.dead", "", "127.0.0.1:9000", 10},
    {"retry --admin h:1 emails.dead 10.0.0.1:9000", QUEUE_RETRY, "emails.dead", "10.0.0.1:9000", "h:1", 10},
    {"purge x --yes", QUEUE_PURGE, "x", "", USUAL_ADDRESS, 10},
    {"purge --yes x host:1", QUEUE_PURGE, "x", "", "host:1", 10},
};

START_TEST(words_are_told_apart)
{
    ck_assert_msg(read_words(goods[_i].line) == 0, "%s", err.message);
    ck_assert_int_eq(args.command, goods[_i].command);
    ck_assert_str_eq(args.name, goods[_i].name);
    ck_assert_str_eq(args.id, goods[_i].id);
    ck_assert_str_eq(args.address, goods[_i].address);
    ck_assert_uint_eq(args.most, goods[_i].most);
    ck_assert_int_eq(args.yes, strstr(goods[_i].line, "--yes") != NULL);
}
END_TEST

static const struct {
    const char *line, *problem;
} wrongs[] = {
    {"", "expected ls, peek, retry or purge"},
    {"--json", "expected ls, peek, retry or purge"},
    {"list", "queue: list: expected ls, peek, retry or purge"},
    {"ls --frob", "unknown option --frob"},
    {"ls -x", "unknown option -x"},
    {"ls --admin", "--admin wants a value"},
    {"ls a:1 b:2", "what is a:1?"},
    {"ls --yes", "--yes is for purge"},
    {"peek", "which queue? Expected: poolsrv queue peek NAME [N] [ADDRESS]"},
    {"purge host:1", "which queue?"},
    {"peek a/b", "a queue's name is of letters"},
    {"peek emails 0", "peek 0: expected a number from 1 to 1024"},
    {"peek emails 1025", "peek 1025: expected a number"},
    {"peek emails many", "peek many: expected a number"},
    {"peek emails 2 3 4", "what is 3?"},
    {"retry q id\x01", "that is no id of a message"},
    {"purge a b c", "what is b?"},
    {"purge a --admin h:1 b", "what is b?"},
    {"1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3", "that is too much"},
};

START_TEST(wrong_word_is_named_with_what_would_be_good)
{
    ck_assert_int_eq(read_words(wrongs[_i].line), PS_EINVAL);
    ck_assert_msg(strstr(err.message, wrongs[_i].problem) != NULL, "%s", err.message);
}
END_TEST

START_TEST(endless_words_are_refused)
{
    char line[ADDRESS_BYTES + 20] = "ls ";
    memset(line + 3, 'a', sizeof line - 4);
    line[sizeof line - 1] = '\0';
    ck_assert_int_eq(read_words(line), PS_EINVAL);
    memcpy(line, "peek ", 5);
    ck_assert_int_eq(read_words(line), PS_EINVAL);
    memcpy(line, "retry q ", 8);
    ck_assert_int_eq(read_words(line), PS_EINVAL);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("queue_arguments");
    TCase *tc = tcase_create("queue_arguments");
    tcase_add_checked_fixture(tc, set_up, NULL);
    tcase_add_test(tc, ls_asks_the_usual_address);
    tcase_add_loop_test(tc, words_are_told_apart, 0, sizeof(goods) / sizeof(goods[0]));
    tcase_add_loop_test(tc, wrong_word_is_named_with_what_would_be_good, 0,
                        sizeof(wrongs) / sizeof(wrongs[0]));
    tcase_add_test(tc, endless_words_are_refused);
    suite_add_tcase(s, tc);
    return run_suite(s);
}
