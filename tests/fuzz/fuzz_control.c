/* Breaks on one input, which has to be found: it proves that the product's code guides the search and that a
 * byte read too far is seen. script/fuzz runs it before the targets. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/method.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *copy = malloc(size + 1);
    if (!copy)
        abort();
    memcpy(copy, data, size);
    copy[size] = '\0';
    volatile size_t at = size + (method_from((str){copy, size}) == METHOD_PATCH);
    volatile char last = copy[at];
    (void)last;
    free(copy);
    return 0;
}
