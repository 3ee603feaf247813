/* json_number: numbers to JSON text and back, exactly, whatever the C locale.
 *
 * Pure functions, without a lua_State. */
#ifndef VM_JSON_NUMBER_H
#define VM_JSON_NUMBER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { JSON_NUMBER_BYTES = 32 }; /* room for any number written here */

typedef struct json_number {
    bool is_integer;
    union {
        int64_t integer;
        double real;
    };
} json_number;

/* Read the number at p, which is before end and holds '-' or a digit. Whole numbers in int64 become integers;
 * with a fraction, an exponent, beyond int64, or "-0", the nearest float (ties to even). Returns: the first
 * byte behind it; or NULL with the fault in *ret_reason and its place in *ret_at. */
const char *json_number_read(const char *p, const char *end, json_number *ret, const char **ret_at,
                             const char **ret_reason);

/* Write v. Returns: the bytes written to out, at most JSON_NUMBER_BYTES, no NUL behind them. */
size_t json_number_write_integer(char *out, int64_t v);

/* Write the finite v as the shortest text that reads back as v, the closest to v of these; it always has a
 * point or an exponent. Returns: as above. */
size_t json_number_write_real(char *out, double v);

#endif
