/* ctx_preregistered: a new, empty table for each request.
 *
 * The functions were made once, when the program was: they are plain C functions that all contexts of all
 * requests share, and they find their request through the table, their first argument. So nothing is made for
 * a request but the table, and nothing is put into it:
 *
 *     ctx {} -> the metatable .__index -> C, has the functions and the values
 *
 * Each use of a field asks the metatable again, which costs less than keeping the answer in a new table. */
#ifndef VM_CTX_PREREGISTERED_H
#define VM_CTX_PREREGISTERED_H

#include "vm/ctx.h"

extern const ctx_strategy ctx_preregistered;

#endif
