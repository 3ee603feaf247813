/* jobs: what an app defines beside its routes, and running it: consumers of queues, entries of the clock,
 * listeners, and functions of modules that are called by name.
 *
 * While the app loads, each VM keeps the functions by kind and name; the host asks the first VM what there is
 * (vm_job_at). A job runs as a request does, in a run's coroutine with limits, but it has no context, and its
 * outcome goes into the job. Threads: whoever holds the VM. */
#ifndef VM_JOBS_H
#define VM_JOBS_H

#include "queue/job.h"
#include "vm/internal.h"

/* Make the place for what will be defined. Stack: [-0, +0, m] */
void jobs_install(lua_State *L);

/* Push define(kind, name, fn, options): keep the function, and the table of options, which has the field
 * `where`. Kind is "consume", "clock" or "notice". Returns to Lua nothing, or where that name was defined
 * before; of "notice" there may be several. Raises after the loading. Stack: [-0, +1, m] */
void jobs_push_define(lua_State *L);

/* Append what was defined to the VM's signature. Returns: 0 or -ENOMEM. Raises. */
int jobs_sign(lua_State *L, buf *text);

/* Push what runs the job of a run, with its arguments. Stack: [-0, +2, m] */
void jobs_push(lua_State *co, vm_run *run);

/* For JOB_SPAWN: a run that will call the function that is first in the list at an index, with the rest of
 * it, when vm_resume begins it. It counts as taken (vm_running); it is given back by the host, or by
 * jobs_let_go when the host has refused it. Neither raises. Returns: NULL when memory is short.
 * Stack: [-0, +0, -], with room for 4 */
vm_run *jobs_keep(lua_State *L, int list, job *j);
void jobs_let_go(lua_State *L, vm_run *run);

/* One that is given up before it was begun: what it would have called is kept no more. Stack: [-0, +0, -] */
void jobs_forget(lua_State *L, const vm_run *run);

/* It has returned n values from an index on; or failed, and the value at an index is the text. May raise. */
void jobs_returned(lua_State *co, int first, int n, vm_run *run);
void jobs_failed(lua_State *L, int text, vm_run *run);
/* The same when no memory is left for a text. */
void jobs_failed_plainly(vm_run *run);

#endif
