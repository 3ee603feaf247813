#include "api/program/usual_address.h"

#include <stdio.h>
#include <stdlib.h>

int usual_address_read(char address[ADDRESS_BYTES], const char *given)
{
    const char *admin = getenv("POOLSRV_ADMIN");
    if (!given)
        given = admin && *admin ? admin : USUAL_ADDRESS;
    int n = snprintf(address, ADDRESS_BYTES, "%s%s", given[0] == ':' ? "127.0.0.1" : "", given);
    return n < ADDRESS_BYTES ? 0 : -1;
}
