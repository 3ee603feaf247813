/* zone_internal: what a zone is made of, for the files of queue/zone* alone. Threads: as zone.h says. */
#ifndef QUEUE_ZONE_INTERNAL_H
#define QUEUE_ZONE_INTERNAL_H

#include "queue/zone.h"
#include "queue/zone_rule.h"

/* Transitions beyond have no place in a file (RFC 8536, 3.2). What is asked for may lie further out, but is
 * kept so near to 0 that nothing overflows. */
#define ZONE_CHANGE_MAX (INT64_C(1) << 59)

typedef struct zone_change {
    int64_t moment_s;
    int32_t offset_s; /* from then on */
} zone_change;

struct zone {
    int32_t first_s; /* the offset before the first change */
    bool has_rule;   /* that holds from the last change on; if there is none, always */
    zone_rule rule;
    size_t count;
    zone_change changes[]; /* ascending */
};

#endif
