/* limits: what one request may take. Plain data; read by any thread. */
#ifndef RUNTIME_LIMITS_H
#define RUNTIME_LIMITS_H

#include <stddef.h>
#include <stdint.h>

/* Which of them a handler met: X(name, text). */
#define RUN_LIMITS(X)                                                                                        \
    X(CPU, "cpu")                                                                                            \
    X(WALL, "wall")                                                                                          \
    X(MEMORY, "memory")

typedef enum run_limit {
    RUN_LIMIT_NONE,
#define X(name, text) RUN_LIMIT_##name,
    RUN_LIMITS(X)
#undef X
        RUN_LIMIT_COUNT
} run_limit;

/* 0 is no limit. */
typedef struct run_limits {
    const char *route;   /* its pattern, for messages, or NULL; good as long as the limits */
    uint64_t cpu_ns;     /* processor time of all its runs together */
    uint64_t wall_ns;    /* from the whole request to the handler's end, waits included */
    size_t memory_bytes; /* by which the VM may grow in a run */
} run_limits;

#endif
