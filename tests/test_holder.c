#include "queue/holder.h"

#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static holder self;

static void set_up(void)
{
    holder_self(&self);
}

/* A child that waits to be killed, and what it knows of itself. */
static pid_t start_child(holder *ret)
{
    int fds[2];
    ck_assert_int_eq(pipe(fds), 0);
    pid_t pid = fork();
    if (pid == 0) {
        holder child;
        prctl(PR_SET_NAME, ") Z 1 (((");
        holder_self(&child);
        if (write(fds[1], &child, sizeof child) != (ssize_t)sizeof child)
            _exit(1);
        for (;;)
            pause();
    }
    ck_assert_int_gt(pid, 0);
    ck_assert_int_eq(read(fds[0], ret, sizeof *ret), (ssize_t)sizeof *ret);
    close(fds[0]);
    close(fds[1]);
    return pid;
}

START_TEST(this_one_lives_and_knows_itself)
{
    ck_assert_int_eq(self.pid, getpid());
    ck_assert_int_gt(self.start, 0);
    ck_assert_ptr_nonnull(strchr(self.place, ' '));
    ck_assert_int_eq(holder_look(&self, &self), HOLDER_LIVES);
}
END_TEST

START_TEST(another_lives_until_it_is_killed_also_before_it_is_waited_for)
{
    holder child;
    siginfo_t info;
    pid_t pid = start_child(&child);
    ck_assert_int_eq(child.pid, pid);
    ck_assert_int_ge(child.start, self.start);
    ck_assert_int_eq(holder_look(&child, &self), HOLDER_LIVES);
    kill(pid, SIGKILL);
    ck_assert_int_eq(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
    ck_assert_int_eq(holder_look(&child, &self), HOLDER_GONE);
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
    ck_assert_int_eq(holder_look(&child, &self), HOLDER_GONE);
}
END_TEST

START_TEST(a_number_that_was_given_again_is_another_process)
{
    holder before = self;
    before.start--;
    ck_assert_int_eq(holder_look(&before, &self), HOLDER_GONE);
}
END_TEST

START_TEST(of_another_boot_nothing_can_be_looked_up)
{
    holder other = self;
    other.place[0] = other.place[0] == 'x' ? 'y' : 'x';
    ck_assert_int_eq(holder_look(&other, &self), HOLDER_ELSEWHERE);
}
END_TEST

START_TEST(of_another_container_nothing_is_known)
{
    holder other = self;
    other.pid = 99999999; /* here there is none */
    ck_assert_int_eq(holder_look(&other, &self), HOLDER_GONE);
    strncat(other.place, "1", sizeof other.place - strlen(other.place) - 1);
    ck_assert_int_eq(holder_look(&other, &self), HOLDER_LIVES);
}
END_TEST

START_TEST(what_could_not_be_read_says_nothing)
{
    holder other = self, unknown = {.pid = 1};
    ck_assert_int_eq(holder_look(&unknown, &self), HOLDER_LIVES);
    ck_assert_int_eq(holder_look(&self, &unknown), HOLDER_LIVES);
    other.start = 0;
    ck_assert_int_eq(holder_look(&other, &self), HOLDER_LIVES);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("holder");
    TCase *tests = tcase_create("holder");
    tcase_add_checked_fixture(tests, set_up, NULL);
    tcase_add_test(tests, this_one_lives_and_knows_itself);
    tcase_add_test(tests, another_lives_until_it_is_killed_also_before_it_is_waited_for);
    tcase_add_test(tests, a_number_that_was_given_again_is_another_process);
    tcase_add_test(tests, of_another_boot_nothing_can_be_looked_up);
    tcase_add_test(tests, of_another_container_nothing_is_known);
    tcase_add_test(tests, what_could_not_be_read_says_nothing);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
