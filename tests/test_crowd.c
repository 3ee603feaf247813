#include "runtime/crowd.h"

#include <arpa/inet.h>
#include <check.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

static crowd_key key_of(const char *text)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
    crowd_key key;
    if (inet_pton(AF_INET, text, &v4.sin_addr) == 1) {
        ck_assert(crowd_key_of((struct sockaddr *)&v4, &key));
    } else {
        ck_assert_int_eq(inet_pton(AF_INET6, text, &v6.sin6_addr), 1);
        ck_assert(crowd_key_of((struct sockaddr *)&v6, &key));
    }
    return key;
}

static bool same(const char *a, const char *b)
{
    crowd_key x = key_of(a), y = key_of(b);
    return x.network == y.network && x.address == y.address;
}

START_TEST(what_counts_as_one)
{
    crowd_key key;
    struct sockaddr_un path = {.sun_family = AF_UNIX};
    ck_assert(same("192.0.2.1", "192.0.2.1"));
    ck_assert(!same("192.0.2.1", "192.0.2.2"));
    ck_assert(same("::ffff:192.0.2.1", "192.0.2.1"));
    ck_assert(same("2001:db8::1", "2001:db8::ffff:1"));
    ck_assert(!same("2001:db8::1", "2001:db8:0:1::1"));
    ck_assert(!crowd_key_of((struct sockaddr *)&path, &key));
    ck_assert(!crowd_key_of(NULL, &key));
}
END_TEST

START_TEST(each_has_as_many_as_it_may)
{
    crowd *c;
    crowd_key a = key_of("192.0.2.1"), b = key_of("192.0.2.2");
    ck_assert_int_eq(crowd_new(2, 100, &c), 0);
    ck_assert(crowd_enter(c, &a));
    ck_assert(crowd_enter(c, &a));
    ck_assert(!crowd_enter(c, &a));
    ck_assert(crowd_enter(c, &b));
    crowd_leave(c, &a);
    ck_assert(crowd_enter(c, &a));
    ck_assert(!crowd_enter(c, &a));
    crowd_leave(c, &a);
    crowd_leave(c, &a);
    crowd_leave(c, &b);
    crowd_free(c);
}
END_TEST

START_TEST(more_addresses_than_chains)
{
    crowd *c;
    ck_assert_int_eq(crowd_new(1, 1, &c), 0);
    for (int round = 0; round < 2; round++) {
        for (uint32_t i = 0; i < 1000; i++)
            ck_assert(crowd_enter(c, &(crowd_key){.address = i}));
        for (uint32_t i = 0; i < 1000; i++)
            ck_assert(!crowd_enter(c, &(crowd_key){.address = i}));
        for (uint32_t i = 0; i < 1000; i++)
            crowd_leave(c, &(crowd_key){.address = i});
    }
    crowd_free(c);
}
END_TEST

enum { THREADS = 4, TURNS = 20000, EACH = 3 };

static void *come_and_go(void *arg)
{
    crowd *c = arg;
    size_t entered = 0;
    for (uint32_t i = 0; i < TURNS; i++) {
        crowd_key key = {.address = i % 5};
        if (crowd_enter(c, &key)) {
            entered++;
            crowd_leave(c, &key);
        }
    }
    return (void *)entered;
}

START_TEST(threads_come_and_go)
{
    crowd *c;
    pthread_t threads[THREADS];
    void *entered;
    ck_assert_int_eq(crowd_new(EACH, 100, &c), 0);
    for (int i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, come_and_go, c), 0);
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], &entered);
        ck_assert_uint_gt((size_t)entered, 0);
    }
    crowd_free(c); /* asserts that all have left */
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("crowd");
    TCase *t = tcase_create("crowd");
    tcase_add_test(t, what_counts_as_one);
    tcase_add_test(t, each_has_as_many_as_it_may);
    tcase_add_test(t, more_addresses_than_chains);
    tcase_add_test(t, threads_come_and_go);
    suite_add_tcase(suite, t);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
