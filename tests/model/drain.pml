/* The stop (runtime/pool.c, worker.c, heavy.c): a worker that has tasks for a heavy worker when the stop is asked for.
 *
 * worker                               heavy worker                     who stops
 *   running: publish tasks               take one, answer it,             stage <- DRAINING
 *   draining: until its count of busy      push it to the done ring       wait until no worker runs
 *     tasks is 0, adopt what is done     quit only if told so and          quit_heavies <- true
 *   end                                    nothing is left                 wait until no heavy worker runs
 *
 * Property: each task that was published is answered exactly once, and all threads end: any other end is an invalid end
 * state, or fails the assertion.
 * Broken twins: QUIT_EARLY, the heavy workers are told to quit together with the workers; NO_BUSY, the worker ends at the
 * stop without waiting for what it has given away. */

#define TASKS 3

byte published, taken, done, adopted;
bool draining, quit_heavies, worker_runs = true, heavy_runs = true;

active proctype worker()
{
    do
    :: published < TASKS && !draining -> published++
    :: adopted < done -> adopted++
    /* A request that came before the stop is read in the drain, and published then. */
    :: draining && published < TASKS -> published++
#ifdef NO_BUSY
    :: draining -> break
#else
    :: draining && published == TASKS && adopted == published -> break
#endif
    od;
    worker_runs = false
}

active proctype heavy()
{
    do
    :: taken < published -> taken++; done++
    :: quit_heavies && taken == published -> break
    od;
    heavy_runs = false
}

active proctype stopper()
{
    draining = true;
#ifdef QUIT_EARLY
    quit_heavies = true;
#endif
    !worker_runs;
    quit_heavies = true;
    !heavy_runs;
    assert(adopted == published && done == published)
}
