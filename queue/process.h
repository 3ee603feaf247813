/* process: who a process is, so that another one, or a later one, can say whether it still lives.
 *
 * A process's number is given to others after its end, so the moment of its start belongs to it; both mean
 * something only in one run of the kernel, and to those who see the same processes.
 *
 * Threads: any. */
#ifndef QUEUE_PROCESS_H
#define QUEUE_PROCESS_H

#include <stdint.h>

enum { PROCESS_PLACE_BYTES = 80 };

typedef struct process {
    char place[PROCESS_PLACE_BYTES]; /* the boot's id, a space, the inode of its namespace of processes */
    int64_t pid, start;              /* of /proc/PID/stat */
} process;

typedef enum process_state {
    PROCESS_LIVES,    /* or it cannot be known: another container of this machine */
    PROCESS_GONE,     /* it has ended */
    PROCESS_ELSEWHERE /* of another boot: of this machine before, or of another machine */
} process_state;

/* This one. What cannot be read is empty or 0, and then nothing is said of it. */
void process_self(process *ret);

process_state process_look(const process *p, const process *self);

#endif
