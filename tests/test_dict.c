#include "queue/dict.h"

#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#define NS UINT64_C(1000000000)

enum { MIB = 1 << 20, FIRST_VERSION = 1000 };

static const dict_change always = {.when = DICT_ALWAYS};

static _Atomic uint64_t clock_ns;
static dict *d;
static dict_port *p;
static buf bytes;

static uint64_t fake_now(void)
{
    return atomic_load(&clock_ns);
}

static void open_dict(size_t max_bytes, bool keeps)
{
    atomic_store(&clock_ns, 1000 * NS);
    d = dict_new(&(dict_config){
        .max_bytes = max_bytes, .keeps = keeps, .first_version = FIRST_VERSION, .now_ns = fake_now});
    ck_assert_ptr_nonnull(d);
    p = dict_port_new(d);
    ck_assert_ptr_nonnull(p);
}

static void set_up(void)
{
    open_dict(MIB, false);
}

static void tear_down(void)
{
    dict_port_free(p);
    dict_free(d);
    buf_fini(&bytes);
}

static void wait_s(uint64_t seconds)
{
    atomic_fetch_add(&clock_ns, seconds * NS);
}

/* --- short forms --- */

static dict_value text(const char *s)
{
    return (dict_value){.type = DICT_STRING, .bytes = str_from(s)};
}

static dict_value integer(int64_t n)
{
    return (dict_value){.type = DICT_INTEGER, .integer = n};
}

static dict_value number(double n)
{
    return (dict_value){.type = DICT_FLOAT, .number = n};
}

static int put(const char *key, dict_value v, dict_change how)
{
    return dict_put(p, str_from(key), &v, &how, NULL);
}

static int put_text(const char *key, const char *value)
{
    return put(key, text(value), always);
}

/* The value as a text: "absent", "5", "'text'". */
static const char *got(const char *key)
{
    static char shown[128];
    dict_value v;
    int err = dict_get(p, str_from(key), &bytes, &v, NULL);
    if (err) {
        ck_assert_int_eq(err, -ENOENT);
        return "absent";
    }
    switch (v.type) {
    case DICT_INTEGER:
        snprintf(shown, sizeof(shown), "%lld", (long long)v.integer);
        break;
    case DICT_FLOAT:
        snprintf(shown, sizeof(shown), "%.17g", v.number);
        break;
    case DICT_STRING:
    case DICT_OTHER:
        snprintf(shown, sizeof(shown), v.type == DICT_STRING ? "'%.*s'" : "<%.*s>", (int)v.bytes.n,
                 v.bytes.p ? v.bytes.p : "");
        break;
    default:
        snprintf(shown, sizeof(shown), "type %d", v.type);
    }
    return shown;
}

static uint64_t version_of(const char *key)
{
    dict_value v;
    uint64_t version = 77;
    dict_get(p, str_from(key), &bytes, &v, &version);
    return version;
}

static int add(const char *key, dict_value by, const char *expected)
{
    dict_value init = integer(0);
    int err = dict_add(p, str_from(key), &by, &init, 0, NULL);
    if (err == 0)
        ck_assert_str_eq(got(key), expected);
    return err;
}

/* --- values --- */

START_TEST(every_type_comes_back_as_it_was)
{
    ck_assert_str_eq(got("a"), "absent");
    ck_assert_int_eq(put_text("a", "some text"), 0);
    ck_assert_str_eq(got("a"), "'some text'");
    ck_assert_int_eq(put("a", text(""), always), 0);
    ck_assert_str_eq(got("a"), "''");
    ck_assert_int_eq(put("a", integer(INT64_MIN), always), 0);
    ck_assert_str_eq(got("a"), "-9223372036854775808");
    ck_assert_int_eq(put("a", number(0.1), always), 0);
    ck_assert_str_eq(got("a"), "0.10000000000000001");
    ck_assert_int_eq(put("a", (dict_value){.type = DICT_OTHER, .bytes = STR("{}")}, always), 0);
    ck_assert_str_eq(got("a"), "<{}>");
    for (dict_type t = DICT_NULL; t <= DICT_TRUE; t++) {
        ck_assert_int_eq(put("a", (dict_value){.type = t}, always), 0);
        ck_assert_int_eq(got("a")[5], '0' + (int)t);
    }
    ck_assert_uint_eq(dict_stats_of(d).entries, 1);
}
END_TEST

START_TEST(keys_are_any_bytes)
{
    dict_value v = integer(1), found;
    char *longest = calloc(1, DICT_KEY_BYTES_MAX + 1);
    ck_assert_ptr_nonnull(longest);
    const str keys[] = {STR(""),     STR("\0"), STR("\0\0"),
                        STR("a\0b"), STR("a"),  {longest, DICT_KEY_BYTES_MAX}};
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        v.integer = (int64_t)i;
        ck_assert_int_eq(dict_put(p, keys[i], &v, &always, NULL), 0);
    }
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        ck_assert_int_eq(dict_get(p, keys[i], &bytes, &found, NULL), 0);
        ck_assert_int_eq(found.integer, (int64_t)i);
    }
    ck_assert_int_eq(dict_put(p, (str){longest, DICT_KEY_BYTES_MAX + 1}, &v, &always, NULL), -EINVAL);
    free(longest);
}
END_TEST

START_TEST(many_keys_are_found_and_removed)
{
    char key[32];
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 5000; i++) {
            snprintf(key, sizeof(key), "key %d", i);
            ck_assert_int_eq(put(key, integer(i + round), always), 0);
        }
        for (int i = 0; i < 5000; i += 2) {
            snprintf(key, sizeof(key), "key %d", i);
            ck_assert_int_eq(dict_delete(p, str_from(key), &always), 0);
            ck_assert_int_eq(dict_delete(p, str_from(key), &always), -ENOENT);
        }
        for (int i = 0; i < 5000; i++) {
            char wanted[32];
            snprintf(key, sizeof(key), "key %d", i);
            snprintf(wanted, sizeof(wanted), "%d", i + round);
            ck_assert_str_eq(got(key), i % 2 ? wanted : "absent");
        }
    }
    ck_assert_uint_eq(dict_stats_of(d).entries, 2500);
    ck_assert_uint_eq(dict_stats_of(d).evictions, 0);
}
END_TEST

/* --- conditions --- */

START_TEST(conditions_are_kept)
{
    ck_assert_int_eq(put("a", integer(1), (dict_change){.when = DICT_IF_PRESENT}), -ENOENT);
    ck_assert_int_eq(put("a", integer(2), (dict_change){.when = DICT_IF_ABSENT}), 0);
    ck_assert_int_eq(put("a", integer(3), (dict_change){.when = DICT_IF_ABSENT}), -EEXIST);
    ck_assert_str_eq(got("a"), "2");
    ck_assert_int_eq(put("a", integer(4), (dict_change){.when = DICT_IF_PRESENT}), 0);
    ck_assert_str_eq(got("a"), "4");
    ck_assert_uint_eq(dict_stats_of(d).bytes, DICT_ENTRY_BYTES + 1);
}
END_TEST

START_TEST(each_change_has_a_version_of_its_own)
{
    uint64_t last = FIRST_VERSION;
    ck_assert_uint_eq(version_of("a"), 0);
    for (int i = 0; i < 10; i++) {
        ck_assert_int_eq(put("a", integer(1), always), 0);
        ck_assert_uint_gt(version_of("a"), last);
        last = version_of("a");
        if (i % 3 == 0)
            ck_assert_int_eq(dict_delete(p, STR("a"), &always), 0);
    }
}
END_TEST

START_TEST(versions_guard_a_change)
{
    ck_assert_int_eq(put("a", integer(1), (dict_change){.when = DICT_IF_VERSION, .version = 5}), -ESTALE);
    ck_assert_int_eq(put("a", integer(1), (dict_change){.when = DICT_IF_VERSION}), 0);
    ck_assert_int_eq(put("a", integer(2), (dict_change){.when = DICT_IF_VERSION}), -ESTALE);
    dict_change first = {.when = DICT_IF_VERSION, .version = version_of("a")};
    ck_assert_int_eq(put("a", integer(3), first), 0);
    ck_assert_int_eq(put("a", integer(4), first), -ESTALE);
    ck_assert_int_eq(dict_touch(p, STR("a"), &first), -ESTALE);
    ck_assert_int_eq(dict_delete(p, STR("a"), &first), -ESTALE);
    ck_assert_str_eq(got("a"), "3");
    dict_change second = {.when = DICT_IF_VERSION, .version = version_of("a")};
    ck_assert_int_eq(dict_touch(p, STR("a"), &second), 0);
    ck_assert_int_eq(dict_delete(p, STR("a"), &second), 0);
    ck_assert_str_eq(got("a"), "absent");
}
END_TEST

/* --- numbers --- */

START_TEST(numbers_are_added_exactly)
{
    ck_assert_int_eq(add("n", integer(5), "5"), 0);
    ck_assert_int_eq(add("n", integer(-7), "-2"), 0);
    ck_assert_int_eq(put("n", integer(INT64_MAX - 1), always), 0);
    ck_assert_int_eq(add("n", integer(1), "9223372036854775807"), 0);
    ck_assert_int_eq(add("n", integer(1), ""), -ERANGE);
    ck_assert_str_eq(got("n"), "9223372036854775807");
    ck_assert_int_eq(put("n", integer(INT64_MIN), always), 0);
    ck_assert_int_eq(add("n", integer(-1), ""), -ERANGE);
    ck_assert_int_eq(put("n", integer(1), always), 0);
    ck_assert_int_eq(add("n", number(0.5), "1.5"), 0);
    ck_assert_int_eq(add("n", integer(2), "3.5"), 0);
    ck_assert_int_eq(put_text("n", "1"), 0);
    ck_assert_int_eq(add("n", integer(1), ""), -EDOM);
    ck_assert_str_eq(got("n"), "'1'");
    ck_assert_uint_eq(dict_stats_of(d).bytes, DICT_ENTRY_BYTES + 2);
}
END_TEST

START_TEST(a_count_begins_where_it_is_told_and_ends_with_its_first_ttl)
{
    dict_value by = integer(1), init = integer(10);
    ck_assert_int_eq(dict_add(p, STR("n"), &by, &init, 10 * NS, NULL), 0);
    ck_assert_int_eq(by.integer, 11);
    wait_s(9);
    by = integer(1);
    ck_assert_int_eq(dict_add(p, STR("n"), &by, &init, 10 * NS, NULL), 0);
    ck_assert_int_eq(by.integer, 12);
    ck_assert_uint_eq(dict_ttl_ns(p, STR("n")), NS);
    wait_s(1);
    by = integer(1);
    ck_assert_int_eq(dict_add(p, STR("n"), &by, &init, 10 * NS, NULL), 0);
    ck_assert_int_eq(by.integer, 11);
}
END_TEST

/* --- ends --- */

START_TEST(a_value_is_gone_at_its_end)
{
    ck_assert_int_eq(put("a", integer(1), (dict_change){.ttl_ns = 10 * NS}), 0);
    ck_assert_int_eq(put("b", integer(2), always), 0);
    ck_assert_uint_eq(dict_ttl_ns(p, STR("a")), 10 * NS);
    ck_assert_uint_eq(dict_ttl_ns(p, STR("b")), UINT64_MAX);
    ck_assert_uint_eq(dict_ttl_ns(p, STR("c")), 0);
    atomic_fetch_add(&clock_ns, 10 * NS - 1);
    ck_assert_str_eq(got("a"), "1");
    ck_assert_uint_eq(dict_ttl_ns(p, STR("a")), 1);
    atomic_fetch_add(&clock_ns, 1);
    ck_assert_str_eq(got("a"), "absent");
    ck_assert_uint_eq(version_of("a"), 0);
    ck_assert_str_eq(got("b"), "2");
    ck_assert_uint_eq(dict_ttl_ns(p, STR("a")), 0);
    ck_assert_int_eq(dict_delete(p, STR("a"), &always), -ENOENT);
    ck_assert_int_eq(dict_touch(p, STR("a"), &always), -ENOENT);
    ck_assert_int_eq(put("a", integer(3), (dict_change){.when = DICT_IF_PRESENT}), -ENOENT);
    ck_assert_int_eq(put("a", integer(3), (dict_change){.when = DICT_IF_ABSENT}), 0);
    ck_assert_str_eq(got("a"), "3");
}
END_TEST

START_TEST(an_end_can_be_moved_taken_away_and_kept)
{
    ck_assert_int_eq(put("a", integer(1), (dict_change){.ttl_ns = NS}), 0);
    uint64_t version = version_of("a");
    ck_assert_int_eq(dict_touch(p, STR("a"), &(dict_change){.ttl_ns = 5 * NS}), 0);
    ck_assert_uint_eq(version_of("a"), version);
    wait_s(4);
    ck_assert_int_eq(put("a", integer(2), (dict_change){DICT_IF_VERSION, version, 0, true}), 0);
    ck_assert_uint_eq(dict_ttl_ns(p, STR("a")), NS);
    ck_assert_int_eq(dict_touch(p, STR("a"), &always), 0);
    wait_s(1000000);
    ck_assert_str_eq(got("a"), "2");
    ck_assert_int_eq(put("a", integer(2), (dict_change){.ttl_ns = UINT64_MAX}), 0);
    wait_s(1000000);
    ck_assert_str_eq(got("a"), "2");
}
END_TEST

START_TEST(what_has_ended_is_removed_as_others_write)
{
    char key[32];
    for (int i = 0; i < 1000; i++) {
        snprintf(key, sizeof(key), "short %d", i);
        ck_assert_int_eq(put(key, integer(i), (dict_change){.ttl_ns = NS}), 0);
    }
    wait_s(1);
    for (int i = 0; i < 10000; i++) {
        snprintf(key, sizeof(key), "long %d", i % 1000);
        ck_assert_int_eq(put(key, integer(i), always), 0);
    }
    dict_stats n = dict_stats_of(d);
    ck_assert_uint_eq(n.entries, 1000);
    ck_assert_uint_eq(n.expirations, 1000);
    ck_assert_uint_eq(n.evictions, 0);
}
END_TEST

/* --- room --- */

START_TEST(bytes_never_exceed_the_limit)
{
    static char value[5000];
    char key[32];
    memset(value, 'x', sizeof(value));
    srand(1);
    for (int i = 0; i < 20000; i++) {
        snprintf(key, sizeof(key), "key %d", rand() % 3000);
        dict_value v = {.type = DICT_STRING, .bytes = {value, (size_t)rand() % sizeof(value)}};
        ck_assert_int_eq(put(key, v, always), 0);
        ck_assert_uint_le(dict_stats_of(d).bytes, MIB);
    }
    ck_assert_uint_gt(dict_stats_of(d).bytes, MIB - 2 * sizeof(value));
    ck_assert_uint_gt(dict_stats_of(d).evictions, 1000);
}
END_TEST

START_TEST(what_is_used_stays)
{
    char key[32];
    for (int i = 0; i < 100; i++) {
        snprintf(key, sizeof(key), "hot %d", i);
        ck_assert_int_eq(put(key, integer(i), always), 0);
    }
    int lost = 0;
    for (int i = 0; i < 100000; i++) {
        snprintf(key, sizeof(key), "cold %d", i);
        ck_assert_int_eq(put(key, integer(i), always), 0);
        snprintf(key, sizeof(key), "hot %d", i % 100);
        if (strcmp(got(key), "absent") == 0) {
            lost++;
            ck_assert_int_eq(put(key, integer(i), always), 0);
        }
    }
    ck_assert_uint_gt(dict_stats_of(d).evictions, 80000);
    ck_assert_int_le(lost, 10);
}
END_TEST

START_TEST(a_value_that_is_too_large_is_refused_and_drops_nothing)
{
    char *large = calloc(1, MIB);
    ck_assert_ptr_nonnull(large);
    ck_assert_int_eq(put_text("a", "b"), 0);
    dict_value v = {.type = DICT_STRING, .bytes = {large, MIB}};
    ck_assert_int_eq(put("c", v, always), -EFBIG);
    ck_assert_int_eq(put("a", v, (dict_change){.when = DICT_IF_ABSENT}), -EEXIST);
    ck_assert_uint_eq(dict_stats_of(d).evictions, 0);
    v.bytes.n = MIB - DICT_ENTRY_BYTES - 1;
    ck_assert_int_eq(put("c", v, always), 0);
    ck_assert_str_eq(got("a"), "absent");
    ck_assert_uint_eq(dict_stats_of(d).bytes, MIB);
    free(large);
}
END_TEST

START_TEST(a_smaller_limit_holds_from_the_next_change_on)
{
    char key[32];
    for (int i = 0; i < 5000; i++) {
        snprintf(key, sizeof(key), "key %d", i);
        ck_assert_int_eq(put(key, integer(i), always), 0);
    }
    dict_set_max_bytes(d, MIB / 4);
    ck_assert_int_eq(put("a", integer(1), always), 0);
    ck_assert_uint_le(dict_stats_of(d).bytes, MIB / 4);
}
END_TEST

START_TEST(one_that_keeps_all_refuses_what_has_no_room)
{
    tear_down();
    open_dict(64 * 1024, true);
    char key[32];
    int err = 0, n = 0;
    while (err == 0) {
        snprintf(key, sizeof(key), "key %d", n++);
        err = put(key, integer(n), always);
    }
    ck_assert_int_eq(err, -ENOSPC);
    ck_assert_uint_eq(dict_stats_of(d).entries, (unsigned)n - 1);
    ck_assert_int_eq(dict_delete(p, STR("key 0"), &always), 0);
    ck_assert_int_eq(put("key 0", integer(n), always), 0);
}
END_TEST

/* --- all of it --- */

START_TEST(keys_are_listed_but_for_those_that_ended)
{
    size_t n, found = 0;
    char key[32];
    for (int i = 0; i < 1000; i++) {
        snprintf(key, sizeof(key), "%d", i);
        ck_assert_int_eq(put(key, integer(i), (dict_change){.ttl_ns = i % 2 ? 0 : NS}), 0);
    }
    wait_s(1);
    ck_assert_int_eq(dict_keys(p, 10, &bytes, &n), 0);
    ck_assert_uint_eq(n, 10);
    bytes.n = 0;
    ck_assert_int_eq(dict_keys(p, SIZE_MAX, &bytes, &n), 0);
    ck_assert_uint_eq(n, 500);
    bool seen[1000] = {false};
    for (size_t at = 0, length; at < bytes.n; at += sizeof(length) + length, found++) {
        memcpy(&length, bytes.p + at, sizeof(length));
        snprintf(key, sizeof(key), "%.*s", (int)length, bytes.p + at + sizeof(length));
        ck_assert(!seen[atoi(key)] && atoi(key) % 2);
        seen[atoi(key)] = true;
    }
    ck_assert_uint_eq(found, 500);
}
END_TEST

START_TEST(flush_removes_all)
{
    char key[32];
    for (int i = 0; i < 3000; i++) {
        snprintf(key, sizeof(key), "%d", i);
        ck_assert_int_eq(put(key, integer(i), (dict_change){.ttl_ns = NS}), 0);
    }
    ck_assert_int_eq(dict_flush(p), 0);
    ck_assert_str_eq(got("1"), "absent");
    ck_assert_uint_eq(dict_stats_of(d).entries, 0);
    ck_assert_uint_eq(dict_stats_of(d).bytes, 0);
    ck_assert_int_eq(put_text("1", "x"), 0);
    ck_assert_str_eq(got("1"), "'x'");
}
END_TEST

START_TEST(hits_and_misses_outlive_their_port)
{
    ck_assert_int_eq(put_text("a", "b"), 0);
    dict_port *own = p;
    p = dict_port_new(d);
    got("a");
    got("x");
    got("x");
    dict_port_free(p);
    p = own;
    got("a");
    ck_assert_uint_eq(dict_stats_of(d).hits, 2);
    ck_assert_uint_eq(dict_stats_of(d).misses, 2);
}
END_TEST

/* --- watching --- */

static char events[256];

static void on_changed(void *user, dict_event event, str key, uint64_t version)
{
    static const char names[] = "STDXEF";
    size_t n = strlen(events);
    ck_assert_ptr_eq(user, &events);
    ck_assert(event == DICT_FLUSHED ? version == 0 : version > FIRST_VERSION);
    snprintf(events + n, sizeof(events) - n, "%c%.*s ", names[event], (int)key.n, key.p);
}

START_TEST(watchers_are_told_of_every_change)
{
    dict_watcher one = {.changed = on_changed, .user = events}, other = one;
    events[0] = '\0';
    put_text("before", "");
    dict_watch(d, &one);
    put_text("a", "b");
    put("a", integer(1), (dict_change){.when = DICT_IF_ABSENT});
    dict_watch(d, &other);
    add("n", integer(1), "1");
    dict_unwatch(d, &one);
    dict_touch(p, STR("a"), &(dict_change){.ttl_ns = NS});
    dict_delete(p, STR("n"), &always);
    wait_s(1);
    put("a", integer(1), (dict_change){.when = DICT_IF_ABSENT});
    dict_flush(p);
    dict_unwatch(d, &other);
    put_text("after", "");
    ck_assert_str_eq(events, "Sa Sn Sn Ta Dn Sa F ");
}
END_TEST

START_TEST(watchers_are_told_of_what_goes_by_itself)
{
    dict_watcher w = {.changed = on_changed, .user = events};
    char key[32], wanted[64];
    put("short", integer(1), (dict_change){.ttl_ns = NS});
    wait_s(1);
    dict_watch(d, &w);
    events[0] = '\0';
    for (int i = 0; i < 20000 && !strstr(events, "X"); i++) {
        events[0] = '\0';
        snprintf(key, sizeof(key), "%d", i % 1000);
        put_text(key, "");
    }
    snprintf(wanted, sizeof(wanted), "Xshort S%s ", key);
    ck_assert_str_eq(events, wanted);
    for (int i = 0; i < 20000 && !strstr(events, "E"); i++) {
        events[0] = '\0';
        snprintf(key, sizeof(key), "more %d", i);
        put_text(key, "");
    }
    ck_assert_int_eq(events[0], 'E');
    dict_unwatch(d, &w);
}
END_TEST

/* --- many threads --- */

/* Check's own assertions write to a pipe under a lock each time, which would keep the threads apart. */
#define MUST(condition)                                                                                      \
    do                                                                                                       \
        if (!(condition))                                                                                    \
            ck_abort_msg("not so: %s", #condition);                                                          \
    while (0)

enum { THREADS = 6, STEPS = 100000, COUNTERS = 5, LONGEST = 300 };

static atomic_bool stop;

/* Run n threads, the i-th with i, and wait for them. */
static void run_threads(size_t n, void *(*main)(void *))
{
    pthread_t threads[THREADS];
    static size_t numbers[THREADS];
    for (size_t i = 0; i < n; i++) {
        numbers[i] = i;
        ck_assert_int_eq(pthread_create(&threads[i], NULL, main, &numbers[i]), 0);
    }
    for (size_t i = 0; i < n; i++)
        pthread_join(threads[i], NULL);
}

static void *count_up(void *arg)
{
    dict_port *own = dict_port_new(d);
    (void)arg;
    for (int i = 0; i < STEPS; i++) {
        char key[16];
        snprintf(key, sizeof(key), "n%d", i % COUNTERS);
        dict_value by = integer(1), init = integer(0);
        MUST(dict_add(own, str_from(key), &by, &init, 0, NULL) == 0);
    }
    dict_port_free(own);
    return NULL;
}

START_TEST(threads_lose_no_increment)
{
    char wanted[32];
    run_threads(THREADS, count_up);
    snprintf(wanted, sizeof(wanted), "%d", THREADS * STEPS / COUNTERS);
    for (int i = 0; i < COUNTERS; i++)
        ck_assert_str_eq(got((char[]){'n', (char)('0' + i), '\0'}), wanted);
}
END_TEST

static void *update_once_each(void *arg)
{
    dict_port *own = dict_port_new(d);
    buf into = {0};
    (void)arg;
    for (int done = 0; done < 3000;) {
        dict_value v = integer(0);
        uint64_t version;
        dict_get(own, STR("n"), &into, &v, &version);
        v.integer++;
        dict_change how = {.when = DICT_IF_VERSION, .version = version};
        int err = dict_put(own, STR("n"), &v, &how, NULL);
        MUST(err == 0 || err == -ESTALE);
        done += err == 0;
    }
    buf_fini(&into);
    dict_port_free(own);
    return NULL;
}

START_TEST(changes_on_the_condition_of_a_version_lose_none)
{
    run_threads(4, update_once_each);
    ck_assert_str_eq(got("n"), "12000");
}
END_TEST

/* A number and its version are read together: the version tells the number. */
static void *write_numbers(void *arg)
{
    dict_port *own = dict_port_new(d);
    buf into = {0};
    (void)arg;
    for (int i = 0; i < STEPS; i++) {
        dict_value v = integer(1), init = integer(FIRST_VERSION + 1);
        uint64_t version;
        if (i % 4 == 0)
            MUST(dict_add(own, STR("n"), &v, &init, 0, NULL) == 0);
        MUST(dict_get(own, STR("n"), &into, &v, &version) == 0);
        MUST(v.type == DICT_INTEGER && (uint64_t)v.integer == version + 1);
    }
    buf_fini(&into);
    dict_port_free(own);
    return NULL;
}

START_TEST(a_number_and_its_version_belong_together)
{
    run_threads(4, write_numbers);
}
END_TEST

/* A value is one letter again and again, and its length tells the letter: a mixture would show. */
static void check_whole(const dict_value *v)
{
    MUST(v->type == DICT_STRING);
    for (size_t i = 0; i < v->bytes.n; i++)
        MUST(v->bytes.p[i] == 'a' + (int)(v->bytes.n % 26));
}

/* Everything at a time, in a dictionary that is always full. */
static void *storm(void *arg)
{
    dict_port *own = dict_port_new(d);
    unsigned seed = (unsigned)*(size_t *)arg;
    buf into = {0};
    char value[LONGEST], key[32];
    for (int i = 0; i < STEPS; i++) {
        int what = rand_r(&seed) % 100;
        str k = {key, (size_t)snprintf(key, sizeof(key), "key %d", rand_r(&seed) % 1000)};
        if (what < 60) {
            dict_value v;
            if (dict_get(own, k, &into, &v, NULL) == 0)
                check_whole(&v);
        } else if (what < 90) {
            size_t n = (size_t)rand_r(&seed) % LONGEST;
            memset(value, 'a' + (int)(n % 26), n);
            dict_value v = {.type = DICT_STRING, .bytes = {value, n}};
            dict_change how = {.when = what % 2 ? DICT_ALWAYS : DICT_IF_ABSENT,
                               .ttl_ns = what % 3 ? 0 : (uint64_t)what};
            int err = dict_put(own, k, &v, &how, NULL);
            MUST(err == 0 || err == -EEXIST);
        } else if (what < 95) {
            dict_delete(own, k, &always);
        } else if (what < 97) {
            dict_touch(own, k, &(dict_change){.ttl_ns = 50});
        } else if (what < 98) {
            size_t n;
            into.n = 0;
            MUST(dict_keys(own, 100, &into, &n) == 0);
        } else if (i % 1000 == 0) {
            MUST(dict_flush(own) == 0);
        } else {
            atomic_fetch_add(&clock_ns, 1);
        }
        MUST(dict_stats_of(d).bytes <= 64 * 1024);
    }
    buf_fini(&into);
    dict_port_free(own);
    return NULL;
}

START_TEST(a_storm_leaves_everything_whole)
{
    tear_down();
    open_dict(64 * 1024, false);
    run_threads(THREADS, storm);
    dict_stats n = dict_stats_of(d);
    ck_assert_uint_gt(n.evictions, 100);
    ck_assert_uint_gt(n.expirations, 10);
    ck_assert_int_eq(dict_flush(p), 0);
    ck_assert_uint_eq(dict_stats_of(d).bytes, 0);
    ck_assert_uint_eq(dict_stats_of(d).entries, 0);
}
END_TEST

/* A dictionary of two values that fill it: each writer has to wait for the others' room. */
static void *fill(void *arg)
{
    static char value[40000];
    dict_port *own = dict_port_new(d);
    const char *key = (const char *[]){"a", "b", "c", "d"}[*(size_t *)arg];
    dict_value v = {.type = DICT_STRING, .bytes = {value, sizeof(value)}};
    for (int i = 0; i < 2000; i++)
        MUST(dict_put(own, str_from(key), &v, &always, NULL) == 0);
    dict_port_free(own);
    return NULL;
}

START_TEST(writers_of_large_values_make_room_for_each_other)
{
    tear_down();
    open_dict(64 * 1024, false);
    run_threads(4, fill);
    ck_assert_uint_eq(dict_stats_of(d).entries, 1);
}
END_TEST

static void count_calls(void *user, dict_event event, str key, uint64_t version)
{
    (void)event;
    (void)key;
    (void)version;
    atomic_fetch_add((atomic_int *)user, 1);
}

static void *change_until_told(void *arg)
{
    dict_port *own = dict_port_new(d);
    dict_value v = integer(0);
    (void)arg;
    while (!atomic_load(&stop))
        MUST(dict_put(own, STR("a"), &v, &always, NULL) == 0);
    dict_port_free(own);
    return NULL;
}

/* Its memory is the caller's again when dict_unwatch returns: what counts then is seen by ThreadSanitizer. */
START_TEST(a_watcher_that_has_left_is_not_called)
{
    pthread_t thread;
    atomic_store(&stop, false);
    ck_assert_int_eq(pthread_create(&thread, NULL, change_until_told, NULL), 0);
    for (int i = 0; i < 300; i++) {
        atomic_int *calls = calloc(1, sizeof(*calls));
        ck_assert_ptr_nonnull(calls);
        dict_watcher w = {.changed = count_calls, .user = calls};
        dict_watch(d, &w);
        ck_assert_int_eq(put_text("b", "c"), 0);
        dict_unwatch(d, &w);
        ck_assert_int_ge(atomic_load(calls), 1);
        free(calls);
    }
    atomic_store(&stop, true);
    pthread_join(thread, NULL);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("dict");
    TCase *tests = tcase_create("dict");
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_test(tests, every_type_comes_back_as_it_was);
    tcase_add_test(tests, keys_are_any_bytes);
    tcase_add_test(tests, many_keys_are_found_and_removed);
    tcase_add_test(tests, conditions_are_kept);
    tcase_add_test(tests, each_change_has_a_version_of_its_own);
    tcase_add_test(tests, versions_guard_a_change);
    tcase_add_test(tests, numbers_are_added_exactly);
    tcase_add_test(tests, a_count_begins_where_it_is_told_and_ends_with_its_first_ttl);
    tcase_add_test(tests, a_value_is_gone_at_its_end);
    tcase_add_test(tests, an_end_can_be_moved_taken_away_and_kept);
    tcase_add_test(tests, what_has_ended_is_removed_as_others_write);
    tcase_add_test(tests, bytes_never_exceed_the_limit);
    tcase_add_test(tests, what_is_used_stays);
    tcase_add_test(tests, a_value_that_is_too_large_is_refused_and_drops_nothing);
    tcase_add_test(tests, a_smaller_limit_holds_from_the_next_change_on);
    tcase_add_test(tests, one_that_keeps_all_refuses_what_has_no_room);
    tcase_add_test(tests, keys_are_listed_but_for_those_that_ended);
    tcase_add_test(tests, flush_removes_all);
    tcase_add_test(tests, hits_and_misses_outlive_their_port);
    tcase_add_test(tests, watchers_are_told_of_every_change);
    tcase_add_test(tests, watchers_are_told_of_what_goes_by_itself);
    suite_add_tcase(suite, tests);
    TCase *threads = tcase_create("threads");
    tcase_add_checked_fixture(threads, set_up, tear_down);
    tcase_add_test(threads, threads_lose_no_increment);
    tcase_add_test(threads, changes_on_the_condition_of_a_version_lose_none);
    tcase_add_test(threads, a_number_and_its_version_belong_together);
    tcase_add_test(threads, a_storm_leaves_everything_whole);
    tcase_add_test(threads, writers_of_large_values_make_room_for_each_other);
    tcase_add_test(threads, a_watcher_that_has_left_is_not_called);
    suite_add_tcase(suite, threads);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
