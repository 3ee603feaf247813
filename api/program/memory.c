/* memory: how jemalloc, where the program is linked with it, gives memory back to the system.
 *
 * By itself it purges only while it is asked for memory, so a server that fell idle after a crowd would keep
 * all that the crowd took. A thread of its own does it then, 5 seconds after. And by itself it does not take
 * small blocks from a free extent that is more than 64 times as large as it asks for, so what is freed in the
 * order it was made, as the messages of a queue are, grows into extents that are not used again: with 16,384
 * messages under way that came to six times the memory, a page fault for each 35th message, and three times
 * the processor time. The factor is 2 to the power of lg_extent_max_active_fit. `malloc_conf` is the name
 * that jemalloc(3) gives this text, under TUNING; MALLOC_CONF in the environment comes after it. Without
 * jemalloc nobody reads it. */

/* jemalloc looks for it among what the program exports. */
extern const char *malloc_conf;
__attribute__((visibility("default"))) const char *malloc_conf =
    "background_thread:true,max_background_threads:1,dirty_decay_ms:5000,muzzy_decay_ms:0,"
    "lg_extent_max_active_fit:12";
