/* json_read: what a server has said in JSON, read where it stands.
 *
 * A value is a slice of the text; nothing is copied but strings, on demand. It does not judge: what is no
 * JSON yields odd slices, but never one beyond the text, which is closed by a NUL. Threads: any; no state. */
#ifndef PROGRAM_JSON_READ_H
#define PROGRAM_JSON_READ_H

#include <stdbool.h>
#include <stddef.h>

typedef struct json_slice {
    const char *p;
    size_t n;
} json_slice;

/* The first value of a text. Returns: false when there is none that ends. */
bool json_read(const char *text, json_slice *ret);

/* The elements of an array, one after the other; *at is NULL before the first. Returns: false at the end. */
bool json_read_next(json_slice array, const char **at, json_slice *ret);

/* The member of that name. Returns: false when there is none, or `object` is none. */
bool json_read_member(json_slice object, const char *name, json_slice *ret);

/* A number; the preset where the member is none. */
double json_read_number(json_slice object, const char *name, double preset);

/* A string's bytes, closed by a NUL, to be freed; NUL bytes in it become '?'. Returns: NULL when the member
 * is none, or memory is short. */
char *json_read_string(json_slice object, const char *name);

#endif
