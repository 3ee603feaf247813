/* changes: what changes in shared dictionaries, told to the VMs that listen: dict:on_change.
 *
 * Each dictionary that has listeners is watched, and its changes are notices named "dict:NAME", or
 * "store:NAME" if it is in a store, of the key, the event and the version; "flush" says that anything may
 * have changed. A thread is told "flush" when it begins to use a VM, which may have looked at the dictionary
 * long before.
 *
 * Threads: each function says. */
#ifndef API_CHANGES_H
#define API_CHANGES_H

#include <stdatomic.h>

#include "queue/dicts.h"
#include "queue/remotes.h"
#include "runtime/news.h"

typedef struct told_dict told_dict;

typedef struct changes {
    dicts *dicts;
    remotes *stores;
    notices *notices;
    _Atomic(told_dict *) first; /* none goes before the end */
    atomic_bool tells;          /* [any] there are threads, and they are not about to end */
    atomic_uint tellers;        /* [any] */
} changes;

/* All are to outlive it. */
void changes_init(changes *c, dicts *all, remotes *elsewhere, notices *to);

/* Is it the name of such notices? Then that dictionary is watched from here on.
 * Thread: one at a time. Returns: 0, also if it is watched already; -ENOENT, it is no such name, or -ENOMEM.
 */
int changes_define(changes *c, const char *notice_name);

/* The pool's threads run. */
void changes_start(changes *c);

/* This thread has another VM than before. Thread: any. */
void changes_seated(changes *c, const inbox *to);

/* Tell nothing more: when it returns nobody does. */
void changes_stop(changes *c);

/* Thread: the last. */
void changes_fini(changes *c);

#endif
