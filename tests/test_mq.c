/* What every engine of queues does: the same tests for each (tests/mq_fixture.h). */
#include "tests/mq_fixture.h"

/* --- order --- */

START_TEST(messages_come_in_the_order_they_were_pushed)
{
    open_engine(_i, NULL);
    push("a", "1");
    push("a", "2");
    push("a", "3");
    mq_message *first = take("a", 2);
    ck_assert_str_eq(bodies(first), "1 2");
    ack("a", first);
    expect_bodies("a", "3");
    ck_assert_ptr_null(take("a", 10));
}
END_TEST

START_TEST(a_higher_priority_comes_first_and_equal_ones_in_their_order)
{
    static const int priorities[] = {0, 9, 5, 0, 9, 5, 1};
    open_engine(_i, NULL);
    for (size_t i = 0; i < sizeof priorities / sizeof priorities[0]; i++) {
        char body[8];
        snprintf(body, sizeof body, "%d%zu", priorities[i], i);
        mq_op op = {.queue = "a", .body = str_from(body), .priority = priorities[i]};
        push_op(&op);
    }
    expect_bodies("a", "91 94 52 55 16 00 03");
}
END_TEST

START_TEST(queues_do_not_touch_each_other)
{
    enum { QUEUES = 300 };
    char name[32], body[32];
    open_engine(_i, NULL);
    for (int i = 0; i < QUEUES; i++) {
        snprintf(name, sizeof name, "queue.%d", i);
        snprintf(body, sizeof body, "%d", i);
        push(name, body);
    }
    mq_op op = {.verb = MQ_STATS, .queue = ""};
    ck_assert_int_eq(mq_call(q, &op), 0);
    ck_assert_uint_eq(op.count, QUEUES);
    free(op.stats);
    for (int i = QUEUES - 1; i >= 0; i--) {
        snprintf(name, sizeof name, "queue.%d", i);
        snprintf(body, sizeof body, "%d", i);
        expect_bodies(name, body);
    }
    ck_assert_ptr_null(take("queue.300", 1));
}
END_TEST

/* --- what a message carries --- */

START_TEST(a_taken_message_says_what_is_known_of_it)
{
    open_engine(_i, NULL);
    int64_t before = mq_now_ms();
    mq_op op = {.queue = "a", .body = STR("{}"), .id = "mine", .priority = 3};
    push_op(&op);
    int64_t between = mq_now_ms();
    mq_message *m = take("a", 1);
    ck_assert_str_eq(m->id, "mine");
    ck_assert_str_eq(m->from, "");
    ck_assert_str_eq(m->note, "");
    ck_assert_uint_eq(m->attempt, 1);
    ck_assert_int_eq(m->priority, 3);
    ck_assert(m->taken);
    ck_assert_int_ge(m->pushed_ms, before);
    ck_assert_int_le(m->pushed_ms, between);
    ck_assert_int_ge(m->due_ms, between + LONG_MS);
    ck_assert_int_le(m->due_ms, mq_now_ms() + LONG_MS);
    ack("a", m);
}
END_TEST

START_TEST(a_message_without_an_id_gets_one_of_its_own)
{
    open_engine(_i, NULL);
    mq_op one = {.queue = "a", .body = STR("1")}, two = {.queue = "a", .body = STR("2"), .id = ""};
    push_op(&one);
    push_op(&two);
    ck_assert_str_ne(one.id_text, two.id_text);
    ck_assert(mq_id_is_good(str_from(one.id_text)));
    mq_message *list = take("a", 2);
    ck_assert_str_eq(list->id, one.id_text);
    ck_assert_str_eq(list->next->id, two.id_text);
    ack("a", list);
}
END_TEST

START_TEST(a_body_may_hold_any_bytes)
{
    char body[512];
    for (size_t i = 0; i < sizeof body; i++)
        body[i] = (char)(i * 7);
    open_engine(_i, NULL);
    mq_op op = {.queue = "a", .body = {body, sizeof body}}, none = {.queue = "a", .body = {body, 0}};
    push_op(&op);
    push_op(&none);
    mq_message *list = take("a", 2);
    ck_assert_uint_eq(list->body.n, sizeof body);
    ck_assert_mem_eq(list->body.p, body, sizeof body);
    ck_assert_int_eq(list->body.p[sizeof body], 0);
    ck_assert_uint_eq(list->next->body.n, 0);
    ack("a", list);
}
END_TEST

START_TEST(bodies_of_a_megabyte_come_through)
{
    enum { BYTES = 1 << 20, BODIES = 4 };
    char *body = malloc(BYTES);
    open_engine(_i, NULL);
    for (int i = 0; i < BODIES; i++) {
        memset(body, 'a' + i, BYTES);
        mq_op op = {.queue = "a", .body = {body, BYTES}};
        push_op(&op);
    }
    for (int i = 0; i < BODIES; i++) {
        memset(body, 'a' + i, BYTES);
        mq_message *m = take("a", 1);
        ck_assert_uint_eq(m->body.n, BYTES);
        ck_assert_mem_eq(m->body.p, body, BYTES);
        retry_with("a", m, 0, "once more");
    }
    mq_message *all = take("a", BODIES);
    ck_assert_uint_eq(length(all), BODIES);
    ck_assert_mem_eq(all->next->next->next->body.p, body, BYTES);
    ack("a", all);
    free(body);
}
END_TEST

/* --- delays --- */

START_TEST(a_delayed_message_comes_when_it_is_due_and_not_before)
{
    open_engine(_i, NULL);
    int64_t before = mq_now_ms();
    push_delayed("a", "1", 50);
    expect_counts("a", 0, 1, 0);
    mq_message *m = await("a", 1);
    ck_assert_int_ge(mq_now_ms(), before + 50);
    ck_assert_str_eq(bodies(m), "1");
    ack("a", m);
}
END_TEST

START_TEST(delayed_messages_come_in_the_order_of_their_times)
{
    open_engine(_i, NULL);
    push_delayed("a", "far", LONG_MS);
    push_delayed("a", "3", 120);
    push_delayed("a", "1", 20);
    push_delayed("a", "2", 70);
    for (int i = 1; i <= 3; i++) {
        char body[8];
        snprintf(body, sizeof body, "%d", i);
        mq_message *m = await("a", 1);
        ck_assert_str_eq(bodies(m), body);
        ack("a", m);
    }
    expect_counts("a", 0, 1, 0);
}
END_TEST

/* --- duplicates --- */

START_TEST(the_same_id_within_the_window_is_pushed_once)
{
    open_engine(_i, NULL);
    ck_assert(!push_id("a", "x", LONG_MS));
    ck_assert(push_id("a", "x", LONG_MS));
    ck_assert(!push_id("a", "y", LONG_MS));
    ck_assert(!push_id("b", "x", LONG_MS)); /* another queue's */
    mq_message *list = take("a", 10);
    ck_assert_uint_eq(length(list), 2);
    ack("a", list);
    ck_assert(push_id("a", "x", LONG_MS)); /* also when it is done */
    ck_assert_ptr_null(take("a", 10));
}
END_TEST

START_TEST(without_a_window_nothing_is_a_duplicate)
{
    open_engine(_i, NULL);
    ck_assert(!push_id("a", "x", 0));
    ck_assert(!push_id("a", "x", 0));
    expect_counts("a", 2, 0, 0);
}
END_TEST

START_TEST(after_the_window_the_id_is_new)
{
    open_engine(_i, NULL);
    ck_assert(!push_id("a", "x", 30));
    push_delayed("later", "1", 60);
    ack("later", await("later", 1));
    ck_assert(!push_id("a", "x", 30));
    expect_counts("a", 2, 0, 0);
}
END_TEST

/* --- attempts --- */

START_TEST(a_retried_message_counts_its_attempts_and_keeps_the_note)
{
    open_engine(_i, NULL);
    push("a", "1");
    mq_message *m = take("a", 1);
    retry_with("a", m, 0, "first");
    m = take("a", 1);
    ck_assert_uint_eq(m->attempt, 2);
    ck_assert_str_eq(m->note, "first");
    retry_with("a", m, 30, "second");
    expect_counts("a", 0, 1, 0);
    m = await("a", 1);
    ck_assert_uint_eq(m->attempt, 3);
    ck_assert_str_eq(m->note, "second");
    ack("a", m);
    expect_counts("a", 0, 0, 0);
}
END_TEST

START_TEST(a_message_that_was_given_back_is_first_and_was_not_tried)
{
    open_engine(_i, NULL);
    push("a", "1");
    push("a", "2");
    push("a", "3");
    settle(MQ_GIVE_BACK, "a", take("a", 2));
    mq_message *m = take("a", 1);
    ck_assert_str_eq(bodies(m), "1");
    ck_assert_uint_eq(m->attempt, 1);
    ack("a", m);
    expect_bodies("a", "2 3");
}
END_TEST

START_TEST(a_dead_letter_says_where_it_comes_from)
{
    open_engine(_i, NULL);
    push("a", "1");
    retry_with("a", take("a", 1), 0, "before");
    bury("a", take("a", 1), "dead", "it failed");
    expect_counts("a", 0, 0, 0);
    mq_message *m = peek("dead", 10);
    ck_assert_str_eq(bodies(m), "1");
    ck_assert_str_eq(m->from, "a");
    ck_assert_str_eq(m->note, "it failed");
    ck_assert_uint_eq(m->attempt, 2);
    ck_assert(!m->taken);
    mq_message_free(m);
}
END_TEST

START_TEST(a_dead_letter_can_be_forgotten)
{
    open_engine(_i, NULL);
    push("a", "1");
    bury("a", take("a", 1), "", "it failed");
    expect_counts("a", 0, 0, 0);
}
END_TEST

START_TEST(revived_dead_letters_are_where_they_were_as_never_tried)
{
    open_engine(_i, NULL);
    push("a", "1");
    push("b", "2");
    bury("a", take("a", 1), "dead", "note");
    bury("b", take("b", 1), "dead", "note");
    ck_assert_uint_eq(count_of(MQ_REVIVE, "dead", ""), 2);
    expect_counts("dead", 0, 0, 0);
    expect_bodies("b", "2");
    mq_message *m = take("a", 1);
    ck_assert_str_eq(bodies(m), "1");
    ck_assert_uint_eq(m->attempt, 1);
    ck_assert_str_eq(m->note, "");
    ck_assert_str_eq(m->from, "");
    ack("a", m);
}
END_TEST

START_TEST(one_dead_letter_is_revived_by_its_id)
{
    open_engine(_i, NULL);
    push_id("a", "x", 0);
    push_id("a", "y", 0);
    bury("a", take("a", 2), "dead", "note");
    ck_assert_uint_eq(count_of(MQ_REVIVE, "dead", "none"), 0);
    ck_assert_uint_eq(count_of(MQ_REVIVE, "dead", "y"), 1);
    expect_counts("dead", 1, 0, 0);
    mq_message *m = take("a", 1);
    ck_assert_str_eq(m->id, "y");
    ack("a", m);
}
END_TEST

START_TEST(revived_delayed_messages_are_ready)
{
    open_engine(_i, NULL);
    push("a", "1");
    push_delayed("a", "2", LONG_MS);
    ck_assert_uint_eq(count_of(MQ_REVIVE, "a", NULL), 1);
    expect_bodies("a", "1 2");
}
END_TEST

/* --- leases --- */

START_TEST(a_message_whose_lease_has_ended_is_delivered_again)
{
    open_engine(_i, NULL);
    push("a", "1");
    mq_message *late = take_leased("a", 1, 30);
    mq_message *again = await("a", 1);
    ck_assert_str_eq(again->id, late->id);
    ck_assert_uint_eq(late->attempt, 1);
    ck_assert_uint_eq(again->attempt, 2);
    ck_assert_str_eq(bodies(late), "1"); /* still its holder's */
    ck_assert_int_eq(settle_op(MQ_ACK, "a", late, (mq_op){0}), -ESTALE);
    ck_assert_int_eq(settle_op(MQ_RETRY, "a", late, (mq_op){.note = "n"}), -ESTALE);
    ck_assert_int_eq(settle_op(MQ_DEAD, "a", late, (mq_op){.to = "dead"}), -ESTALE);
    ck_assert_int_eq(settle_op(MQ_GIVE_BACK, "a", late, (mq_op){0}), -ESTALE);
    ck_assert_int_eq(settle_op(MQ_EXTEND, "a", late, (mq_op){.lease_ms = 1}), -ESTALE);
    ck_assert_int_eq(settle_op(MQ_PROGRESS, "a", late, (mq_op){.progress = 1}), -ESTALE);
    mq_message_free(late);
    expect_counts("a", 0, 0, 1);
    ack("a", again);
    expect_counts("a", 0, 0, 0);
}
END_TEST

START_TEST(stale_messages_do_not_keep_the_others_from_being_settled)
{
    open_engine(_i, NULL);
    push("a", "1");
    push("a", "2");
    push("a", "3");
    mq_message *list = take("a", 3);
    ck_assert_int_eq(settle_op(MQ_ACK, "a", list->next->next, (mq_op){0}), 0); /* the last alone */
    ck_assert_int_eq(settle_op(MQ_ACK, "a", list, (mq_op){0}), -ESTALE);
    mq_message_free(list);
    expect_counts("a", 0, 0, 0);
}
END_TEST

START_TEST(a_message_that_nobody_took_is_stale)
{
    open_engine(_i, NULL);
    push("a", "1");
    mq_message *seen = peek("a", 1), *made = mq_message_new(STR("1"), "x", NULL, NULL, "x");
    made->handle = 12345;
    made->lease = 67;
    seen->next = made;
    ck_assert_int_eq(settle_op(MQ_ACK, "a", seen, (mq_op){0}), -ESTALE);
    ck_assert_int_eq(settle_op(MQ_GIVE_BACK, "a", seen, (mq_op){0}), -ESTALE);
    ck_assert_int_eq(settle_op(MQ_ACK, "unknown", seen, (mq_op){0}), -ESTALE);
    mq_message_free(seen);
    mq_message *m = take("a", 1);
    ck_assert_int_eq(settle_op(MQ_ACK, "b", m, (mq_op){0}), -ESTALE); /* another queue's */
    ack("a", m);
}
END_TEST

START_TEST(an_extended_lease_ends_later)
{
    open_engine(_i, NULL);
    push("a", "1");
    mq_message *m = take_leased("a", 1, 200);
    ck_assert_int_eq(settle_op(MQ_EXTEND, "a", m, (mq_op){.lease_ms = LONG_MS}), 0);
    push_delayed("later", "1", 400);
    ack("later", await("later", 1));
    ck_assert_ptr_null(take("a", 1));
    ack("a", m);
}
END_TEST

START_TEST(progress_is_seen)
{
    open_engine(_i, NULL);
    push("a", "1");
    mq_message *m = take("a", 1), *seen = peek("a", 1);
    ck_assert(seen->progress < 0);
    ck_assert(seen->taken);
    mq_message_free(seen);
    ck_assert_int_eq(settle_op(MQ_PROGRESS, "a", m, (mq_op){.progress = 0.25}), 0);
    seen = peek("a", 1);
    ck_assert_double_eq(seen->progress, 0.25);
    mq_message_free(seen);
    ack("a", m);
}
END_TEST

/* --- for people --- */

START_TEST(a_purge_leaves_what_is_taken)
{
    open_engine(_i, NULL);
    push("a", "1");
    push("a", "2");
    push("a", "3");
    push_delayed("a", "4", LONG_MS);
    mq_message *m = take("a", 1);
    ck_assert_uint_eq(count_of(MQ_PURGE, "a", NULL), 3);
    expect_counts("a", 0, 0, 1);
    retry_with("a", m, 0, NULL);
    expect_bodies("a", "1");
    ck_assert_uint_eq(count_of(MQ_PURGE, "a", NULL), 0);
    ck_assert_uint_eq(count_of(MQ_PURGE, "unknown", NULL), 0);
}
END_TEST

START_TEST(peek_shows_ready_then_delayed_then_taken_and_takes_nothing)
{
    open_engine(_i, NULL);
    push("a", "taken");
    push("a", "2");
    push_delayed("a", "5", LONG_MS + 2000);
    push_delayed("a", "4", LONG_MS + 1000);
    push_delayed("a", "6", LONG_MS + 3000);
    push_delayed("a", "3", LONG_MS);
    mq_op op = {.queue = "a", .body = STR("1"), .priority = 1};
    mq_message *m = take("a", 1);
    push_op(&op);
    for (int i = 0; i < 2; i++) {
        mq_message *list = peek("a", 100);
        ck_assert_str_eq(bodies(list), "1 2 3 4 5 6 taken");
        ck_assert_uint_eq(list->attempt, 0);
        mq_message_free(list);
    }
    mq_message *some = peek("a", 4);
    ck_assert_str_eq(bodies(some), "1 2 3 4");
    mq_message_free(some);
    ck_assert_ptr_null(peek("unknown", 4));
    ack("a", m);
}
END_TEST

START_TEST(stats_know_since_when_the_oldest_is_ready)
{
    open_engine(_i, NULL);
    int64_t before = mq_now_ms();
    push("a", "1");
    int64_t between = mq_now_ms();
    push("a", "2");
    push_delayed("a", "3", LONG_MS);
    mq_stats s = stats_of("a");
    ck_assert_str_eq(s.name, "a");
    ck_assert_int_ge(s.oldest_ms, before);
    ck_assert_int_le(s.oldest_ms, between);
    mq_message *list = take("a", 2);
    expect_counts("a", 0, 1, 2);
    ck_assert_int_eq(stats_of("a").oldest_ms, 0);
    ack("a", list);
}
END_TEST

START_TEST(a_moment_is_claimed_once_and_earlier_ones_never)
{
    static const struct {
        int64_t moment;
        bool late;
    } claims[] = {{1000, false}, {1000, true}, {999, true}, {2000, false}, {1500, true}};
    open_engine(_i, NULL);
    mq_op last = {.verb = MQ_LAST, .queue = "clock"};
    ck_assert_int_eq(mq_call(q, &last), 0);
    ck_assert_int_eq(last.moment_ms, 0);
    for (size_t i = 0; i < sizeof claims / sizeof claims[0]; i++) {
        mq_op op = {.verb = MQ_CLAIM, .queue = "clock", .moment_ms = claims[i].moment};
        ck_assert_int_eq(mq_call(q, &op), 0);
        ck_assert_int_eq(op.duplicate, claims[i].late);
    }
    ck_assert_int_eq(mq_call(q, &last), 0);
    ck_assert_int_eq(last.moment_ms, 2000);
    mq_op other = {.verb = MQ_CLAIM, .queue = "other", .moment_ms = 1};
    ck_assert_int_eq(mq_call(q, &other), 0);
    ck_assert(!other.duplicate);
    ck_assert_uint_eq(stats_of("clock").ready, 0);
}
END_TEST

/* --- room --- */

/* Three messages, and no more fit: one of each kind. Returns: the taken one. */
static mq_message *fill(int i)
{
    open_engine(i, present[i]->small);
    push("a", "1");
    push("a", "2");
    push_delayed("a", "3", LONG_MS);
    return take("a", 1);
}

START_TEST(a_full_queue_refuses_a_message_and_says_so)
{
    if (!present[_i]->small)
        return;
    mq_message *m = fill(_i);
    mq_op op = {.verb = MQ_PUSH, .queue = "a", .body = STR("4")};
    ck_assert_int_eq(mq_call(q, &op), -EAGAIN);
    ck_assert_ptr_nonnull(strstr(op.error, "\"a\" is full"));
    push("b", "1"); /* another one is not */
    ack("a", m);
    push("a", "4");
    expect_bodies("a", "2 4");
}
END_TEST

START_TEST(a_push_that_waits_is_done_when_there_is_room)
{
    if (!present[_i]->small)
        return;
    mq_message *m = fill(_i);
    later l[2] = {{.op = {.verb = MQ_PUSH, .queue = "a", .body = STR("4"), .wait_ms = LONG_MS}},
                  {.op = {.verb = MQ_PUSH, .queue = "a", .body = STR("5"), .wait_ms = LONG_MS}}};
    submit_later(&l[0]);
    submit_later(&l[1]);
    ck_assert(!is_done(&l[0]));
    ack("a", m);
    ck_assert_int_eq(await_later(&l[0]), 0);
    ck_assert(!is_done(&l[1]));
    ck_assert_uint_eq(count_of(MQ_PURGE, "a", NULL), 3);
    ck_assert_int_eq(await_later(&l[1]), 0);
    expect_bodies("a", "5");
}
END_TEST

START_TEST(a_push_that_waits_is_refused_when_its_time_is_over)
{
    if (!present[_i]->small)
        return;
    mq_message *m = fill(_i);
    later l[3] = {{.op = {.verb = MQ_PUSH, .queue = "a", .body = STR("4"), .wait_ms = LONG_MS}},
                  {.op = {.verb = MQ_PUSH, .queue = "a", .body = STR("5"), .wait_ms = 20}},
                  {.op = {.verb = MQ_PUSH, .queue = "a", .body = STR("6"), .wait_ms = LONG_MS}}};
    for (int i = 0; i < 3; i++)
        submit_later(&l[i]);
    ck_assert_int_eq(await_later(&l[1]), -EAGAIN);
    ck_assert_ptr_nonnull(strstr(l[1].op.error, "\"a\" is full"));
    ck_assert(!is_done(&l[0]));
    ack("a", m);
    ck_assert_int_eq(await_later(&l[0]), 0);
    expect_bodies("a", "2 4"); /* which makes room for the last */
    ck_assert_int_eq(await_later(&l[2]), 0);
    expect_bodies("a", "6");
}
END_TEST

START_TEST(a_waiting_push_can_become_a_duplicate)
{
    if (!present[_i]->small)
        return;
    mq_message *m = fill(_i);
    later l[2];
    for (int i = 0; i < 2; i++) {
        l[i] = (later){.op = {.verb = MQ_PUSH, .queue = "a", .body = STR("4"), .id = "x"}};
        l[i].op.window_ms = l[i].op.wait_ms = LONG_MS;
        submit_later(&l[i]);
    }
    ack("a", m);
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(await_later(&l[i]), 0);
        ck_assert_int_eq(l[i].op.duplicate, i == 1);
        ck_assert_str_eq(l[i].op.id_text, "x");
    }
    expect_bodies("a", "2 4");
}
END_TEST

START_TEST(a_duplicate_is_none_the_less_for_a_full_queue)
{
    if (!present[_i]->small)
        return;
    open_engine(_i, present[_i]->small);
    push_id("a", "x", LONG_MS);
    push_id("a", "y", LONG_MS);
    push_id("a", "z", LONG_MS);
    ck_assert(push_id("a", "y", LONG_MS));
    mq_op op = {.verb = MQ_PUSH, .queue = "a", .body = STR("1"), .id = "refused", .window_ms = LONG_MS};
    ck_assert_int_eq(mq_call(q, &op), -EAGAIN);
    ack("a", take("a", 3));
    ck_assert(!push_id("a", "refused", LONG_MS)); /* it was not pushed then */
}
END_TEST

START_TEST(dead_letters_are_not_refused_by_a_full_queue)
{
    if (!present[_i]->small)
        return;
    open_engine(_i, present[_i]->small);
    for (int i = 0; i < 3; i++)
        push("dead", "old");
    push("a", "1");
    later l = {.op = {.verb = MQ_PUSH, .queue = "dead", .body = STR("new"), .wait_ms = LONG_MS}};
    bury("a", take("a", 1), "dead", "note");
    expect_counts("dead", 4, 0, 0);
    submit_later(&l);
    mq_message *two = take("dead", 2);
    ack("dead", two);
    ck_assert_int_eq(await_later(&l), 0);
    expect_bodies("dead", "old 1 new");
}
END_TEST

/* --- the end --- */

START_TEST(closing_refuses_those_that_wait)
{
    if (!present[_i]->small)
        return;
    mq_message *m = fill(_i);
    later l[2] = {{.op = {.verb = MQ_PUSH, .queue = "a", .body = STR("4"), .wait_ms = LONG_MS}},
                  {.op = {.verb = MQ_PUSH, .queue = "a", .body = STR("5"), .wait_ms = LONG_MS}}};
    submit_later(&l[0]);
    submit_later(&l[1]);
    mq_close(q);
    q = NULL;
    for (int i = 0; i < 2; i++) {
        ck_assert(is_done(&l[i]));
        ck_assert_int_eq(l[i].op.err, -ESHUTDOWN);
        ck_assert_str_ne(l[i].op.error, "");
    }
    ck_assert_str_eq(bodies(m), "1"); /* its holder's, also now */
    mq_message_free(m);
}
END_TEST

START_TEST(what_was_pushed_is_lost_or_there_as_the_engine_says)
{
    open_engine(_i, NULL);
    bool survives = mq_survives(q);
    int before = atomic_load(&told);
    push("a", "1");
    push("a", "2");
    push_delayed("a", "3", LONG_MS);
    mq_message *held = take("a", 1);
    mq_close(q);
    q = NULL;
    if (!survives) {
        ck_assert_int_eq(atomic_load(&told), before + 1);
        ck_assert_int_eq(told_level, 1);
        ck_assert_ptr_nonnull(strstr(told_text, "3 messages"));
    }
    open_again(NULL);
    if (survives) {
        expect_bodies("a", "2");
        ck_assert_int_eq(settle_op(MQ_EXTEND, "a", held, (mq_op){.lease_ms = 1}), 0);
        mq_message *m = await("a", 1);
        ck_assert_str_eq(bodies(m), "1");
        ck_assert_uint_eq(m->attempt, 2);
        ack("a", m);
        expect_counts("a", 0, 1, 0);
    } else {
        expect_counts("a", 0, 0, 0);
    }
    mq_message_free(held);
}
END_TEST

START_TEST(closing_empty_queues_tells_nothing)
{
    open_engine(_i, NULL);
    int before = atomic_load(&told);
    push("a", "1");
    ack("a", take("a", 1));
    mq_close(q);
    q = NULL;
    ck_assert_int_eq(atomic_load(&told), before);
}
END_TEST

/* --- watchers --- */

START_TEST(each_watcher_of_a_queue_is_called)
{
    open_engine(_i, NULL);
    tally calls[3] = {TALLY, TALLY, TALLY};
    mq_watcher w[3] = {{.queue = "a", .ready = tally_add, .user = &calls[0]},
                       {.queue = "a", .ready = tally_add, .user = &calls[1]},
                       {.queue = "b", .ready = tally_add, .user = &calls[2]}};
    unsigned n[2];
    for (int i = 0; i < 3; i++) {
        mq_watch(q, &w[i]);
        tally_wait(&calls[i], 0); /* once in any case */
    }
    n[0] = tally_read(&calls[0]);
    n[1] = tally_read(&calls[1]);
    push("a", "1");
    tally_wait(&calls[0], n[0]);
    tally_wait(&calls[1], n[1]);
    mq_unwatch(q, &w[0]);
    n[0] = tally_read(&calls[0]);
    n[1] = tally_read(&calls[1]);
    push("a", "2");
    tally_wait(&calls[1], n[1]);
    ck_assert_uint_eq(tally_read(&calls[0]), n[0]);
    mq_unwatch(q, &w[1]);
    mq_unwatch(q, &w[2]);
}
END_TEST

/* Everything by which a message becomes ready. */
static void give_back_a(void)
{
    settle(MQ_GIVE_BACK, "a", take("a", 1));
}

static void retry_a(void)
{
    retry_with("a", take("a", 1), 0, "note");
}

static void retry_a_later(void)
{
    retry_with("a", take("a", 1), 20, "note");
}

static void lease_a(void)
{
    mq_message_free(take_leased("a", 1, 20));
}

static void bury_into_a(void)
{
    push("b", "1");
    bury("b", take("b", 1), "a", "note");
}

static void revive_a(void)
{
    bury("a", take("a", 1), "dead", "note");
    ck_assert_uint_eq(count_of(MQ_REVIVE, "dead", ""), 1);
}

static void push_a(void)
{
    push("a", "2");
}

static void push_a_later(void)
{
    push_delayed("a", "2", 20);
}

START_TEST(a_watcher_is_called_however_a_message_becomes_ready)
{
    static void (*const ways[])(void) = {push_a,        push_a_later, give_back_a, retry_a,
                                         retry_a_later, lease_a,      bury_into_a, revive_a};
    open_engine(_i, NULL);
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        tally calls = TALLY;
        mq_watcher w = {.queue = "a", .ready = tally_add, .user = &calls};
        push("a", "1");
        mq_watch(q, &w);
        tally_wait(&calls, 0);
        unsigned n = tally_read(&calls);
        ways[i]();
        tally_wait(&calls, n);
        mq_unwatch(q, &w);
        while (stats_of("a").ready)
            ack("a", take("a", 10));
    }
}
END_TEST

/* A consumer as the server has them: it takes from inside `ready`, and submits again from inside `done`. */
typedef struct consumer {
    mq_op op; /* first */
    mq_watcher w;
    atomic_bool busy;
    atomic_bool again; /* it was called meanwhile */
    mq_message *held;
    tally *done;
} consumer;

static void consume(consumer *c);

static void on_acked(mq_op *op)
{
    consumer *c = (consumer *)op;
    ck_assert_int_eq(op->err, 0);
    for (unsigned n = length(c->held); n > 0; n--)
        tally_add(c->done);
    mq_message_free(c->held);
    c->held = NULL;
    atomic_store(&c->again, true);
    atomic_store(&c->busy, false);
    consume(c);
}

static void on_taken(mq_op *op)
{
    consumer *c = (consumer *)op;
    c->held = op->messages;
    if (c->held) {
        *op = (mq_op){.verb = MQ_ACK, .queue = "a", .messages = c->held, .done = on_acked};
        mq_submit(q, op);
    } else {
        atomic_store(&c->busy, false);
        consume(c);
    }
}

static void consume(consumer *c)
{
    while (atomic_load(&c->again) && !atomic_exchange(&c->busy, true)) {
        if (!atomic_exchange(&c->again, false)) {
            atomic_store(&c->busy, false);
            continue;
        }
        c->op = (mq_op){.verb = MQ_TAKE, .queue = "a", .most = 3, .lease_ms = LONG_MS, .done = on_taken};
        mq_submit(q, &c->op);
        return;
    }
}

static void on_consumer_ready(void *user)
{
    consumer *c = user;
    atomic_store(&c->again, true);
    consume(c);
}

START_TEST(a_watcher_may_take_and_settle_from_inside_its_call)
{
    enum { MESSAGES = 200 };
    open_engine(_i, NULL);
    static tally done = TALLY; /* these two live until the engine is closed: it may be taking once more */
    static consumer c = {.done = &done};
    c.w = (mq_watcher){.queue = "a", .ready = on_consumer_ready, .user = &c};
    mq_watch(q, &c.w);
    for (int i = 0; i < MESSAGES; i++)
        push("a", "1");
    tally_wait(&done, MESSAGES - 1);
    mq_unwatch(q, &c.w);
    expect_counts("a", 0, 0, 0);
    mq_close(q); /* the last take is over before the consumer is gone */
    q = NULL;
}
END_TEST

static mq_watcher once;

static void unwatch_itself(void *user)
{
    mq_unwatch(q, &once);
    memset(&once, 0x55, sizeof once); /* it is the caller's again */
    tally_add(user);
}

START_TEST(a_watcher_may_take_itself_out_from_inside_its_call)
{
    open_engine(_i, NULL);
    tally calls = TALLY, others = TALLY;
    mq_watcher other = {.queue = "a", .ready = tally_add, .user = &others};
    push("a", "1");
    once = (mq_watcher){.queue = "a", .ready = unwatch_itself, .user = &calls};
    mq_watch(q, &once);
    tally_wait(&calls, 0);
    mq_watch(q, &other);
    tally_wait(&others, 0);
    unsigned n = tally_read(&others);
    push("a", "2");
    tally_wait(&others, n);
    ck_assert_uint_eq(tally_read(&calls), 1);
    mq_unwatch(q, &other);
}
END_TEST

typedef struct guarded {
    atomic_bool open;
    atomic_int calls;
} guarded;

static void on_guarded(void *user)
{
    guarded *g = user;
    ck_assert(atomic_load(&g->open));
    atomic_fetch_add(&g->calls, 1);
}

static atomic_bool stop_pushing;

static void *push_on(void *user)
{
    (void)user;
    while (!atomic_load(&stop_pushing)) {
        mq_op op = {.verb = MQ_PUSH, .queue = "a", .body = STR("1")};
        mq_call(q, &op);
        mq_message *list = take("a", 10);
        if (list)
            ack("a", list);
    }
    return NULL;
}

START_TEST(after_unwatch_nothing_is_called_under_load_either)
{
    enum { PUSHERS = 3, ROUNDS = 200 };
    pthread_t threads[PUSHERS];
    open_engine(_i, NULL);
    atomic_store(&stop_pushing, false);
    for (int i = 0; i < PUSHERS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, push_on, NULL), 0);
    for (int i = 0; i < ROUNDS; i++) {
        guarded g = {.open = true};
        mq_watcher w = {.queue = "a", .ready = on_guarded, .user = &g};
        mq_watch(q, &w);
        while (atomic_load(&g.calls) < 2)
            sched_yield();
        mq_unwatch(q, &w);
        atomic_store(&g.open, false);
    }
    atomic_store(&stop_pushing, true);
    for (int i = 0; i < PUSHERS; i++)
        pthread_join(threads[i], NULL);
}
END_TEST

/* --- many threads --- */

enum { PUSHERS = 3, TAKERS = 3, EACH = 700, MESSAGES = PUSHERS * EACH };

static atomic_int acked[MESSAGES];
static atomic_int acked_n;

static void *push_numbers(void *user)
{
    int first = *(int *)user;
    for (int i = first; i < first + EACH; i++) {
        char body[16];
        snprintf(body, sizeof body, "%d", i);
        mq_op op = {.queue = "a", .body = str_from(body), .priority = i % 3, .delay_ms = i % 7 ? 0 : 3};
        push_op(&op);
    }
    return NULL;
}

/* What becomes of a message is decided by its number and attempt. */
static void storm_on(mq_message *m, unsigned *salt)
{
    int number = atoi(m->body.p);
    unsigned what = m->attempt > 4 ? 0 : (unsigned)number * 31 + m->attempt * 7 + (*salt)++;
    m->next = NULL;
    switch (what % 6) {
    case 1:
        retry_with("a", m, what % 4, "note");
        return;
    case 2:
        settle(MQ_GIVE_BACK, "a", m);
        return;
    case 3:
        bury("a", m, "dead", "note");
        return;
    default:
        if (settle_op(MQ_ACK, "a", m, (mq_op){0}) == 0) {
            atomic_fetch_add(&acked[number], 1);
            atomic_fetch_add(&acked_n, 1);
        }
        mq_message_free(m);
    }
}

static void *take_numbers(void *user)
{
    unsigned salt = 0;
    tally calls = TALLY;
    mq_watcher w = {.queue = "a", .ready = tally_add, .user = &calls};
    (void)user;
    mq_watch(q, &w);
    while (atomic_load(&acked_n) < MESSAGES) {
        unsigned seen = tally_read(&calls);
        mq_message *list = take("a", 5), *next;
        if (!list && count_of(MQ_REVIVE, "dead", "") == 0 && atomic_load(&acked_n) < MESSAGES)
            tally_wait(&calls, seen);
        for (; list; list = next) {
            next = list->next;
            storm_on(list, &salt);
        }
    }
    mq_unwatch(q, &w);
    push("a", "wake"); /* those that wait still */
    return NULL;
}

START_TEST(in_a_storm_each_message_is_acknowledged_once)
{
    pthread_t threads[PUSHERS + TAKERS];
    int first[PUSHERS];
    open_engine(_i, NULL);
    for (int i = 0; i < TAKERS; i++)
        ck_assert_int_eq(pthread_create(&threads[PUSHERS + i], NULL, take_numbers, NULL), 0);
    for (int i = 0; i < PUSHERS; i++) {
        first[i] = i * EACH;
        ck_assert_int_eq(pthread_create(&threads[i], NULL, push_numbers, &first[i]), 0);
    }
    for (int i = 0; i < PUSHERS + TAKERS; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < MESSAGES; i++)
        ck_assert_int_eq(atomic_load(&acked[i]), 1);
    expect_counts("dead", 0, 0, 0);
    mq_stats s = stats_of("a");
    ck_assert_uint_eq(s.delayed + s.taken, 0);
}
END_TEST

/* --- addresses --- */

START_TEST(parameters_are_refused_by_name)
{
    char error[MQ_ERROR_BYTES] = "";
    open_engine(_i, NULL);
    mq *other = NULL;
    ck_assert_int_eq(try_open("colour=red", &other, error), -EINVAL);
    ck_assert_ptr_nonnull(strstr(error, "colour"));
    if (row->small) {
        ck_assert_int_eq(try_open("max=none", &other, error), -EINVAL);
        ck_assert_ptr_nonnull(strstr(error, "max=none"));
        ck_assert_int_eq(try_open("max=0", &other, error), -EINVAL);
    }
    ck_assert_ptr_null(other);
}
END_TEST

/* --- memory alone --- */

START_TEST(without_a_lease_a_message_is_held_until_it_is_settled)
{
    open_engine(0, NULL);
    push("a", "1");
    mq_message *m = take_leased("a", 1, 0), *again;
    ck_assert_int_eq(m->due_ms, 0);
    ck_assert_int_eq(settle_op(MQ_EXTEND, "a", m, (mq_op){.lease_ms = 20}), 0); /* now it has one */
    again = await_leased("a", 1, 0);
    ck_assert_uint_eq(again->attempt, 2);
    mq_message_free(m);
    ack("a", again);
}
END_TEST

static later next_one;

static void submit_next(mq_op *op)
{
    tally_add(&((later *)op)->done);
    next_one = (later){.op = {.verb = MQ_PUSH, .queue = "a", .body = STR("5")}};
    submit_later(&next_one);
}

START_TEST(what_is_submitted_while_it_closes_is_refused)
{
    mq_message *m = fill(0);
    later l = {.op = {.verb = MQ_PUSH, .queue = "a", .body = STR("4"), .wait_ms = LONG_MS}, .done = TALLY};
    l.op.done = submit_next;
    mq_submit(q, &l.op);
    mq_message_free(m);
    mq_close(q);
    q = NULL;
    ck_assert(is_done(&l));
    ck_assert(is_done(&next_one));
    ck_assert_int_eq(next_one.op.err, -ESHUTDOWN);
}
END_TEST

START_TEST(more_ids_than_messages_fit_are_told_of_once)
{
    char id[8];
    open_engine(0, "max=3");
    int before = atomic_load(&told);
    for (int i = 0; i < 6; i++) {
        snprintf(id, sizeof id, "%d", i);
        ck_assert(!push_id("a", id, LONG_MS));
        ack("a", take("a", 1));
    }
    ck_assert_int_eq(atomic_load(&told), before + 1);
    ck_assert_int_eq(told_level, 1);
    ck_assert_ptr_nonnull(strstr(told_text, "queue \"a\""));
    ck_assert(push_id("a", "5", LONG_MS));
    ck_assert(!push_id("a", "0", LONG_MS));
}
END_TEST

START_TEST(many_delays_that_end_together_are_all_delivered)
{
    enum { MANY = 1000 };
    char body[16];
    open_engine(0, NULL);
    for (int i = 0; i < MANY; i++) {
        snprintf(body, sizeof body, "%d", i);
        push_delayed("a", body, 1 + i / 100);
    }
    for (int n = 0; n < MANY;) {
        mq_message *list = await("a", 100);
        n += (int)length(list);
        ack("a", list);
    }
    expect_counts("a", 0, 0, 0);
}
END_TEST

/* --- the front, once --- */

START_TEST(memory_has_no_place)
{
    char error[MQ_ERROR_BYTES] = "";
    mq *other = NULL;
    ck_assert_int_eq(mq_open("memory:somewhere", &config, &other, error, sizeof error), -EINVAL);
    ck_assert_ptr_nonnull(strstr(error, "memory:?max="));
}
END_TEST

START_TEST(an_address_that_is_none_is_refused_with_those_that_are)
{
    static const char *const urls[] = {"", "memory", "mem:", "postgres://host", ":", "redis+tcp://host"};
    for (size_t i = 0; i < sizeof urls / sizeof urls[0]; i++) {
        char error[MQ_ERROR_BYTES] = "";
        mq *none = NULL;
        ck_assert_int_eq(mq_open(urls[i], &config, &none, error, sizeof error), -EINVAL);
        ck_assert_ptr_nonnull(strstr(error, "sqlite:PATH"));
        ck_assert_ptr_null(none);
    }
}
END_TEST

START_TEST(names_and_ids_are_told_from_others)
{
    char longest[MQ_NAME_BYTES + 1];
    memset(longest, 'a', sizeof longest);
    ck_assert(mq_name_is_good((str){longest, MQ_NAME_BYTES - 1}));
    ck_assert(!mq_name_is_good((str){longest, MQ_NAME_BYTES}));
    ck_assert(mq_id_is_good((str){longest, MQ_ID_BYTES - 1}));
    ck_assert(!mq_id_is_good((str){longest, MQ_ID_BYTES}));
    ck_assert(mq_name_is_good(STR("mail.out_2-Z")));
    static const char *const names[] = {"", "a b", "a/b", "a:b", "{a}", "a\n", "\xc3\xa4", "a*"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        ck_assert(!mq_name_is_good(str_from(names[i])));
    ck_assert(!mq_name_is_good(STR("a\0b")));
    ck_assert(mq_id_is_good(STR("order:17/{a}~!")));
    ck_assert(!mq_id_is_good(STR("a b")));
    ck_assert(!mq_id_is_good(STR("a\x7f")));
    ck_assert(!mq_id_is_good(STR("\xc3\xa4")));
    ck_assert(!mq_id_is_good(STR("")));
    ck_assert(!mq_id_is_good(STR("a\0b")));
}
END_TEST

START_TEST(made_ids_are_good_and_grow)
{
    char before[MQ_ID_BYTES] = "", id[MQ_ID_BYTES];
    for (int i = 0; i < 1000; i++) {
        mq_make_id(id);
        ck_assert(mq_id_is_good(str_from(id)));
        ck_assert_uint_eq(strlen(id), 26);
        ck_assert_int_gt(strcmp(id, before), 0);
        memcpy(before, id, sizeof id);
    }
}
END_TEST

START_TEST(a_long_note_is_cut_between_characters)
{
    char note[MQ_NOTE_MAX + 10];
    memset(note, 'a', sizeof note);
    memcpy(note + MQ_NOTE_MAX - 1, "\xc3\xa4", 2);
    note[sizeof note - 1] = '\0';
    mq_message *m = mq_message_new(STR("1"), "x", NULL, note, NULL);
    ck_assert_uint_eq(strlen(m->note), MQ_NOTE_MAX - 1);
    ck_assert_int_eq(m->note[MQ_NOTE_MAX - 2], 'a');
    mq_message_free(m);
}
END_TEST

static void add_for_each_engine(TCase *to)
{
    const TTest *const tests[] = {
        messages_come_in_the_order_they_were_pushed,
        a_higher_priority_comes_first_and_equal_ones_in_their_order,
        queues_do_not_touch_each_other,
        a_taken_message_says_what_is_known_of_it,
        a_message_without_an_id_gets_one_of_its_own,
        a_body_may_hold_any_bytes,
        bodies_of_a_megabyte_come_through,
        a_delayed_message_comes_when_it_is_due_and_not_before,
        delayed_messages_come_in_the_order_of_their_times,
        the_same_id_within_the_window_is_pushed_once,
        without_a_window_nothing_is_a_duplicate,
        after_the_window_the_id_is_new,
        a_retried_message_counts_its_attempts_and_keeps_the_note,
        a_message_that_was_given_back_is_first_and_was_not_tried,
        a_dead_letter_says_where_it_comes_from,
        a_dead_letter_can_be_forgotten,
        revived_dead_letters_are_where_they_were_as_never_tried,
        one_dead_letter_is_revived_by_its_id,
        revived_delayed_messages_are_ready,
        a_message_whose_lease_has_ended_is_delivered_again,
        stale_messages_do_not_keep_the_others_from_being_settled,
        a_message_that_nobody_took_is_stale,
        an_extended_lease_ends_later,
        progress_is_seen,
        a_purge_leaves_what_is_taken,
        peek_shows_ready_then_delayed_then_taken_and_takes_nothing,
        stats_know_since_when_the_oldest_is_ready,
        a_moment_is_claimed_once_and_earlier_ones_never,
        a_full_queue_refuses_a_message_and_says_so,
        a_push_that_waits_is_done_when_there_is_room,
        a_push_that_waits_is_refused_when_its_time_is_over,
        a_waiting_push_can_become_a_duplicate,
        a_duplicate_is_none_the_less_for_a_full_queue,
        dead_letters_are_not_refused_by_a_full_queue,
        closing_refuses_those_that_wait,
        what_was_pushed_is_lost_or_there_as_the_engine_says,
        closing_empty_queues_tells_nothing,
        each_watcher_of_a_queue_is_called,
        a_watcher_is_called_however_a_message_becomes_ready,
        a_watcher_may_take_and_settle_from_inside_its_call,
        a_watcher_may_take_itself_out_from_inside_its_call,
        after_unwatch_nothing_is_called_under_load_either,
        in_a_storm_each_message_is_acknowledged_once,
        parameters_are_refused_by_name,
    };
    for (size_t i = 0; i < sizeof tests / sizeof tests[0]; i++)
        tcase_add_loop_test(to, tests[i], 0, present_n);
}

int main(void)
{
    find_engines();
    Suite *suite = suite_create("mq");
    TCase *engines_case = tcase_create("engines");
    tcase_add_checked_fixture(engines_case, NULL, close_engine);
    add_for_each_engine(engines_case);
    suite_add_tcase(suite, engines_case);
    TCase *memory = tcase_create("memory");
    tcase_add_checked_fixture(memory, NULL, close_engine);
    tcase_add_test(memory, without_a_lease_a_message_is_held_until_it_is_settled);
    tcase_add_test(memory, what_is_submitted_while_it_closes_is_refused);
    tcase_add_test(memory, more_ids_than_messages_fit_are_told_of_once);
    tcase_add_test(memory, many_delays_that_end_together_are_all_delivered);
    suite_add_tcase(suite, memory);
    TCase *front = tcase_create("front");
    tcase_add_test(front, memory_has_no_place);
    tcase_add_test(front, an_address_that_is_none_is_refused_with_those_that_are);
    tcase_add_test(front, names_and_ids_are_told_from_others);
    tcase_add_test(front, made_ids_are_good_and_grow);
    tcase_add_test(front, a_long_note_is_cut_between_characters);
    suite_add_tcase(suite, front);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
