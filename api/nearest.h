/* nearest: the word somebody meant when they mistyped one. Threads: any. */
#ifndef API_NEAREST_H
#define API_NEAREST_H

#include <stddef.h>

/* How many insertions, deletions, replacements and swaps of neighbours turn one word into the other. Words
 * longer than 63 bytes are as far from everything as a distance can be. */
size_t nearest_distance(const char *a, const char *b);

/* The longest distance at which `word` still looks like a slip of the hand: one for every three letters. */
size_t nearest_limit(const char *word);

#endif
