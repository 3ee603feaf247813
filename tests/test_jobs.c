/* What vm/jobs, vm/wait, vm/mqueue and vm/spawn do for a host: a small one of the suite's own, with queues in
 * memory, on one thread. */
#include "vm/jobs.h"

#include <errno.h>

#include "queue/inbox.h"
#include "tests/vm_fixture.h"
#include "vm/wait.h"

enum { SPAWNED_MAX = 8 };

static vm_fixture fx;
static wake bell;
static inbox box;
static mq *queues;

/* What the VM has asked of its host. */
static vm_run *spawned[SPAWNED_MAX];
static job *spawned_jobs[SPAWNED_MAX];
static unsigned spawned_n;
static int refusal; /* what spawn and call return */
static job *called;
static void (*called_over)(job *j);
static uint64_t extended_ns;

static const char app[] =
    "local queue, task = require 'poolsrv.queue', require 'poolsrv.task'\n"
    "kept = setmetatable({}, { __mode = 'v' })\n"
    "queue.consume('work', function(message, job)\n"
    "    if message == 'fail' then error('it went wrong') end\n"
    "    if message == 'extend' then job:extend(2) job:progress(1) end\n"
    "    if message == 'sleep' then sleep(1) end\n"
    "    print('ran ' .. json.encode(message) .. ' ' .. job.id .. ' ' .. job.attempt)\n"
    "end)\n"
    "function api.push.get() return (queue.push('work', 1, { id = 'a' })) end\n"
    "function api.wait.get() return (queue.push('work', 2, { wait = 3600 })) end\n"
    "function api.spawn.get() task.spawn(function(a, b, c) print('spawned', a, b, c) sleep(0) print('on') "
    "end, 1, nil, 3) return 'x' end\n"
    "function api.keep.get() local f = function() return kept end kept[1] = f task.spawn(f) return 'x' end\n"
    "function api.kept.get() collectgarbage() return tostring(kept[1]) end\n"
    "function api.call.get() return { task.run('string.rep', 'x', 3) } end\n"
    "function api.unfit.get() return task.map('string.rep', { 'x', print, 'y' }) end\n"
    "function api.all.get()\n"
    "    queue.push('work', { 1, 'two' }) task.spawn(function(t) return t end, {})\n"
    "    return { queue.stats('work').ready, #queue.peek('work'), (task.run('string.rep', 'x', 2)) }\n"
    "end\n";

/* --- the host --- */

static mq *on_queues(void *user)
{
    (void)user;
    return queues;
}

static int on_spawn(void *user, void *spawner, vm_run *run, job *j, const vm_spawn_limits *limits)
{
    (void)user;
    (void)limits;
    ck_assert_ptr_nonnull(spawner);
    if (refusal || spawned_n == SPAWNED_MAX)
        return refusal ? refusal : -EAGAIN;
    vm_request *r = vm_run_request(run);
    *r = (vm_request){.host = spawner, .id = r->id, .job = j, .inbox = &box, .route_name = j->title};
    spawned[spawned_n] = run;
    spawned_jobs[spawned_n++] = j;
    return 0;
}

static int on_call(void *user, job *j, void (*over)(job *j))
{
    (void)user;
    if (refusal)
        return refusal;
    ck_assert_ptr_null(called);
    called = j;
    called_over = over;
    return 0;
}

static void on_extend(void *user, void *host, uint64_t ns)
{
    (void)user;
    ck_assert_ptr_nonnull(host);
    extended_ns = ns;
}

static bool on_stopping(void *user)
{
    (void)user;
    return false;
}

static const vm_host host = {NULL,
                             .queues = on_queues,
                             .spawn = on_spawn,
                             .call = on_call,
                             .extend = on_extend,
                             .stopping = on_stopping};

static void on_tell(void *user, int level, const char *text)
{
    (void)user;
    (void)level;
    (void)text;
}

static void open_with(const char *url, const char *text)
{
    static const mq_config config = {.tell = on_tell};
    char error[256] = "";
    ck_assert_int_eq(wake_init(&bell), 0);
    inbox_init(&box, &bell);
    ck_assert_msg(mq_open(url, &config, &queues, error, sizeof error) == 0, "%s", error);
    fixture_init(&fx, "lazy", false);
    fx.config.host = &host;
    ck_assert_msg(fixture_load(&fx, text) == 0, "%s", fx.error);
}

static void set_up(void)
{
    spawned_n = 0;
    refusal = 0;
    called = NULL;
    open_with("memory:?max=1000", app);
}

/* What comes when nobody waits any more. */
static unsigned drop_letters(void)
{
    unsigned n = 0;
    for (letter *l = inbox_take(&box), *next; l; l = next, n++) {
        next = l->next;
        ck_assert_ptr_null(((await *)l)->waiter);
        await_unref((await *)l);
    }
    return n;
}

static void tear_down(void)
{
    mq_close(queues);
    queues = NULL;
    fixture_close(&fx);
    (void)drop_letters();
    wake_fini(&bell);
}

/* --- running --- */

/* Begin a handler that may wait for other threads. */
static void begin(call *c, const char *route)
{
    *c = (call){.id = "req-1"};
    c->run = vm_run_take(fx.vm);
    ck_assert_ptr_nonnull(c->run);
    c->request = vm_run_request(c->run);
    *c->request = (vm_request){.host = c,
                               .id = fixture_make_id,
                               .method = STR("GET"),
                               .target = STR("/"),
                               .path = STR("/"),
                               .body = STR(""),
                               .route = fixture_route(&fx, route),
                               .inbox = &box,
                               .body_out = &c->body_out,
                               .head_out = &c->head_out};
    c->result = vm_start(fx.vm, c->run);
}

/* As a thread of the pool does it when a handler is parked on an await. */
static await *take_await(call *c)
{
    ck_assert_int_eq(c->result, VM_PARKED);
    await *a = c->request->await;
    ck_assert_ptr_nonnull(a);
    await_ref(a);
    c->request->await = NULL;
    return a;
}

/* ... and when the letter has come. */
static void receive(call *c, await *a)
{
    ck_assert_ptr_eq(inbox_take(&box), &a->letter);
    a->over = true;
    await_unref(a);
    await_unref(a);
    c->result = vm_resume(fx.vm, c->run);
}

static void expect_body(call *c, int status, const char *body)
{
    ck_assert_int_eq(c->result, VM_DONE);
    ck_assert_int_eq(c->request->status, status);
    ck_assert_str_eq(call_body(c), body);
    call_end(&fx, c);
}

/* Run a consumer's job with a message to its end, past its waits; what went wrong, or "". Good until the
 * next. */
static const char *consume(const char *queue, const char *body)
{
    static char text[4096];
    call c = {.id = "job-1"};
    mq_message *m = mq_message_new(str_from(body), "m-1", NULL, NULL, NULL);
    char title[] = "queue work";
    job j = {.kind = JOB_CONSUME, .name = queue, .title = title, .messages = m};
    ck_assert_ptr_nonnull(m);
    m->attempt = 1;
    vm_run *run = vm_run_take(fx.vm);
    *vm_run_request(run) =
        (vm_request){.host = &c, .id = fixture_make_id, .job = &j, .inbox = &box, .route_name = title};
    for (vm_result r = vm_start(fx.vm, run); r == VM_PARKED; r = vm_resume(fx.vm, run))
        ;
    ck_assert_int_eq(j.failed, j.result.n > 0);
    snprintf(text, sizeof text, "%.*s", (int)j.result.n, j.result.n ? j.result.p : "");
    vm_run_give(fx.vm, run);
    buf_fini(&j.result);
    mq_message_free(m);
    return text;
}

static uint64_t ready_in(const char *queue)
{
    mq_op op = {.verb = MQ_STATS, .queue = queue};
    ck_assert_int_eq(mq_call(queues, &op), 0);
    uint64_t n = op.count ? op.stats[0].ready : 0;
    free(op.stats);
    return n;
}

static void fill(unsigned n)
{
    mq_op op = {.verb = MQ_PUSH, .queue = "work", .body = STR("0")};
    while (n-- > 0)
        ck_assert_int_eq(mq_call(queues, &op), 0);
}

/* --- consumers --- */

START_TEST(consumer_is_given_the_message_and_its_job)
{
    vm_job_def def;
    ck_assert(vm_job_at(fx.vm, 0, &def));
    ck_assert_str_eq(def.name, "work");
    ck_assert_str_eq(strrchr(def.where, '/'), "/app.lua:3");
    ck_assert_double_eq(vm_job_number(fx.vm, 0, "retries", -1), 5);
    ck_assert_str_eq(vm_job_text(fx.vm, 0, "dead_letter"), "work.dead");
    ck_assert(!vm_job_at(fx.vm, 1, &def));
    ck_assert_str_eq(consume("work", "{\"a\":[1]}"), "");
    ck_assert_contains(fixture_logged(&fx), "ran {\"a\":[1]} m-1 1");
    ck_assert_str_eq(consume("work", "\"sleep\""), "");
    ck_assert_uint_eq(vm_running(fx.vm), 0);
}
END_TEST

START_TEST(consumer_that_fails_says_where)
{
    const char *why = consume("work", "\"fail\"");
    ck_assert_contains(why, "app.lua:4: it went wrong");
    ck_assert_contains(why, "stack traceback:");
    ck_assert_contains(fixture_logged(&fx), "queue work: ");
}
END_TEST

START_TEST(job_of_a_queue_that_the_app_does_not_consume_has_failed)
{
    ck_assert_contains(consume("other", "1"), "this VM's app does not define it");
    ck_assert_contains(consume("work", "{"), "the message is no JSON");
    ck_assert_str_eq(consume("work", "1"), "");
}
END_TEST

START_TEST(consumer_asks_for_more_time)
{
    ck_assert_str_eq(consume("work", "\"extend\""), "");
    ck_assert_uint_eq(extended_ns, 2000000000u);
}
END_TEST

/* --- waits --- */

START_TEST(push_that_is_answered_at_once_does_not_wait)
{
    call c;
    begin(&c, "GET /push");
    expect_body(&c, 200, "a");
    ck_assert(inbox_is_empty(&box));
    ck_assert_uint_eq(ready_in("work"), 1);
}
END_TEST

START_TEST(push_that_waits_goes_on_when_there_is_room)
{
    call c;
    mq_op purge = {.verb = MQ_PURGE, .queue = "work"};
    fill(1000);
    begin(&c, "GET /wait");
    await *a = take_await(&c);
    ck_assert_int_eq(mq_call(queues, &purge), 0);
    receive(&c, a);
    ck_assert_int_eq(c.result, VM_DONE);
    ck_assert_int_eq(c.request->status, 200);
    call_end(&fx, &c);
    ck_assert_uint_eq(ready_in("work"), 1);
}
END_TEST

START_TEST(cancelled_wait_is_let_go_when_its_end_comes)
{
    call c;
    fill(1000);
    begin(&c, "GET /wait");
    await_unref(take_await(&c));
    vm_cancel(fx.vm, c.run);
    call_end(&fx, &c);
    ck_assert_uint_eq(vm_running(fx.vm), 0);
    mq_close(queues);
    queues = NULL;
    ck_assert_uint_eq(drop_letters(), 1);
}
END_TEST

START_TEST(wait_may_end_after_its_vm_was_closed)
{
    call c;
    fill(1000);
    begin(&c, "GET /wait");
    await_unref(take_await(&c));
    vm_forget(fx.vm);
    fixture_close_vm(&fx);
    buf_fini(&c.body_out);
    buf_fini(&c.head_out);
    mq_close(queues);
    queues = NULL;
    ck_assert_uint_eq(drop_letters(), 1);
}
END_TEST

START_TEST(push_without_queues_is_an_error_with_its_line)
{
    call c;
    mq_close(queues);
    queues = NULL;
    begin(&c, "GET /push");
    ck_assert_int_eq(c.request->status, 500);
    ck_assert_contains(fixture_logged(&fx),
                       "app.lua:9: queue.push: the queues are open once the app is loaded");
    call_end(&fx, &c);
}
END_TEST

/* --- spawning --- */

static void end_spawned(unsigned i)
{
    vm_run_give(fx.vm, spawned[i]);
    buf_fini(&spawned_jobs[i]->result);
    free(spawned_jobs[i]);
}

START_TEST(spawned_function_runs_when_it_is_begun)
{
    call c;
    begin(&c, "GET /spawn");
    ck_assert_uint_eq(spawned_n, 1);
    ck_assert_lacks(fixture_logged(&fx), "spawned");
    ck_assert_uint_eq(vm_running(fx.vm), 2);
    ck_assert_int_eq(vm_resume(fx.vm, spawned[0]), VM_PARKED);
    ck_assert_contains(fixture_logged(&fx), "spawned\t1\tnil\t3");
    ck_assert_int_eq(vm_resume(fx.vm, spawned[0]), VM_DONE);
    ck_assert_contains(fixture_logged(&fx), "on\n");
    end_spawned(0);
    expect_body(&c, 200, "x");
    ck_assert_uint_eq(vm_running(fx.vm), 0);
}
END_TEST

START_TEST(spawned_function_that_is_refused_leaves_nothing)
{
    refusal = _i ? -EAGAIN : -ENOMEM;
    for (int i = 0; i < 3; i++) {
        call c;
        begin(&c, "GET /keep");
        ck_assert_int_eq(c.request->status, 500);
        call_end(&fx, &c);
        ck_assert_uint_eq(vm_running(fx.vm), 0);
    }
    ck_assert_contains(fixture_logged(&fx), _i ? "too many spawned functions" : "not enough memory");
    ck_assert_str_eq(fixture_get(&fx, "GET /kept"), "200 text/plain|nil");
}
END_TEST

START_TEST(spawned_function_that_is_given_up_is_kept_no_more)
{
    call c;
    begin(&c, "GET /keep");
    expect_body(&c, 200, "x");
    vm_cancel(fx.vm, spawned[0]);
    end_spawned(0);
    ck_assert_uint_eq(vm_running(fx.vm), 0);
    ck_assert_str_eq(fixture_get(&fx, "GET /kept"), "200 text/plain|nil");
}
END_TEST

/* --- calls --- */

/* Run what was handed on, as another VM would. */
static void run_called(void)
{
    call c = {.id = "call-1"};
    job *j = called;
    called = NULL;
    vm_run *run = vm_run_take(fx.vm);
    ck_assert_ptr_nonnull(run);
    *vm_run_request(run) =
        (vm_request){.host = &c, .id = fixture_make_id, .job = j, .inbox = &box, .route_name = j->title};
    ck_assert_int_eq(vm_start(fx.vm, run), VM_DONE);
    vm_run_give(fx.vm, run);
    called_over(j);
}

START_TEST(call_comes_back_with_its_results)
{
    call c;
    begin(&c, "GET /call");
    await *a = take_await(&c);
    ck_assert_str_eq(called->name, "string.rep");
    run_called();
    receive(&c, a);
    expect_body(&c, 200, "[\"xxx\"]");
}
END_TEST

START_TEST(call_that_ends_when_nobody_waits_leaves_nothing)
{
    call c;
    begin(&c, "GET /call");
    await_unref(take_await(&c));
    vm_cancel(fx.vm, c.run);
    call_end(&fx, &c);
    run_called();
    ck_assert_uint_eq(drop_letters(), 1);
}
END_TEST

START_TEST(call_that_is_refused_is_an_error)
{
    call c;
    refusal = -EAGAIN;
    begin(&c, "GET /call");
    ck_assert_int_eq(c.request->status, 500);
    ck_assert_contains(fixture_logged(&fx), "app.lua:14: task.run(\"string.rep\"): too many wait already");
    call_end(&fx, &c);
    ck_assert(inbox_is_empty(&box));
}
END_TEST

START_TEST(argument_that_is_no_json_leaves_nothing_of_the_others)
{
    call c;
    begin(&c, "GET /unfit");
    ck_assert_int_eq(c.request->status, 500);
    ck_assert_contains(fixture_logged(&fx), "GET /unfit: task.run: json: cannot encode a function");
    call_end(&fx, &c);
    ck_assert_ptr_null(called);
}
END_TEST

/* --- short of memory --- */

#ifdef POOLSRV_DEBUG

enum { FAILURES_MOST = 400 };

/* All of it, with each of Lua's allocations refused in turn: it ends, with a 200 or a 500, and nothing is
 * left.
 */
static int run_all(size_t after)
{
    call c;
    spawned_n = 0;
    vm_fail_allocations(after, 2);
    begin(&c, "GET /all");
    if (c.result == VM_PARKED) {
        await *a = take_await(&c);
        run_called();
        receive(&c, a);
    }
    vm_fail_allocations(0, 0);
    ck_assert_int_eq(c.result, VM_DONE);
    int status = c.request->status;
    call_end(&fx, &c);
    for (unsigned i = 0; i < spawned_n; i++) {
        while (vm_resume(fx.vm, spawned[i]) == VM_PARKED)
            ;
        end_spawned(i);
    }
    ck_assert_uint_eq(vm_running(fx.vm), 0);
    ck_assert(inbox_is_empty(&box));
    return status;
}

START_TEST(each_allocation_may_fail)
{
    unsigned failed = 0, went_well = 0;
    for (size_t after = 0; after < FAILURES_MOST; after++) {
        fixture_close_vm(&fx); /* one that ran short is not to serve on */
        ck_assert_int_eq(fixture_load(&fx, app), 0);
        int status = run_all(after);
        ck_assert_msg(status == 200 || status == 500, "the status is %d", status);
        failed += status == 500;
        went_well += status == 200;
    }
    ck_assert_uint_gt(failed, 20);
    ck_assert_uint_gt(went_well, 20);
}
END_TEST

#endif

static Suite *jobs_suite(void)
{
    Suite *s = suite_create("jobs");
    TCase *tc = tcase_create("consumers");
    tcase_add_checked_fixture(tc, set_up, tear_down);
    tcase_add_test(tc, consumer_is_given_the_message_and_its_job);
    tcase_add_test(tc, consumer_that_fails_says_where);
    tcase_add_test(tc, job_of_a_queue_that_the_app_does_not_consume_has_failed);
    tcase_add_test(tc, consumer_asks_for_more_time);
    suite_add_tcase(s, tc);
    tc = tcase_create("waits");
    tcase_add_checked_fixture(tc, set_up, tear_down);
    tcase_add_test(tc, push_that_is_answered_at_once_does_not_wait);
    tcase_add_test(tc, push_that_waits_goes_on_when_there_is_room);
    tcase_add_test(tc, cancelled_wait_is_let_go_when_its_end_comes);
    tcase_add_test(tc, wait_may_end_after_its_vm_was_closed);
    tcase_add_test(tc, push_without_queues_is_an_error_with_its_line);
    suite_add_tcase(s, tc);
    tc = tcase_create("tasks");
    tcase_add_checked_fixture(tc, set_up, tear_down);
    tcase_add_test(tc, spawned_function_runs_when_it_is_begun);
    tcase_add_loop_test(tc, spawned_function_that_is_refused_leaves_nothing, 0, 2);
    tcase_add_test(tc, spawned_function_that_is_given_up_is_kept_no_more);
    tcase_add_test(tc, call_comes_back_with_its_results);
    tcase_add_test(tc, call_that_ends_when_nobody_waits_leaves_nothing);
    tcase_add_test(tc, call_that_is_refused_is_an_error);
    tcase_add_test(tc, argument_that_is_no_json_leaves_nothing_of_the_others);
    suite_add_tcase(s, tc);
#ifdef POOLSRV_DEBUG
    tc = tcase_create("short of memory");
    tcase_add_checked_fixture(tc, set_up, tear_down);
    tcase_set_timeout(tc, 300);
    tcase_add_test(tc, each_allocation_may_fail);
    suite_add_tcase(s, tc);
#endif
    return s;
}

int main(void)
{
    SRunner *sr = srunner_create(jobs_suite());
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
