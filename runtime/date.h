/* date: the text of HTTP's Date header, made once a second (RFC 9110, 5.6.7).
 *
 * The C library's own way takes a process-wide lock for every call and follows the locale.
 * Threads: each has its own cache. */
#ifndef RUNTIME_DATE_H
#define RUNTIME_DATE_H

#include <time.h>

enum { DATE_BYTES = 30 };

typedef struct date_cache {
    time_t second;
    char text[DATE_BYTES];
} date_cache;

/* Write a time as "Sun, 06 Nov 1994 08:49:37 GMT". */
void date_format(time_t second, char out[DATE_BYTES]);

/* The text for now; good until the next call. */
const char *date_now(date_cache *c);

#endif
