/* The wake-up of queue/wake.h: a publisher and a sleeper, on a machine whose stores are seen late (x86's: each thread has
 * a store buffer; an atomic exchange and a fence empty it).
 *
 * publisher                          sleeper (runtime/heavy.c, rest)
 *   ring_push                          wake_prepare: sleeping <- 1 by exchange
 *   fence                              is there work? then stay
 *   sleeping? then exchange it for 0,  wait for the eventfd
 *     and write the eventfd            wake_clear, wake_cancel: sleeping <- 0 by a plain store
 *
 * Property: what is pushed is taken in the end. A lost wake-up is a state in which the sleeper waits for ever, and spin
 * reports it as an invalid end state.
 * Broken twins: NO_FENCE, the publisher's fence left out; NO_SECOND_LOOK, the sleeper's look after wake_prepare. */

#ifndef TASKS
#define TASKS 3
#endif

byte pushed;          /* as all see it */
byte pushed_buffered; /* as its publisher does; the store buffer holds the difference */
bool sleeping;
bool cancelling;      /* sleeping <- 0 is in the sleeper's store buffer */
byte eventfd;
byte taken;

/* Store buffers empty themselves at any time, in order. */
active proctype memory()
{
end:
    do
    :: pushed != pushed_buffered -> pushed++
    :: atomic { cancelling -> sleeping = false; cancelling = false }
    od
}

active proctype publisher()
{
    do
    :: pushed_buffered < TASKS ->
        pushed_buffered++; /* ring_push: a plain store */
#ifndef NO_FENCE
        pushed == pushed_buffered; /* the fence waits for the buffer */
#endif
        if
        :: sleeping ->
            /* the exchange: a fence, too */
            pushed == pushed_buffered;
            atomic {
                if
                :: sleeping -> sleeping = false; eventfd++
                :: else
                fi
            }
        :: else
        fi
    :: pushed_buffered == TASKS -> break
    od
}

active proctype sleeper()
{
    do
    :: taken == TASKS -> break
    :: taken < TASKS ->
        if
        :: pushed > taken -> taken++
        :: else ->
            /* wake_prepare: an exchange, behind what the buffer held */
            !cancelling;
            sleeping = true;
            if
#ifndef NO_SECOND_LOOK
            :: pushed > taken -> skip
            :: else -> eventfd > 0
#else
            :: eventfd > 0
#endif
            fi;
            eventfd = 0;
            cancelling = true
        fi
    od
}
