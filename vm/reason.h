/* reason: what a status of an error means, in the standard's words (RFC 9110, 15; RFC 6585).
 * Threads: any; constant. */
#ifndef VM_REASON_H
#define VM_REASON_H

/* Returns: "Not Found" for 404; "Error" for a status that the standard does not name. */
const char *reason_phrase(int status);

#endif
