#include "runtime/task.h"

#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "queue/slab.h"
#include "runtime/request_id.h"

static slab *tasks;
static HttpTask *t;

static void set_up(void)
{
    tasks = slab_new(sizeof(HttpTask), TASK_KEPT_BYTES, task_fini);
    t = slab_take(tasks);
    task_begin(t, &tasks);
}

static void tear_down(void)
{
    slab_free(tasks);
}

static void finish(void)
{
    task_end(t);
    slab_give(tasks, t);
}

/* --- the state machine --- */

/* Every step there is, written out anew: each line is a state and those that may follow. */
static const struct {
    task_state from;
    const char *to;
} legal[] = {
    {TASK_FREE, "FILLING"},
    {TASK_FILLING, "QUEUED DONE CANCELLED FREE"},
    {TASK_QUEUED, "RUNNING DONE CANCELLED"},
    {TASK_RUNNING, "PARKED DONE LOST"},
    {TASK_PARKED, "RUNNING DONE LOST CANCELLED"},
    {TASK_DONE, "SENT CANCELLED"},
    {TASK_SENT, "FREE"},
    {TASK_LOST, "CANCELLED"},
    {TASK_CANCELLED, "FREE"},
};

static bool is_legal(task_state from, task_state to)
{
    return strstr(legal[from].to, task_state_name(to)) != NULL;
}

START_TEST(each_step_is_legal_or_not_as_listed)
{
    ck_assert_int_eq(sizeof(legal) / sizeof(legal[0]), TASK_STATE_COUNT);
    for (task_state from = 0; from < TASK_STATE_COUNT; from++) {
        ck_assert_int_eq(legal[from].from, from);
        for (task_state to = 0; to < TASK_STATE_COUNT; to++)
            ck_assert_msg(task_may_move(from, to) == is_legal(from, to), "%s to %s", task_state_name(from),
                          task_state_name(to));
    }
}
END_TEST

START_TEST(legal_step_changes_the_state)
{
    for (task_state from = 0; from < TASK_STATE_COUNT; from++) {
        for (task_state to = 0; to < TASK_STATE_COUNT; to++) {
            if (!is_legal(from, to))
                continue;
            HttpTask one = {.state = from};
            task_move(&one, to);
            ck_assert_int_eq(one.state, to);
        }
    }
}
END_TEST

START_TEST(every_state_has_a_name)
{
    ck_assert_str_eq(task_state_name(TASK_FREE), "FREE");
    ck_assert_str_eq(task_state_name(TASK_CANCELLED), "CANCELLED");
}
END_TEST

#ifndef NDEBUG
static const struct {
    task_state from, to;
} sins[] = {
    {TASK_FREE, TASK_FREE},    {TASK_RUNNING, TASK_CANCELLED}, {TASK_SENT, TASK_DONE},
    {TASK_DONE, TASK_RUNNING}, {TASK_RUNNING, TASK_SENT},      {TASK_CANCELLED, TASK_RUNNING},
};

START_TEST(illegal_step_stops_a_debug_build)
{
    HttpTask one = {.state = sins[_i].from};
    freopen("/dev/null", "w", stderr); /* the assertion's message is expected */
    task_move(&one, sins[_i].to);
}
END_TEST
#endif

/* --- begin and end --- */

START_TEST(new_task_is_filling_and_empty)
{
    ck_assert_int_eq(t->state, TASK_FILLING);
    ck_assert_ptr_eq(t->owner, &tasks);
    ck_assert_uint_eq(t->header_count, 0);
    ck_assert_uint_eq(t->body.n, 0);
    ck_assert_ptr_null(t->route);
    ck_assert_int_eq(t->status, 0);
    ck_assert(!timer_is_set(&t->timer));
    finish();
}
END_TEST

static const task_state last_states[] = {TASK_FILLING, TASK_SENT, TASK_CANCELLED};

START_TEST(task_ends_from_each_of_its_last_states)
{
    t->state = last_states[_i];
    task_end(t);
    ck_assert_int_eq(t->state, TASK_FREE);
}
END_TEST

START_TEST(nothing_of_a_request_is_left_for_the_next)
{
    task_set_target(t, STR("/secret?token=1"));
    task_add_header(t, STR("authorization"), STR("secret"));
    task_add_header(t, STR("x-request-id"), STR("mine"));
    task_id(t);
    buf_add(&t->request_body, "secret", 6);
    buf_add(&t->body, "secret", 6);
    buf_add(&t->head, "a\0b", 4);
    t->status = 200;
    t->fields_read = 7;
    t->ip = "10.0.0.1";
    t->close = t->heavy = t->dropped = t->suspended = t->judged = true;
    HttpTask *before = t;
    finish();
    t = slab_take(tasks);
    ck_assert_ptr_eq(t, before);
    task_begin(t, NULL);
    ck_assert_uint_eq(t->target.n + t->path.n + t->query.n + t->id.n, 0);
    ck_assert_ptr_null(task_header_find(t, STR("authorization")).p);
    ck_assert_uint_eq(t->request_body.n + t->body.n + t->head.n, 0);
    ck_assert_int_eq(t->status, 0);
    ck_assert_uint_eq(t->fields_read, 0);
    ck_assert_ptr_null(t->ip);
    ck_assert(!t->close && !t->heavy && !t->dropped && !t->suspended && !t->judged);
    finish();
}
END_TEST

START_TEST(small_reply_buffer_is_kept_for_the_next_request)
{
    buf_add(&t->body, "reply", 5);
    const char *p = t->body.p;
    finish();
    t = slab_take(tasks);
    task_begin(t, NULL);
    ck_assert_ptr_eq(t->body.p, p);
    ck_assert_uint_eq(t->body.n, 0);
    finish();
}
END_TEST

START_TEST(large_reply_buffer_is_freed_with_its_request)
{
    buf_reserve(&t->body, TASK_KEPT_BUFFER_BYTES + 1);
    buf_reserve(&t->head, TASK_KEPT_BUFFER_BYTES + 1);
    task_end(t);
    ck_assert_ptr_null(t->body.p);
    ck_assert_ptr_null(t->head.p);
}
END_TEST

/* --- target --- */

static const struct {
    const char *target, *path, *query;
} targets[] = {
    {"/", "/", ""},    {"/a/b?c=d", "/a/b", "c=d"},
    {"/a?", "/a", ""}, {"/a?b?c", "/a", "b?c"},
    {"*", "*", ""},    {"?a", "", "a"},
    {"", "", ""},
};

START_TEST(target_is_split_at_the_first_question_mark)
{
    ck_assert_int_eq(task_set_target(t, str_from(targets[_i].target)), 0);
    ck_assert(str_eq(t->target, str_from(targets[_i].target)));
    ck_assert(str_eq(t->path, str_from(targets[_i].path)));
    ck_assert(str_eq(t->query, str_from(targets[_i].query)));
    finish();
}
END_TEST

/* Around the length at which a target moves to the heap; the sanitizer sees a byte too many or not freed. */
START_TEST(target_of_any_length_is_copied)
{
    char text[4096];
    size_t n = _i < 10 ? (size_t)(TASK_INLINE_TARGET - 5 + _i) : sizeof(text);
    memset(text, 'a', sizeof(text));
    text[0] = '/';
    text[n - 3] = '?';
    ck_assert_int_eq(task_set_target(t, (str){text, n}), 0);
    ck_assert(str_eq(t->target, (str){text, n}));
    memset(text, 'x', sizeof(text));
    ck_assert_int_eq(t->target.p[0], '/');
    ck_assert_int_eq(t->target.p[n], '\0');
    ck_assert_uint_eq(t->path.n, n - 3);
    ck_assert(str_eq(t->query, STR("aa")));
    finish();
}
END_TEST

/* --- headers --- */

START_TEST(headers_beyond_the_inline_ones_are_kept_in_order)
{
    enum { MANY = TASK_INLINE_HEADERS * 5 + 1 };
    static char names[MANY][16], values[MANY][16];
    for (int i = 0; i < MANY; i++) {
        snprintf(names[i], sizeof(names[i]), "n%d", i);
        snprintf(values[i], sizeof(values[i]), "v%d", i);
        ck_assert_int_eq(task_add_header(t, str_from(names[i]), str_from(values[i])), 0);
        ck_assert_uint_eq(t->header_count, (unsigned)i + 1);
        ck_assert_int_eq(t->headers == t->inline_headers, i < TASK_INLINE_HEADERS);
    }
    for (int i = 0; i < MANY; i++) {
        ck_assert_ptr_eq(t->headers[i].name, names[i]);
        ck_assert(str_eq(task_header_find(t, str_from(names[i])), str_from(values[i])));
    }
    finish();
}
END_TEST

START_TEST(header_is_found_whatever_its_case)
{
    task_add_header(t, STR("X-Key"), STR("1"));
    ck_assert(str_eq(task_header_find(t, STR("x-key")), STR("1")));
    ck_assert(str_eq(task_header_find(t, STR("X-KEY")), STR("1")));
    finish();
}
END_TEST

START_TEST(first_of_repeated_headers_is_found)
{
    task_add_header(t, STR("a"), STR("1"));
    task_add_header(t, STR("A"), STR("2"));
    ck_assert(str_eq(task_header_find(t, STR("a")), STR("1")));
    finish();
}
END_TEST

START_TEST(missing_header_differs_from_an_empty_one)
{
    task_add_header(t, STR("empty"), STR(""));
    ck_assert_ptr_nonnull(task_header_find(t, STR("empty")).p);
    ck_assert_ptr_null(task_header_find(t, STR("missing")).p);
    ck_assert_ptr_null(task_header_find(t, STR("empt")).p);
    finish();
}
END_TEST

/* --- the id --- */

START_TEST(sane_request_id_of_the_client_is_used)
{
    task_add_header(t, STR("X-Request-Id"), STR("Abc-1.2_3"));
    ck_assert(str_eq(task_id(t), STR("Abc-1.2_3")));
    finish();
}
END_TEST

static const char *const odd_ids[] = {
    "",
    "a b",
    "a\"b",
    "a\x1b[2J",
    "caf\xc3\xa9",
    "a,b",
    "0123456789012345678901234567890123456789012345678901234567890123x", /* 65 bytes */
};

START_TEST(odd_request_id_of_the_client_is_replaced)
{
    task_add_header(t, STR("X-Request-Id"), str_from(odd_ids[_i]));
    str id = task_id(t);
    ck_assert_uint_eq(id.n, REQUEST_ID_BYTES);
    ck_assert(request_id_is_sane(id));
    finish();
}
END_TEST

START_TEST(made_request_id_stays_the_same_within_a_request)
{
    str first = task_id(t);
    ck_assert_ptr_eq(task_id(t).p, first.p);
    ck_assert_uint_eq(strlen(first.p), first.n);
    finish();
}
END_TEST

START_TEST(made_request_ids_differ)
{
    static char ids[1000][REQUEST_ID_BYTES + 1];
    for (int i = 0; i < 1000; i++)
        request_id_make(ids[i]);
    for (int i = 0; i < 1000; i++)
        for (int k = 0; k < i; k++)
            ck_assert_int_ne(memcmp(ids[i], ids[k], REQUEST_ID_BYTES), 0);
}
END_TEST

#define COUNT(array) (int)(sizeof(array) / sizeof(array[0]))

static Suite *task_suite(void)
{
    Suite *s = suite_create("task");
    TCase *tc = tcase_create("states");
    tcase_add_test(tc, each_step_is_legal_or_not_as_listed);
    tcase_add_test(tc, legal_step_changes_the_state);
    tcase_add_test(tc, every_state_has_a_name);
#ifndef NDEBUG
    tcase_add_loop_test_raise_signal(tc, illegal_step_stops_a_debug_build, SIGABRT, 0, COUNT(sins));
#endif
    suite_add_tcase(s, tc);
    tc = tcase_create("request");
    tcase_add_checked_fixture(tc, set_up, tear_down);
    tcase_add_test(tc, new_task_is_filling_and_empty);
    tcase_add_loop_test(tc, task_ends_from_each_of_its_last_states, 0, COUNT(last_states));
    tcase_add_test(tc, nothing_of_a_request_is_left_for_the_next);
    tcase_add_test(tc, small_reply_buffer_is_kept_for_the_next_request);
    tcase_add_test(tc, large_reply_buffer_is_freed_with_its_request);
    tcase_add_loop_test(tc, target_is_split_at_the_first_question_mark, 0, COUNT(targets));
    tcase_add_loop_test(tc, target_of_any_length_is_copied, 0, 11);
    tcase_add_test(tc, headers_beyond_the_inline_ones_are_kept_in_order);
    tcase_add_test(tc, header_is_found_whatever_its_case);
    tcase_add_test(tc, first_of_repeated_headers_is_found);
    tcase_add_test(tc, missing_header_differs_from_an_empty_one);
    tcase_add_test(tc, sane_request_id_of_the_client_is_used);
    tcase_add_loop_test(tc, odd_request_id_of_the_client_is_replaced, 0, COUNT(odd_ids));
    tcase_add_test(tc, made_request_id_stays_the_same_within_a_request);
    tcase_add_test(tc, made_request_ids_differ);
    suite_add_tcase(s, tc);
    return s;
}

int main(void)
{
    SRunner *sr = srunner_create(task_suite());
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
