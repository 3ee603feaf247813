/* job: work for a Lua VM that is no request: what goes in, and what comes out. Plain data.
 *
 * Threads: whoever has it: it goes from who makes it to the thread that runs it and back. */
#ifndef QUEUE_JOB_H
#define QUEUE_JOB_H

#include <stdbool.h>

#include "queue/buf.h"
#include "queue/mq.h"

typedef enum job_kind {
    JOB_CONSUME, /* the function that consumes the queue `name` is given the messages */
    JOB_CALL,    /* a module's function, `name` is "module.function", is given the arguments; it replies */
    JOB_CLOCK,   /* the function of the clock's entry `name` is called */
    JOB_NOTICE,  /* the listeners of `name` in this VM are given the arguments */
    JOB_SPAWN    /* a function of the VM's that it has kept */
} job_kind;

typedef struct job {
    job_kind kind;
    const char *name;
    char *title;          /* for messages: "queue emails" */
    mq_message *messages; /* JOB_CONSUME: a list, the job's */
    bool batch;           /* they are given as a list */
    str arguments;        /* a JSON array, or empty; stays its owner's */
    double due_s;         /* JOB_CLOCK: when it was due, since 1970 */
    void *owner;          /* the host's */

    bool failed;
    buf result; /* JSON of what was returned; of a failed one, what went wrong with where, for people */
} job;

#endif
