/* server: what a ps_server holds. For the files of api/ that implement poolsrv.h.
 * Threads: fields say who touches them. */
#ifndef API_SERVER_H
#define API_SERVER_H

#include <stdatomic.h>
#include <uv.h>

#include "api/bridge.h"
#include "api/error.h"
#include "api/jobs.h"
#include "api/paths.h"
#include "api/poolsrv.h"
#include "api/vms.h"
#include "queue/bucket.h"
#include "queue/dicts.h"
#include "queue/remotes.h"
#include "runtime/admin.h"
#include "runtime/listen.h"
#include "runtime/pool.h"
#include "vm/once.h"

enum server_state { SERVER_NEW, SERVER_LOADED, SERVER_BOUND, SERVER_RUNNING, SERVER_STOPPED };

struct ps_server {
    ps_options opt;
    atomic_int state; /* enum server_state */
    bool lost;        /* a handler never ended: its thread still uses all this, nothing can be freed */

    vm_module *modules; /* what ps_server_register was given */
    size_t module_count;
    buckets *buckets; /* of rate limits; it locks for itself */
    jobs jobs;
    remotes *stores; /* shared dictionaries elsewhere; likewise */
    dicts *dicts;    /* shared dictionaries; likewise */
    vms vms;
    vm_config vm_config;
    once told; /* [any] the globals that handlers made */
    app *apps; /* every generation, the newest first */
    vm *first; /* loaded, not yet in a thread */
    bridge bridge;
    runner runner;
    logger *log;
    pthread_mutex_t log_lock; /* while it is made again, against threads of what VMs share */
    paths *paths;             /* what the app is made of, with --dev */

    listen_set listening;
    listen_set admin_listening;
    admin *admin;
    pool *pool;
    crowd *crowd;  /* the pool's connections by address, if these are limited */
    trust trusted; /* by the threads of the pool; const while they run */

    void (*ready)(ps_server *srv, void *user);
    void *ready_user;

    int stop_fd;          /* [any] an eventfd: a stop was asked for */
    atomic_int stops;     /* [any] how often */
    atomic_int grace_ms;  /* [any] of the last one */
    atomic_uint callers;  /* [any] threads inside ps_request */
    atomic_bool draining; /* [any] for /readyz */
    double started_s;     /* when it began to run, since 1970; const from then on */
    char **route_names;   /* for ps_server_route */
    size_t route_name_count;
    struct server_job *job_list; /* for ps_server_job */
    size_t job_count;
};

/* How many cores are online. Threads: any. */
unsigned server_cores(void);

/* The lane policy of the options. */
lane_policy server_lane_policy(const ps_server *srv);

/* The limits of a request whose route has none of its own. */
run_limits server_limits(const ps_server *srv);

/* Whether it takes requests: it runs, and does not drain. Threads: any. */
bool server_is_ready(ps_server *srv);

/* How a VM of this server is made. Good as long as the server's modules stay. */
vm_config server_vm_config(ps_server *srv);

/* Keep the names for ps_server_job, and free them. Returns: 0 or PS_ENOMEM. */
int server_list_jobs(ps_server *srv, vm *v);
void server_free_jobs(ps_server *srv);

/* Render /metrics. Thread: the admin's. Returns: 0 or -ENOMEM. */
int report_metrics(ps_server *srv, buf *out);

/* Its part that is about queues, consumers and the clock. Likewise. */
int report_jobs(ps_server *srv, buf *out);

/* Reload the app when one of its files changes (--dev). `loop` is the one ps_server_run runs. */
typedef struct watch watch;
int watch_start(ps_server *srv, uv_loop_t *loop, watch **ret_watch);
void watch_stop(watch *w);

#endif
