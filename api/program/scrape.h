/* scrape: what a running server says of itself: GET /metrics at its admin address, as a list of samples.
 *
 * For the subcommands that look at a live server. The other end may be anybody: what comes is bounded, and
 * bytes that could steer a terminal do not get through. Threads: any; no state. */
#ifndef PROGRAM_SCRAPE_H
#define PROGRAM_SCRAPE_H

#include <stddef.h>

#include "api/program/fetch.h"

enum { SCRAPE_BYTES_MAX = FETCH_BYTES_MAX };

typedef struct scrape_label {
    const char *name, *value;
} scrape_label;

typedef struct scrape_sample {
    const char *name;
    const scrape_label *labels;
    size_t label_count;
    double value; /* may be NAN or INFINITY */
} scrape_sample;

typedef struct scrape scrape;

/* Ask the server at `address`: "HOST:PORT", "[::1]:PORT", or "http://HOST:PORT" with or without a path; no
 * path is /metrics. timeout_ms is for all of it but looking up the name.
 * Returns: 0; PS_EINVAL for an address that is none; PS_ESYSTEM when there was no answer or not one with
 * metrics; PS_ENOMEM. *err has one line that names the address. */
int scrape_get(const char *address, int timeout_ms, scrape **ret, ps_error *err);

/* Read Prometheus's text format, version 0.0.4. Control characters in a label's value become '?'; comments,
 * types and timestamps are dropped. Copies the text.
 * Returns: 0; PS_ESYSTEM with the line that is wrong; PS_ENOMEM. */
int scrape_parse(const char *text, size_t n, scrape **ret, ps_error *err);

/* NULL is fine. */
void scrape_free(scrape *s);

/* The samples in their order. Good until scrape_free. */
size_t scrape_count(const scrape *s);
const scrape_sample *scrape_at(const scrape *s, size_t i);

/* The value of a sample's label; "" when it has none of that name. */
const char *scrape_label_value(const scrape_sample *sample, const char *name);

/* Whether the sample is of the metric `name`. */
int scrape_is(const scrape_sample *sample, const char *name);

#endif
