/* dicts: a server's shared dictionaries, by name, and its named locks.
 *
 * A dictionary is made when it is first asked for and lives as long as the set: VMs come and go, and a reload
 * loses nothing. Locks are entries of a dictionary of their own, whose versions are the fencing tokens: each
 * acquisition of a name gets a greater one, also after a lock has ended, and after a restart, as long as the
 * machine's clock is not set back.
 *
 * Threads: any. */
#ifndef QUEUE_DICTS_H
#define QUEUE_DICTS_H

#include "queue/dict.h"
#include "queue/dict_persist.h"

enum {
    DICTS_NAME_BYTES_MAX = 64,
    DICTS_LOCK_BYTES_MAX = 64 << 20 /* of all lock names that are held, each with DICT_ENTRY_BYTES */
};

typedef struct dicts dicts;

typedef struct dicts_config {
    bool persists;                                         /* else addresses are looked at, and no more */
    void (*tell)(void *user, int level, const char *text); /* as dict_persist's */
    void *user;
} dicts_config;

/* Returns: NULL when there is no memory or no randomness. */
dicts *dicts_new(const dicts_config *config);
/* Writes what is to be kept, if it was started. Every port must be gone. NULL is fine. */
void dicts_free(dicts *all);
/* From now on what is to be kept is written as it changes. Returns: 0 or -errno. */
int dicts_start(dicts *all);
/* Write it, and go on. NULL is fine. */
void dicts_sync(dicts *all);

/* The dictionary of that name, made if there is none, and filled with what is kept at the address, NULL for
 * none. One that is there gets the new limit. Returns: 0, or -errno with `error` filled: -EEXIST when it is
 * kept at another address. */
int dicts_open(dicts *all, const char *name, size_t max_bytes, const char *persist, dict **ret_dict,
               char *error, size_t size);

/* The one that holds the locks. A lock is taken by storing under its name on the condition that nothing is
 * there; what is stored does not matter. */
dict *dicts_locks(dicts *all);

/* Call for each, in the order they were made, until one call returns something else than 0. Returns: that. */
int dicts_each(dicts *all, int (*each)(void *user, const char *name, dict *d), void *user);

#endif
