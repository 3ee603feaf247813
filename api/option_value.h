/* option_value: the value of one option: reading it from text, and what is good for it.
 *
 * Numbers are read digit by digit, so that no locale of a host program changes what "0.5" means.
 * Threads: any; nothing here keeps state. */
#ifndef API_OPTION_VALUE_H
#define API_OPTION_VALUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "api/poolsrv.h"

/* The member that counts is the one of the option's kind; `text` is for PS_TEXT and PS_CHOICE. */
typedef union option_value {
    int number; /* PS_INT, PS_BOOL */
    uint64_t bytes;
    double seconds;
    const char *text;
} option_value;

enum { OPTION_VALUE_BYTES = 256 }; /* room for what option_value_write and option_value_expected say */

/* Read a value: 8080; 65536, 64k, 1m, 2g; 0.5; on, off, yes, no, true, false, 1, 0; any text. A text is kept
 * as the pointer `text`. Whether it is within limits is not looked at.
 * Returns: 0, or -EINVAL when it cannot be read (*ret untouched). */
int option_value_read(const ps_option_info *info, const char *text, option_value *ret);

/* Is it within the option's limits, and one of its words? */
bool option_value_good(const ps_option_info *info, option_value value);

/* The value as text, cut where it is too long. */
void option_value_write(const ps_option_info *info, option_value value, char out[OPTION_VALUE_BYTES]);

/* What would be good: "a whole number from 0 to 65535", "auto, light or heavy". */
void option_value_expected(const ps_option_info *info, char out[OPTION_VALUE_BYTES]);

#endif
