/* dict_persist: keeps a dictionary in a store (queue/dict_store), behind the writers' backs.
 *
 * What is there is loaded first. From then on keys that change are noted, and a thread of its own writes
 * them, all in one transaction, DICT_PERSIST_MS after the first of them at most; and when it is closed. So a
 * crash loses what was changed since the last write, and never a part of a write. A key that changes often is
 * written once each time. If the store fails, nothing is forgotten: it is told, and tried again a second
 * later.
 *
 * Threads: any; `tell` is called on its own. */
#ifndef QUEUE_DICT_PERSIST_H
#define QUEUE_DICT_PERSIST_H

#include "queue/dict.h"

enum { DICT_PERSIST_MS = 100, DICT_PERSIST_RETRY_MS = 1000 };

typedef struct dict_persist dict_persist;

typedef struct dict_persist_config {
    const char *dict_name;
    void (*tell)(void *user, int level, const char *text); /* level: 0 error, 1 warn, 2 info */
    void *user;
} dict_persist_config;

/* Is it an address that can be kept at? Returns: 0, or -EINVAL with `error` saying what would be. */
int dict_persist_check(const char *address, char *error, size_t size);

/* "sqlite:PATH". Blocks until all is loaded. `config` must stay. Returns: 0, or -errno with `error` filled.
 */
int dict_persist_open(dict *d, const char *address, const dict_persist_config *config, dict_persist **ret_p,
                      char *error, size_t size);

/* From now on it writes. Returns: 0 or -errno. */
int dict_persist_start(dict_persist *p);

/* Write what is noted, now, and wait for it; nothing before the start. */
void dict_persist_sync(dict_persist *p);

/* The same, and end. One that was never started has written nothing. NULL is fine. */
void dict_persist_close(dict_persist *p);

#endif
