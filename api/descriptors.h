/* descriptors: make room for as many descriptors as the connections need.
 * Threads: one, before the server runs. */
#ifndef API_DESCRIPTORS_H
#define API_DESCRIPTORS_H

/* Raise RLIMIT_NOFILE for `connections` clients and `threads` threads, as far as the system lets.
 * Returns: how many connections there is room for, or 0 when there is none, with the limits in *ret_have and
 * *ret_need. */
unsigned descriptors_make_room(unsigned connections, unsigned threads, unsigned long *ret_have,
                               unsigned long *ret_need);

#endif
