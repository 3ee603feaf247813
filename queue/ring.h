/* ring: a bounded first-in first-out queue of pointers between threads, on ck_ring.
 *
 * How many threads may push and how many may pop is chosen by the function that is called, and a ring must be
 * used with one choice for its whole life:
 *
 *   one producer,   one consumer     ring_push       ring_pop
 *   one producer,   many consumers   ring_push       ring_pop_shared
 *   many producers, one consumer     ring_push_many  ring_pop_many
 *
 * ring_push, ring_pop and ring_pop_shared are lock-free. ring_push_many takes a mutex round ring_push: ck's
 * own way for many producers spins, and convoys with more threads than cores (see ring.c). The path of a
 * request does not use it. */
#ifndef QUEUE_RING_H
#define QUEUE_RING_H

#include <stdbool.h>
#include <stddef.h>

typedef struct ring ring;

/* A ring that holds at least `capacity` items.
 * Returns: the ring, or NULL when memory is short or the capacity is over 2^30. */
ring *ring_new(size_t capacity);

/* Thread: any, when no other uses it. NULL is fine. Items still inside are forgotten, not freed. */
void ring_free(ring *r);

/* Put `item` (not NULL) at the end.
 * Thread:  the one producer.
 * Returns: 0, or -EAGAIN when full.
 * Order:   release; pairs with the acquire in ring_pop and ring_pop_shared. */
int ring_push(ring *r, void *item);

/* The same from one of several producers; pairs with ring_pop_many. */
int ring_push_many(ring *r, void *item);

/* Take the oldest item, or NULL when empty. Thread: the one consumer. */
void *ring_pop(ring *r);

/* The same, of a ring with one producer and several consumers. Thread: any consumer. */
void *ring_pop_shared(ring *r);

/* The same, of a ring with several producers and one consumer. Thread: the one consumer. */
void *ring_pop_many(ring *r);

/* How many items are inside: exact for a producer or consumer that is alone, else a moment's figure.
 * Thread: any. */
size_t ring_depth(const ring *r);

/* How many items fit. Thread: any. */
size_t ring_capacity(const ring *r);

#endif
