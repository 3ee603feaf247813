/* Each call of the product's own code that asks the system or a library for something fails once, at each
 * place where it is made in a server's whole life (tests/life.h). Allocations are those of
 * tests/test_malloc.c; what fails while the program serves is injected from outside in
 * tests/e2e/test_system_calls.py.
 *
 * The linker sends the calls of the product's objects here (--wrap). */
#include "tests/life.h"

#include <errno.h>
#include <fcntl.h>
#include <microhttpd.h>
#include <netdb.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <uv.h>

#define REFUSED(code) (errno = (code), -1)

/* X(type, name, parameters, arguments, what a refusal looks like) */
#define CALLS(X)                                                                                             \
    X(int, eventfd, (unsigned count, int flags), (count, flags), REFUSED(EMFILE))                            \
    X(int, socket, (int family, int type, int protocol), (family, type, protocol), REFUSED(EMFILE))          \
    X(int, setsockopt, (int fd, int level, int name, const void *value, socklen_t n),                        \
      (fd, level, name, value, n), REFUSED(ENOPROTOOPT))                                                     \
    X(int, bind, (int fd, const struct sockaddr *to, socklen_t n), (fd, to, n), REFUSED(EACCES))             \
    X(int, listen, (int fd, int backlog), (fd, backlog), REFUSED(EADDRINUSE))                                \
    X(int, getsockname, (int fd, struct sockaddr *ret, socklen_t *n), (fd, ret, n), REFUSED(ENOBUFS))        \
    X(int, getaddrinfo,                                                                                      \
      (const char *host, const char *port, const struct addrinfo *hints, struct addrinfo **ret),             \
      (host, port, hints, ret), EAI_AGAIN)                                                                   \
    X(int, pthread_create, (pthread_t * ret, const pthread_attr_t *how, void *(*run)(void *), void *user),   \
      (ret, how, run, user), EAGAIN)                                                                         \
    X(void *, mmap, (void *at, size_t n, int access, int flags, int fd, off_t from),                         \
      (at, n, access, flags, fd, from), (errno = ENOMEM, MAP_FAILED))                                        \
    X(int, sigaltstack, (const stack_t *ours, stack_t *ret), (ours, ret), REFUSED(ENOMEM))                   \
    X(int, sigaction, (int number, const struct sigaction *ours, struct sigaction *ret),                     \
      (number, ours, ret), REFUSED(EINVAL))                                                                  \
    X(ssize_t, getrandom, (void *to, size_t n, unsigned flags), (to, n, flags), REFUSED(ENOSYS))             \
    X(int, pipe2, (int *ret, int flags), (ret, flags), REFUSED(EMFILE))                                      \
    X(FILE *, fdopen, (int fd, const char *mode), (fd, mode), (errno = ENOMEM, NULL))                        \
    X(int, posix_spawn,                                                                                      \
      (pid_t * ret, const char *path, const posix_spawn_file_actions_t *actions,                             \
       const posix_spawnattr_t *how, char *const *arguments, char *const *env),                              \
      (ret, path, actions, how, arguments, env), EAGAIN)                                                     \
    X(int, uv_loop_init, (uv_loop_t * loop), (loop), UV_EMFILE)                                              \
    X(int, uv_poll_init, (uv_loop_t * loop, uv_poll_t * ret, int fd), (loop, ret, fd), UV_ENOMEM)            \
    X(int, uv_poll_start, (uv_poll_t * poll, int events, uv_poll_cb run), (poll, events, run), UV_ENOMEM)    \
    X(struct MHD_Response *, MHD_create_response_from_buffer,                                                \
      (size_t n, void *p, enum MHD_ResponseMemoryMode mode), (n, p, mode), NULL)                             \
    X(enum MHD_Result, MHD_add_response_header,                                                              \
      (struct MHD_Response * to, const char *name, const char *value), (to, name, value), MHD_NO)            \
    X(enum MHD_Result, MHD_queue_response,                                                                   \
      (struct MHD_Connection * on, unsigned status, struct MHD_Response *reply), (on, status, reply),        \
      MHD_NO)

#define X(type, name, parameters, arguments, refusal) KIND_##name,
enum { CALLS(X) KIND_fcntl, KINDS };
#undef X

#define X(type, name, parameters, arguments, refusal)                                                        \
    type __real_##name parameters; /* the linker's names */                                                  \
    type __wrap_##name parameters;                                                                           \
    type __wrap_##name parameters                                                                            \
    {                                                                                                        \
        return life_fails(KIND_##name) ? refusal : __real_##name arguments;                                  \
    }
CALLS(X)
#undef X

int __real_fcntl(int fd, int command, ...);
int __wrap_fcntl(int fd, int command, ...);
int __wrap_fcntl(int fd, int command, ...)
{
    va_list more;
    va_start(more, command);
    long value = command == F_GETFL || command == F_GETFD ? 0 : va_arg(more, int);
    va_end(more);
    return life_fails(KIND_fcntl) ? REFUSED(EMFILE) : __real_fcntl(fd, command, value);
}

static const char *const names[] = {
#define X(type, name, parameters, arguments, refusal) #name,
    CALLS(X) "fcntl"
#undef X
};

/* Sanitizers give threads their stacks for signals before the product would. */
#ifdef __SANITIZE_ADDRESS__
enum { KIND_NEVER = KIND_mmap };
#else
enum { KIND_NEVER = KINDS };
#endif

static const long in_a_rows[] = {1, 2};

START_TEST(each_failure_is_survived)
{
    long n = 0;
    is_test = true;
    for (size_t i = 0; i < sizeof in_a_rows / sizeof *in_a_rows; i++)
        for (n = 0; live(_i, n, in_a_rows[i]);)
            n++;
    ck_assert_msg(n > 0 || _i == KIND_NEVER, "%s is never called", names[_i]);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("calls");
    TCase *tc = tcase_create("lives");
    tcase_set_timeout(tc, 600);
    tcase_add_unchecked_fixture(tc, setup, teardown);
    tcase_add_loop_test(tc, each_failure_is_survived, 0, KINDS);
    suite_add_tcase(s, tc);
    return s;
}

int main(void)
{
    SRunner *runner = srunner_create(suite());
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
