#include "api/error.h"

#include <stdarg.h>
#include <stdio.h>

int error_set(ps_error *err, int code, const char *format, ...)
{
    if (err) {
        va_list args;
        va_start(args, format);
        err->code = code;
        vsnprintf(err->message, sizeof err->message, format, args);
        va_end(args);
    }
    return code;
}

const char *ps_strerror(int code)
{
    switch (code) {
#define X(name, value, text)                                                                                 \
    case name:                                                                                               \
        return text;
        PS_ERROR_MAP(X)
#undef X
    case 0:
        return "no error";
    default:
        return "unknown error";
    }
}
