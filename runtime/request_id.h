/* request_id: a name for a request, in logs and replies. */
#ifndef RUNTIME_REQUEST_ID_H
#define RUNTIME_REQUEST_ID_H

#include <stdbool.h>

#include "queue/str.h"

enum { REQUEST_ID_BYTES = 24 };

/* Write an id of REQUEST_ID_BYTES lower-case hexadecimal digits and a NUL: 64 bits drawn when the thread made
 * its first id, then a count. Unique, not secret. Thread: any. */
void request_id_make(char *out);

/* Whether a client's own id may be used: 1 to 64 letters, digits, '.', '-', '_'. */
bool request_id_is_sane(str id);

#endif
