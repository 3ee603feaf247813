/* log: messages and the access log, written without holding up whoever has something to say.
 *
 * A record is copied onto a ring and a thread of the log's own writes it out; so a slow disk or a reader that
 * does not read costs a handler nothing. When the ring is full a record is dropped, counted, and the count is
 * logged later. What is on the ring when the process is killed is lost.
 *
 * The type is called logger, as `log` is taken by <math.h>. A NULL logger takes everything and says nothing.
 * Threads: any, but for log_new and log_free. */
#ifndef RUNTIME_LOG_H
#define RUNTIME_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "queue/str.h"
#include "runtime/log_line.h"
#include "runtime/task.h"

typedef struct logger logger;

enum {
    LOG_RING_RECORDS = 4095, /* that many may wait to be written */
    LOG_TEXT_BYTES = 16384,  /* a longer message is cut */
    LOG_TARGET_BYTES = 2048, /* and so is a request's target */
    LOG_GATHER_MS = 5,       /* how long a record may wait behind the one before it, to share its write */
    LOG_LAST_WAIT_MS = 2000  /* for a non-blocking descriptor that takes no more, when the log ends */
};

/* Start a log that takes messages up to `level` and writes lines of text, or of JSON, to `fd`.
 * Owns:    the descriptor stays the caller's, and must stay open until log_free.
 * Returns: 0, or -errno. */
int log_new(log_level level, bool json, int fd, logger **ret_log);

/* Write out everything that was logged before, and end. NULL is fine.
 * Thread: one, when no other logs any more. Waits for the descriptor, if that blocks. */
void log_free(logger *l);

/* Wait until what was logged before is written out, for LOG_LAST_WAIT_MS at most. For an end at which threads
 * may still log that nobody can end. NULL is fine. */
void log_settle(logger *l);

/* Whether messages of that level are written: one load. For callers that would work to make one. */
bool log_takes(const logger *l, log_level level);

/* Log printf's output. `request_id` is empty for a message that is about no request. Short of memory the
 * message counts as dropped. */
void log_write(logger *l, log_level level, str request_id, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Log text as it is: several lines, control characters and all; one newline at its end is ignored. */
void log_text(logger *l, log_level level, str request_id, str text);

/* Log a request that was answered, whatever the level. The id is logged if the task has one; it makes none.
 */
void log_access(logger *l, const HttpTask *t, uint64_t duration_ns);

/* How many records were lost so far: the ring was full, memory short, or a write failed. */
uint64_t log_dropped(const logger *l);

#endif
