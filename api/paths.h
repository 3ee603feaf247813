/* paths: the files that an app is made of, in the order in which its VMs came upon them.
 *
 * Each is kept once. An app that runs ever new files is not followed for ever: MAX are enough.
 * Threads: any; it locks. */
#ifndef API_PATHS_H
#define API_PATHS_H

#include <stddef.h>

enum { PATHS_MAX = 4096 };

typedef struct paths paths;

/* Returns: NULL when out of memory. */
paths *paths_new(void);

/* NULL is fine. */
void paths_free(paths *p);

/* Keep a copy of the path, unless it is there already or there are PATHS_MAX.
 * Returns: 0, or -ENOMEM. */
int paths_add(paths *p, const char *path);

/* The i-th, or NULL. Good until paths_free. */
const char *paths_at(paths *p, size_t i);

#endif
