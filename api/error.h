/* error: filling in a ps_error. Threads: any. */
#ifndef API_ERROR_H
#define API_ERROR_H

#include "api/poolsrv.h"

/* Write the code and printf's text into *err, which may be NULL; a text too long is cut.
 * Returns: `code`, so that a function can return what it reports. */
int error_set(ps_error *err, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));

#endif
