/* The client, against real servers: what it answers when they stop, end, are cut off or are none. */
#include "queue/redis.h"

#include <check.h>
#include <pthread.h>

#include "tests/redis_server.h"
#include "tests/tcp_proxy.h"

enum { PATIENCE_S = 30, SHORT_MS = 150, LONG_MS = 20000, TEXT_BYTES = 256 };

static redis_server server;
static redis *client;
static tcp_proxy proxy;

/* --- what is told --- */

static pthread_mutex_t told_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t told_changed = PTHREAD_COND_INITIALIZER;
static char told[4096]; /* everything, a line each */

static struct timespec patience(void)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += PATIENCE_S;
    return until;
}

static void on_tell(void *user, int level, const char *text)
{
    (void)user;
    pthread_mutex_lock(&told_lock);
    size_t n = strlen(told);
    snprintf(told + n, sizeof told - n, "%d %s\n", level, text);
    pthread_cond_broadcast(&told_changed);
    pthread_mutex_unlock(&told_lock);
}

static void await_told(const char *part)
{
    struct timespec until = patience();
    pthread_mutex_lock(&told_lock);
    while (!strstr(told, part))
        ck_assert_msg(pthread_cond_timedwait(&told_changed, &told_lock, &until) == 0,
                      "never told: %s; but: %s", part, told);
    pthread_mutex_unlock(&told_lock);
}

/* --- opening --- */

/* Open by an address without its scheme. */
static int try_open(const char *rest, int64_t timeout_ms, char error[static TEXT_BYTES])
{
    redis_options o = {.timeout_ms = timeout_ms, .tell = on_tell};
    ck_assert_int_eq(redis_address_read(str_from(rest), &o.address, error, TEXT_BYTES), 0);
    return redis_open(&o, &client, error, TEXT_BYTES);
}

static void open_at(const char *rest, int64_t timeout_ms)
{
    char error[TEXT_BYTES] = "";
    ck_assert_msg(try_open(rest, timeout_ms, error) == 0, "%s", error);
}

static void open_port(int port, int64_t timeout_ms)
{
    char rest[64];
    snprintf(rest, sizeof rest, "//127.0.0.1:%d", port);
    open_at(rest, timeout_ms);
}

static void start_server(const char *const *more)
{
    redis_server_start(&server, more);
}

static void close_all(void)
{
    redis_close(client);
    client = NULL;
    redis_server_stop(&server);
}

/* --- commands --- */

typedef struct answer {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned times;
    int err;
    char error[REDIS_ERROR_BYTES];
    char text[TEXT_BYTES];
} answer;

static void on_done(void *user, int err, const char *error, const redis_reply *reply)
{
    answer *a = user;
    str text = redis_text(reply);
    pthread_mutex_lock(&a->lock);
    a->times++;
    a->err = err;
    snprintf(a->error, sizeof a->error, "%s", error);
    if (text.p)
        snprintf(a->text, sizeof a->text, "%.*s", (int)text.n, text.p);
    else
        snprintf(a->text, sizeof a->text, "%lld", (long long)redis_integer(reply));
    pthread_cond_broadcast(&a->changed);
    pthread_mutex_unlock(&a->lock);
}

/* Words are divided by spaces. */
static void submit(answer *a, const char *command)
{
    char text[TEXT_BYTES], *rest = NULL;
    const char *p[16];
    size_t bytes[16];
    int n = 0;
    *a = (answer){.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    snprintf(text, sizeof text, "%s", command);
    for (char *word = strtok_r(text, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
        p[n] = word;
        bytes[n++] = strlen(word);
    }
    redis_submit(client, (redis_arguments){n, p, bytes}, on_done, a);
}

static int await(answer *a)
{
    struct timespec until = patience();
    pthread_mutex_lock(&a->lock);
    while (!a->times)
        ck_assert_msg(pthread_cond_timedwait(&a->changed, &a->lock, &until) == 0, "no answer at all");
    pthread_mutex_unlock(&a->lock);
    return a->err;
}

static int ask(answer *a, const char *command)
{
    submit(a, command);
    return await(a);
}

#define expect_text(command, expected)                                                                       \
    do {                                                                                                     \
        answer a_;                                                                                           \
        ck_assert_msg(ask(&a_, command) == 0, "%s", a_.error);                                               \
        ck_assert_str_eq(a_.text, expected);                                                                 \
    } while (0)

/* Until it works again; errors meanwhile are as they should be. */
static void await_service(void)
{
    answer a;
    time_t until = time(NULL) + PATIENCE_S;
    while (ask(&a, "ECHO back") != 0) {
        ck_assert_msg(a.err == -ENOTCONN || a.err == -ETIMEDOUT, "%d %s", a.err, a.error);
        ck_assert_int_le(time(NULL), until);
    }
    ck_assert_str_eq(a.text, "back");
}

/* --- when all is well --- */

START_TEST(commands_are_answered_over_both_kinds_of_sockets)
{
    start_server(NULL);
    open_at(server.path, LONG_MS);
    expect_text("SET a 1", "OK");
    redis_close(client);
    open_port(server.port, LONG_MS);
    expect_text("INCR a", "2");
    answer a;
    ck_assert_int_eq(ask(&a, "NONSENSE"), -EPROTO);
    ck_assert_ptr_nonnull(strstr(a.error, "unknown command"));
    ck_assert_ptr_nonnull(strstr(a.error, "redis://127.0.0.1:"));
    expect_text("GET a", "2");
}
END_TEST

START_TEST(arguments_may_hold_any_bytes)
{
    static const char bytes[] = "a\0b\r\n$5\r\n";
    answer a = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    start_server(NULL);
    open_at(server.path, LONG_MS);
    const char *p[] = {"SET", bytes, bytes};
    redis_submit(client, (redis_arguments){3, p, (const size_t[]){3, sizeof bytes, sizeof bytes}}, on_done,
                 &a);
    ck_assert_int_eq(await(&a), 0);
    expect_text("DBSIZE", "1");
    redisContext *direct = redis_server_connect(&server);
    redisReply *reply = redisCommand(direct, "GET %b", bytes, sizeof bytes);
    ck_assert_uint_eq(reply->len, sizeof bytes);
    ck_assert_mem_eq(reply->str, bytes, sizeof bytes);
    freeReplyObject(reply);
    redisFree(direct);
}
END_TEST

enum { THREADS = 4, EACH = 2000 };

/* Each asks for texts of its own, many at a time. Returns: how many did not come, in *user. */
static void *ask_many(void *user)
{
    int *number = user, failed = 0;
    enum { AT_ONCE = 50 };
    static _Thread_local answer answers[AT_ONCE];
    char text[AT_ONCE][40], command[64];
    for (int round = 0; round < EACH / AT_ONCE; round++) {
        for (int i = 0; i < AT_ONCE; i++) {
            snprintf(text[i], sizeof text[i], "%d/%d/%d", *number, round, i);
            snprintf(command, sizeof command, "ECHO %.40s", text[i]);
            submit(&answers[i], command);
        }
        for (int i = 0; i < AT_ONCE; i++) {
            if (await(&answers[i]) == 0)
                ck_assert_str_eq(answers[i].text, text[i]); /* never another's */
            else
                failed++;
        }
    }
    *number = failed;
    return NULL;
}

/* Returns: how many failed. */
static int ask_from_threads(void)
{
    pthread_t threads[THREADS];
    int numbers[THREADS], failed = 0;
    for (int i = 0; i < THREADS; i++) {
        numbers[i] = i;
        ck_assert_int_eq(pthread_create(&threads[i], NULL, ask_many, &numbers[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        failed += numbers[i];
    }
    return failed;
}

START_TEST(each_thread_gets_its_own_replies)
{
    start_server(NULL);
    open_at(server.path, LONG_MS);
    ck_assert_int_eq(ask_from_threads(), 0);
}
END_TEST

START_TEST(a_large_reply_comes_whole)
{
    enum { BYTES = 3000000 };
    start_server(NULL);
    open_port(server.port, LONG_MS);
    char *big = malloc(BYTES);
    memset(big, 'x', BYTES);
    answer a = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    const char *p[] = {"SET", "big", big};
    redis_submit(client, (redis_arguments){3, p, (const size_t[]){3, 3, BYTES}}, on_done, &a);
    free(big); /* it was copied */
    ck_assert_int_eq(await(&a), 0);
    expect_text("STRLEN big", "3000000");
    ck_assert_int_eq(ask(&a, "GET big"), 0);
    ck_assert_uint_eq(strlen(a.text), TEXT_BYTES - 1);
    expect_text("ECHO after", "after");
}
END_TEST

/* --- opening that fails --- */

static const char *const with_password[] = {"--requirepass", "p@ss:/%", NULL};

START_TEST(a_wrong_password_is_told_at_open)
{
    static const struct {
        const char *login;
        int err;
    } all[] = {{":wrong@", -EACCES},
               {"", -EACCES},
               {":p%40ss%3A%2F%25@", 0},
               {"default:p%40ss%3A%2F%25@", 0},
               {"nobody:p%40ss%3A%2F%25@", -EACCES}};
    start_server(with_password);
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        char rest[128], error[TEXT_BYTES] = "";
        snprintf(rest, sizeof rest, "//%s127.0.0.1:%d", all[i].login, server.port);
        client = NULL;
        ck_assert_int_eq(try_open(rest, LONG_MS, error), all[i].err);
        ck_assert_ptr_null(strstr(error, "p@ss"));
        if (all[i].err)
            ck_assert_ptr_nonnull(strstr(error, "the server refuses"));
        else
            expect_text("ECHO in", "in");
        redis_close(client);
    }
    client = NULL;
}
END_TEST

START_TEST(a_password_where_there_is_none_is_told_at_open)
{
    char rest[64], error[TEXT_BYTES] = "";
    start_server(NULL);
    snprintf(rest, sizeof rest, "//:secret@127.0.0.1:%d", server.port);
    ck_assert_int_eq(try_open(rest, LONG_MS, error), -EACCES);
    ck_assert_ptr_nonnull(strstr(error, "password"));
}
END_TEST

START_TEST(a_wrong_database_is_told_at_open_and_a_right_one_is_used)
{
    char rest[64], error[TEXT_BYTES] = "";
    start_server(NULL);
    snprintf(rest, sizeof rest, "//127.0.0.1:%d/99", server.port);
    ck_assert_int_eq(try_open(rest, LONG_MS, error), -EINVAL);
    ck_assert_ptr_nonnull(strstr(error, "the database"));
    snprintf(rest, sizeof rest, "//127.0.0.1:%d/3", server.port);
    open_at(rest, LONG_MS);
    expect_text("SET here 1", "OK");
    redis_close(client);
    open_port(server.port, LONG_MS);
    expect_text("EXISTS here", "0");
}
END_TEST

/* A server that says these things, and is none of Redis'. */
static void start_impostor(const char *first, const char *second, const char *third)
{
    memset(&proxy, 0, sizeof proxy);
    proxy.answers[0] = first;
    proxy.answers[1] = second;
    proxy.answers[2] = third;
    tcp_proxy_start(&proxy);
}

START_TEST(what_is_no_redis_server_is_told_at_open)
{
    static const char *const says[] = {"HTTP/1.1 400 Bad Request\r\n\r\n",
                                       "+OK\r\n",
                                       "220 mail ESMTP\r\n",
                                       "$5\r\nhello\r\n",
                                       "*1\r\n:1\r\n",
                                       ":7\r\n",
                                       "*-7\r\n",
                                       "$x\r\n"};
    for (size_t i = 0; i < sizeof says / sizeof says[0]; i++) {
        char rest[64], error[TEXT_BYTES] = "";
        start_impostor(says[i], NULL, NULL);
        snprintf(rest, sizeof rest, "//127.0.0.1:%d", proxy.port);
        ck_assert_int_eq(try_open(rest, LONG_MS, error), -EPROTO);
        ck_assert_ptr_nonnull(strstr(error, "Redis"));
        tcp_proxy_stop(&proxy);
    }
}
END_TEST

START_TEST(a_server_that_says_nothing_or_hangs_up_is_tried_again)
{
    answer a;
    start_impostor(NULL, NULL, NULL); /* hangs up */
    open_port(proxy.port, SHORT_MS);
    await_told("no connection yet");
    ck_assert_int_eq(ask(&a, "PING"), -ENOTCONN);
    ck_assert_ptr_nonnull(strstr(a.error, "not connected"));
    redis_close(client);
    tcp_proxy_stop(&proxy);
    start_impostor("", NULL, NULL); /* says nothing */
    told[0] = '\0';
    open_port(proxy.port, SHORT_MS);
    await_told("no answer in time");
    ck_assert_int_eq(ask(&a, "PING"), -ENOTCONN);
    while (atomic_load(&proxy.accepted) < 2)
        sched_yield();
    redis_close(client);
    client = NULL;
    tcp_proxy_stop(&proxy);
}
END_TEST

START_TEST(a_server_with_too_many_clients_is_tried_again)
{
    static const char *const one_client[] = {"--maxclients", "1", NULL};
    start_server(one_client);
    redisContext *direct = redis_server_connect(&server);
    freeReplyObject(redisCommand(direct, "PING"));
    open_at(server.path, LONG_MS);
    await_told("no connection yet"); /* or why: the server hangs up, and may be faster than our question */
    redisFree(direct);
    await_service();
}
END_TEST

/* --- no server, and then one --- */

START_TEST(without_a_server_it_opens_and_goes_on_when_there_is_one)
{
    answer a;
    server.port = redis_server_free_port();
    open_port(server.port, SHORT_MS);
    await_told("1 redis://127.0.0.1");
    await_told("Connection refused");
    ck_assert_int_eq(ask(&a, "PING"), -ENOTCONN);
    ck_assert_ptr_nonnull(strstr(a.error, "Connection refused"));
    redis_close(client);

    start_server(NULL);
    redis_server_kill(&server);
    told[0] = '\0';
    open_at(server.path, LONG_MS);
    submit(&a, "ECHO kept"); /* it waits for the server */
    redis_server_run(&server);
    ck_assert_msg(await(&a) == 0, "%s", a.error);
    ck_assert_str_eq(a.text, "kept");
    await_told("connected again");
}
END_TEST

START_TEST(a_server_that_ends_and_comes_back_is_used_again)
{
    answer a;
    start_server(NULL);
    open_at(server.path, 2000);
    expect_text("ECHO one", "one");
    for (int i = 0; i < 5; i++) {
        redis_server_kill(&server);
        await_told("not connected any more");
        submit(&a, "ECHO two");
        redis_server_run(&server);
        await(&a);
        ck_assert_msg(a.err == 0 || a.err == -ENOTCONN, "%s", a.error);
        await_service();
    }
}
END_TEST

START_TEST(a_server_that_was_stopped_for_a_while_gives_errors_in_time)
{
    enum { COMMANDS = 20 };
    static answer all[COMMANDS];
    char command[32];
    start_server(NULL);
    open_at(server.path, SHORT_MS);
    for (int round = 0; round < 3; round++) {
        redis_server_signal(&server, SIGSTOP);
        for (int i = 0; i < COMMANDS; i++) {
            snprintf(command, sizeof command, "ECHO %d", i);
            submit(&all[i], command);
        }
        int late = 0;
        for (int i = 0; i < COMMANDS; i++) {
            int err = await(&all[i]);
            ck_assert_msg(err == -ETIMEDOUT || err == -ENOTCONN, "%d %s", err, all[i].error);
            ck_assert_ptr_nonnull(strstr(all[i].error, err == -ETIMEDOUT ? "150 ms" : "not"));
            late += err == -ETIMEDOUT;
        }
        ck_assert_int_gt(late + round, 0); /* later rounds find no connection perhaps */
        redis_server_signal(&server, SIGCONT);
        await_service();
    }
}
END_TEST

static const char *const with_debug[] = {"--enable-debug-command", "yes", NULL};

START_TEST(a_slow_server_gives_no_reply_to_the_wrong_command)
{
    answer slow, behind, after;
    start_server(with_debug);
    open_port(server.port, SHORT_MS);
    for (int i = 0; i < 5; i++) {
        submit(&slow, "DEBUG SLEEP 0.4");
        submit(&behind, "ECHO behind");
        ck_assert_int_eq(await(&slow), -ETIMEDOUT);
        await(&behind);
        ck_assert(behind.err == -ETIMEDOUT || behind.err == -ENOTCONN);
        submit(&after, "ECHO after");
        if (await(&after) == 0)
            ck_assert_str_eq(after.text, "after");
        await_service();
    }
}
END_TEST

START_TEST(a_password_that_was_changed_is_told)
{
    start_server(NULL);
    open_at(server.path, 2000);
    redis_server_do(&server, "CONFIG SET requirepass new");
    redisContext *direct = redis_server_connect(&server);
    freeReplyObject(redisCommand(direct, "AUTH new"));
    freeReplyObject(redisCommand(direct, "CLIENT KILL TYPE normal SKIPME yes"));
    await_told("the server refuses the connection: NOAUTH");
    freeReplyObject(redisCommand(direct, "CONFIG SET requirepass %s", ""));
    redisFree(direct);
    await_told("connected again");
    await_service();
}
END_TEST

/* --- errors of a server --- */

START_TEST(errors_of_the_server_have_their_numbers)
{
    answer a;
    start_server(NULL);
    open_at(server.path, LONG_MS);
    expect_text("SET a 1", "OK");
    redis_server_do(&server, "CONFIG SET maxmemory 1");
    ck_assert_int_eq(ask(&a, "SET a 2"), -ENOSPC);
    ck_assert_ptr_nonnull(strstr(a.error, "maxmemory"));
    redis_server_do(&server, "CONFIG SET maxmemory 0");
    redis_server_do(&server, "REPLICAOF 127.0.0.1 1");
    ck_assert_int_eq(ask(&a, "SET a 2"), -EAGAIN);
    ck_assert_ptr_nonnull(strstr(a.error, "read only"));
    redis_server_do(&server, "CONFIG SET replica-serve-stale-data no");
    ck_assert_int_eq(ask(&a, "GET a"), -EAGAIN);
    redis_server_do(&server, "REPLICAOF NO ONE");
    expect_text("GET a", "1");
    redis_server_do(&server, "ACL SETUSER default -get");
    ck_assert_int_eq(ask(&a, "GET a"), -EACCES);
}
END_TEST

/* --- scripts --- */

static int ask_script(answer *a, const redis_script *script, const char *word)
{
    *a = (answer){.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    const char *p[] = {"", "0", word};
    redis_submit_script(client, script, (redis_arguments){3, p, (const size_t[]){0, 1, strlen(word)}},
                        on_done, a);
    return 0;
}

START_TEST(a_script_that_the_server_does_not_know_is_told_it)
{
    enum { CALLS = 100 };
    static answer all[CALLS];
    redis_script script, wrong;
    char word[16];
    redis_script_init(&script, STR("return ARGV[1]"));
    redis_script_init(&wrong, STR("return return"));
    start_server(NULL);
    open_at(server.path, 2000);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < CALLS; i++) {
            snprintf(word, sizeof word, "%d", i);
            ask_script(&all[i], &script, word);
        }
        for (int i = 0; i < CALLS; i++) {
            snprintf(word, sizeof word, "%d", i);
            ck_assert_msg(await(&all[i]) == 0, "%s", all[i].error);
            ck_assert_str_eq(all[i].text, word);
        }
        if (round == 0) {
            redis_server_do(&server, "SCRIPT FLUSH");
        } else if (round == 1) {
            redis_server_kill(&server);
            redis_server_run(&server);
            await_service();
        }
    }
    ask_script(&all[0], &wrong, "x");
    ck_assert_int_eq(await(&all[0]), -EPROTO);
    expect_text("ECHO after", "after");
}
END_TEST

/* --- bad networks --- */

static void start_proxy(long cut, unsigned piece, unsigned delay_us)
{
    start_server(NULL);
    memset(&proxy, 0, sizeof proxy);
    proxy.server_port = server.port;
    atomic_store(&proxy.cut, cut);
    atomic_store(&proxy.piece, piece);
    atomic_store(&proxy.delay_us, delay_us);
    tcp_proxy_start(&proxy);
}

static void stop_proxy(void)
{
    redis_close(client);
    client = NULL;
    tcp_proxy_stop(&proxy);
}

START_TEST(replies_in_small_pieces_are_put_together)
{
    start_proxy(-1, 3, 0);
    open_port(proxy.port, LONG_MS);
    ck_assert_int_eq(ask_from_threads(), 0);
    stop_proxy();
}
END_TEST

START_TEST(a_slow_network_is_waited_for)
{
    answer a;
    start_proxy(-1, 1, 200);
    open_port(proxy.port, LONG_MS);
    for (int i = 0; i < 20; i++) {
        ck_assert_int_eq(ask(&a, "ECHO abcdefghijklmnopqrstuvwxyz"), 0);
        ck_assert_str_eq(a.text, "abcdefghijklmnopqrstuvwxyz");
    }
    stop_proxy();
}
END_TEST

static unsigned from_environment(const char *name, unsigned preset)
{
    const char *text = getenv(name);
    return text ? (unsigned)strtoul(text, NULL, 10) : preset;
}

/* Each connection ends after some bytes of the replies: at each of the first hundreds, and at random. */
START_TEST(replies_that_are_cut_off_are_errors_and_never_anothers)
{
    enum { COMMANDS = 40 };
    static answer all[COMMANDS];
    unsigned rounds = from_environment("REDIS_CUTS", 150), seed = from_environment("REDIS_SEED", 1);
    unsigned well = 0, cut_off = 0;
    char command[64], text[32];
    start_proxy(7, 0, 0); /* the greeting's +PONG passes */
    open_port(proxy.port, LONG_MS);
    for (unsigned round = 0; round < rounds; round++) {
        long cut = round < 100 ? (long)round + 7 : rand_r(&seed) % 2000 + 7;
        atomic_store(&proxy.cut, cut);
        atomic_store(&proxy.piece, rand_r(&seed) % 4 ? 0 : 1);
        for (int i = 0; i < COMMANDS; i++) {
            snprintf(command, sizeof command, "ECHO %u:%d:%0*d", round, i, (int)(rand_r(&seed) % 20), i);
            submit(&all[i], command);
        }
        for (int i = 0; i < COMMANDS; i++) {
            int err = await(&all[i]);
            snprintf(text, sizeof text, "%u:%d:", round, i);
            ck_assert_msg(err == 0 || err == -ENOTCONN, "%d %s", err, all[i].error);
            if (err == 0)
                ck_assert_msg(strncmp(all[i].text, text, strlen(text)) == 0, "%s for %s", all[i].text, text);
            ck_assert_uint_eq(all[i].times, 1);
            well += err == 0;
            cut_off += err != 0;
        }
    }
    ck_assert_uint_gt(well, 0);
    ck_assert_uint_gt(cut_off, 0);
    atomic_store(&proxy.cut, -1);
    await_service();
    stop_proxy();
}
END_TEST

START_TEST(what_was_not_asked_for_ends_the_connection_and_not_the_process)
{
    static const char *const says[] = {
        "+PONG\r\n+more\r\n", "+PONG\r\n$3\r\nabc\r\n*2\r\n:1\r\n:2\r\n",
        "+PONG\r\n*0\r\n",    "+PONG\r\n$-1\r\n",
        "+PONG\r\n:12\r\n",   "+PONG\r\n-ERR max number of clients reached\r\n",
        "+PONG\r\n*-1\r\n"};
    for (size_t i = 0; i < sizeof says / sizeof says[0]; i++) {
        start_impostor(says[i], NULL, NULL);
        told[0] = '\0';
        open_port(proxy.port, SHORT_MS);
        await_told("not connected any more");
        while (atomic_load(&proxy.accepted) < 3)
            sched_yield();
        redis_close(client);
        client = NULL;
        tcp_proxy_stop(&proxy);
    }
}
END_TEST

/* --- subscriptions --- */

typedef struct heard {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned confirmed;
    char text[TEXT_BYTES];
} heard;

static heard ears = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static void on_message(void *user, const char *channel, str message)
{
    heard *h = user;
    pthread_mutex_lock(&h->lock);
    h->confirmed += message.p == NULL;
    if (message.p)
        snprintf(h->text, sizeof h->text, "%s %.*s", channel, (int)message.n, message.p);
    pthread_cond_broadcast(&h->changed);
    pthread_mutex_unlock(&h->lock);
}

static void await_confirmed(unsigned more_than)
{
    struct timespec until = patience();
    pthread_mutex_lock(&ears.lock);
    while (ears.confirmed <= more_than)
        ck_assert_msg(pthread_cond_timedwait(&ears.changed, &ears.lock, &until) == 0, "not subscribed");
    pthread_mutex_unlock(&ears.lock);
}

static void await_heard(const char *text)
{
    struct timespec until = patience();
    pthread_mutex_lock(&ears.lock);
    while (strcmp(ears.text, text) != 0)
        ck_assert_msg(pthread_cond_timedwait(&ears.changed, &ears.lock, &until) == 0,
                      "not heard: %s; but: %s", text, ears.text);
    pthread_mutex_unlock(&ears.lock);
}

START_TEST(subscriptions_hear_and_are_made_anew)
{
    start_server(NULL);
    open_at(server.path, 2000);
    redis_on_message(client, on_message, &ears);
    ck_assert_int_eq(redis_subscribe(client, "one"), 0);
    ck_assert_int_eq(redis_subscribe(client, "one"), 0);
    ck_assert_int_eq(redis_subscribe(client, "two"), 0);
    await_confirmed(1);
    expect_text("PUBLISH one hello", "1");
    await_heard("one hello");
    unsigned before = ears.confirmed;
    redis_server_kill(&server);
    redis_server_run(&server);
    await_confirmed(before + 1);
    await_service();
    expect_text("PUBLISH two again", "1");
    await_heard("two again");
    redis_unsubscribe(client, "two");
    redis_unsubscribe(client, "unknown");
    answer a;
    do
        ck_assert_int_eq(ask(&a, "PUBLISH two nobody"), 0);
    while (strcmp(a.text, "0") != 0);
    expect_text("PUBLISH one still", "1");
    await_heard("one still");
}
END_TEST

START_TEST(pushes_that_make_no_sense_do_no_harm)
{
    static const char *const says[] = {"*3\r\n$7\r\nmessage\r\n:1\r\n:2\r\n",
                                       "+what\r\n",
                                       "*0\r\n",
                                       "$-1\r\n",
                                       "*3\r\n*1\r\n:1\r\n$-1\r\n$1\r\na\r\n",
                                       "-ERR no\r\n",
                                       "*3\r\n$11\r\nunsubscribe\r\n$-1\r\n$1\r\nx\r\n"};
    for (size_t i = 0; i < sizeof says / sizeof says[0]; i++) {
        char rest[256], expected[32];
        snprintf(rest, sizeof rest, "%s*3\r\n$7\r\nmessage\r\n$3\r\none\r\n$1\r\n%zu\r\n", says[i], i);
        start_impostor("+PONG\r\n", rest, "");
        open_port(proxy.port, SHORT_MS);
        redis_on_message(client, on_message, &ears);
        ck_assert_int_eq(redis_subscribe(client, "one"), 0);
        snprintf(expected, sizeof expected, "one %zu", i);
        await_heard(expected);
        redis_close(client);
        client = NULL;
        tcp_proxy_stop(&proxy);
    }
}
END_TEST

/* --- closing --- */

START_TEST(closing_answers_all_and_each_once)
{
    enum { COMMANDS = 300 };
    static answer all[COMMANDS], none;
    start_server(NULL);
    open_at(server.path, LONG_MS);
    for (int i = 0; i < COMMANDS; i++)
        submit(&all[i], "ECHO x");
    redis_close(client);
    for (int i = 0; i < COMMANDS; i++) {
        ck_assert_uint_eq(all[i].times, 1);
        ck_assert_msg(all[i].err == 0 || all[i].err == -ESHUTDOWN, "%s", all[i].error);
    }
    redis_server_kill(&server);
    open_at(server.path, LONG_MS);
    submit(&none, "ECHO x");
    redis_close(client); /* waits for no server */
    ck_assert_uint_eq(none.times, 1);
    ck_assert_int_eq(none.err, -ESHUTDOWN);
    client = NULL;
}
END_TEST

/* --- addresses --- */

START_TEST(addresses_are_read)
{
    static const struct {
        const char *text;
        redis_address expected;
    } good[] = {
        {"//localhost", {.host = "localhost", .port = 6379}},
        {"//localhost/", {.host = "localhost", .port = 6379}},
        {"//10.0.0.1:7000/15", {.host = "10.0.0.1", .port = 7000, .db = 15}},
        {"//:pw@h", {.host = "h", .port = 6379, .password = "pw"}},
        {"//me:a%3Ab%40c%2F@h:1/2", {.host = "h", .port = 1, .user = "me", .password = "a:b@c/", .db = 2}},
        {"//:p@w@h", {.host = "h", .port = 6379, .password = "p@w"}},
        {"//[::1]:7000", {.host = "::1", .port = 7000}},
        {"//[fe80::1]/1", {.host = "fe80::1", .port = 6379, .db = 1}},
        {"/run/redis.sock", {.path = "/run/redis.sock"}},
        {"redis.sock", {.path = "redis.sock"}},
    };
    static const char *const bad[] = {"",         "//",     "//:80",    "//h:",    "//h:0",  "//h:65536",
                                      "//h:x",    "//h/x",  "//h/-1",   "//h/1/2", "//pw@h", "//:%zz@h",
                                      "//:%00@h", "//[::1", "//[::1]x", "//[]"};
    char error[TEXT_BYTES];
    redis_address a;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        ck_assert_msg(redis_address_read(str_from(good[i].text), &a, error, sizeof error) == 0, "%s",
                      good[i].text);
        ck_assert_str_eq(a.host, good[i].expected.host);
        ck_assert_int_eq(a.port, good[i].expected.port);
        ck_assert_str_eq(a.path, good[i].expected.path);
        ck_assert_str_eq(a.user, good[i].expected.user);
        ck_assert_str_eq(a.password, good[i].expected.password);
        ck_assert_int_eq(a.db, good[i].expected.db);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        error[0] = '\0';
        ck_assert_msg(redis_address_read(str_from(bad[i]), &a, error, sizeof error) == -EINVAL, "%s", bad[i]);
        ck_assert_str_ne(error, "");
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("redis");
    TCase *tests = tcase_create("redis");
    tcase_add_checked_fixture(tests, NULL, close_all);
    tcase_add_test(tests, commands_are_answered_over_both_kinds_of_sockets);
    tcase_add_test(tests, arguments_may_hold_any_bytes);
    tcase_add_test(tests, each_thread_gets_its_own_replies);
    tcase_add_test(tests, a_large_reply_comes_whole);
    tcase_add_test(tests, a_wrong_password_is_told_at_open);
    tcase_add_test(tests, a_password_where_there_is_none_is_told_at_open);
    tcase_add_test(tests, a_wrong_database_is_told_at_open_and_a_right_one_is_used);
    tcase_add_test(tests, what_is_no_redis_server_is_told_at_open);
    tcase_add_test(tests, a_server_that_says_nothing_or_hangs_up_is_tried_again);
    tcase_add_test(tests, a_server_with_too_many_clients_is_tried_again);
    tcase_add_test(tests, without_a_server_it_opens_and_goes_on_when_there_is_one);
    tcase_add_test(tests, a_server_that_ends_and_comes_back_is_used_again);
    tcase_add_test(tests, a_server_that_was_stopped_for_a_while_gives_errors_in_time);
    tcase_add_test(tests, a_slow_server_gives_no_reply_to_the_wrong_command);
    tcase_add_test(tests, a_password_that_was_changed_is_told);
    tcase_add_test(tests, errors_of_the_server_have_their_numbers);
    tcase_add_test(tests, a_script_that_the_server_does_not_know_is_told_it);
    tcase_add_test(tests, replies_in_small_pieces_are_put_together);
    tcase_add_test(tests, a_slow_network_is_waited_for);
    tcase_add_test(tests, replies_that_are_cut_off_are_errors_and_never_anothers);
    tcase_add_test(tests, what_was_not_asked_for_ends_the_connection_and_not_the_process);
    tcase_add_test(tests, subscriptions_hear_and_are_made_anew);
    tcase_add_test(tests, pushes_that_make_no_sense_do_no_harm);
    tcase_add_test(tests, closing_answers_all_and_each_once);
    tcase_add_test(tests, addresses_are_read);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
