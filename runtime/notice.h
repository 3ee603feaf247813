/* notice: a job that every thread of the pool runs once, in the VM that it has: what has happened is told to
 * all VMs that serve.
 *
 * A thread is told from when it has a VM until it ends. VMs that no thread has are not told. */
#ifndef RUNTIME_NOTICE_H
#define RUNTIME_NOTICE_H

#include "queue/job.h"
#include "runtime/errand.h"
#include "runtime/pool.h"

enum { NOTICES_MAX = 65536 }; /* on their way to all threads together */

/* Of a pool; to outlive all notices. */
typedef struct notices {
    pool *pool;
    errand_kind kind;
    atomic_uint pending; /* [any] */
} notices;

void notices_init(notices *n, pool *p, const run_limits *limits);

/* Have every VM's listeners of `name` called with the arguments, a JSON array. Texts are copied.
 * Thread:  any.
 * Returns: 0; -EAGAIN when too many are on their way, -ENOMEM: then some threads may have been told. */
int notice_all(notices *n, const char *name, str arguments);

/* It has been run by its thread, or was not, since that ended. Thread: any. */
typedef void notice_done(void *user, bool ran);

/* The same for one thread. Thread: any, in a function that pool_each_inbox calls. Returns: 0 or -ENOMEM. */
int notice_one(notices *n, const char *name, str arguments, inbox *to, notice_done *done, void *user);

#endif
