/* usual_address: which server a subcommand asks when its words name none. Threads: any; no state. */
#ifndef PROGRAM_USUAL_ADDRESS_H
#define PROGRAM_USUAL_ADDRESS_H

#include <stddef.h>

#define USUAL_ADDRESS "127.0.0.1:9000" /* when nothing says another one */

enum { ADDRESS_BYTES = 300 };

/* Write the address that was given; NULL: that of POOLSRV_ADMIN, or USUAL_ADDRESS. As --admin takes it:
 * ":9000" is this machine's. Returns: 0, or -1 when it is too long. */
int usual_address_read(char address[ADDRESS_BYTES], const char *given);

#endif
