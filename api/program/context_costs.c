#include "api/program/context_costs.h"

#include <string.h>

typedef struct base {
    const char *strategy;
    double ns;
} base;

typedef struct added {
    const char *strategy, *field;
    double ns;
} added;

#define CONTEXT_MEASURED(command, machine)
#define CONTEXT_BASE(strategy, ns) {strategy, ns},
#define CONTEXT_FIELD(strategy, field, ns)
static const base bases[] = {
#include "api/program/context_costs.def"
};
#undef CONTEXT_BASE
#undef CONTEXT_FIELD

#define CONTEXT_BASE(strategy, ns)
#define CONTEXT_FIELD(strategy, field, ns) {strategy, field, ns},
static const added fields[] = {
#include "api/program/context_costs.def"
};
#undef CONTEXT_MEASURED
#undef CONTEXT_FIELD

#define CONTEXT_FIELD(strategy, field, ns)
#define CONTEXT_MEASURED(command, machine)                                                                   \
    const char *const context_costs_command = command;                                                       \
    const char *const context_costs_machine = machine;
#include "api/program/context_costs.def"

const char *context_costs_strategy(size_t i)
{
    return i < sizeof bases / sizeof *bases ? bases[i].strategy : NULL;
}

double context_costs_base(size_t i)
{
    return bases[i].ns;
}

bool context_costs_field(size_t i, const char *field, double *ret_ns)
{
    for (size_t k = 0; k < sizeof fields / sizeof *fields; k++) {
        if (strcmp(fields[k].strategy, bases[i].strategy) == 0 && strcmp(fields[k].field, field) == 0) {
            *ret_ns = fields[k].ns;
            return true;
        }
    }
    return false;
}
