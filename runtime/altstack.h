/* altstack: a stack of its own for this thread's signal handlers, so that an overflow of the thread's stack
 * can still be reported. Threads: each for itself. */
#ifndef RUNTIME_ALTSTACK_H
#define RUNTIME_ALTSTACK_H

/* Give this thread one, unless it has one or memory is short. */
void altstack_enter(void);

/* Take it away again, before the thread ends; fine if it has none of ours. */
void altstack_leave(void);

#endif
