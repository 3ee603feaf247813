/* A control of the detector: ThreadSanitizer passes the tests of the rings only because it is shown their
 * atomics (queue/ck.h). Were it shown too much, it would pass anything. So here an item is written after it
 * was pushed, and the sanitizer must say so; and the same program without that sin must pass.
 *
 * The program starts itself: with the argument "sin" or "virtue" it is the one that is watched. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef POOLSRV_TSAN

int main(void)
{
    puts("skipped: only with ThreadSanitizer");
    return EXIT_SUCCESS;
}

#else

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <sys/wait.h>
#include <unistd.h>

#include "queue/ring.h"

enum { ITEMS = 1000, REPORTED = 66, TIMEOUT_S = 60 };

static const struct way {
    int (*push)(ring *r, void *item);
    void *(*pop)(ring *r);
} ways[] = {{ring_push, ring_pop}, {ring_push, ring_pop_shared}, {ring_push_many, ring_pop_many}};

enum { WAYS = sizeof(ways) / sizeof(ways[0]) };

static const char *self; /* how the program was called */

/* --- the one that is watched --- */

static const struct way *way;
static ring *items;
static int payload[ITEMS];
static bool sinful;

static void *produce(void *arg)
{
    (void)arg;
    for (int i = 0; i < ITEMS; i++) {
        if (!sinful)
            payload[i] = i;
        while (way->push(items, &payload[i]) != 0)
            sched_yield();
        if (sinful)
            payload[i] = i;
    }
    return NULL;
}

static int be_watched(int which)
{
    pthread_t producer;
    long sum = 0;
    way = &ways[which];
    items = ring_new(16);
    if (!items || pthread_create(&producer, NULL, produce, NULL) != 0)
        return EXIT_FAILURE;
    for (int i = 0; i < ITEMS;) {
        const int *item = way->pop(items);
        if (!item) {
            sched_yield();
            continue;
        }
        sum += *item;
        i++;
    }
    pthread_join(producer, NULL);
    ring_free(items);
    return sum >= 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* --- the one that watches --- */

static void become_watched(const char *mode, int which)
{
    char number[8];
    int null = open("/dev/null", O_WRONLY);
    snprintf(number, sizeof(number), "%d", which);
    setenv("TSAN_OPTIONS", "exitcode=66:halt_on_error=0", 1);
    dup2(null, STDERR_FILENO); /* a report is what is wanted here, and would only alarm who reads along */
    execl("/proc/self/exe", self, mode, number, (char *)NULL);
    _exit(127);
}

/* The exit status of the program in that mode, or -1. */
static int watch(const char *mode, int which)
{
    int status = 0;
    pid_t child = fork();
    if (child == 0)
        become_watched(mode, which);
    if (child < 0 || waitpid(child, &status, 0) != child || !WIFEXITED(status))
        return -1;
    return WEXITSTATUS(status);
}

START_TEST(item_written_after_its_push_is_reported)
{
    ck_assert_int_eq(watch("sin", _i), REPORTED);
}
END_TEST

START_TEST(item_written_before_its_push_is_not_reported)
{
    ck_assert_int_eq(watch("virtue", _i), EXIT_SUCCESS);
}
END_TEST

static Suite *control_suite(void)
{
    Suite *s = suite_create("tsan_control");
    TCase *tc = tcase_create("detector");
    tcase_set_timeout(tc, TIMEOUT_S);
    tcase_add_loop_test(tc, item_written_after_its_push_is_reported, 0, WAYS);
    tcase_add_loop_test(tc, item_written_before_its_push_is_not_reported, 0, WAYS);
    suite_add_tcase(s, tc);
    return s;
}

int main(int argc, char **argv)
{
    if (argc == 3) {
        sinful = strcmp(argv[1], "sin") == 0;
        return be_watched(atoi(argv[2]));
    }
    self = argv[0];
    SRunner *sr = srunner_create(control_suite());
    srunner_run_all(sr, CK_NORMAL);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

#endif
