/* faults: preloaded into the server, it makes chosen calls fail: allocations, whoever makes them. And it
 * gives sockets so little room that writes are short. tests/e2e/test_faults.py chooses them while the server
 * runs.
 *
 * FAULTS names a file that holds one `plan` a kind of call, mapped by both sides. Of the calls made while a
 * plan is armed, `left` succeed and the `count` after them fail. Without FAULTS nothing fails. Threads: any.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

/* Three 64-bit numbers in the file, in the machine's order. */
typedef struct plan {
    _Atomic int64_t left, count, met; /* met: calls that failed so far, counted by this side */
} plan;

enum { ALLOCATIONS, WRITES, KINDS };

static plan *plans;

__attribute__((constructor)) static void map_plans(void)
{
    const char *path = getenv("FAULTS");
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0)
        return;
    void *p = mmap(NULL, sizeof(plan) * KINDS, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (p != MAP_FAILED)
        plans = p;
}

static bool fails(int kind)
{
    plan *p = plans ? &plans[kind] : NULL;
    if (!p || atomic_load(&p->count) <= 0 || atomic_fetch_sub(&p->left, 1) > 0 ||
        atomic_fetch_sub(&p->count, 1) <= 0)
        return false;
    atomic_fetch_add(&p->met, 1);
    return true;
}

/* --- allocations --- */

/* libuv ends the process when it has no memory for its watchers: its own calls are spared. */
static bool is_spared(void *caller)
{
    Dl_info from;
    return dladdr(caller, &from) != 0 && from.dli_fname && strstr(from.dli_fname, "/libuv.") != NULL;
}

#define ALLOCATION_FAILS() (!is_spared(__builtin_return_address(0)) && fails(ALLOCATIONS))

/* dlsym may allocate itself before the first real function is known; that comes from here, and is never
 * freed. */
static char early[65536];
static _Atomic size_t early_used;

static void *take_early(size_t n)
{
    size_t at = atomic_fetch_add(&early_used, (n + 15) & ~(size_t)15);
    return at + n <= sizeof early ? early + at : NULL;
}

static bool is_early(const void *p)
{
    uintptr_t at = (uintptr_t)p, from = (uintptr_t)early;
    return at >= from && at < from + sizeof early;
}

/* What would have been called. A function and an object pointer have one size here, as dlsym needs. */
static void *real(const char *name, void *_Atomic *known)
{
    static _Thread_local bool is_looking;
    void *f = atomic_load(known);
    if (f || is_looking)
        return f;
    is_looking = true;
    f = dlsym(RTLD_NEXT, name);
    is_looking = false;
    atomic_store(known, f);
    return f;
}

#define REAL(name, type, parameters)                                                                         \
    static void *_Atomic known_##name;                                                                       \
    type(*real_##name) parameters;                                                                           \
    void *found_##name = real(#name, &known_##name);                                                         \
    memcpy(&real_##name, &found_##name, sizeof real_##name)

static void *no_memory(void)
{
    errno = ENOMEM;
    return NULL;
}

void *malloc(size_t n)
{
    REAL(malloc, void *, (size_t));
    if (!real_malloc)
        return take_early(n);
    return ALLOCATION_FAILS() ? no_memory() : real_malloc(n);
}

void *calloc(size_t n, size_t size)
{
    REAL(calloc, void *, (size_t, size_t));
    if (!real_calloc)
        return take_early(n * size);
    return ALLOCATION_FAILS() ? no_memory() : real_calloc(n, size);
}

void *realloc(void *p, size_t n)
{
    REAL(realloc, void *, (void *, size_t));
    if (!real_realloc || is_early(p))
        return no_memory();
    return ALLOCATION_FAILS() ? no_memory() : real_realloc(p, n);
}

void *aligned_alloc(size_t alignment, size_t n)
{
    REAL(aligned_alloc, void *, (size_t, size_t));
    return !real_aligned_alloc || ALLOCATION_FAILS() ? no_memory() : real_aligned_alloc(alignment, n);
}

int posix_memalign(void **ret, size_t alignment, size_t n)
{
    REAL(posix_memalign, int, (void **, size_t, size_t));
    return !real_posix_memalign || ALLOCATION_FAILS() ? ENOMEM : real_posix_memalign(ret, alignment, n);
}

void free(void *p)
{
    REAL(free, void, (void *));
    if (real_free && !is_early(p))
        real_free(p);
}

/* --- writes --- */

/* While writes are armed an accepted socket has the smallest send buffer there is, so that the kernel itself
 * takes less than is written. (To cut a write short here would be no kernel's behaviour: who waits for the
 * edge of epoll relies on a short write meaning a full buffer.) `met` counts the short writes. */
int accept4(int fd, __SOCKADDR_ARG address, socklen_t *n, int flags)
{
    REAL(accept4, int, (int, void *, socklen_t *, int));
    int accepted = real_accept4(fd, address.__sockaddr__, n, flags), smallest = 1;
    if (accepted >= 0 && plans && atomic_load(&plans[WRITES].count) > 0)
        setsockopt(accepted, SOL_SOCKET, SO_SNDBUF, &smallest, sizeof smallest);
    return accepted;
}

static ssize_t counted(ssize_t sent, size_t n)
{
    if (plans && sent > 0 && (size_t)sent < n)
        atomic_fetch_add(&plans[WRITES].met, 1);
    return sent;
}

ssize_t send(int fd, const void *p, size_t n, int flags)
{
    REAL(send, ssize_t, (int, const void *, size_t, int));
    return counted(real_send(fd, p, n, flags), n);
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    REAL(sendmsg, ssize_t, (int, const struct msghdr *, int));
    size_t n = 0;
    for (size_t i = 0; i < message->msg_iovlen; i++)
        n += message->msg_iov[i].iov_len;
    return counted(real_sendmsg(fd, message, flags), n);
}
