#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "queue/zone_internal.h"

/* RFC 8536, 3.1 and 3.2. tzcode reads no more than 2000 transitions, and there are no zones with more. */
enum { HEADER_BYTES = 44, TYPE_BYTES = 6, TYPES_MAX = 256, CHANGES_MAX = 2000 };

typedef struct header {
    char version;
    uint32_t utc_flags, standard_flags, leaps, changes, types, name_bytes;
} header;

/* What of the file is not read yet. */
typedef struct reader {
    const unsigned char *p;
    size_t n;
} reader;

static int64_t read_signed(const unsigned char *p, size_t bytes)
{
    uint64_t n = p[0] & 0x80 ? UINT64_MAX : 0;
    for (size_t i = 0; i < bytes; i++)
        n = n << 8 | p[i];
    return (int64_t)n;
}

static uint32_t read_count(const unsigned char *p)
{
    return (uint32_t)read_signed(p, 4);
}

static void advance(reader *r, size_t n)
{
    r->p += n;
    r->n -= n;
}

/* Returns: NULL, or what is wrong. */
static const char *read_header(reader *r, header *h)
{
    if (r->n < HEADER_BYTES || memcmp(r->p, "TZif", 4) != 0)
        return "it does not begin as such a file does";
    h->version = (char)r->p[4];
    if (h->version != 0 && (h->version < '2' || h->version > '4'))
        return "it is of a version that is not known";
    const unsigned char *counts = r->p + 20;
    h->utc_flags = read_count(counts);
    h->standard_flags = read_count(counts + 4);
    h->leaps = read_count(counts + 8);
    h->changes = read_count(counts + 12);
    h->types = read_count(counts + 16);
    h->name_bytes = read_count(counts + 20);
    advance(r, HEADER_BYTES);
    return NULL;
}

static uint64_t block_bytes(const header *h, size_t time_bytes)
{
    return (uint64_t)h->changes * (time_bytes + 1) + (uint64_t)h->types * TYPE_BYTES + h->name_bytes +
           (uint64_t)h->leaps * (time_bytes + 4) + h->standard_flags + h->utc_flags;
}

static const char *check_header(const header *h, const reader *r, size_t time_bytes)
{
    if (block_bytes(h, time_bytes) > r->n)
        return "it is cut off";
    if (h->leaps > 0)
        return "it counts leap seconds, which Unix time does not: take the zone without \"right/\"";
    if (h->types < 1 || h->types > TYPES_MAX || h->changes > CHANGES_MAX || h->name_bytes < 1)
        return "its counts are not what they can be";
    if ((h->utc_flags > 0 && h->utc_flags != h->types) ||
        (h->standard_flags > 0 && h->standard_flags != h->types))
        return "its counts do not fit each other";
    return NULL;
}

static const char *check_types(const header *h, const unsigned char *types)
{
    for (size_t i = 0; i < h->types; i++) {
        const unsigned char *type = types + i * TYPE_BYTES;
        int64_t offset_s = read_signed(type, 4);
        if (offset_s < -ZONE_WEST_MAX || offset_s > ZONE_EAST_MAX)
            return "an offset is more than a day";
        if (type[4] > 1 || type[5] >= h->name_bytes)
            return "a type of local time is none";
    }
    return NULL;
}

static const char *read_changes(zone *z, const header *h, const reader *r, size_t time_bytes)
{
    const unsigned char *indexes = r->p + h->changes * time_bytes, *types = indexes + h->changes;
    const char *wrong = check_types(h, types);
    if (wrong)
        return wrong;
    z->first_s = (int32_t)read_signed(types, 4);
    for (size_t i = 0; i < h->changes; i++) {
        int64_t moment_s = read_signed(r->p + i * time_bytes, time_bytes);
        if (moment_s < -ZONE_CHANGE_MAX || moment_s > ZONE_CHANGE_MAX ||
            (i > 0 && moment_s <= z->changes[i - 1].moment_s))
            return "its transitions are not in order";
        if (indexes[i] >= h->types)
            return "a transition leads to a type of local time that is not there";
        int32_t offset_s = (int32_t)read_signed(types + (size_t)indexes[i] * TYPE_BYTES, 4);
        z->changes[i] = (zone_change){moment_s, offset_s};
    }
    z->count = h->changes;
    return NULL;
}

/* A line of its own; an empty one says that nothing is known. */
static const char *read_footer(zone *z, const reader *r)
{
    const char *p = (const char *)r->p;
    const char *end = r->n >= 2 && *p == '\n' ? memchr(p + 1, '\n', r->n - 1) : NULL;
    if (!end)
        return "its last line is cut off";
    str text = {p + 1, (size_t)(end - p) - 1};
    z->has_rule = text.n > 0;
    if (z->has_rule && !zone_rule_parse(text, &z->rule))
        return "its last line is no rule for a time zone";
    return NULL;
}

/* What comes first is of version 1; later versions have it too, for old readers. */
static const char *find_block(reader *r, header *h, size_t *ret_time_bytes)
{
    *ret_time_bytes = 4;
    const char *wrong = read_header(r, h);
    if (wrong || h->version == 0)
        return wrong;
    if (block_bytes(h, 4) > r->n)
        return "it is cut off";
    advance(r, (size_t)block_bytes(h, 4));
    *ret_time_bytes = 8;
    return read_header(r, h);
}

static const char *read_block(zone *z, const header *h, reader *r, size_t time_bytes)
{
    const char *wrong = read_changes(z, h, r, time_bytes);
    if (wrong || time_bytes == 4)
        return wrong;
    advance(r, (size_t)block_bytes(h, time_bytes));
    return read_footer(z, r);
}

int zone_parse(str bytes, zone **ret_zone, char *error, size_t size)
{
    reader r = {(const unsigned char *)bytes.p, bytes.n};
    header h = {0};
    size_t time_bytes = 0;
    zone *z = NULL;
    const char *wrong = find_block(&r, &h, &time_bytes);
    if (!wrong)
        wrong = check_header(&h, &r, time_bytes);
    if (!wrong && !(z = calloc(1, sizeof(*z) + h.changes * sizeof(z->changes[0])))) {
        snprintf(error, size, "there is no memory for it");
        return -ENOMEM;
    }
    if (!wrong)
        wrong = read_block(z, &h, &r, time_bytes);
    if (wrong) {
        zone_free(z);
        snprintf(error, size, "%s", wrong);
        return -EINVAL;
    }
    *ret_zone = z;
    return 0;
}
