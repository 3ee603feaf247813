/* method: the HTTP methods that a route can have, and sets of them. Threads: any; nothing here changes. */
#ifndef RUNTIME_METHOD_H
#define RUNTIME_METHOD_H

#include <stddef.h>

#include "queue/str.h"

/* The methods a route can have. Any other method is unknown to the server (501). */
#define HTTP_METHODS(X) X(GET) X(POST) X(PUT) X(PATCH) X(DELETE) X(HEAD) X(OPTIONS)

enum http_method {
#define X(name) METHOD_##name,
    HTTP_METHODS(X)
#undef X
        METHOD_COUNT
};

/* A set of methods is an unsigned with these bits. */
#define METHOD_BIT(method) (1u << (method))

/* The method of that name, case and all, as RFC 9110 has it. Returns: an enum http_method, or -1. */
int method_from(str name);

/* "GET" and so on. */
const char *method_name(enum http_method method);

enum { METHOD_ALLOW_BYTES = 48 }; /* room for the longest method_allow_text */

/* Write a set as Allow wants it, "GET, HEAD, OPTIONS", in alphabetical order and closed by a NUL.
 * Returns: the length, or -ENOSPC when size is too small (METHOD_ALLOW_BYTES never is). */
int method_allow_text(unsigned bits, char *out, size_t size);

#endif
