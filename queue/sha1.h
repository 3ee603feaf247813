/* sha1: the digest by which Redis names a script. Not for anything that has to be secret. Threads: any. */
#ifndef QUEUE_SHA1_H
#define QUEUE_SHA1_H

#include "queue/str.h"

enum { SHA1_HEX_BYTES = 41 };

/* The digest of those bytes in 40 hex digits, with a NUL. */
void sha1_hex(str bytes, char text[static SHA1_HEX_BYTES]);

#endif
