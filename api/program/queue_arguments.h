/* queue_arguments: the command line of `poolsrv queue`.
 *
 * Threads: one; getopt has its state in globals. */
#ifndef PROGRAM_QUEUE_ARGUMENTS_H
#define PROGRAM_QUEUE_ARGUMENTS_H

#include <stdbool.h>

#include "api/poolsrv.h"
#include "api/program/usual_address.h"

enum { QUEUE_WORD_BYTES = 128, QUEUE_PEEK_MOST = 1024 };

typedef enum queue_command { QUEUE_LS, QUEUE_PEEK, QUEUE_RETRY, QUEUE_PURGE } queue_command;

typedef struct queue_arguments {
    queue_command command;
    char address[ADDRESS_BYTES];
    char name[QUEUE_WORD_BYTES]; /* "" for QUEUE_LS */
    char id[QUEUE_WORD_BYTES];   /* QUEUE_RETRY: "" is all */
    unsigned most;               /* QUEUE_PEEK */
    bool yes;                    /* QUEUE_PURGE: do not ask */
    bool json;
} queue_arguments;

/* Read the words, closed by NULL:
 *     ls [ADDRESS]
 *     peek NAME [N] [ADDRESS]
 *     retry NAME [ID] [ADDRESS]
 *     purge NAME [ADDRESS]
 * A last word that reads as HOST:PORT or a URL is the address, unless --admin gives it; an id may look like
 * one, so for retry the host has to be a number, have a dot or be localhost.
 * Returns: 0, or PS_EINVAL with a line for the user. */
int queue_arguments_read(queue_arguments *args, char **words, ps_error *err);

#endif
