/* A client that leaves (runtime/worker.c: on_gone, run_home, free_dropped; runtime/heavy.c): where its task is then decides
 * who frees it.
 *
 * The daemon tells of a connection's end inside http_run only, and never while the connection is suspended. So:
 *   FILLING, DONE, SENT: the worker frees the task at once
 *   QUEUED on the home ring: it becomes CANCELLED, and who pops it from the ring frees it
 *   QUEUED and popped, to be given away: it is dropped behind the run, before it was suspended
 *   suspended, on the way to, at, or back from a heavy worker: the end is told after it was resumed, when it is DONE
 *
 * Properties: a task is freed exactly once, by the time all is over, and nobody touches it after that.
 * Broken twins: FREE_QUEUED, a task on the home ring is freed at once; TELL_SUSPENDED, the end is told of a suspended
 * connection, too. */

mtype = { FILLING, QUEUED, AT_HEAVY, DONE, SENT, CANCELLED, FREED };

mtype state = FILLING;
bool on_home, on_shared, on_done, suspended, told, heavy_lane;

inline touch()
{
    assert(state != FREED)
}

inline free_task()
{
    touch();
    state = FREED
}

/* http_run notices that the client has left. It is told of once. */
inline gone()
{
    told = true;
    if
#ifndef FREE_QUEUED
    :: state == QUEUED && on_home -> state = CANCELLED
#endif
    :: else -> free_task()
    fi
}

active proctype worker()
{
    do
    /* http_run: the request is there */
    :: state == FILLING ->
        state = QUEUED;
        on_home = true
    /* http_run: the client has left; at any moment, but for suspended connections */
#ifdef TELL_SUSPENDED
    :: !told && state != FREED && state != CANCELLED -> gone()
#else
    :: !told && !suspended && state != FREED && state != CANCELLED -> gone()
#endif
    /* run_home: take it from the ring; run it here, or give it away */
    :: on_home ->
        on_home = false;
        touch();
        if
        :: state == CANCELLED -> free_task()
        :: state == QUEUED -> state = DONE
        :: state == QUEUED -> heavy_lane = true
        fi
    /* http_run: a heavy one is suspended, and goes over the shared ring */
    :: heavy_lane && state == QUEUED && !on_home && !suspended ->
        suspended = true;
        heavy_lane = false;
        on_shared = true
    /* adopt_done: resume it */
    :: on_done ->
        on_done = false;
        touch();
        suspended = false
    /* http_run: the reply goes out, and the request has ended */
    :: state == DONE && !suspended && !told ->
        state = SENT;
        told = true;
        free_task()
    :: state == FREED && !on_home && !on_shared && !on_done -> break
    od
}

active proctype heavy()
{
end:
    do
    :: on_shared ->
        on_shared = false;
        touch();
        state = AT_HEAVY;
        touch();
        state = DONE;
        on_done = true
    od
}
