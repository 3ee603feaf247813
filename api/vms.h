/* vms: the pool of Lua VMs. Each thread of the server holds one at a time.
 *
 * A VM that a handler has soiled beyond cleaning, or that runs an older generation of the app, is replaced
 * between two turns of its thread, as soon as another one is ready. New ones are made, and old ones closed,
 * by a thread of the pool's own, so that no request waits for it. An old one that handlers still wait in
 * stays until they have ended. Threads: any, unless it says otherwise. */
#ifndef API_VMS_H
#define API_VMS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "api/app.h"
#include "vm/vm.h"

/* A VM and what it belongs to. Used by the thread that holds it. */
typedef struct seat {
    struct seat *next;
    struct vms *all;
    vm *vm;
    app *app;
    bool retired; /* [holder] its thread has gone on to another */
    size_t bytes; /* [holder] what it has added to the pool's `bytes` */
} seat;

typedef struct vms {
    vm_config config;
    char *path; /* of the app */
    void (*trouble)(void *user, const char *message);
    void *user;
    pthread_mutex_t lock;
    pthread_cond_t work; /* the builder has something to do */
    seat *spare;         /* [lock] ready, of the current generation */
    seat *closing;       /* [lock] to be closed */
    unsigned wanted;     /* [lock] spares to be made */
    bool quit;           /* [lock] */
    bool building;       /* the builder thread runs */
    pthread_t builder;
    _Atomic(app *) current; /* [lock to write] */
    atomic_size_t bytes;    /* of all VMs, about */
} vms;

/* `config` and what it points to must outlive the pool. Returns: 0 or -errno. */
int vms_init(vms *v, const vm_config *config, const char *path,
             void (*trouble)(void *user, const char *message), void *user);

/* Every VM must have been given back. */
void vms_fini(vms *v);

/* Load the app in a new VM, without hooks. Returns: 0 and *ret_vm, or -errno with `error` filled. */
int vms_load(vms *v, vm **ret_vm, char *error, size_t size);

/* Start the thread that makes and closes. Returns: 0 or -errno. */
int vms_start(vms *v);

/* Make `a` the current generation, and `spares` (a list through next, may be NULL) its first VMs. */
void vms_set_current(vms *v, app *a, seat *spares);

/* A VM of the current generation with its on_start hooks run: a spare, or a new one made on this thread.
 * Returns: the seat, or NULL with `error` filled. */
seat *vms_take(vms *v, char *error, size_t size);

/* A seat for a loaded VM of generation `a`; runs the VM's own on_start hooks. Owns: the VM, also on failure.
 */
seat *vms_seat(vms *v, vm *first, app *a, char *error, size_t size);

/* Close a list of seats that never served. */
void vms_discard(seat *list);

/* Put a VM back as a spare, or for closing when it is old or soiled. */
void vms_give(vms *v, seat *s);

/* Have it closed, whatever it is like: its thread ends, and will not be missed. */
void vms_dismiss(vms *v, seat *s);

/* Close it on this thread, without hooks: its thread was lost in it. What waits in it is forgotten. */
void vms_abandon(vms *v, seat *s);

/* Between two turns of the holder: the same seat, or a fresh one in its place. */
seat *vms_refresh(vms *v, seat *s);

/* Bring the pool's count of bytes up to date with this VM. Thread: the holder. */
void vms_weigh(seat *s);

/* A handler has ended in a seat that may be retired: closes it if it was the last. Thread: the holder. */
void vms_ended(seat *s);

#endif
