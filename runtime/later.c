#include "runtime/later.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct laters {
    later *waiting; /* [owner] */
    unsigned most;
    int fd; /* an eventfd */
    pthread_mutex_t lock;
    later *ended;    /* [lock] that the owner has not seen yet */
    unsigned worked; /* [lock] are worked on */
    bool closed;     /* [lock] the owner is gone: the last worker frees this */
};

int laters_new(unsigned most, laters **ret_laters)
{
    laters *all = calloc(1, sizeof(*all));
    if (!all)
        return -ENOMEM;
    all->most = most;
    all->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (all->fd < 0) {
        int err = -errno;
        free(all);
        return err;
    }
    pthread_mutex_init(&all->lock, NULL);
    *ret_laters = all;
    return 0;
}

static void destroy(laters *all)
{
    pthread_mutex_destroy(&all->lock);
    close(all->fd);
    free(all);
}

int laters_fd(const laters *all)
{
    return all->fd;
}

void later_unref(later *l)
{
    if (atomic_fetch_sub_explicit(&l->refs, 1, memory_order_acq_rel) == 1)
        l->free(l);
}

/* --- the list of those that are waited for --- */

static void link_in(laters *all, later *l)
{
    l->next = all->waiting;
    l->at = &all->waiting;
    if (l->next)
        l->next->at = &l->next;
    all->waiting = l;
}

static void take_out(later *l)
{
    *l->at = l->next;
    if (l->next)
        l->next->at = l->at;
    l->at = NULL;
}

void later_forget(later *l)
{
    take_out(l);
    later_unref(l);
}

/* --- beginning and ending --- */

int later_begin(laters *all, later *l, void *waiter, uint64_t due_ns, void (*free_it)(later *l))
{
    pthread_mutex_lock(&all->lock);
    bool fits = all->worked < all->most;
    all->worked += fits;
    pthread_mutex_unlock(&all->lock);
    if (!fits)
        return -EAGAIN;
    l->in = all;
    l->waiter = waiter;
    l->due_ns = due_ns;
    l->over = false;
    l->free = free_it;
    atomic_init(&l->refs, 2);
    link_in(all, l);
    return 0;
}

/* The worker's reference goes with it onto the list of those that have ended. */
void later_end(later *l)
{
    laters *all = l->in;
    uint64_t one = 1;
    pthread_mutex_lock(&all->lock);
    bool closed = all->closed, last = --all->worked == 0;
    if (!closed) {
        l->next_ended = all->ended;
        all->ended = l;
        /* Within the lock: without it the owner could close the descriptor before. */
        while (write(all->fd, &one, sizeof(one)) < 0 && errno == EINTR)
            ;
    }
    pthread_mutex_unlock(&all->lock);
    if (closed)
        later_unref(l);
    if (closed && last)
        destroy(all);
}

/* --- the owner's --- */

/* Mark those that have ended. */
static void collect(laters *all)
{
    uint64_t n;
    while (read(all->fd, &n, sizeof(n)) < 0 && errno == EINTR)
        ;
    pthread_mutex_lock(&all->lock);
    later *l = all->ended;
    all->ended = NULL;
    pthread_mutex_unlock(&all->lock);
    for (later *next; l; l = next) {
        next = l->next_ended;
        l->over = true;
        later_unref(l);
    }
}

later *laters_next(laters *all, uint64_t now_ns)
{
    collect(all);
    later *l = all->waiting;
    while (l && !l->over && l->due_ns > now_ns)
        l = l->next;
    if (l)
        take_out(l);
    return l;
}

bool later_try(later *l)
{
    collect(l->in);
    if (l->over)
        take_out(l);
    return l->over;
}

later *laters_any(laters *all)
{
    collect(all);
    later *l = all->waiting;
    if (l)
        take_out(l);
    return l;
}

uint64_t laters_due_ns(const laters *all)
{
    uint64_t due_ns = UINT64_MAX;
    for (const later *l = all->waiting; l; l = l->next)
        if (l->due_ns < due_ns)
            due_ns = l->due_ns;
    return due_ns;
}

void laters_free(laters *all)
{
    if (!all)
        return;
    while (all->waiting)
        later_forget(all->waiting);
    pthread_mutex_lock(&all->lock);
    later *missed = all->ended;
    bool last = all->worked == 0;
    all->ended = NULL;
    all->closed = true;
    pthread_mutex_unlock(&all->lock);
    for (later *next; missed; missed = next) {
        next = missed->next_ended;
        later_unref(missed);
    }
    if (last)
        destroy(all);
}
