/* context_costs: what a request context costs with each strategy, as load/profile_context_creation.sh
 * measured it.
 *
 * The figures stand in context_costs.def, which that script writes. Nanoseconds a request inside the VM, on
 * the machine that they were measured on. Constant; any thread. */
#ifndef PROGRAM_CONTEXT_COSTS_H
#define PROGRAM_CONTEXT_COSTS_H

#include <stdbool.h>
#include <stddef.h>

/* The strategies' names; NULL beyond the last. */
const char *context_costs_strategy(size_t i);

/* What the i-th costs when the handler reads nothing. */
double context_costs_base(size_t i);

/* What reading a field once adds, making its value included. Returns: whether it is known. */
bool context_costs_field(size_t i, const char *field, double *ret_ns);

/* How and where they were measured. */
extern const char *const context_costs_command, *const context_costs_machine;

#endif
