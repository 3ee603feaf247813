/* vm: one Lua state with the app loaded, and the handlers under way in it.
 *
 * Threads: one at a time, whichever; there is no lock inside. Nothing here raises a Lua error to the caller.
 */
#ifndef VM_VM_H
#define VM_VM_H

#include <stdbool.h>
#include <stddef.h>

#include "vm/request.h"

typedef struct vm vm;
typedef struct vm_run vm_run; /* one handler under way: its coroutine, its context, its request */

/* Of a function that the app has spawned; negative: the server's. */
typedef struct vm_spawn_limits {
    double cpu_s, wall_s, memory_bytes;
} vm_spawn_limits;

struct lua_State;

/* A Lua chunk of the program's own. */
typedef struct vm_source {
    const char *name; /* "tree" */
    const char *text;
    const size_t *size;
} vm_source;

/* What the app asks the host for. Each is called on the thread that runs the VM, while a handler runs. */
typedef struct vm_host {
    void *user;
    /* The queues, or NULL while they are not open yet. Also without a handler. */
    struct mq *(*queues)(void *user);
    /* Run a run of this VM's, on this thread, after what runs now; `spawner` is the vm_request.host of that.
     * The job is the host's from then on. Returns: 0, -EAGAIN or -ENOMEM. */
    int (*spawn)(void *user, void *spawner, vm_run *run, job *j, const vm_spawn_limits *limits);
    /* Run a job in any VM, on a thread for what takes long. `over` is called when it has ended, on any
     * thread; if it was not run, j->failed is set with a text. Returns: 0, -EAGAIN or -ENOMEM. */
    int (*call)(void *user, job *j, void (*over)(job *j));
    /* The handler that runs may go on for so long from now on. */
    void (*extend)(void *user, void *host, uint64_t ns);
    /* Is the server about to end? */
    bool (*stopping)(void *user);
} vm_host;

/* A C module of the host's, for require. */
typedef struct vm_module {
    const char *name;
    int (*open)(struct lua_State *L);
} vm_module;

/* What becomes of a global that a handler makes. */
typedef enum vm_globals { VM_GLOBALS_WARN, VM_GLOBALS_ERROR, VM_GLOBALS_ALLOW } vm_globals;

typedef struct vm_config {
    bool dev;    /* tracebacks in replies; a context used too late is an error at once */
    bool strict; /* the app reaches nothing beyond its requests: --sandbox strict */
    vm_globals globals;
    struct once *told;   /* which such globals were told of, by all VMs; NULL: tell of each every time */
    size_t memory_bytes; /* a VM that serves holds no more; 0: no limit */
    const char *context; /* the context strategy's name */
    const vm_source *sources;
    size_t source_count;
    struct buckets *buckets; /* for poolsrv.limit; NULL: every request passes */
    const vm_host *host;     /* NULL: there are no queues and no jobs */
    struct remotes *stores;  /* for poolsrv.shared; NULL: no store can be used */
    struct dicts *dicts;     /* for poolsrv.shared; NULL: the VM has some of its own */
    const vm_module *modules;
    size_t module_count;
    void *log_user;
    void (*log)(void *user, int level, str request_id, str text); /* level: 0 error, 1 warn, 2 info */
    void *file_user;
    /* If given: told of each Lua file before it is run, and of where a module is wanted that is not found. On
     * the thread that runs the VM, at any time. */
    void (*file)(void *user, const char *path);
} vm_config;

/* Make a VM without an app. `config` and what it points to must outlive it.
 * Returns: 0, or -errno with `error` filled. */
int vm_open(const vm_config *config, vm **ret_vm, char *error, size_t size);

/* Before vm_close: the requests of all that waits in it are gone. Their handlers do not go on, and what they
 * would close is not closed. */
void vm_forget(vm *v);

/* Close it. What waits in it is given up as by vm_cancel: the requests must be there still. NULL is fine. */
void vm_close(vm *v);

/* From now on it holds no more than so many bytes while it serves; 0: no limit. */
void vm_limit_memory(vm *v, size_t bytes);

/* Run the app's file, once. Returns: 0, or -EINVAL with `error` naming file and line. */
int vm_load(vm *v, const char *path, char *error, size_t size);

/* Run the app's file, once, as vm_load does, but go on behind mistakes: each is noted, what comes of it is
 * left out, and files that fail end alone. Calls back for each problem, one line, most often "app.lua:12:
 * ...". What was defined without a mistake can be asked for below; the VM is not for requests. Returns: 0,
 * whatever was found; -ENOMEM or -EINVAL when it could not be looked for, with `error` filled. */
int vm_check(vm *v, const char *path, void (*each)(void *user, const char *problem), void *user, char *error,
             size_t size);

/* --- what the app defined --- */

typedef enum vm_segment_kind { VM_SEGMENT_LITERAL, VM_SEGMENT_PARAM, VM_SEGMENT_REST } vm_segment_kind;

enum { VM_SEGMENTS_MAX = 65 };

typedef struct vm_segment {
    vm_segment_kind kind;
    str name;
} vm_segment;

/* One route; strings are good as long as the VM. */
typedef struct vm_route_def {
    str method;
    const char *where;
    bool heavy;
    double cpu_s, wall_s, memory_bytes; /* limits of its own, 0: none; negative: the server's */
    size_t segment_count;               /* may be more than the array holds */
    vm_segment segments[VM_SEGMENTS_MAX];
} vm_route_def;

size_t vm_route_count(const vm *v);
int vm_route_at(vm *v, size_t i, vm_route_def *ret);

/* One of what the app defines beside routes; strings are good as long as the VM. */
typedef struct vm_job_def {
    job_kind kind; /* JOB_CONSUME, JOB_CLOCK or JOB_NOTICE */
    const char *name, *where;
} vm_job_def;

/* Returns: false beyond the last. */
bool vm_job_at(vm *v, size_t i, vm_job_def *ret);

/* An option of the i-th, as api/lua has checked it: the preset or NULL where it is not given or of another
 * type.
 */
double vm_job_number(vm *v, size_t i, const char *option, double preset);
const char *vm_job_text(vm *v, size_t i, const char *option);

/* All routes in order, and all jobs, as a text: two VMs with the same text give the same index to the same
 * route. */
const char *vm_signature(const vm *v);

/* Call back for every option of api.config{}; value as text ("true", "8"), NULL for a table and the like. */
void vm_config_each(vm *v, void (*each)(void *user, const char *name, const char *value, const char *where),
                    void *user);

/* Run the api.on_start functions that are for each VM, or those that are for the process, up to the first
 * that fails. Returns: 0, or -EINVAL with `error` filled by that one. */
int vm_on_start(vm *v, bool each_vm, char *error, size_t size);

/* Run all the api.on_stop functions likewise; each failure is logged. Returns: 0, or -EINVAL with `error`
 * filled by the first that failed. */
int vm_on_stop(vm *v, bool each_vm, char *error, size_t size);

/* The app is ready, its start functions have run: with vm_config.strict, what requests share becomes
 * read-only. Before the first request. Returns: 0, or -ENOMEM or -EINVAL with `error` filled; then only
 * vm_close. */
int vm_seal(vm *v, char *error, size_t size);

/* --- requests --- */

typedef enum vm_result { VM_DONE, VM_PARKED } vm_result;

/* A run for a request, from the VM's pool. Returns: NULL when out of memory. */
vm_run *vm_run_take(vm *v);

/* Where its request is to be filled in, before vm_start. */
vm_request *vm_run_request(vm_run *run);

/* Run the route's handler until it has replied or waits. VM_DONE: the request's answer is filled in, whatever
 * happened. */
vm_result vm_start(vm *v, vm_run *run);

/* Go on with one that waits. */
vm_result vm_resume(vm *v, vm_run *run);

/* A run that a handler has spawned is begun by vm_resume. */

/* Give up one that waits; its to-be-closed variables are closed. Makes no answer. */
void vm_cancel(vm *v, vm_run *run);

/* End the handler that runs right now: it raises errors until it is out, and its answer is a 504. To be said
 * again until it has ended, since a C function may have to return first; the figures are those of the first
 * time, for the log. Thread: the one that is inside vm_start, vm_resume or vm_cancel, in a signal handler. */
void vm_interrupt(vm *v, vm_limit limit, uint64_t used_ns, uint64_t limit_ns);

/* Write what runs in it, lines of text: route, request id, and where in Lua. For the report of a crash: it
 * allocates nothing and takes no lock, but may fault where memory is damaged. Thread: as vm_interrupt. */
typedef void vm_put(void *user, const char *text, size_t n);
void vm_describe(vm *v, vm_put *to, void *user);

/* After VM_DONE or vm_cancel: the context ends, the run goes back to the pool. */
void vm_run_give(vm *v, vm_run *run);

/* --- upkeep --- */

/* Runs taken and not given back. */
unsigned vm_running(const vm *v);

/* A handler ran out of memory, or the like: close this VM when nothing runs in it, and use another. */
bool vm_soiled(const vm *v);

/* Bytes allocated by Lua. */
size_t vm_bytes(const vm *v);

/* The thread has nothing better to do: collect a bit of garbage. */
void vm_idle(vm *v);

#endif
