/* later: an answer that a thread waits for without standing still, while others bring it.
 *
 * The thread that waits has a `laters`. Each later is shared: by the one who waits, and by whoever works on
 * it. He ends it once, when he is done, even if nobody waits any more: after a deadline of its own, or since
 * the waiting thread has ended. So the work may take as long as it likes, or for ever.
 *
 * Threads: the owner of the laters, and whoever ends one: each function says. */
#ifndef RUNTIME_LATER_H
#define RUNTIME_LATER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct laters laters;

/* First in what is worked on, which belongs to the worker from later_begin to later_end, and to the owner
 * then. */
typedef struct later {
    struct later *next, **at; /* [owner] among those that are waited for */
    struct later *next_ended; /* [lock of the laters] */
    laters *in;
    atomic_uint refs;
    uint64_t due_ns;               /* [owner] how long to wait, monotonic */
    void *waiter;                  /* [owner] */
    bool over;                     /* [owner] it has ended in time */
    void (*free)(struct later *l); /* both have let go. On any thread */
} later;

/* Returns: 0 or -errno. */
int laters_new(unsigned most, laters **ret_laters);

/* What is still worked on is let go, and freed when it ends. NULL is fine. Thread: the owner. */
void laters_free(laters *all);

/* Readable when one has ended. */
int laters_fd(const laters *all);

/* Begin to wait for l until that time; from then on its worker has it. Thread: the owner.
 * Returns: 0, or -EAGAIN when as many as there may be are worked on (*l untouched). */
int later_begin(laters *all, later *l, void *waiter, uint64_t due_ns, void (*free)(later *l));

/* The work is done. Thread: any; the owner's too, before later_begin's caller goes on.
 * Order: the owner sees what was done before. */
void later_end(later *l);

/* One that has ended, or whose time is over (then `over` is false), or NULL. It is waited for no more, and
 * the caller lets it go by later_unref. Thread: the owner. */
later *laters_next(laters *all, uint64_t now_ns);

/* Has it ended already? Then it is waited for no more, as from laters_next. Thread: the owner. */
bool later_try(later *l);

/* Any that is waited for, or NULL: for the end. Likewise. */
later *laters_any(laters *all);

/* Wait no more, and let it go: the waiter is gone. Thread: the owner. */
void later_forget(later *l);

void later_unref(later *l);

/* When the next one's time is over; UINT64_MAX: none waits. Thread: the owner. */
uint64_t laters_due_ns(const laters *all);

#endif
