#include "queue/zone.h"

#include <stdlib.h>

#include "queue/zone_internal.h"

void zone_free(zone *z)
{
    free(z);
}

static int64_t within(int64_t s, int64_t most)
{
    return s > most ? most : s < -most ? -most : s;
}

static int64_t clamp(int64_t moment_s)
{
    return within(moment_s, 4 * ZONE_CHANGE_MAX);
}

/* What is searched round stays so far inside that the search does too. */
static int64_t clamp_search(int64_t s)
{
    return within(s, 2 * ZONE_CHANGE_MAX);
}

/* How many changes are not after that moment. */
static size_t changes_until(const zone *z, int64_t moment_s)
{
    size_t low = 0, high = z->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (z->changes[middle].moment_s <= moment_s)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

int32_t zone_offset_at(const zone *z, int64_t moment_s)
{
    moment_s = clamp(moment_s);
    size_t n = changes_until(z, moment_s);
    if (n == z->count && z->has_rule)
        return zone_rule_offset_at(&z->rule, moment_s);
    return n > 0 ? z->changes[n - 1].offset_s : z->first_s;
}

bool zone_next_change(const zone *z, int64_t moment_s, int64_t *ret_moment_s)
{
    moment_s = clamp(moment_s);
    size_t n = changes_until(z, moment_s);
    if (n == z->count)
        return z->has_rule && zone_rule_next(&z->rule, moment_s, ret_moment_s);
    *ret_moment_s = z->changes[n].moment_s;
    return true;
}

/* --- local times --- */

/* A stretch of time with one offset. */
typedef struct piece {
    int64_t from_s, until_s; /* until it, exclusive; INT64_MAX: for ever */
    int32_t offset_s;
} piece;

static piece piece_at(const zone *z, int64_t moment_s)
{
    piece p = {moment_s, INT64_MAX, zone_offset_at(z, moment_s)};
    zone_next_change(z, moment_s, &p.until_s);
    return p;
}

/* The clock on the wall is at most so far from UTC, so only the pieces between these two can show a local
 * time. */
static int64_t earliest(int64_t local_s)
{
    return clamp_search(local_s) - ZONE_EAST_MAX;
}

static int64_t latest(int64_t local_s)
{
    return clamp_search(local_s) + ZONE_WEST_MAX;
}

int zone_from_local(const zone *z, int64_t local_s, int64_t ret_moments_s[2])
{
    int n = 0;
    for (int64_t s = earliest(local_s); s <= latest(local_s) && n < 2;) {
        piece p = piece_at(z, s);
        int64_t moment_s = clamp_search(local_s) - p.offset_s;
        if (moment_s >= p.from_s && moment_s < p.until_s)
            ret_moments_s[n++] = moment_s;
        s = p.until_s;
    }
    return n;
}

int64_t zone_reach_local(const zone *z, int64_t local_s)
{
    for (int64_t s = earliest(local_s);;) {
        piece p = piece_at(z, s);
        int64_t moment_s = clamp_search(local_s) - p.offset_s;
        if (moment_s <= p.from_s)
            return p.from_s;
        if (moment_s < p.until_s)
            return moment_s;
        s = p.until_s;
    }
}

int64_t zone_latest_local(const zone *z, int64_t moment_s)
{
    moment_s = clamp_search(moment_s);
    int64_t most = INT64_MIN;
    for (int64_t s = moment_s - ZONE_EAST_MAX - ZONE_WEST_MAX; s <= moment_s;) {
        piece p = piece_at(z, s);
        int64_t last_s = (p.until_s <= moment_s ? p.until_s - 1 : moment_s) + p.offset_s;
        if (last_s > most)
            most = last_s;
        s = p.until_s;
    }
    return most;
}
