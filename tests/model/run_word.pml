/* Who has a run: hold.since_ns, and the watchdog's signal (runtime/hold.c, watchdog.c, lost.c).
 *
 * owner                              watchdog                         taker
 *   held <- stamp                      look: s = held                   t = held
 *   the handler runs; the signal's     aim <- s                         held: t -> TAKEN, by compare-exchange
 *     handler compares aim and held    send the signal
 *   held: stamp -> 0, by compare-
 *     exchange; if that fails the
 *     task is another's
 *
 * Properties: an interruption ends the run that the watchdog looked at, and no later one; each run's task has exactly one
 * owner when all is over.
 * Broken twins: NO_COMPARE, the signal's handler does not compare; PLAIN_END, the owner stores 0 and does not look. */

#define RUNS 3
#define TAKEN 255

byte held;
byte aim;
bool signalled;   /* sent, and not delivered yet */
byte wanted;      /* the run that the watchdog wanted to end with the signal under way */
byte current;     /* the run that the owner is in, by its own account */
bool taken[RUNS + 1];
bool kept[RUNS + 1];
bool owner_lost;
byte ended;

/* The signal's handler, on the owner's thread, between any two of its steps. */
inline deliver()
{
    atomic {
        if
        :: signalled ->
            signalled = false;
            if
#ifdef NO_COMPARE
            :: held != 0 && held != TAKEN -> assert(held == wanted)
            :: else
#else
            :: held != 0 && aim == held -> assert(held == aim && current == aim)
            :: else
#endif
            fi
        :: else
        fi
    }
}

active proctype owner()
{
    byte stamp = 0;
    do
    :: stamp < RUNS && !owner_lost ->
        deliver();
        stamp++;
        current = stamp;
        deliver();
        held = stamp;
        deliver(); /* the handler runs */
        deliver();
#ifdef PLAIN_END
        held = 0;
        kept[stamp] = true
#else
        atomic {
            if
            :: held == stamp -> held = 0; kept[stamp] = true
            :: else -> owner_lost = true /* the thread is retired */
            fi
        }
#endif
    :: else -> break
    od;
    deliver();
    ended++
}

active proctype watchdog()
{
    byte s, rounds = 0;
    do
    :: rounds < 3 ->
        rounds++;
        s = held;
        if
        :: s != 0 && s != TAKEN ->
            atomic { aim = s; wanted = s };
            signalled = true
        :: else
        fi
    :: else -> break
    od;
    ended++
}

active proctype taker()
{
    byte t;
    t = held;
    if
    :: t != 0 && t != TAKEN ->
        atomic {
            if
            :: held == t -> held = TAKEN; taken[t] = true
            :: else
            fi
        }
    :: else
    fi;
    ended++
}

/* When all have ended: no run has two owners, and none of those begun has none. */
active proctype judge()
{
    byte i = 1;
    ended == 3;
    do
    :: i <= current ->
        assert(taken[i] + kept[i] == 1);
        i++
    :: else -> break
    od
}
