/* zone: time zones by their IANA names, as "Europe/Berlin", read from TZif files (RFC 8536, versions 1 to 4).
 *
 * The C library's own time zone belongs to the whole process, hence this one. Files are looked for below
 * $TZDIR, or /usr/share/zoneinfo; "UTC" is there without a file. Beyond the last transition of a file its
 * footer counts, a POSIX TZ rule (POSIX.1-2017, 8.3, with RFC 8536, 3.3.1). Nothing in a file is believed:
 * what is odd is refused. Files that count leap seconds ("right/...") are, as Unix time does not.
 *
 * A local time is what the clock on the wall shows, written as the Unix time at which a clock in UTC shows
 * the same. Threads: any; a zone does not change once it is loaded. */
#ifndef QUEUE_ZONE_H
#define QUEUE_ZONE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "queue/str.h"

/* No clock is further from UTC, in seconds, that RFC 8536 allows (3.2, 3.3.1). */
enum { ZONE_WEST_MAX = 89999, ZONE_EAST_MAX = 93599 };

typedef struct zone zone;

/* Owns:    the caller gives *ret_zone to zone_free.
 * Returns: 0; -EINVAL for a name that cannot be one and for a file that is none; -ENOENT, -ENOMEM or another
 *          -errno. `error` then says what is wrong. */
int zone_load(str name, zone **ret_zone, char *error, size_t size);

/* The same from a file's bytes, which are not needed afterwards. */
int zone_parse(str bytes, zone **ret_zone, char *error, size_t size);

/* NULL is fine. */
void zone_free(zone *z);

/* Seconds east of UTC at that moment: local time is moment_s + that. */
int32_t zone_offset_at(const zone *z, int64_t moment_s);

/* The first moment after that one from which another piece of the zone's history begins; before it the offset
 * does not change, and at it may stay the same. Returns: false: there is none. */
bool zone_next_change(const zone *z, int64_t moment_s, int64_t *ret_moment_s);

/* When does the clock on the wall show that?
 * Returns: how often: 0 in a gap, 1 usually, 2 in an overlap; so many are in ret_moments_s, the first one
 *          first. A third time, which no known zone has, is left out. */
int zone_from_local(const zone *z, int64_t local_s, int64_t ret_moments_s[2]);

/* The first moment at which the clock on the wall shows that or has passed it: in a gap the first one after
 * it, in an overlap the first of the two. */
int64_t zone_reach_local(const zone *z, int64_t local_s);

/* The latest local time that the clock on the wall has shown up to that moment. In an overlap that is later
 * than what it shows. */
int64_t zone_latest_local(const zone *z, int64_t moment_s);

#endif
