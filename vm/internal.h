/* internal: what the files of vm/ know of a VM. For vm/ alone. */
#ifndef VM_INTERNAL_H
#define VM_INTERNAL_H

#include <lua.h>
#include <stdatomic.h>
#include <stdint.h>

#include "queue/buf.h"
#include "vm/ctx.h"
#include "vm/heap.h"
#include "vm/names.h"
#include "vm/once.h"
#include "vm/vm.h"

/* What contexts know of a route; see vm/audit.h. */
typedef struct audit_route {
    unsigned quiet;  /* so many requests are to come before the next that needs thought */
    unsigned audits; /* begun */
    bool keeps;      /* its handler was seen to keep its context */
    uint8_t fields;  /* so many has its last request read; see vm/ctx_lazy.h */
} audit_route;

struct vm_run {
    vm_request request;
    vm *vm;
    vm_run *next_free;
    vm_run *next;  /* of all */
    lua_State *co; /* NULL until first used, and after one that failed */
    int co_ref;
    uint64_t serial;   /* of the request, in this VM, from 1 */
    bool live;         /* between vm_start and vm_run_give */
    bool raised;       /* its error is in the registry, under the run's address */
    bool explaining;   /* the text of an error is being made */
    bool globals_away; /* strict: its globals are in the registry, under this field's address */
    bool spawned;      /* the handler created coroutines, which may hold the context */
    ctx_slot ctx;
};

#define VM_BYTES_MAX ((size_t)PTRDIFF_MAX) /* no limit */

struct vm {
    lua_State *L;
    vm_config config;
    heap heap;
    size_t bytes_most; /* heap.bytes is not to grow beyond it; see vm/limit.h for all that belongs to it */
    size_t idle_bytes; /* heap.bytes after the last idle step, or less */
    bool soiled;
    bool closing;
    vm_run *running; /* whose handler runs right now */
    vm_run *runs, *free_runs;
    unsigned taken;
    uint64_t requests; /* begun */

    _Atomic(lua_State *) current; /* the coroutine in which the app's code runs, or L */
    atomic_int limit_met;         /* enum vm_limit; set by a signal handler */
    uint64_t limit_used_ns, limit_ns;
    bool limit_raised;                 /* the hook has raised an error in this run */
    buf limit_trace;                   /* where that was, or where memory was refused */
    size_t memory_most, memory_wanted; /* what the run may have, and what it was refused */
    size_t bytes_most_before;          /* while `refused` */
    bool refused;                      /* Lua collects, and asks again */
    unsigned memory_refusals;          /* of which Lua has made errors in this run */
    lua_State *finalizers;             /* where the app's next one runs; NULL: in a new coroutine */
    lua_CFunction lua_xpcall, lua_sethook;
    lua_CFunction lua_collectgarbage, lua_load, lua_loadfile; /* what vm/guards.c calls */
    lua_CFunction lua_searchpath;
    lua_CFunction lua_setlocal, lua_debug_setmetatable, lua_setupvalue;

    bool sealed, overlaid; /* strict: see vm/seal.h; a handler's globals lie before the others */
    int sealed_ref;        /* registry: contents of sealed tables -> tables */
    unsigned finalizing;   /* finalizers under way */

    buf warning; /* its pieces so far */
    bool warning_begun;
    bool warnings_off; /* warn("@off") */

    const ctx_strategy *strategy;
    int ctx_mt_ref;                           /* registry: the metatable of contexts, where they share one */
    int field_refs[CTX_FIELD_COUNT];          /* the names of their fields */
    const char *field_texts[CTX_FIELD_COUNT]; /* the same, as Lua has them */
    names *names;
    int lower_mt_ref; /* metatable of ctx:headers() */
    int reply_mt_ref;
    const void *reply_mt;
    int compose_ref;
    const void *unanswered_mt; /* of errors that no on_error hook answered */

    struct shared *shared; /* vm/shared.h; NULL: not used */

    int definition_ref;
    char *path; /* the app's */
    char *signature;
    size_t route_count;
    int *handler_refs;
    int *poison_refs; /* metatables of contexts that are not to be used any more; by route, LUA_NOREF until
                         needed */
    char **route_names;
    audit_route *audits;
    int audits_ref; /* registry: context -> when and which route, weak */
    lua_Integer gc_cycles;
};

/* The VM of a state or one of its coroutines. */
static inline vm *vm_of(lua_State *L)
{
    return *(vm **)lua_getextraspace(L);
}

/* The value that a waiting handler yields. Only its address counts. */
extern const char vm_park_mark;

/* Whether a call that lua_getstack has found can be asked what it is. While it moves a stack to a larger
 * block, Lua keeps offsets in the place of pointers into it, from 5.4.5 on, and lua_getinfo would follow
 * them. A call begins with the place of its function (CallInfo in Lua's lstate.h, in every 5.4): an offset is
 * smaller than any address. */
static inline bool vm_can_describe(const lua_Debug *ar)
{
    enum { STACK_BYTES_MOST = 32 * LUAI_MAXSTACK };
    uintptr_t function;
    memcpy(&function, ar->i_ci, sizeof(function));
    return function > STACK_BYTES_MOST;
}

/* Make a run's coroutine, if it has none, and put what enters it on its stack: vm_resume begins it then. The
 * run is live from here on. Stack: [-0, +0, m] */
void call_prepare(lua_State *L, vm_run *run);

/* Log a text for the request that runs. */
void vm_log(vm *v, int level, const char *text, size_t n);

/* Tell the host of a file that the app is made of. */
static inline void vm_tell_file(const vm *v, const char *path)
{
    if (v->config.file)
        v->config.file(v->config.file_user, path);
}

/* Set the globals that the app sees beside `api`, replace those that would break the process. Stack: [-0, +0,
 * m] */
void globals_install(lua_State *L);

/* Run a function at the top with `nargs` arguments below, with a traceback added to errors. Returns: 0 with
 * the results on the stack, or -EINVAL with the stack as it was without function and arguments, and `error`
 * filled. */
int vm_call(vm *v, int nargs, int nresults, char *error, size_t size);

#ifdef POOLSRV_DEBUG
/* For tests: on this thread, let Lua have `after` more allocations, refuse it the `count` that follow, and
 * grant the rest. One that is refused is tried again after a collection, so it takes two to make an error. */
void vm_fail_allocations(size_t after, size_t count);

/* How many were refused since that call. */
size_t vm_failed_allocations(void);
#endif

#endif
