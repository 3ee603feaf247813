/* options: what the inside needs of the options beyond the public header.
 *
 * A server keeps options of its own, in which every text is a copy, because the app's file may change them
 * after the caller's are gone: options_copy, then options_config for what api.config{} says, options_fini.
 * Threads: plain data, whoever owns it. */
#ifndef API_OPTIONS_H
#define API_OPTIONS_H

#include <stdbool.h>

#include "api/poolsrv.h"

/* Are all values within their limits? Every field, however it was set.
 * Returns: 0, or PS_EINVAL with a text that names the first bad field, its value and what would be good. */
int options_check(const ps_options *opt, ps_error *err);

/* Check, and copy with every text.
 * Owns:    on success *ret_own is for options_fini.
 * Returns: 0, PS_EINVAL for a bad value or a struct that ps_options_init has not filled, PS_ENOMEM. */
int options_copy(const ps_options *opt, ps_options *ret_own, ps_error *err);

/* Free the texts of a copy. All-zero options are fine. */
void options_fini(ps_options *own);

/* Change a copy as api.config{ field = value } asks; an option that was given stays as it is. `value` NULL is
 * one that has no text, a table say.
 * Returns: 0; PS_EINVAL for an unknown field or a bad value, with what would be good; PS_ENOMEM. Where it
 * stands in the app is for the caller to say. */
int options_config(ps_options *own, const char *field, const char *value, ps_error *err);

/* Is every request to be logged? --dev turns it on unless --no-access-log says otherwise. */
bool options_access_log(const ps_options *opt);

#endif
