/* holder: a process that holds something, known so that others, and later ones, can say whether it lives
 * still.
 *
 * A process's number is given to others after its end, so the moment of its start belongs to it; both mean
 * something only in one run of the kernel, and to those who see the same processes.
 *
 * Threads: any. */
#ifndef QUEUE_HOLDER_H
#define QUEUE_HOLDER_H

#include <stdint.h>

enum { HOLDER_PLACE_BYTES = 80 };

typedef struct holder {
    char place[HOLDER_PLACE_BYTES]; /* the boot's id, a space, the inode of its namespace of processes */
    int64_t pid, start;             /* of /proc/PID/stat */
} holder;

typedef enum holder_state {
    HOLDER_LIVES,    /* or it cannot be known: another container of this machine */
    HOLDER_GONE,     /* it has ended */
    HOLDER_ELSEWHERE /* of another boot: of this machine before, or of another machine */
} holder_state;

/* This one. What cannot be read is empty or 0, and then nothing is said of it. */
void holder_self(holder *ret);

holder_state holder_look(const holder *h, const holder *self);

#endif
