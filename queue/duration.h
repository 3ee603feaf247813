/* duration: lengths of time as people write them: "250ms", "10s", "5m", "1h30m", "1d".
 *
 * Numbers with units d, h, m, s and ms, from the largest to the smallest and each once; a number without a
 * unit is seconds. A number may have a fraction: "1.5h". The result is rounded to milliseconds, but what is
 * not nothing does not become nothing. Nothing is kept. Threads: any. */
#ifndef QUEUE_DURATION_H
#define QUEUE_DURATION_H

#include <stddef.h>
#include <stdint.h>

#include "queue/str.h"

/* A hundred years. */
#define DURATION_MAX_MS (INT64_C(36525) * 86400 * 1000)

/* Returns: 0, or -EINVAL with `error` saying what was found and what is expected. */
int duration_parse(str text, int64_t *ret_ms, char *error, size_t size);

/* The same of a number of seconds. */
int duration_from_seconds(double seconds, int64_t *ret_ms, char *error, size_t size);

#endif
