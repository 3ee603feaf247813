#include "queue/wake.h"

#include <errno.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

int wake_init(wake *w)
{
    atomic_init(&w->sleeping, 0);
    w->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    return w->fd < 0 ? -errno : 0;
}

void wake_fini(wake *w)
{
    if (w->fd >= 0)
        close(w->fd);
    w->fd = -1;
}

void wake_prepare(wake *w)
{
    /* An exchange is store and full fence in one; pairs with the fence in wake_signal. */
    atomic_exchange_explicit(&w->sleeping, 1, memory_order_seq_cst);
    atomic_thread_fence(memory_order_seq_cst);
}

void wake_cancel(wake *w)
{
    /* Relaxed: a signal that comes too late only makes the descriptor readable once more. */
    atomic_store_explicit(&w->sleeping, 0, memory_order_relaxed);
}

void wake_clear(wake *w)
{
    uint64_t count;
    while (read(w->fd, &count, sizeof(count)) < 0 && errno == EINTR)
        ;
}

bool wake_signal(wake *w)
{
    atomic_thread_fence(memory_order_seq_cst); /* pairs with wake_prepare */
    if (!atomic_load_explicit(&w->sleeping, memory_order_relaxed))
        return false;
    if (!atomic_exchange_explicit(&w->sleeping, 0, memory_order_acq_rel))
        return false;
    uint64_t one = 1;
    while (write(w->fd, &one, sizeof(one)) < 0 && errno == EINTR)
        ;
    return true;
}
