/* escape: text that somebody else chose, made safe to stand in a log.
 *
 * What comes from a client must not end a line, begin a false one, or move a terminal's cursor. So control
 * characters (C0, DEL and C1), the Unicode line separators and whatever is not UTF-8 are spelled out; all
 * other text stays readable as it is. Threads: any; no state. */
#ifndef RUNTIME_ESCAPE_H
#define RUNTIME_ESCAPE_H

#include "queue/buf.h"
#include "queue/str.h"

/* No function here makes more than this many bytes out of one. */
enum { ESCAPE_GROWTH = 6 };

/* Append for a text log: a newline stays and is followed by an indent, so that no line but the first begins
 * at the margin; tabs stay; other unsafe bytes become \xNN.
 * Returns: 0, or -ENOMEM (*out untouched). */
int escape_text(buf *out, str s);

/* Append as the inside of a quoted field of a text log: on one line, with '"' and '\' escaped as well.
 * Returns: 0, or -ENOMEM (*out untouched). */
int escape_quoted(buf *out, str s);

/* Append as the inside of a JSON string. A byte that is not UTF-8 becomes U+FFFD.
 * Returns: 0, or -ENOMEM (*out untouched). */
int escape_json(buf *out, str s);

#endif
