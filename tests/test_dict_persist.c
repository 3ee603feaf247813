#include "queue/dict_persist.h"

#include <check.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define NS UINT64_C(1000000000)

enum { MIB = 1 << 20 };

static const dict_change always = {.when = DICT_ALWAYS};

static char folder[] = "/tmp/poolsrv-persist-XXXXXX", made[sizeof(folder)], address[128], error[512];
static char told[4096];
static dict *d;
static dict_port *p;
static dict_persist *kept;
static buf bytes;

static void on_told(void *user, int level, const char *text)
{
    (void)user;
    size_t n = strlen(told);
    snprintf(told + n, sizeof(told) - n, "%d %s\n", level, text);
}

static const dict_persist_config config = {.dict_name = "d", .tell = on_told};

static int try_open(size_t max_bytes)
{
    d = dict_new(&(dict_config){.max_bytes = max_bytes});
    ck_assert_ptr_nonnull(d);
    p = dict_port_new(d);
    ck_assert_ptr_nonnull(p);
    return dict_persist_open(d, address, &config, &kept, error, sizeof(error));
}

static void open_dict(void)
{
    ck_assert_msg(try_open(MIB) == 0, "%s", error);
    ck_assert_int_eq(dict_persist_start(kept), 0);
}

static void close_dict(void)
{
    dict_persist_close(kept);
    kept = NULL;
    dict_port_free(p);
    dict_free(d);
}

static void reopen(void)
{
    close_dict();
    open_dict();
}

static void set_up(void)
{
    memcpy(made, folder, sizeof(folder));
    ck_assert_ptr_nonnull(mkdtemp(made));
    snprintf(address, sizeof(address), "sqlite:%s/d.db", made);
    told[0] = '\0';
    open_dict();
}

static void tear_down(void)
{
    static const char *const files[] = {"d.db", "d.db-wal", "d.db-shm"};
    char path[256];
    close_dict();
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        snprintf(path, sizeof(path), "%s/%s", made, files[i]);
        unlink(path);
    }
    rmdir(made);
    buf_fini(&bytes);
}

static void put(const char *key, dict_value v, uint64_t ttl_ns)
{
    ck_assert_int_eq(dict_put(p, str_from(key), &v, &(dict_change){.ttl_ns = ttl_ns}, NULL), 0);
}

static void put_integer(const char *key, int64_t n)
{
    put(key, (dict_value){.type = DICT_INTEGER, .integer = n}, 0);
}

static dict_value got(const char *key)
{
    dict_value v = {.integer = -77};
    return dict_get(p, str_from(key), &bytes, &v, NULL) == 0 ? v : (dict_value){.integer = -77};
}

START_TEST(every_type_is_kept)
{
    put("text", (dict_value){.type = DICT_STRING, .bytes = STR("a\0b")}, 0);
    put("empty", (dict_value){.type = DICT_STRING, .bytes = STR("")}, 0);
    put("json", (dict_value){.type = DICT_OTHER, .bytes = STR("{}")}, 0);
    put("null", (dict_value){.type = DICT_NULL}, 0);
    put("true", (dict_value){.type = DICT_TRUE}, 0);
    put_integer("integer", INT64_MIN);
    put("float", (dict_value){.type = DICT_FLOAT, .number = 0.1}, 0);
    put("inf", (dict_value){.type = DICT_FLOAT, .number = HUGE_VAL}, 0);
    put("nan", (dict_value){.type = DICT_FLOAT, .number = (double)NAN}, 0);
    put_integer("", 5);
    reopen();
    ck_assert(got("text").type == DICT_STRING && str_eq(got("text").bytes, STR("a\0b")));
    ck_assert(got("empty").type == DICT_STRING && got("empty").bytes.n == 0);
    ck_assert(got("json").type == DICT_OTHER && str_eq(got("json").bytes, STR("{}")));
    ck_assert(got("null").type == DICT_NULL && got("true").type == DICT_TRUE);
    ck_assert(got("integer").type == DICT_INTEGER && got("integer").integer == INT64_MIN);
    ck_assert(got("float").type == DICT_FLOAT && got("float").number == 0.1);
    ck_assert(isinf(got("inf").number) && isnan(got("nan").number));
    ck_assert_int_eq(got("").integer, 5);
    ck_assert_uint_eq(dict_stats_of(d).entries, 10);
}
END_TEST

START_TEST(what_is_removed_is_gone)
{
    put_integer("a", 1);
    put_integer("b", 2);
    reopen();
    ck_assert_int_eq(dict_delete(p, STR("a"), &always), 0);
    put_integer("c", 3);
    ck_assert_int_eq(dict_delete(p, STR("c"), &always), 0);
    reopen();
    ck_assert_int_eq(got("b").integer, 2);
    ck_assert_uint_eq(dict_stats_of(d).entries, 1);
}
END_TEST

START_TEST(a_flush_leaves_what_came_after_it)
{
    put_integer("a", 1);
    dict_persist_sync(kept);
    put_integer("b", 2);
    ck_assert_int_eq(dict_flush(p), 0);
    put_integer("c", 3);
    reopen();
    ck_assert_int_eq(got("c").integer, 3);
    ck_assert_uint_eq(dict_stats_of(d).entries, 1);
}
END_TEST

START_TEST(ends_are_kept_as_wall_time)
{
    put("long", (dict_value){.type = DICT_TRUE}, 1000 * NS);
    put("short", (dict_value){.type = DICT_TRUE}, 1);
    put_integer("moved", 1);
    dict_persist_sync(kept);
    ck_assert_int_eq(dict_touch(p, STR("moved"), &(dict_change){.ttl_ns = 500 * NS}), 0);
    reopen();
    uint64_t left_ns = dict_ttl_ns(p, STR("long"));
    ck_assert(left_ns > 900 * NS && left_ns <= 1001 * NS);
    left_ns = dict_ttl_ns(p, STR("moved"));
    ck_assert(left_ns > 400 * NS && left_ns <= 501 * NS);
    ck_assert_uint_eq(dict_ttl_ns(p, STR("short")), 0);
}
END_TEST

START_TEST(sync_waits_until_all_is_written)
{
    for (int i = 0; i < 20; i++) {
        put_integer("a", i);
        dict_persist_sync(kept);
        dict *own = d;
        dict_port *own_port = p;
        dict_persist *own_kept = kept;
        ck_assert_int_eq(try_open(MIB), 0);
        ck_assert_int_eq(got("a").integer, i);
        close_dict();
        d = own;
        p = own_port;
        kept = own_kept;
    }
}
END_TEST

START_TEST(what_is_dropped_for_room_is_not_kept_either)
{
    char key[32];
    for (int i = 0; i < 30000; i++) {
        snprintf(key, sizeof(key), "%d", i);
        put_integer(key, i);
    }
    uint64_t entries = dict_stats_of(d).entries;
    ck_assert_uint_gt(dict_stats_of(d).evictions, 10000);
    reopen();
    ck_assert_uint_eq(dict_stats_of(d).entries, entries);
    ck_assert_uint_eq(dict_stats_of(d).evictions, 0);
    close_dict();
    ck_assert_int_eq(try_open(64 * 1024), 0);
    ck_assert_uint_le(dict_stats_of(d).bytes, 64 * 1024);
    uint64_t fit = dict_stats_of(d).entries;
    close_dict(); /* one that has not been started changes nothing */
    open_dict();
    ck_assert_uint_eq(dict_stats_of(d).entries, entries);
    close_dict();
    ck_assert_int_eq(try_open(64 * 1024), 0);
    ck_assert_int_eq(dict_persist_start(kept), 0);
    reopen();
    ck_assert_uint_le(dict_stats_of(d).entries, 2 * fit);
}
END_TEST

START_TEST(dictionaries_share_a_file)
{
    static const dict_persist_config other_config = {.dict_name = "other"};
    dict *other = dict_new(&(dict_config){.max_bytes = MIB});
    dict_persist *other_kept;
    put_integer("a", 1);
    dict_persist_sync(kept);
    ck_assert_int_eq(dict_persist_open(other, address, &other_config, &other_kept, error, sizeof(error)), 0);
    ck_assert_uint_eq(dict_stats_of(other).entries, 0);
    dict_port *port = dict_port_new(other);
    ck_assert_int_eq(dict_flush(port), 0);
    dict_persist_close(other_kept);
    dict_port_free(port);
    dict_free(other);
    reopen();
    ck_assert_int_eq(got("a").integer, 1);
}
END_TEST

START_TEST(addresses_that_are_none_are_refused)
{
    static const char *const bad[] = {"", "sqlite", "sqlite:", "redis:x", "d.db"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        dict_persist *none = NULL;
        ck_assert_int_lt(dict_persist_open(d, bad[i], &config, &none, error, sizeof(error)), 0);
        ck_assert_ptr_nonnull(strstr(error, "expected \"sqlite:PATH\""));
    }
    dict_persist *none = NULL;
    ck_assert_int_lt(dict_persist_open(d, "sqlite:/nowhere/d.db", &config, &none, error, sizeof(error)), 0);
    ck_assert_str_eq(error, "sqlite:/nowhere/d.db: unable to open database file");
}
END_TEST

/* --- threads --- */

enum { THREADS = 4, STEPS = 20000, KEYS = 500 };

static void *change(void *arg)
{
    dict_port *own = dict_port_new(d);
    unsigned seed = *(unsigned *)arg;
    char key[32];
    for (int i = 0; i < STEPS; i++) {
        str k = {key, (size_t)snprintf(key, sizeof(key), "%d", rand_r(&seed) % KEYS)};
        dict_value v = {.type = DICT_INTEGER, .integer = i};
        if (rand_r(&seed) % 4 == 0)
            dict_delete(own, k, &always);
        else if (dict_put(own, k, &v, &always, NULL) < 0)
            abort();
        if (i % (STEPS / 4) == 7)
            dict_flush(own);
        if (i % 1000 == 0)
            dict_persist_sync(kept);
    }
    dict_port_free(own);
    return NULL;
}

START_TEST(what_threads_left_is_what_is_loaded)
{
    pthread_t threads[THREADS];
    unsigned seeds[THREADS];
    int64_t before[KEYS];
    char key[32];
    for (unsigned i = 0; i < THREADS; i++) {
        seeds[i] = i;
        ck_assert_int_eq(pthread_create(&threads[i], NULL, change, &seeds[i]), 0);
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < KEYS; i++) {
        snprintf(key, sizeof(key), "%d", i);
        before[i] = got(key).integer;
    }
    reopen();
    int present = 0;
    for (int i = 0; i < KEYS; i++) {
        snprintf(key, sizeof(key), "%d", i);
        ck_assert_int_eq(got(key).integer, before[i]);
        present += before[i] != -77;
    }
    ck_assert_int_gt(present, 50);
    ck_assert_str_eq(told, "");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("dict_persist");
    TCase *tests = tcase_create("dict_persist");
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_test(tests, every_type_is_kept);
    tcase_add_test(tests, what_is_removed_is_gone);
    tcase_add_test(tests, a_flush_leaves_what_came_after_it);
    tcase_add_test(tests, ends_are_kept_as_wall_time);
    tcase_add_test(tests, sync_waits_until_all_is_written);
    tcase_add_test(tests, what_is_dropped_for_room_is_not_kept_either);
    tcase_add_test(tests, dictionaries_share_a_file);
    tcase_add_test(tests, addresses_that_are_none_are_refused);
    tcase_add_test(tests, what_threads_left_is_what_is_loaded);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
