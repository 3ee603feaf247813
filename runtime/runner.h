/* runner: the border between the threads and the Lua VMs. runtime/ calls through these pointers and never
 * sees a lua_State.
 *
 * A VM is an opaque pointer, used by one thread at a time. Everything but enter, leave, dismiss and the first
 * argument's reading is called by the thread that holds the VM. */
#ifndef RUNTIME_RUNNER_H
#define RUNTIME_RUNNER_H

#include <stdint.h>

#include "runtime/limits.h"
#include "runtime/task.h"

typedef enum runner_result {
    RUNNER_DONE,  /* the reply is in the task */
    RUNNER_PARKED /* the handler waits: t->vm, t->run and t->wake_ns (relative) are set */
} runner_result;

typedef struct runner {
    void *user;

    /* The VM for the calling thread, or NULL when there is none to be had. leave gives it back, to be kept
     * for another thread; dismiss too, but it is one too many. */
    void *(*enter)(void *user);
    void (*leave)(void *user, void *vm);
    void (*dismiss)(void *user, void *vm);
    /* Between two turns: the VM to use from here on, the same or a fresh one in its place. */
    void *(*refresh)(void *user, void *vm);
    /* A thread has begun to use a VM, and jobs may be posted to this inbox for it. NULL is fine. */
    void (*seated)(void *user, const struct inbox *to);

    /* Find the task's route: sets route, params, lane and app; or makes the reply of its own (404, 405 ...)
     * and the task DONE. */
    void (*route)(void *user, HttpTask *t);

    /* Before the start, while the thread cannot be lost: route a task again that was routed for another
     * generation of the app than this VM's. Returns: false when it has no route there and has got a reply.
     * NULL is fine. */
    bool (*prepare)(void *vm, HttpTask *t);
    /* Run the handler in this VM until it is done or waits. */
    runner_result (*start)(void *vm, HttpTask *t);
    /* Go on with a parked one, in the VM it waits in. */
    runner_result (*resume)(HttpTask *t);
    /* Give up a parked one; makes no reply. */
    void (*cancel)(HttpTask *t);
    /* After a resume or cancel in this VM, which the thread may have moved on from: it may have been the last
     * that waited there. NULL is fine. */
    void (*ended)(void *vm);

    /* Something in this VM has come to an end after its thread was declared lost. Close the VM; what waits in
     * it has been answered, and its tasks are gone. Thread: the lost one. */
    void (*abandon)(void *user, void *vm);

    /* End what runs in this VM now; said again until it has ended. In a signal handler, on the thread that
     * runs it. NULL if there are no limits. */
    void (*interrupt)(void *vm, run_limit limit, uint64_t used_ns, uint64_t most_ns);

    /* Write what runs in this VM, for the report of a crash. In a signal handler, on the thread that runs it.
     * NULL: nobody knows. */
    void (*describe)(void *vm, void (*put)(void *user, const char *text, size_t n), void *user);

    /* The thread has nothing to do for now: a chance to collect garbage. */
    void (*idle)(void *vm);
    /* What the VM held after the last idle, in bytes. NULL: nobody knows. */
    size_t (*bytes)(void *vm);

    /* The owner has handed a reply to the daemon, or dropped it: count and log. `thread` is the worker's
     * number. */
    void (*sent)(void *user, unsigned thread, HttpTask *t, uint64_t now_ns);

    /* A trouble that a person should read. */
    void (*trouble)(void *user, const char *message);
} runner;

#endif
