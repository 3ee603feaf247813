#include "runtime/method.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>

int method_from(str name)
{
#define X(m)                                                                                                 \
    if (name.n == sizeof #m - 1 && memcmp(name.p, #m, sizeof #m - 1) == 0)                                   \
        return METHOD_##m;
    HTTP_METHODS(X)
#undef X
    return -1;
}

const char *method_name(enum http_method method)
{
    static const char *const names[] = {
#define X(m) #m,
        HTTP_METHODS(X)
#undef X
    };
    assert((unsigned)method < METHOD_COUNT);
    return names[method];
}

int method_allow_text(unsigned bits, char *out, size_t size)
{
    static const enum http_method by_name[] = {METHOD_DELETE, METHOD_GET,  METHOD_HEAD, METHOD_OPTIONS,
                                               METHOD_PATCH,  METHOD_POST, METHOD_PUT};
    _Static_assert(sizeof by_name / sizeof by_name[0] == METHOD_COUNT, "a method is missing");
    size_t used = 0;
    if (size == 0)
        return -ENOSPC;
    out[0] = '\0';
    for (size_t i = 0; i < METHOD_COUNT; i++) {
        if (!(bits & METHOD_BIT(by_name[i])))
            continue;
        int n = snprintf(out + used, size - used, "%s%s", used > 0 ? ", " : "", method_name(by_name[i]));
        if (n < 0 || (size_t)n >= size - used)
            return -ENOSPC;
        used += (size_t)n;
    }
    return (int)used;
}
