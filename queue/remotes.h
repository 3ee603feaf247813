/* stores: the stores that a server uses (queue/remote), one an address, and which dictionary is in which.
 *
 * A store is opened when it is first asked for, and lives as long as the set. Threads: any. */
#ifndef QUEUE_REMOTES_H
#define QUEUE_REMOTES_H

#include "queue/remote.h"

typedef struct remotes remotes;

/* Returns: NULL when there is no memory. */
remotes *remotes_new(remote_tell *tell, void *user);
/* Nobody uses any of them. NULL is fine. */
void remotes_free(remotes *all);

/* Wait until no operation is under way. NULL is fine. */
void remotes_settle(remotes *all);

/* The store at that address. Blocks while it is opened. Returns: 0, or -errno with `error` filled. */
int remotes_get(remotes *all, const char *url, remote **ret_s, char *error, size_t size);

/* The same for a dictionary of that name. -EEXIST: it is in another store since the server started. */
int remotes_open(remotes *all, const char *dict_name, const char *url, remote **ret_s, char *error,
                 size_t size);

/* Where the dictionary of that name is, or NULL. */
remote *remotes_find(remotes *all, const char *dict_name);

#endif
