/* queue_table: what a server says of its queues, as a table for people. Threads: any; no state. */
#ifndef PROGRAM_QUEUE_TABLE_H
#define PROGRAM_QUEUE_TABLE_H

#include <stddef.h>
#include <stdio.h>

/* Print the reply to GET /queues. Returns: 0; PS_ESYSTEM when it is none; PS_ENOMEM. */
int queue_table_list(FILE *out, const char *reply);

/* Print the reply to GET /queues/NAME: a line a message, its body in the columns that are left, and below it
 * what its last attempt ended with. `now_s` is since 1970. Likewise. */
int queue_table_messages(FILE *out, const char *reply, double now_s, size_t columns);

#endif
