#include "api/descriptors.h"

#include <sys/resource.h>

/* Beside the connections: a loop, an epoll descriptor, a wake-up and a listening socket a thread; and the
 * app's own files. */
enum { FDS_PER_THREAD = 8, FDS_BESIDE = 64 };

unsigned descriptors_make_room(unsigned connections, unsigned threads, unsigned long *ret_have,
                               unsigned long *ret_need)
{
    struct rlimit limit;
    unsigned long beside = FDS_BESIDE + (unsigned long)threads * FDS_PER_THREAD;
    unsigned long need = connections + beside;
    *ret_need = need;
    *ret_have = need;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return connections;
    if (limit.rlim_cur < need) {
        struct rlimit more = limit;
        more.rlim_cur = limit.rlim_max < need ? limit.rlim_max : need;
        if (setrlimit(RLIMIT_NOFILE, &more) == 0)
            limit = more;
    }
    *ret_have = limit.rlim_cur;
    if (limit.rlim_cur >= need)
        return connections;
    return limit.rlim_cur > beside ? (unsigned)(limit.rlim_cur - beside) : 0;
}
