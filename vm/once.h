/* once: which messages were told already, by all VMs of a server together.
 *
 * Only hashes are kept, and so many at most that a program that makes up new ones does not fill the log.
 * Threads: any, without a lock. */
#ifndef VM_ONCE_H
#define VM_ONCE_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

enum { ONCE_SLOTS = 1024, ONCE_MOST = 512 };

/* All zero is one in which nothing was told. */
typedef struct once {
    _Atomic uint64_t slots[ONCE_SLOTS]; /* hashes; 0 is free */
    atomic_uint count;
} once;

enum once_answer { ONCE_KNOWN, ONCE_NEW, ONCE_LAST }; /* LAST: new, and no other will be */

/* Is the text new? From now on it is known. */
enum once_answer once_tell(once *o, const char *text, size_t n);

#endif
