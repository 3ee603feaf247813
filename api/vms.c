#include "api/vms.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ERROR_BYTES = 1024 };

int vms_init(vms *v, const vm_config *config, const char *path,
             void (*trouble)(void *user, const char *message), void *user)
{
    *v = (vms){.config = *config, .trouble = trouble, .user = user};
    v->path = strdup(path);
    if (!v->path)
        return -ENOMEM;
    pthread_mutex_init(&v->lock, NULL);
    pthread_cond_init(&v->work, NULL);
    return 0;
}

void vms_discard(seat *s)
{
    while (s) {
        seat *next = s->next;
        char error[ERROR_BYTES];
        (void)vm_on_stop(s->vm, true, error, sizeof(error)); /* it logs what fails, and nobody waits for it */
        atomic_fetch_sub_explicit(&s->all->bytes, s->bytes, memory_order_relaxed);
        vm_close(s->vm);
        free(s);
        s = next;
    }
}

void vms_fini(vms *v)
{
    if (!v->path)
        return;
    if (v->building) {
        pthread_mutex_lock(&v->lock);
        v->quit = true;
        pthread_cond_signal(&v->work);
        pthread_mutex_unlock(&v->lock);
        pthread_join(v->builder, NULL);
    }
    vms_discard(v->spare);
    vms_discard(v->closing);
    pthread_cond_destroy(&v->work);
    pthread_mutex_destroy(&v->lock);
    free(v->path);
    *v = (vms){0};
}

int vms_load(vms *v, vm **ret_vm, char *error, size_t size)
{
    vm *one = NULL;
    int err = vm_open(&v->config, &one, error, size);
    if (err)
        return err;
    err = vm_load(one, v->path, error, size);
    if (err)
        vm_close(one);
    else
        *ret_vm = one;
    return err;
}

seat *vms_seat(vms *v, vm *first, app *a, char *error, size_t size)
{
    seat *s = calloc(1, sizeof(*s));
    if (!s)
        snprintf(error, size, "out of memory");
    if (!s || vm_on_start(first, true, error, size) != 0 || vm_seal(first, error, size) != 0) {
        vm_close(first);
        free(s);
        return NULL;
    }
    s->all = v;
    s->vm = first;
    s->app = a;
    vms_weigh(s);
    return s;
}

void vms_weigh(seat *s)
{
    size_t now = vm_bytes(s->vm);
    atomic_fetch_add_explicit(&s->all->bytes, now - s->bytes, memory_order_relaxed);
    s->bytes = now;
}

static seat *make(vms *v, char *error, size_t size)
{
    vm *one = NULL;
    app *a = atomic_load_explicit(&v->current, memory_order_acquire);
    if (vms_load(v, &one, error, size) != 0)
        return NULL;
    if (strcmp(vm_signature(one), a->signature) != 0) {
        snprintf(error, size,
                 "%s: it defined other routes when it was loaded again. Every VM runs the file, and all must "
                 "come to "
                 "the same routes",
                 v->path);
        vm_close(one);
        return NULL;
    }
    return vms_seat(v, one, a, error, size);
}

static seat *pop_spare(vms *v)
{
    pthread_mutex_lock(&v->lock);
    seat *s = v->spare;
    if (s)
        v->spare = s->next;
    pthread_mutex_unlock(&v->lock);
    return s;
}

seat *vms_take(vms *v, char *error, size_t size)
{
    seat *s = pop_spare(v);
    return s ? s : make(v, error, size);
}

/* Fit to serve: not soiled, and of the app as it is now. */
static bool is_good(vms *v, const seat *s)
{
    return !vm_soiled(s->vm) && s->app == atomic_load_explicit(&v->current, memory_order_relaxed);
}

static void put(vms *v, seat *s, bool keep)
{
    pthread_mutex_lock(&v->lock);
    seat **list = keep && is_good(v, s) ? &v->spare : &v->closing;
    s->next = *list;
    *list = s;
    pthread_cond_signal(&v->work);
    pthread_mutex_unlock(&v->lock);
}

void vms_give(vms *v, seat *s)
{
    put(v, s, true);
}

void vms_dismiss(vms *v, seat *s)
{
    put(v, s, false);
}

void vms_abandon(vms *v, seat *s)
{
    atomic_fetch_sub_explicit(&v->bytes, s->bytes, memory_order_relaxed);
    vm_forget(s->vm);
    vm_close(s->vm);
    free(s);
}

static void retire(vms *v, seat *s)
{
    s->retired = true;
    if (vm_running(s->vm) == 0)
        vms_give(v, s);
}

void vms_ended(seat *s)
{
    if (s->retired && vm_running(s->vm) == 0)
        vms_give(s->all, s);
}

static void want_one(vms *v)
{
    pthread_mutex_lock(&v->lock);
    if (v->wanted == 0) {
        v->wanted = 1;
        pthread_cond_signal(&v->work);
    }
    pthread_mutex_unlock(&v->lock);
}

seat *vms_refresh(vms *v, seat *s)
{
    if (is_good(v, s))
        return s;
    seat *fresh = pop_spare(v);
    if (!fresh) {
        want_one(v);
        return s;
    }
    retire(v, s);
    return fresh;
}

void vms_set_current(vms *v, app *a, seat *spares)
{
    pthread_mutex_lock(&v->lock);
    seat *old = v->spare;
    v->spare = spares;
    while (old) {
        seat *next = old->next;
        old->next = v->closing;
        v->closing = old;
        old = next;
    }
    atomic_store_explicit(&v->current, a, memory_order_release);
    pthread_cond_signal(&v->work);
    pthread_mutex_unlock(&v->lock);
}

/* --- the builder --- */

static void build_one(vms *v)
{
    char error[ERROR_BYTES];
    seat *s = make(v, error, sizeof(error));
    if (s)
        vms_give(v, s);
    else
        v->trouble(v->user, error);
}

static void *builder_main(void *arg)
{
    vms *v = arg;
    pthread_mutex_lock(&v->lock);
    while (!v->quit) {
        seat *closing = v->closing;
        unsigned wanted = v->wanted;
        if (!closing && !wanted) {
            pthread_cond_wait(&v->work, &v->lock);
            continue;
        }
        v->closing = NULL;
        pthread_mutex_unlock(&v->lock);
        vms_discard(closing);
        if (wanted)
            build_one(v);
        pthread_mutex_lock(&v->lock);
        if (wanted)
            v->wanted--;
    }
    pthread_mutex_unlock(&v->lock);
    return NULL;
}

int vms_start(vms *v)
{
    int err = pthread_create(&v->builder, NULL, builder_main, v);
    v->building = err == 0;
    return -err;
}
