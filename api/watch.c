/* watch: reload the app when one of its files changes (--dev): what it was loaded from, what it required
 * since, and what a failed attempt to load it was looking for.
 *
 * The new app is loaded, and its VMs are made, while the old one serves. If anything fails the old one goes
 * on serving and the log says what is wrong. Files are looked at by name, a few times a second, since editors
 * replace files rather than write them. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/server.h"

enum { WATCH_MS = 200, SETTLE_MS = 50, ERROR_BYTES = 1024 };

typedef struct watched {
    struct watched *next;
    uv_fs_poll_t poll;
    bool missing;
    char path[];
} watched;

struct watch {
    ps_server *srv;
    uv_loop_t *loop;
    uv_timer_t settle; /* several files are often written together */
    uv_timer_t look;   /* for paths that are new */
    int timers;        /* that are being closed */
    size_t known;      /* paths that are watched */
    unsigned looks;    /* so many there were for new paths */
    bool reloaded;     /* or tried to */
    watched *files;
};

static void reload(watch *w);
static void on_look(uv_timer_t *look);

static void on_settled(uv_timer_t *settle)
{
    watch *w = settle->data;
    w->reloaded = true;
    reload(w);
    on_look(&w->look);
}

static watched *watched_of(uv_handle_t *handle)
{
    return (watched *)(void *)((char *)handle - offsetof(watched, poll));
}

/* That a missing file is missing is no change. */
static void on_change(uv_fs_poll_t *poll, int status, const uv_stat_t *before, const uv_stat_t *now)
{
    watch *w = poll->data;
    watched *f = watched_of((uv_handle_t *)poll);
    bool still_missing = f->missing && status < 0;
    (void)before;
    (void)now;
    f->missing = status < 0;
    if (!still_missing)
        uv_timer_start(&w->settle, on_settled, SETTLE_MS, 0);
}

/* Changed since the app was loaded? */
static bool is_newer(const watch *w, const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 &&
           (double)st.st_mtim.tv_sec + (double)st.st_mtim.tv_nsec / 1e9 > w->srv->started_s;
}

static void add_file(watch *w, const char *path)
{
    size_t n = strlen(path) + 1;
    watched *f = malloc(sizeof(*f) + n);
    if (!f)
        return;
    memcpy(f->path, path, n);
    f->missing = access(path, F_OK) != 0;
    uv_fs_poll_init(w->loop, &f->poll);
    f->poll.data = w;
    f->next = w->files;
    w->files = f;
    uv_fs_poll_start(&f->poll, on_change, f->path, WATCH_MS);
}

/* The app's first files may have changed between their loading and the first poll, which another thread does:
 * then there is nothing to compare them with. */
static void look_for_newer(watch *w)
{
    for (watched *f = w->files; f && !w->reloaded; f = f->next)
        if (is_newer(w, f->path))
            uv_timer_start(&w->settle, on_settled, SETTLE_MS, 0);
}

static void on_look(uv_timer_t *look)
{
    watch *w = look->data;
    const char *path;
    while ((path = paths_at(w->srv->paths, w->known))) {
        add_file(w, path);
        w->known++;
    }
    if (w->looks < 2)
        look_for_newer(w);
    w->looks++;
}

/* As many VMs as there are threads, the loaded one first. Returns: the list, or NULL with `error` filled. */
static seat *make_seats(ps_server *srv, vm *first, app *a, char *error, size_t size)
{
    seat *list = vms_seat(&srv->vms, first, a, error, size);
    int threads = srv->opt.threads + srv->opt.heavy_threads;
    for (int i = 1; list && i < threads; i++) {
        vm *one = NULL;
        seat *s = NULL;
        if (vms_load(&srv->vms, &one, error, size) == 0)
            s = vms_seat(&srv->vms, one, a, error, size);
        if (!s) {
            vms_discard(list);
            return NULL;
        }
        s->next = list;
        list = s;
    }
    return list;
}

/* Of what a VM was loaded with, all that is not its own: routes, listeners, duties.
 * Returns: 0, or -errno with `error` filled; the VM is the caller's either way. */
static int make_generation(ps_server *srv, vm *first, app **ret_app, duties **ret_duties, char *error,
                           size_t size)
{
    run_limits limits = server_limits(srv);
    int err =
        app_new(first, (unsigned)srv->opt.threads, server_lane_policy(srv), &limits, ret_app, error, size);
    if (err == 0 && (err = jobs_listen(&srv->jobs, first)) != 0)
        snprintf(error, size, "a listener cannot be added: %s", strerror(-err));
    return err ? err : jobs_make(&srv->jobs, first, ret_duties, error, size);
}

static void reload(watch *w)
{
    ps_server *srv = w->srv;
    char error[ERROR_BYTES] = "";
    vm *first = NULL;
    app *fresh = NULL;
    seat *seats = NULL;
    duties *work = NULL;
    int err = vms_load(&srv->vms, &first, error, sizeof(error));
    if (err == 0 && (err = make_generation(srv, first, &fresh, &work, error, sizeof(error))) != 0)
        vm_close(first);
    if (err == 0)
        seats = make_seats(srv, first, fresh, error, sizeof(error));
    if (!seats) {
        app_free_all(fresh);
        duties_free_all(work);
        log_write(srv->log, LOG_LEVEL_ERROR, (str){0}, "not reloaded, the app from before goes on: %s",
                  error);
        return;
    }
    fresh->older = srv->apps;
    srv->apps = fresh;
    vms_set_current(&srv->vms, fresh, seats);
    pool_wake_all(srv->pool);
    jobs_change(&srv->jobs, work);
    log_write(srv->log, LOG_LEVEL_INFO, (str){0}, "the app was reloaded");
}

int watch_start(ps_server *srv, uv_loop_t *loop, watch **ret_watch)
{
    watch *w = calloc(1, sizeof(*w));
    if (!w)
        return UV_ENOMEM;
    w->srv = srv;
    w->loop = loop;
    uv_timer_init(loop, &w->settle);
    w->settle.data = w;
    uv_timer_init(loop, &w->look);
    w->look.data = w;
    uv_timer_start(&w->look, on_look, 0, WATCH_MS);
    *ret_watch = w;
    return 0;
}

static void on_file_closed(uv_handle_t *handle)
{
    free(watched_of(handle));
}

static void on_timer_closed(uv_handle_t *handle)
{
    watch *w = handle->data;
    if (--w->timers == 0)
        free(w);
}

void watch_stop(watch *w)
{
    if (!w)
        return;
    for (watched *f = w->files; f;) {
        watched *next = f->next;
        uv_close((uv_handle_t *)&f->poll, on_file_closed);
        f = next;
    }
    w->timers = 2;
    uv_close((uv_handle_t *)&w->settle, on_timer_closed);
    uv_close((uv_handle_t *)&w->look, on_timer_closed);
}
