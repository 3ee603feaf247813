/* exposition: Prometheus's text format, version 0.0.4, written piece by piece.
 *
 * A metric is a family line and then its samples, all in one run. Nothing here checks that names are good
 * ones: they are the server's own. Threads: any; no state. */
#ifndef RUNTIME_EXPOSITION_H
#define RUNTIME_EXPOSITION_H

#include <stddef.h>
#include <stdint.h>

#include "queue/buf.h"
#include "queue/str.h"
#include "runtime/histogram.h"

/* What a reply with such text calls it. */
#define EXPOSITION_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"

typedef struct exposition_label {
    const char *name;
    str value; /* any bytes */
} exposition_label;

/* Begin a metric; `type` is "counter", "gauge" or "histogram", `help` one line without backslashes.
 * Returns: 0 or -ENOMEM, as all below; what was appended before stays. */
int exposition_family(buf *out, const char *name, const char *type, const char *help);

/* A sample with n labels. */
int exposition_count(buf *out, const char *name, const exposition_label *labels, size_t n, uint64_t value);
int exposition_value(buf *out, const char *name, const exposition_label *labels, size_t n, double value);

/* The samples of one histogram: its buckets, each with those below it, its sum in seconds and its count. */
int exposition_histogram(buf *out, const char *name, const exposition_label *labels, size_t n,
                         const histogram_totals *h);

#endif
